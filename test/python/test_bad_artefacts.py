"""Compiled models that were damaged, mixed up or misused, through the real programs."""

import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import elutq
from conftest import ROOT

TRAILER, HEADER, SECTION = 64, 64, 64


def run(program, *arguments, text="", environment=None):
    return subprocess.run([str(program), *map(str, arguments)], input=text, capture_output=True, text=True, timeout=30, check=False,
                          env={**os.environ, **(environment or {})})


def refuse(result, *parts, code=1):
    assert result.returncode == code and result.stdout == "", result
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr, result.stderr


class Container:
    """Where things are in a file that ends with a container."""

    def __init__(self, data: bytes):
        self.start = struct.unpack_from("<Q", data, len(data) - TRAILER + 8)[0]
        self.sections = {}
        for i in range(struct.unpack_from("<I", data, self.start + 12)[0]):
            name, offset, size = struct.unpack_from("<16sQQ", data, self.start + HEADER + i * SECTION)
            self.sections[name.rstrip(b"\0").decode()] = (self.start + offset, size)


@pytest.fixture(scope="module")
def data(tiny_chat) -> bytes:
    return tiny_chat.read_bytes()


@pytest.fixture
def program(tmp_path):
    """Writes bytes to a file that can be run."""

    def write(content):
        path = tmp_path / "damaged"
        path.write_bytes(content)
        path.chmod(0o755)
        return path

    return write


def test_flipped_bytes(data, program):
    """Every part of the container, end to end: header, table, each section's first, middle and last byte, trailer."""
    container = Container(data)
    assert set(container.sections) == {"meta", "tasks", "tokenizer", "weights"}
    places = [container.start + place for place in (0, 8, 12, 16, 24, 32)]
    places += [container.start + HEADER + i * SECTION + field for i in range(4) for field in (0, 16, 24, 32)]
    for offset, size in container.sections.values():
        places += [offset, offset + size // 2, offset + size - 1]
    places += [len(data) - TRAILER + field for field in (0, 8, 16, 24)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        result = run(program(damaged), "--tokens=2,5", "-n", "1")
        refuse(result, "/proc/self/exe'")


def test_truncated(data, program):
    """Whatever is cut off behind the program itself."""
    container = Container(data)
    weights = container.sections["weights"][0]
    for size in (container.start, container.start + 1, container.start + HEADER, weights, (weights + len(data)) // 2, len(data) - TRAILER,
                 len(data) - 1):
        refuse(run(program(data[:size]), "--tokens=2,5", "-n", "1"), "does not end with a compiled model")
    refuse(run(program(data + b"\n"), "--tokens=2,5", "-n", "1"), "does not end with a compiled model")


def test_processor(tiny_chat):
    refuse(run(tiny_chat, "--prompt", "hi", environment={"ELUTQ_DISABLE_CPU_FEATURES": "sse4.2,avx2,neon,avx512f"}),
           "this CPU or system lacks", "compile it on this machine, or with --mcpu")


def test_processor_of_a_graph(compiler, tmp_path):
    """Refused when it is opened; and by the library itself, whoever calls it."""
    (tmp_path / "g.onnxtxt").write_text('<ir_version: 10, opset_import: ["" : 23]>\nmain (float[3] x) => (float[3] y) { y = Neg(x) }')
    subprocess.run([compiler, tmp_path / "g.onnxtxt", "-q", "--emit=graph", "-o", tmp_path / "g.so"], check=True)
    script = """
import ctypes, sys
import numpy as np
import elutq
try:
    elutq.Graph(sys.argv[1])
except elutq.GraphError as error:
    print(error)
library, x, y = ctypes.CDLL(sys.argv[1]), np.array([1, -2, 3], np.float32), np.full(3, 7, np.float32)
library.elutq_graph_run.restype = ctypes.c_char_p
said = library.elutq_graph_run(ctypes.byref(ctypes.c_void_p(x.ctypes.data)), ctypes.byref(ctypes.c_void_p(y.ctypes.data)))
print(said.decode() if said else "fine", y.tolist())
"""

    def run_graph(**environment):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), **environment}
        words = [sys.executable, "-c", script, tmp_path / "g.so"]
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()

    opened, called = run_graph(ELUTQ_DISABLE_CPU_FEATURES="sse4.2,avx2,neon,avx512f")
    assert opened.startswith(f"'{tmp_path}/g.so': this CPU or system lacks") and "--mcpu" in opened
    assert called.startswith("this CPU or system lacks") and called.endswith("[7.0, 7.0, 7.0]")
    assert run_graph() == ["fine [-1.0, 2.0, -3.0]"]


