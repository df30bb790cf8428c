"""A reference's logits on the disk: models that are measured on the same windows need not wait for it each time."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from ..errors import EvaluationError
from ..tensors import Tensors
from ..text import TextTokenizer, open_tokenizer
from .scorers import Scorer


class CachedScorer:
    """The model at `path`, which `open_` opens only for windows that are not in `folder` yet.

    A window is a file of f16, as large as rows x vocabulary x 2 bytes: logits less the largest of their row, so that they are precise
    where probabilities are: the divergence from the model itself is less than 1e-6 nats. A file appears under its name when it is
    complete. Its name tells the ids and the model's files (their sizes and times), so that another model's windows are never taken.
    """

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str], open_: Callable[[], Scorer]):
        self._path, self._folder, self._open, self._scorer = Path(path), Path(folder), open_, None
        self.name, self.kind, self.vocabulary = os.fspath(path), "kept logits", None
        if not self._path.exists():
            raise EvaluationError(f"'{path}' does not exist")
        self._folder.mkdir(parents=True, exist_ok=True)
        states = [(os.fspath(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in _files(self._path)]
        self._model = repr(states).encode()

    def blocks(self, ids: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        name = hashlib.sha256(self._model + np.ascontiguousarray(ids, np.int64).tobytes()).hexdigest()[:24]
        file = self._folder / f"{name}.npy"
        if not file.exists():
            self._keep(ids, file)
        rows = np.load(file, mmap_mode="r")
        self.vocabulary = rows.shape[1]
        yield 0, rows

    def tokenizer(self) -> TextTokenizer | None:
        if self._scorer is not None:
            return self._scorer.tokenizer()
        beside = (self._path if self._path.is_dir() else self._path.parent) / "tokenizer.json"
        return open_tokenizer(beside) if beside.is_file() else self._opened().tokenizer()

    def _opened(self) -> Scorer:
        if self._scorer is None:
            self._scorer = self._open()
        return self._scorer

    def _keep(self, ids: np.ndarray, file: Path) -> None:
        partial = file.with_suffix(".partial")
        kept = None
        try:
            for start, rows in self._opened().blocks(ids):
                if kept is None:
                    kept = np.lib.format.open_memmap(partial, "w+", np.float16, (len(ids) - 1, rows.shape[1]))
                for row in range(0, len(rows), 64):
                    part = rows[row:row + 64]
                    with np.errstate(over="ignore"):  # What is that improbable is impossible in f16.
                        kept[start + row:start + row + len(part)] = part - part.max(axis=1, keepdims=True)
            assert kept is not None
            kept.flush()
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)


def _files(path: Path) -> list[Path]:
    """Those of a model: an ONNX file and what it keeps outside itself, or all that a compiled model has beside it."""
    path = path / "model.onnx" if (path / "model.onnx").is_file() else path
    if path.suffix != ".onnx":
        return sorted(file for file in (path if path.is_dir() else path.parent).iterdir() if file.is_file())
    outside = {entry.value for tensor in Tensors(path).model.graph.initializer for entry in tensor.external_data
               if entry.key == "location"}
    return [path, *(path.with_name(name) for name in sorted(outside))]
