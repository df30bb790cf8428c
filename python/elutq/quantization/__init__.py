"""Calibrated quantization: `elutq.quantize("model.onnx", "model-w2.onnx", bits=2)`.

`graph` finds the linear layers and the cuts between them, `calibration` gives activations, `pipeline` walks from cut to cut,
`workspace` keeps what is finished, `report` tells of it. The solver itself is `elutq.solver`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import numpy as np

from ..errors import QuantizeError, TextError
from ..feeds import model_dimensions
from ..tensors import Tensors
from ..text import default_text, open_tokenizer, read_windows
from .allocate import Candidate, Choice
from .calibration import Calibration, random_tokens, read_arrays
from .choose import choose, choose_once
from .engine import ENGINES, Engine, open_engine
from .estimate import Estimate, estimate
from .graph import Group
from .pipeline import Options, Quantizer, Row, operations
from .report import Report
from .sizes import Storage, parse_size
from .workspace import remove_if_nothing_is_finished

Progress = Callable[[float, float], None]

__all__ = ["Calibration", "Candidate", "Choice", "ENGINES", "Estimate", "Options", "Quantizer", "Report", "Row", "Storage", "choose",
           "choose_once", "estimate", "open_calibration", "open_engine", "parse_size", "quantize"]


def open_calibration(model: str | os.PathLike[str], source: str | os.PathLike[str] | np.ndarray | None = None, *, windows: int = 64,
                     window: int = 1024, bos: str = "auto", tokenizer: str | os.PathLike[str] | None = None, seed: int = 0) -> Calibration:
    """What `model` is calibrated with, `windows` samples.

    source: a UTF-8 text, TOKENS.npy with ids [W, T] or [T], INPUTS.npz with an array [W, ...] for each input of the graph, an
    array of ids, "random" for random tokens, or None for texts that ship with this package's dependencies.
    window, bos, tokenizer: as of `elutq.text.read_windows`; the tokenizer is tokenizer.json beside the model unless it is named.
    """
    if isinstance(source, np.ndarray):
        return Calibration("tokens", tokens=np.atleast_2d(source)[:windows].astype(np.int64), dimensions=model_dimensions(model))
    if source is not None and str(source) != "random" and Path(source).suffix == ".npz":
        return read_arrays(Path(source), windows)
    vocabulary = _vocabulary(model)
    if source is not None and str(source) == "random":
        tokens = random_tokens(vocabulary, windows, window, _bos(model, tokenizer), seed)
        return Calibration("random tokens", tokens=tokens, dimensions=model_dimensions(model))
    if source is None:
        text, name = default_text("calibration")
    else:
        text, name = Path(source), os.fspath(source)
    is_tokens = isinstance(text, Path) and text.suffix == ".npy"
    found = None if is_tokens and tokenizer is None else open_tokenizer(tokenizer or model)
    tokens = read_windows(text, found, window, windows, bos, vocabulary)
    return Calibration(name, tokens=tokens, dimensions=model_dimensions(model))


def _bos(model: str | os.PathLike[str], tokenizer: str | os.PathLike[str] | None) -> int | None:
    """What begins a text, if a tokenizer tells."""
    try:
        return open_tokenizer(tokenizer or model).bos
    except TextError:
        if tokenizer:
            raise
        return None


def _vocabulary(model: str | os.PathLike[str]) -> int:
    """Rows of the logits that the model gives, from the declared shape of its output."""
    for output in Tensors(model).model.graph.output:
        dims = output.type.tensor_type.shape.dim
        if output.name == "logits" and dims and dims[-1].dim_value > 0:
            return dims[-1].dim_value
    raise QuantizeError(f"'{os.fspath(model)}' has no output 'logits' of a known width, so it is no language model; calibrate it with "
                        "INPUTS.npz")


def quantize(model: str | os.PathLike[str], output: str | os.PathLike[str], options: Options = Options(), *,
             calibration: Calibration | None = None, work: str | os.PathLike[str] | None = None, threads: int = 0,
             engine: Engine | None = None, progress: Progress = lambda done, whole: None) -> Report:
    """Writes the model with its linear layers in HLQ form, fitted to the activations that `calibration` leads to.

    The result, `output` and `output`.data, runs in ONNX Runtime and compiles with elutq-compile. Embedding tables that are no head are
    fitted by their values alone. calibration: default `open_calibration(model)`. work: a folder for unfinished work,
    removed at the end; after an interruption the same call goes on from there. engine: where matrices are solved, of `open_engine`;
    by default in this process. progress: called with operations done and in all.
    """
    calibration = calibration or open_calibration(model)
    tokens, done = calibration.tokens_per_pass, 0.0
    folder = Path(work or f"{os.fspath(output)}.work")
    with remove_if_nothing_is_finished(folder):
        quantizer = Quantizer(model, options, calibration, folder, threads, engine)
        whole = sum(operations(group, tokens) for group in (*quantizer.tied, *quantizer.groups))

        def advance(found: Group) -> None:
            nonlocal done
            done += operations(found, tokens)
            progress(done, whole)

        rows = quantizer.solve(advance)
        storage = quantizer.write(output)
    return Report(os.fspath(model), os.fspath(output), options, calibration, rows, storage)
