"""Paths that scripts/test hands over, and what they need to exist."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).parent)]


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
