"""Models of benchmarks/llama_shape.py: weights in f16, and what does not grow with the number of layers."""

import re
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from elutq.export import export_checkpoint

sys.path.append(str(ROOT / "benchmarks"))
import llama_shape  # noqa: E402

CONFIG = {**llama_shape.SHAPES["llama-7b"], "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
          "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 300, "max_position_embeddings": 64}


def compile_model(compiler, folder, output, *arguments) -> str:
    """Returns what the compiler says."""
    command = [str(compiler), str(folder / "model.onnx"), "-o", str(output), "--quantize=hlq:bits=2,group=32", *arguments]
    return subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """The folders of models of 8 and of 32 layers."""
    folders = {}
    for layers in (8, 32):
        folders[layers] = tmp_path_factory.mktemp(f"layers{layers}")
        llama_shape.write_model(folders[layers], {**CONFIG, "num_hidden_layers": layers})
    return folders


def test_layers_share_their_code(deep, compiler, tmp_path):
    """Every task is one function for all layers; an entry has only their calls."""
    tasks, sizes = {}, {}
    for layers, folder in deep.items():
        compile_model(compiler, folder, tmp_path / "ir", "--emit=llvm", "-q")
        tasks[layers] = (tmp_path / "ir").read_text().count("llvm.func internal @elutq_entry_")
        compile_model(compiler, folder, tmp_path / "object", "--emit=obj", "-q")
        sizes[layers] = (tmp_path / "object").stat().st_size
    assert 4 < tasks[8] == tasks[32], tasks
    assert sizes[32] < 2 << 20 and (sizes[32] - sizes[8]) / 24 < 12 << 10, sizes


def test_time_is_linear_in_layers(deep, compiler, tmp_path):
    """Up to the tasks, a compilation takes four times as long for four times the layers, not sixteen times."""

    def seconds(layers: int) -> float:
        text = compile_model(compiler, deep[layers], tmp_path / "ir", "--emit=loops", "--timing", "-q")
        return float(re.search(r"([0-9.]+) s  tile and bufferize", text).group(1))

    times = {layers: min(seconds(layers) for _ in range(3)) for layers in deep}
    assert times[32] < 9 * times[8], times


class Rounded(llama_shape.RandomCheckpoint):
    """Weights that f16 holds exactly."""

    def rows(self, name, begin, end):
        return super().rows(name, begin, end).astype(np.float16).astype(np.float32)


def test_weights_in_f16(compiler, tmp_path):
    """The type that weights are stored in makes no difference."""
    logits = {}
    for dtype in ("f16", "f32"):
        folder = tmp_path / dtype
        export_checkpoint(Rounded({**CONFIG, "num_hidden_layers": 2}), folder, dtype=dtype)
        compile_model(compiler, folder, tmp_path / "chat", "-q")
        subprocess.run([str(tmp_path / "chat"), "--tokens=7,1,299,30,30,5", "-n", "0", "--logits", str(tmp_path / "logits")], check=True,
                       stdout=subprocess.DEVNULL)
        logits[dtype] = np.fromfile(tmp_path / "logits", np.float32)
    assert logits["f16"].size == 6 * 300 and np.isfinite(logits["f16"]).all() and logits["f16"].std() > 0.1
    np.testing.assert_array_equal(logits["f16"], logits["f32"])


def test_model_is_kept(tmp_path):
    """A folder that holds the model is left alone; one that holds another is written anew."""
    config = {**CONFIG, "num_hidden_layers": 1}
    llama_shape.write_model(tmp_path, config)
    data = tmp_path / "model.onnx.data"
    first = data.stat()
    llama_shape.write_model(tmp_path, config)
    assert data.stat().st_ino == first.st_ino
    llama_shape.write_model(tmp_path, {**config, "intermediate_size": 128})
    assert data.stat().st_size > first.st_size
