"""Exports language models (GGUF files, Hugging Face directories) to ONNX with standard operators of opset 23, and those of ai.elutq
(with function bodies) for quantized matrices that are kept.

Inputs `input_ids` and `position_ids` int64 [batch_size, sequence_length] and per layer N `past_key_values.N.key|value` f32
[batch_size, kv_heads, past_sequence_length, head_dim]; outputs `logits` f32 [batch_size, sequence_length, vocab_size] and
`present.N.key|value`. A cache slot's index is its token's position.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import onnx

from .. import __version__
from ..errors import ExportError
from .checkpoint import Checkpoint
from .decoder import DecoderBuilder
from .gguf_reader import GGUFCheckpoint
from .graph import ExternalData, GraphBuilder
from .hf_reader import HFCheckpoint
from .spec import DecoderSpec

__all__ = ["Checkpoint", "DecoderSpec", "export_checkpoint", "export_model", "open_checkpoint"]

QUANTIZED = ("keep", "float")
_DTYPES = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16)}


def open_checkpoint(source: str | os.PathLike[str]) -> Checkpoint:
    """A directory in Hugging Face's form or a GGUF file."""
    path = Path(source)
    return HFCheckpoint(path) if path.is_dir() else GGUFCheckpoint(path)


def export_model(source: str | os.PathLike[str], output: str | os.PathLike[str], *, dtype: str = "f32", quantized: str | None = None,
                 max_layers: int | None = None, progress: Callable[[Any], Iterator[int]] = iter) -> DecoderSpec:
    """Exports `source` to the directory `output`: model.onnx, model.onnx.data, tokenizer and configuration.

    dtype: how float matrices are stored, f32 or f16; computation is in f32. quantized: what becomes of matrices that `source` has quantized,
    "keep" (HLQ operators with the same values) or "float"; None: keep those of GPTQ, AWQ and EfficientQAT, float for GGUF. max_layers: keep only the first layers.
    progress: wraps the iteration over layers. The files appear when all of them are complete; on an error, a
    subclass of ElutqError or OSError, the directory is left as it was.
    """
    return export_checkpoint(open_checkpoint(source), output, dtype=dtype, quantized=quantized, max_layers=max_layers, progress=progress)


def export_checkpoint(checkpoint: Checkpoint, output: str | os.PathLike[str], *, dtype: str = "f32", quantized: str | None = None,
                      max_layers: int | None = None, progress: Callable[[Any], Iterator[int]] = iter) -> DecoderSpec:
    """The same for a checkpoint that is open, or is made as it is read."""
    if dtype not in _DTYPES:
        raise ExportError(f"the type {dtype!r} is not supported; supported are {', '.join(_DTYPES)}")
    if quantized not in (None, *QUANTIZED):
        raise ExportError(f"quantized is {quantized!r}, expected one of {', '.join(QUANTIZED)}")
    keep = quantized == "keep" or (quantized is None and not isinstance(checkpoint, GGUFCheckpoint))
    spec = checkpoint.spec()
    if max_layers is not None:
        if max_layers < 1:
            raise ExportError(f"max_layers is {max_layers}, expected at least 1")
        count = min(max_layers, spec.num_layers)
        spec = dataclasses.replace(spec, num_layers=count, layer_ropes=spec.layer_ropes[:count],
                                   layer_windows=spec.layer_windows[:count])
    with _staged(Path(output)) as staging:
        with contextlib.closing(ExternalData(staging / "model.onnx.data", "model.onnx.data")) as data:
            graph = GraphBuilder(data)
            DecoderBuilder(graph, spec, checkpoint, _DTYPES[dtype], keep).build(progress)
        onnx.save(graph.model("main_graph", __version__), staging / "model.onnx")
        checkpoint.write_side_files(staging)
    return spec


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """What would end the program does so behind this block: what is made in it is known to who clears it away."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals end the main thread's work only.
        return
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: received.append(number))
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in received:
            signal.raise_signal(number)


@contextlib.contextmanager
def _staged(output: Path) -> Iterator[Path]:
    """A temporary directory inside `output` whose files are moved to `output` if nothing fails."""
    created = [path for path in (output, *output.parents) if not path.exists()]
    if output.exists() and not output.is_dir():
        raise ExportError(f"'{output}' exists and is not a directory")
    staging, done = None, False
    try:
        with _signals_wait():
            output.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".elutq-export-", dir=output))
        yield staging
        with _signals_wait():
            # The model goes last: where it is, its data is.
            for path in sorted(staging.iterdir(), key=lambda path: path.name == "model.onnx"):
                os.replace(path, output / path.name)
            staging.rmdir()
            done = True
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if not done:
            for path in created:
                with contextlib.suppress(OSError):
                    path.rmdir()
