"""elutq.compile and `elutq compile`."""

import os
import stat

import numpy as np
import pytest

import elutq
from elutq.cli import main
from elutq.compiler import find_compiler
from elutq.export import export_model
from onnx_session import OnnxSession
from tiny_models import CONFIGS, random_weights, write_checkpoint


@pytest.fixture
def fake_compiler(tmp_path, monkeypatch):
    """A program that writes its arguments to a file and then does what FAKE says."""
    program = tmp_path / "fake-compile"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$ARGUMENTS"\neval "$FAKE"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("ELUTQ_COMPILE", str(program))
    monkeypatch.setenv("ARGUMENTS", str(tmp_path / "arguments"))
    monkeypatch.setenv("FAKE", "exit 0")
    return lambda: (tmp_path / "arguments").read_text().splitlines()


def test_arguments(fake_compiler):
    elutq.compile("m.onnx", "out/x", emit="lib", quantize="hlq:bits=2", arguments=["--mcpu=generic"])
    assert fake_compiler() == ["m.onnx", "--emit=lib", "-o", "out/x", "--quantize=hlq:bits=2", "-q", "--mcpu=generic"]
    assert main(["compile", "m.onnx", "-o", "x", "--emit=lib", "--mcpu", "generic", "-q"]) == 0
    assert fake_compiler() == ["m.onnx", "-o", "x", "--emit=lib", "--mcpu", "generic", "-q"]


@pytest.mark.parametrize("script, message", [
    ("echo note >&2; echo elutq-compile: error: no such file >&2; exit 1", "elutq-compile: error: no such file"),
    ("echo broken >&2; exit 3", "broken"), ("exit 3", "failed with exit status 3"), ("kill -9 $$", "ended by signal 9")])
def test_failures(fake_compiler, monkeypatch, script, message):
    monkeypatch.setenv("FAKE", script)
    with pytest.raises(elutq.CompileError, match=message):
        elutq.compile("m.onnx")
    assert main(["compile", "m.onnx"]) in (1, 3, 137)


def test_no_compiler(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ELUTQ_COMPILE", str(tmp_path / "nothing"))
    assert main(["compile", "m.onnx"]) == 1
    assert "which is no program" in capsys.readouterr().err
    monkeypatch.delenv("ELUTQ_COMPILE")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("ELUTQ_BUILD_DIR", str(tmp_path))
    monkeypatch.setattr("elutq.compiler.__file__", str(tmp_path / "a" / "b" / "c" / "compiler.py"))
    with pytest.raises(elutq.CompileError, match="put it on PATH"):
        find_compiler()


@pytest.mark.parametrize("name, vocabulary", [("llama3", 61), ("mistral", 61), ("qwen2", 61), ("qwen3", 61), ("gemma3", 61), ("llama", 64)])
def test_compiled_families(name, vocabulary, compiler, tmp_path):
    """Tiny models of all families, not quantized, give nearly the logits of ONNX Runtime, in and out of the window; so does one with as many tokens
    as hidden values, whose logits have the shape of many other tensors."""
    config = {**CONFIGS[name], "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 96, "head_dim": 16}
    write_checkpoint(tmp_path / "hf", config, random_weights(config, seed=31))
    export_model(tmp_path / "hf", tmp_path / "onnx")
    elutq.compile(tmp_path / "onnx" / "model.onnx", tmp_path / "tiny", emit="lib", quantize="none", arguments=["--chunk=8"])
    tokens = np.random.default_rng(1).integers(0, config["vocab_size"], 21)
    expected = OnnxSession(tmp_path / "onnx").feed(tokens)
    session = elutq.Model(tmp_path / "libtiny.so").session()
    rows = [session.prefill(tokens[:11]), *(session.decode(token) for token in tokens[11:])]
    scale = np.abs(expected).max()
    for row, reference in zip(rows, expected[10:]):
        assert np.abs(row - reference).max() < 0.01 * scale


def test_compiled_gemma(compiler, gemma_onnx, tmp_path):
    elutq.compile(gemma_onnx / "model.onnx", tmp_path / "gemma", emit="lib", arguments=["--max-context=256", "--quantize=none"])
    model = elutq.Model(tmp_path / "libgemma.so")
    assert model.tokenize("The capital of France is") == [2, 818, 5279, 529, 7001, 563]
    assert model.generate("The capital of France is", 4).startswith(" the capital of")
    assert os.path.getsize(tmp_path / "gemma.weights") < 1100 << 20  # Float weights, the tied table once.
