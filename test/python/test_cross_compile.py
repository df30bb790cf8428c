"""Executables and libraries for AArch64 run under qemu and compute what those for this machine do, bit for bit; and a program
on a processor without what it was compiled for says so.
"""

import platform
import re
import shutil
import subprocess
import sys

import emulator
import numpy as np
import pytest
from conftest import ROOT
from elutq.export import export_model
from onnx_session import OnnxSession
from tiny_models import CONFIGS, random_weights, write_checkpoint

# More than a chunk of prefill, and than any window.
TOKENS = [2, *np.random.default_rng(11).integers(0, CONFIGS["qwen2"]["vocab_size"], 79)]

QUANTIZED = ["--quantize=hlq:bits=3,group=32,embedding=4,head=4"]
FLOAT = ["--quantize=none", "--kv-cache=f32"]
# Options for elutq-compile and the emulated processor, which has that instruction set.
NEON = (["--target=aarch64-linux-gnu"], "cortex-a53")
DOTPROD = (["--target=aarch64-linux-gnu", "--mcpu=cortex-a76"], "cortex-a76")
DOTPROD_FEATURE = (["--target=aarch64-linux-gnu", "--mattr=+dotprod"], "max")
MODELS = ["tiny", "gemma3-nested", "qwen2"]
# The second has rotary positions, tanh and soft caps, the third biases and the sigmoid.
VARIANTS = {"tiny-hlq": ("tiny", QUANTIZED), "tiny-float": ("tiny", FLOAT), "gemma3-hlq": ("gemma3-nested", QUANTIZED),
            "qwen2-float": ("qwen2", FLOAT)}

needs_emulator = pytest.mark.usefixtures("emulated")
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 machine to compare with")


@pytest.fixture(scope="module")
def emulated():
    emulator.skip_unless_available()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The ONNX file of each of MODELS."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, ROOT / "test" / "Tools" / "Inputs" / "tiny_model.py", folder / "tiny"], check=True)
    for name in MODELS[1:]:
        write_checkpoint(folder / "hf" / name, CONFIGS[name], random_weights(CONFIGS[name], seed=5))
        export_model(folder / "hf" / name, folder / name)
    return {name: folder / name / "model.onnx" for name in MODELS}


@pytest.fixture(scope="module")
def compiled(compiler, models, tmp_path_factory):
    """The program of a model for some options, compiled once."""
    folder, programs = tmp_path_factory.mktemp("programs"), {}

    def compile_once(model, *options):
        if (model, options) not in programs:
            program = programs[model, options] = folder / f"chat{len(programs)}"
            subprocess.run([compiler, models[model], "-q", *options, "-o", program], check=True)
        return programs[model, options]

    return compile_once


def logits(command, tmp_path, feed):
    """One row per position when fed by decode, the last row alone when fed by prefill."""
    file = tmp_path / "logits.bin"
    tokens = ",".join(map(str, TOKENS))
    subprocess.run([*command, "--tokens", tokens, "--raw", "-n", "1", "--feed", feed, "--logits", file], check=True,
                   stdout=subprocess.DEVNULL)
    values = np.fromfile(file, np.float32)
    assert np.isfinite(values).all() and values.std() > 0
    return values