def test_prompts(tiny_chat, tmp_path):
    (tmp_path / "empty").write_text("")
    (tmp_path / "long").write_text("a" * 200)
    refuse(run(tiny_chat, "--prompt", ""), "expected a text that is not empty", code=2)
    refuse(run(tiny_chat, "--prompt-file", tmp_path / "empty"), "expected a file that is not empty", code=2)
    refuse(run(tiny_chat, "--prompt-file", tmp_path / "nothing"), "nothing': No such file or directory", code=2)
    refuse(run(tiny_chat, "--prompt-file", tmp_path), "cannot read", code=2)
    refuse(run(tiny_chat, "--prompt-file", "/dev/zero"), "'/dev/zero' is larger than 64 MiB", code=2)
    refuse(run(tiny_chat, "--prompt-file", tmp_path / "long"), "200 tokens, but the context has only 128")
    refuse(run(tiny_chat, "--prompt", "hello", "-n", "125"), "do not fit into the context of 128; use -n 124 or less")
    assert run(tiny_chat, "--prompt", "hello", "-n", "124", "--ignore-eos").returncode == 0


def test_chat_that_outgrows_the_context(tiny_chat):
    result = run(tiny_chat, "-n", "5", "--ignore-eos", text="a" * 70 + "\n" + "b" * 70 + "\n")
    assert result.returncode == 1 and result.stdout.count("\n") == 1
    assert result.stderr.startswith("error: the context is full") and result.stderr.count("\n") == 1
    refuse(run(tiny_chat, text="a" * ((64 << 20) + 2)), "a line of the input is larger than 64 MiB")


def test_run_without_standard_output(libraries):
    """`elutq run` does not lose its text in silence."""
    command = [sys.executable, "-m", "elutq", "run", str(libraries / "libone.so"), "-p", "ab", "-n", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    closed = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(1), check=False)
    assert closed.returncode == 1 and closed.stderr == "elutq: error: standard output is closed\n"
    with open("/dev/full", "wb") as full:
        result = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, stdout=full, check=False)
    assert result.returncode == 1 and result.stderr.startswith("elutq: error: ") and "No space left" in result.stderr, result


@pytest.fixture(scope="module")
def libraries(compiler, tiny_model, tmp_path_factory):
    """Two models of the same shape with other weights, each a library."""
    folder = tmp_path_factory.mktemp("libraries")
    model = onnx.load(tiny_model)
    first = model.graph.initializer[0]
    first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first)[::-1].copy(), first.name))
    shutil.copytree(tiny_model.parent, folder / "other")
    onnx.save(model, folder / "other" / "model.onnx")
    for name, source in (("one", tiny_model), ("other", folder / "other" / "model.onnx")):
        subprocess.run([str(compiler), str(source), "-q", "--emit=lib", "-o", str(folder / f"lib{name}.so")], check=True)
    return folder


def test_swapped_weights(libraries, tmp_path):
    for name in ("one.weights", "other.weights", "libone.so"):
        (tmp_path / name).write_bytes((libraries / name).read_bytes())
    session = elutq.Model(tmp_path / "libone.so").session()
    assert np.isfinite(session.prefill([1, 2, 3])).all()
    assert (tmp_path / "one.weights").stat().st_size == (tmp_path / "other.weights").stat().st_size
    (tmp_path / "other.weights").replace(tmp_path / "one.weights")
    with pytest.raises(elutq.RuntimeFailure, match="the weights belong to another model") as failure:
        elutq.Model(tmp_path / "libone.so")
    assert "\n" not in str(failure.value) and "one.weights" in str(failure.value)


def test_damaged_weights(libraries, tmp_path):
    (tmp_path / "libone.so").write_bytes((libraries / "libone.so").read_bytes())
    weights = bytearray((libraries / "one.weights").read_bytes())
    offset, size = Container(weights).sections["weights"]
    weights[offset + size // 3] ^= 1
    (tmp_path / "one.weights").write_bytes(weights)
    model = elutq.Model(tmp_path / "libone.so")
    for _ in range(2):
        with pytest.raises(elutq.RuntimeFailure, match="checksum of section 'weights' is wrong"):
            model.session().prefill([1, 2, 3])
    (tmp_path / "one.weights").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(elutq.RuntimeFailure, match="does not end with a compiled model"):
        elutq.Model(tmp_path / "libone.so")
    (tmp_path / "one.weights").unlink()
    with pytest.raises(elutq.RuntimeFailure, match="one.weights"):
        elutq.Model(tmp_path / "libone.so")
