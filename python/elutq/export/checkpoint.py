"""What both readers offer to the graph builder: named tensors in Hugging Face's names and layouts, read piece by piece."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, Iterator, Mapping

import numpy as np

from ..errors import ExportError
from .families import Family
from .quantized import UniformMatrix
from .spec import Config, DecoderSpec

# Rows of a matrix are read in pieces of about this many f32 bytes, so that memory does not grow with the vocabulary.
PIECE_BYTES = 32 << 20


class Checkpoint(abc.ABC):
    """A model's configuration and weights. Nothing is read before it is asked for."""

    family: Family
    config: Mapping[str, Any]  # in config.json's words
    norms_are_folded: bool = False  # norm weights contain the family's norm_offset already

    @abc.abstractmethod
    def __contains__(self, name: str) -> bool: ...

    @abc.abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape as in Hugging Face's checkpoints: linear layers are [out, in]."""

    @abc.abstractmethod
    def rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Elements [begin, end) of the first axis, f32 [end - begin, ...]."""

    def quantized(self, name: str) -> UniformMatrix | None:
        """The matrix as it is stored, if that is codes, scales and zeros; `rows` has the same values as floats."""
        return None

    @abc.abstractmethod
    def write_side_files(self, directory: Path) -> list[str]:
        """Writes tokenizer and configuration files into `directory`; returns their names."""

    def spec(self) -> DecoderSpec:
        """The facts of the configuration."""
        return self.family.spec(Config(self.config, self.family.defaults))

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises ExportError unless there is a tensor `name` of this shape."""
        if name not in self:
            raise ExportError(f"the checkpoint lacks the tensor '{name}'")
        if self.shape(name) != shape:
            raise ExportError(f"the tensor '{name}' has the shape {list(self.shape(name))}, expected {list(shape)}")

    def whole(self, name: str) -> np.ndarray:
        """The tensor as f32."""
        return self.rows(name, 0, self.shape(name)[0])

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """The tensor as f32 in consecutive groups of rows."""
        shape = self.shape(name)
        step = max(1, PIECE_BYTES // (4 * int(np.prod(shape[1:], dtype=np.int64)) or 1))
        for begin in range(0, shape[0], step):
            yield self.rows(name, begin, min(begin + step, shape[0]))
