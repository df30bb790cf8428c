"""`python -m elutq export`: files, errors, nothing left behind."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from elutq.cli import main
from tiny_models import CONFIGS, random_weights, write_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    config = CONFIGS["llama"]
    write_checkpoint(tmp_path / "hf", config, random_weights(config, seed=21))
    return tmp_path / "hf"


def fails(capsys, *arguments) -> str:
    """The one line that the failing command prints."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("elutq: error: ") and captured.err.count("\n") == 1
    return captured.err


def test_export_of_a_directory(checkpoint, tmp_path):
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (checkpoint / "generation_config.json").write_text("{}")
    command = [sys.executable, "-m", "elutq", "export", str(checkpoint), "-o", str(tmp_path / "a" / "b")]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "python")}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "3 layers, hidden size 24, vocabulary 61" in result.stdout
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.onnx", "model.onnx.data",
        "tokenizer_config.json"]


def test_exports_are_reproducible(checkpoint, tmp_path):
    for name in ("a", "b"):
        assert main(["export", str(checkpoint), "-o", str(tmp_path / name), "-q"]) == 0
    for file in ("model.onnx", "model.onnx.data"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_export_replaces_an_older_one(checkpoint, tmp_path):
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "out"), "-q", "--max-layers", "1"]) == 0
    small = (tmp_path / "out" / "model.onnx.data").stat().st_size
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "out"), "-q"]) == 0
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size > small


@pytest.mark.parametrize("name", ["missing.gguf", "empty.gguf", "text.gguf"])
def test_unreadable_files(name, tmp_path, capsys):
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "text.gguf").write_bytes(b"no model at all, but long enough to have a header")
    assert name in fails(capsys, "export", tmp_path / name, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_pieces(checkpoint, tmp_path, capsys):
    (checkpoint / "config.json").rename(tmp_path / "config.json")
    assert "config.json' does not exist" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")
    (checkpoint / "config.json").write_text("{")
    assert "config.json' cannot be read" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")
    (checkpoint / "config.json").write_text("[" * 100000)
    assert "config.json' cannot be read" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")
    (tmp_path / "config.json").replace(checkpoint / "config.json")
    (checkpoint / "model.safetensors").rename(tmp_path / "model.safetensors")
    assert "model.safetensors' does not exist" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_output_that_is_a_file(checkpoint, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert "not a directory" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("header", [
    b"", b"{", b"[]", b'{"t": 5}', b'{"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}}',
    b'{"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 80000000]}}',
    b'{"t": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}',
    b'{"t": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}',
    b'{"t": {"dtype": "F32", "shape": [2]}}',
])
def test_malformed_safetensors(header, checkpoint, tmp_path, capsys):
    (checkpoint / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    assert "not a readable safetensors file" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")


def test_false_header_size(checkpoint, tmp_path, capsys):
    (checkpoint / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    assert "not a readable safetensors file" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")


def test_index_that_leaves_the_directory(checkpoint, tmp_path, capsys):
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../model.safetensors"}}))
    assert "expected one in the same directory" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")


def test_unsupported_stored_type(checkpoint, tmp_path, capsys):
    from safetensors.numpy import save_file

    weights = random_weights(CONFIGS["llama"], seed=1)
    weights["model.layers.1.mlp.up_proj.weight"] = np.ones((40, 24), np.int8)
    save_file(weights, checkpoint / "model.safetensors")
    assert "is of the type I8" in fails(capsys, "export", checkpoint, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_import_is_light():
    code = ("import sys, elutq, elutq.cli; "
            "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'onnx', 'gguf')))")
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "python")}, check=True)
