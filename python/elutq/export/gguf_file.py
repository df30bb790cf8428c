"""The container format of GGUF: metadata and where the tensors are. Every number in the file is checked before it is used."""

from __future__ import annotations

import math
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import gguf
import numpy as np

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "?", 10: "Q", 11: "q", 12: "d"}
_MAX_DIMENSIONS = 4
_MAX_ARRAY_DEPTH = 4


class GGUFError(ValueError):
    """The file is no valid GGUF file."""


@dataclass(frozen=True)
class GGUFTensor:
    """A tensor in the file. `shape` has the slowest axis first; `data` is u8 [shape[0], ..., bytes of a row], mapped."""

    name: str
    type: gguf.GGMLQuantizationType
    shape: tuple[int, ...]
    data: np.ndarray

    def dequantize(self, begin: int, end: int) -> np.ndarray:
        """Elements [begin, end) of the first axis as f32 [end - begin, ...]."""
        if len(self.shape) == 1:
            return np.ascontiguousarray(self._values(self.data)[begin:end], dtype=np.float32)
        return np.ascontiguousarray(self._values(self.data[begin:end]), dtype=np.float32)

    def _values(self, data: np.ndarray) -> np.ndarray:
        if self.type == gguf.GGMLQuantizationType.F32:
            return data.view("<f4")
        if self.type == gguf.GGMLQuantizationType.F16:
            return data.view("<f2")
        return gguf.dequantize(data, self.type)


class _Cursor:
    """Reads little-endian values front to back."""

    def __init__(self, data: mmap.mmap):
        self.data, self.offset = data, 0

    def take(self, size: int) -> bytes:
        end = self.offset + size
        if end > len(self.data):
            raise GGUFError(f"the file ends at byte {len(self.data)} inside a value that ends at byte {end}")
        result = self.data[self.offset:end]
        self.offset = end
        return result

    def unpack(self, format: str) -> Any:
        return struct.unpack("<" + format, self.take(struct.calcsize("<" + format)))[0]

    def string(self) -> str:
        return self.take(self.unpack("Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.unpack(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or depth == _MAX_ARRAY_DEPTH:
            raise GGUFError(f"unknown type of metadata {kind}")
        kind, count = self.unpack("I"), self.unpack("Q")
        if kind in _SCALARS:
            size = struct.calcsize("<" + _SCALARS[kind])
            return list(struct.unpack(f"<{count}{_SCALARS[kind]}", self.take(count * size))) if count else []
        element: Callable[[], Any] = self.string if kind == _STRING else lambda: self.value(kind, depth + 1)
        return [element() for _ in range(count)]  # a false count ends at the end of the file


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, GGUFTensor]]:
    """Metadata by key and tensors by name of a GGUF file of version 2 or 3. Raises GGUFError and OSError."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < 24:
            raise GGUFError("the file is too short")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    cursor = _Cursor(mapped)
    if cursor.take(4) != b"GGUF":
        raise GGUFError("the file does not begin with 'GGUF'")
    if (version := cursor.unpack("I")) not in (2, 3):
        raise GGUFError(f"version {version} of the format is not supported; supported are 2 and 3")
    tensor_count, metadata_count = cursor.unpack("Q"), cursor.unpack("Q")
    metadata: dict[str, Any] = {}
    for _ in range(metadata_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.unpack("I"))
    infos = []
    for _ in range(tensor_count):
        name, dimensions = cursor.string(), cursor.unpack("I")
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise GGUFError(f"the tensor '{name}' has {dimensions} dimensions, expected 1 to {_MAX_DIMENSIONS}")
        shape = tuple(cursor.unpack("Q") for _ in range(dimensions))[::-1]
        infos.append((name, shape, cursor.unpack("I"), cursor.unpack("Q")))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0:
        raise GGUFError(f"'general.alignment' is {alignment!r}, expected a positive number")
    begin = -(-cursor.offset // alignment) * alignment
    tensors: dict[str, GGUFTensor] = {}
    for name, shape, kind, offset in infos:
        if name in tensors:
            raise GGUFError(f"there are two tensors '{name}'")
        tensors[name] = _tensor(mapped, name, shape, kind, begin + offset)
    return metadata, tensors


def _tensor(mapped: mmap.mmap, name: str, shape: tuple[int, ...], kind: int, offset: int) -> GGUFTensor:
    try:
        block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (KeyError, ValueError):
        raise GGUFError(f"the tensor '{name}' is of the unknown type {kind}") from None
    if shape[-1] % block:
        raise GGUFError(f"the tensor '{name}' has rows of {shape[-1]} elements, expected a multiple of {block}")
    stored = (*shape[:-1], shape[-1] // block * block_bytes)
    size = math.prod(stored)
    if size == 0 or offset + size > len(mapped):
        raise GGUFError(f"the tensor '{name}' lies at bytes {offset} to {offset + size}, the file has {len(mapped)}")
    data = np.frombuffer(mapped, np.uint8, size, offset).reshape(stored)
    return GGUFTensor(name, gguf.GGMLQuantizationType(kind), shape, data)
