"""Paths that scripts/test hands over, and what they need to exist."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).parent)]

TOKENS = np.random.default_rng(5).integers(0, 61, (12, 40))


@pytest.fixture(scope="session")
def gguf_path() -> Path:
    """Gemma 3 270M as scripts/setup fetches it."""
    path = Path(os.environ.get("ELUTQ_GGUF", ROOT / ".deps" / "models" / "gemma-3-270m-q4_k_m.gguf"))
    if not path.is_file():
        pytest.skip("the Gemma 3 270M GGUF file is not there")
    return path


@pytest.fixture(scope="session")
def gemma_onnx() -> Path:
    """The folder of the exported Gemma 3 270M."""
    path = Path(os.environ.get("ELUTQ_MODEL_DIR", ROOT / ".deps" / "models" / "gemma-3-270m-onnx"))
    if not (path / "model.onnx").is_file():
        pytest.skip("Gemma 3 270M has not been exported")
    return path


@pytest.fixture(scope="session")
def compiler() -> Path:
    """The elutq-compile of the build under test."""
    from elutq.compiler import find_compiler
    from elutq.errors import CompileError

    try:
        return find_compiler()
    except CompileError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """The model.onnx of one layer with 96 tokens, which are the printable characters: a prompt has as many tokens as letters."""
    from tokenizers import Tokenizer, decoders, models

    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([sys.executable, str(ROOT / "test" / "Tools" / "Inputs" / "tiny_model.py"), str(folder)], check=True)
    tokenizer = Tokenizer(models.BPE(vocab={chr(i + 32): i for i in range(95)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "model.onnx"


@pytest.fixture(scope="session")
def tiny_chat(tiny_model, compiler, tmp_path_factory) -> Path:
    """That model as an executable."""
    path = tmp_path_factory.mktemp("chat") / "tiny"
    subprocess.run([str(compiler), str(tiny_model), "-q", "-o", str(path)], check=True)
    return path


@pytest.fixture(scope="session")
def decoder(compiler, tmp_path_factory) -> Path:
    """The model.onnx of a decoder with three layers, tied embedding, q/k norms and a sliding window."""
    from elutq.export import export_model
    from tiny_models import CONFIGS, random_weights, write_checkpoint

    folder = tmp_path_factory.mktemp("decoder")
    config = {**CONFIGS["gemma3"], "hidden_size": 48, "intermediate_size": 80}
    write_checkpoint(folder / "hf", config, random_weights(config, seed=8))
    export_model(folder / "hf", folder / "onnx")
    return folder / "onnx" / "model.onnx"


@pytest.fixture
def tokens(tmp_path) -> Path:
    """TOKENS, windows for that model, as a file."""
    np.save(tmp_path / "tokens.npy", TOKENS)
    return tmp_path / "tokens.npy"


def check_killed_run(command, tmp_path, is_time):
    """Runs a command of `elutq`, which lacks `-o` only, kills it (SIGKILL) once `is_time(folder of its work)`, and runs it again: the same
    output as of a run that was left alone, and nothing else left."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])}
    command = [str(word) for word in [sys.executable, "-m", "elutq", *command, "-o"]]
    output = tmp_path / "killed.onnx"
    process = subprocess.Popen([*command, str(output)], env=environment)
    while process.poll() is None and not is_time(tmp_path / "killed.onnx.work"):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    for path in (output, tmp_path / "other.onnx"):
        subprocess.run([*command, str(path)], env=environment, check=True)
    assert (tmp_path / "killed.onnx.data").read_bytes() == (tmp_path / "other.onnx.data").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.onnx", "killed.onnx.data", "other.onnx", "other.onnx.data",
                                                                "tokens.npy"]
