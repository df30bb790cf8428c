"""What a model is calibrated with: windows of tokens, or arrays for its inputs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from ..errors import QuantizeError
from ..feeds import GraphInput, make_feeds


@dataclass(frozen=True)
class Calibration:
    """`tokens` [W, T] for a language model, or `arrays` [W, ...] by the names of the graph's inputs; each window is one sample."""

    name: str
    tokens: np.ndarray | None = None
    arrays: dict[str, np.ndarray] | None = None
    dimensions: Mapping[str, int] | None = None

    @property
    def count(self) -> int:
        return len(self.tokens) if self.tokens is not None else len(next(iter(self.arrays.values())))

    @property
    def tokens_per_pass(self) -> int:
        """Rows of activations, about."""
        return self.tokens.size if self.tokens is not None else self.count

    def shortened(self, count: int, tokens: int) -> Calibration:
        """The first windows, and of each the first tokens."""
        if self.tokens is not None:
            return replace(self, tokens=self.tokens[:count, :tokens])
        return replace(self, arrays={name: array[:count] for name, array in self.arrays.items()})

    def feeds(self, inputs: Sequence[GraphInput], window: int) -> dict[str, np.ndarray]:
        """What the inputs of a graph get for a window."""
        if self.tokens is not None:
            return make_feeds(inputs, self.tokens[window:window + 1], self.dimensions)
        return {value.name: self._array(value, window) for value in inputs}

    def _array(self, value: GraphInput, window: int) -> np.ndarray:
        if value.name not in self.arrays:
            raise QuantizeError(f"'{self.name}' has no array for the input '{value.name}'")
        array = self.arrays[value.name][window:window + 1]
        if array.ndim != len(value.shape) or any(isinstance(size, int) and size > 0 and size != given
                                                 for size, given in zip(value.shape, array.shape)):
            raise QuantizeError(f"'{self.name}': a sample of '{value.name}' has the shape {list(array.shape)}, but the model takes "
                                f"{list(value.shape)}")
        return array.astype(value.dtype, copy=False)

    def digest(self) -> str:
        """A name for the contents."""
        digest = hashlib.sha256()
        for name, array in sorted((self.arrays or {"": self.tokens}).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def read_arrays(path: Path, windows: int) -> Calibration:
    """TOKENS.npy, integers [W, T], or INPUTS.npz, an array [W, ...] for every input; the first `windows` of them."""
    try:
        found = np.load(path, allow_pickle=False)
        arrays = {name: found[name] for name in found.files} if isinstance(found, np.lib.npyio.NpzFile) else found
    except (OSError, ValueError, EOFError) as error:
        raise QuantizeError(f"'{path}' cannot be read as NumPy arrays: {error}") from None
    if isinstance(arrays, np.ndarray):
        if arrays.ndim != 2 or not np.issubdtype(arrays.dtype, np.integer) or arrays.size == 0:
            raise QuantizeError(f"'{path}': expected token ids, integers [windows, tokens], but got {arrays.dtype} {list(arrays.shape)}")
        return Calibration(str(path), tokens=arrays[:windows].astype(np.int64))
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or counts == {0}:
        raise QuantizeError(f"'{path}': expected arrays of one number of samples, but got {sorted(counts)}")
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise QuantizeError(f"'{path}': '{name}' holds values that are not finite")
    return Calibration(str(path), arrays={name: array[:windows] for name, array in arrays.items()})


def random_tokens(vocabulary: int, windows: int, window: int, bos: int | None, seed: int) -> np.ndarray:
    """Ids drawn evenly from the vocabulary, behind the one that begins a text: neutral, and poorer than any text."""
    tokens = np.random.default_rng(seed).integers(0, vocabulary, (windows, window))
    if bos is not None:
        tokens[:, 0] = bos
    return tokens
