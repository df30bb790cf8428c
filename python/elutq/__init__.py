"""ELUTQ: ahead-of-time compilation of ONNX language models to CPU binaries with 2-, 3- and 4-bit weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import CompileError, ElutqError, ExportError, RuntimeFailure, SolverError

if TYPE_CHECKING:
    from .compiler import compile
    from .export import export_model
    from .model import Model, Session

__version__ = "0.1.0"
__all__ = ["CompileError", "ElutqError", "ExportError", "Model", "RuntimeFailure", "Session", "SolverError", "compile",
           "export_model"]

# Loaded on first use: exporting needs onnx and gguf, running a compiled model needs neither.
_LAZY = {"Model": "model", "Session": "model", "compile": "compiler", "export_model": "export"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'elutq' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