@needs_emulator
@needs_x86
@pytest.mark.parametrize("feed", ["decode", "prefill"])
@pytest.mark.parametrize("target", [NEON, DOTPROD], ids=["neon", "neon_dotprod"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_equal_those_of_this_machine(compiled, variant, target, feed, tmp_path):
    (model, quantization), (options, processor) = VARIANTS[variant], target
    here = logits([compiled(model, *quantization)], tmp_path, feed)
    there = logits([*emulator.command(processor), compiled(model, *quantization, *options)], tmp_path, feed)
    assert here.tobytes() == there.tobytes()


@needs_emulator
@pytest.mark.parametrize("model", ["tiny", "qwen2"])
def test_float_logits_match_onnx_runtime(compiled, models, model, tmp_path):
    options, processor = NEON
    expected = OnnxSession(models[model].parent).feed(TOKENS)
    actual = logits([*emulator.command(processor), compiled(model, *FLOAT, *options)], tmp_path, "decode")
    assert np.abs(actual.reshape(expected.shape) - expected).max() <= 1e-3 * np.abs(expected).max()


def refusal(command):
    """What a program says that ends by itself, before it has written anything."""
    result = subprocess.run([*command, "--tokens=2,5,7", "--raw", "-n", "1"], capture_output=True, text=True)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("qemu-x86_64: warning:")]
    assert 0 < result.returncode < 128 and len(lines) == 1 and result.stdout == "", result
    return lines[0]


@needs_emulator
@pytest.mark.parametrize("target", [DOTPROD, DOTPROD_FEATURE], ids=["processor", "feature"])
def test_processor_without_dot_products_is_refused(compiled, target):
    options, processor = target
    program = compiled("tiny", *QUANTIZED, *options)
    assert re.search(r"this CPU or system lacks .*\bdotprod\b", refusal([*emulator.command("cortex-a53"), program]))
    able = [*emulator.command(processor), program, "--tokens=2,5,7", "--raw", "-n", "1"]
    subprocess.run(able, check=True, stdout=subprocess.DEVNULL)


@needs_x86
@pytest.mark.parametrize("compiled_for, run_on, lacks", [
    ("x86-64-v4", "Haswell", "avx512f"), ("x86-64-v3", "Nehalem", "avx2")])
def test_processor_without_wide_vectors_is_refused(compiled, compiled_for, run_on, lacks):
    if not shutil.which("qemu-x86_64"):
        pytest.skip("qemu-x86_64 is missing (Debian: qemu-user)")
    program = compiled("tiny", *QUANTIZED, f"--mcpu={compiled_for}")
    message = refusal(["qemu-x86_64", "-cpu", run_on, program])
    assert re.search(rf"this CPU or system lacks .*\b{lacks}\b", message)


@needs_emulator
def test_library(compiler, models, tmp_path):
    """libNAME.so with its header and weights, linked into a program."""
    subprocess.run([compiler, models["tiny"], "-q", *QUANTIZED, "--emit=lib", "--target=aarch64-linux-gnu", "-o",
                    tmp_path / "libtiny.so"], check=True)
    (tmp_path / "main.cpp").write_text(r"""
#include "tiny.h"
#include <stdio.h>
int main(void) {
  elutq_model *model;
  elutq_session *session;
  int64_t tokens[] = {2, 5, 7};
  if (elutq_open(NULL, NULL, &model) || elutq_session_create(model, NULL, &session) ||
      elutq_prefill(session, tokens, 3)) {
    fprintf(stderr, "%s\n", elutq_last_error());
    return 1;
  }
  elutq_info info = {sizeof(info)};
  elutq_model_info(model, &info);
  printf("%d\n", (int)info.vocab_size);
  return 0;
}""")
    subprocess.run([emulator.CXX, tmp_path / "main.cpp", f"-L{tmp_path}", "-ltiny", "-Wl,-rpath,$ORIGIN", "-o",
                    tmp_path / "main"], check=True)
    result = subprocess.run([*emulator.command("cortex-a53"), tmp_path / "main"], check=True, capture_output=True, text=True)
    assert result.stdout == "96\n"


# Gelu of two rows, by any program that loads a library of a graph.
GRAPH = """<ir_version: 10, opset_import: ["" : 23]>
main (float[2,300] x) => (float[2,300] y) { y = Gelu(x) }"""
GRAPH_MAIN = r"""
#include "elutq/graph.h"
#include <cstdio>
#include <dlfcn.h>
alignas(64) static float x[600], y[600];
int main(int, char **argv) {
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library)
    return std::puts(dlerror()), 3;
  auto run = (decltype(&elutq_graph_run))dlsym(library, "elutq_graph_run");
  auto check = (decltype(&elutq_graph_check))dlsym(library, "elutq_graph_check");
  for (int i = 0; i < 600; ++i)
    x[i] = 0.01f * i - 2, y[i] = 77;
  void *inputs[] = {x}, *outputs[] = {y};
  const char *problem = run(inputs, outputs);
  if (problem != check())
    return 4;
  std::printf("%s %.4f\n", problem ? problem : "fine", y[300]);
  return 0;
}"""


def graph_program(compiler, tmp_path, cxx, *options):
    """A program that loads a library compiled with `options`, and the library."""
    (tmp_path / "graph.onnxtxt").write_text(GRAPH)
    (tmp_path / "main.cpp").write_text(GRAPH_MAIN)
    subprocess.run([compiler, tmp_path / "graph.onnxtxt", "-q", "--emit=graph", *options, "-o", tmp_path / "graph.so"], check=True)
    subprocess.run([cxx, "-std=c++17", f"-I{ROOT}/runtime/include", tmp_path / "main.cpp", "-ldl", "-o", tmp_path / "main"], check=True)
    return [tmp_path / "main", tmp_path / "graph.so"]


def graph_says(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@needs_emulator
def test_graph_checks_the_processor(compiler, tmp_path):
    words = graph_program(compiler, tmp_path, emulator.CXX, "--target=aarch64-linux-gnu", "--mcpu=cortex-a76")
    assert re.match(r"this CPU or system lacks .*\bdotprod\b.* 77\.0000\n", graph_says([*emulator.command("cortex-a53"), *words]))
    assert graph_says([*emulator.command("cortex-a76"), *words]) == "fine 0.8413\n"


@needs_x86
def test_graph_checks_for_wide_vectors(compiler, tmp_path):
    if not shutil.which("qemu-x86_64"):
        pytest.skip("qemu-x86_64 is missing (Debian: qemu-user)")
    words = graph_program(compiler, tmp_path, "c++", "--mcpu=x86-64-v4")
    said = graph_says(["qemu-x86_64", "-cpu", "Haswell", *words])
    assert re.match(r"this CPU or system lacks .*\bavx512f\b.*compile it on this machine, or with --mcpu .* 77\.0000\n", said)
    assert graph_says(["qemu-x86_64", "-cpu", "max", *graph_program(compiler, tmp_path, "c++", "--mcpu=x86-64-v3")]) == "fine 0.8413\n"


@needs_x86
def test_missing_runtime_is_named(compiler, tmp_path):
    """A compiler that was installed without the other processor's runtime."""
    (tmp_path / "bin").mkdir()
    lonely = shutil.copy(compiler, tmp_path / "bin")
    command = [lonely, "x.onnx", "-q", "--target=aarch64-linux-gnu", "-o", tmp_path / "chat"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "the runtime for aarch64 is missing: no libELUTQRuntime.a in" in result.stderr
    assert "build it with `scripts/setup --target aarch64`" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "chat").exists()
