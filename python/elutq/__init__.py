"""ELUTQ: ahead-of-time compilation of ONNX language models to CPU binaries with 2-, 3- and 4-bit weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (CompileError, ElutqError, EvaluationError, ExportError, FeedError, GraphError, ModelError, QuantizeError, RuntimeFailure,
                     SolverError, TextError)

if TYPE_CHECKING:
    from .compiler import compile
    from .evaluation import evaluate
    from .export import export_model
    from .graph import Graph
    from .model import Model, Session
    from .quantization import quantize

__version__ = "0.1.0"
__all__ = ["CompileError", "ElutqError", "EvaluationError", "ExportError", "FeedError", "Graph", "GraphError", "Model", "ModelError", "QuantizeError",
           "RuntimeFailure", "Session", "SolverError", "TextError", "compile", "evaluate", "export_model", "quantize"]

# Loaded on first use: exporting needs onnx and gguf, measuring and quantizing onnxruntime, running a compiled model needs neither.
_LAZY = {"Model": "model", "Session": "model", "compile": "compiler", "evaluate": "evaluation", "export_model": "export", "Graph": "graph",
         "quantize": "quantization"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'elutq' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
