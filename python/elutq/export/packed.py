"""Checkpoints whose linear layers are packed integers: GPTQ, AWQ and EfficientQAT, in safetensors.

A layer has `qweight`, `qzeros` (int32, several codes in a word), `scales` [G, N] and, but for AWQ, `g_idx` [K]:
`w[n, k] = scales[g, n] * (code[k, n] - zero[g, n])` with `g = g_idx[k]`.

| | qweight | qzeros | zero |
|---|---|---|---|
| GPTQ, format gptq    | [K * bits / 32, N], a stream of bits down a column | [G, N * bits / 32], a stream along a row | stored - 1 (mod 2^bits) |
| GPTQ, format gptq_v2 | the same | the same | as it is |
| EfficientQAT         | [ceil(K / c), N], c = 32 // bits whole codes in a word | [G, ceil(N / c)] | as it is |
| AWQ, version gemm    | [K, N / 8], the codes of a word in the order 0 2 4 6 1 3 5 7 | [G, N / 8], likewise | as it is |

Sources: AutoGPTQ's and GPTQModel's QuantLinear, AutoAWQ's WQLinear_GEMM, EfficientQAT's quantize/int_linear_real.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping

import numpy as np

from ..errors import ExportError
from .quantized import UniformMatrix

SUFFIX = ".qweight"
_AWQ_ORDER = np.array([0, 2, 4, 6, 1, 3, 5, 7])
_BITS = (2, 3, 4, 8)

Shape = Callable[[str], "tuple[int, ...] | None"]
Read = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class PackedFormat:
    """How the layers of a checkpoint are packed. `bits` 0: as the shapes say (EfficientQAT)."""

    method: str  # "gptq", "awq" or "efficientqat"
    bits: int
    group_size: int  # -1: the whole row
    zero_offset: int  # what is missing in the stored zeros

    def layer_shape(self, base: str, shape: Shape) -> tuple[int, int]:
        """[N, K] of the layer `base`."""
        words, scales = shape(base + SUFFIX), shape(base + ".scales")
        if words is None or scales is None or len(words) != 2 or len(scales) != 2:
            raise ExportError(f"the layer '{base}' lacks one of the matrices 'qweight' and 'scales'")
        if self.method == "awq":
            return words[1] * 8, words[0]
        columns = shape(base + ".g_idx")
        if columns is not None and len(columns) == 1:
            return words[1], columns[0]
        if self.method == "efficientqat":
            raise ExportError(f"the layer '{base}' lacks the vector 'g_idx', without which its width is not known")
        return words[1], words[0] * 32 // self.bits

    def read(self, base: str, shape: Shape, read: Read) -> UniformMatrix:
        """The layer `base`, without loss."""
        n, k = self.layer_shape(base, shape)
        bits = self.bits or self._guess_bits(base, shape(base + SUFFIX)[0], k)
        scales = np.ascontiguousarray(read(base + ".scales").astype(np.float32).T)
        groups = scales.shape[1]
        group_size = k if self.group_size == -1 else self.group_size or int(np.count_nonzero(read(base + ".g_idx") == 0)) or 1
        if groups != -(-k // group_size) or scales.shape[0] != n:
            raise ExportError(f"the tensor '{base}.scales' has the shape {[groups, scales.shape[0]]}, expected {[-(-k // group_size), n]}")
        words, zero_words = (self._words(f"{base}.{part}", shape, read) for part in ("qweight", "qzeros"))
        codes, points = (self._unpack(base, part, array, bits, count) for part, array, count in
                         (("qweight", words if self.method == "awq" else words.T, n if self.method == "awq" else k), ("qzeros", zero_words, n)))
        codes = np.ascontiguousarray(codes.T) if self.method == "awq" else codes
        if codes.shape != (n, k) or points.shape != (groups, n):
            raise ExportError(f"the layer '{base}' has {list(codes.shape)} codes and {list(points.shape)} zeros, expected {[n, k]} and {[groups, n]}")
        points = (points + np.uint8(self.zero_offset)) & np.uint8((1 << bits) - 1)
        order = self._order(base, shape, read, k, group_size)
        if order is not None:
            codes = codes[:, order]
        return UniformMatrix(codes, scales, -scales * points.T.astype(np.float32), bits, group_size, order)

    def _guess_bits(self, base: str, rows: int, k: int) -> int:
        for bits in _BITS:
            if rows == -(-k // (32 // bits)):
                return bits
        raise ExportError(f"the tensor '{base}{SUFFIX}' has {rows} rows for {k} columns, which no number of bits gives")

    @staticmethod
    def _words(name: str, shape: Shape, read: Read) -> np.ndarray:
        if (size := shape(name)) is None or len(size) != 2:
            raise ExportError(f"the checkpoint lacks the matrix '{name}'")
        words = read(name)
        if words.dtype != np.dtype("<i4"):
            raise ExportError(f"the tensor '{name}' is of the type {words.dtype}, expected int32")
        return words

    def _unpack(self, base: str, part: str, words: np.ndarray, bits: int, count: int) -> np.ndarray:
        """u8 [R, count] of words [R, W], which hold the codes of a row from the low bits on."""
        words = np.ascontiguousarray(words)
        stream = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").reshape(len(words), -1, 32)
        if self.method != "gptq":
            stream = stream[:, :, :32 // bits * bits]
        stream = stream.reshape(len(words), -1)
        needed = count * bits
        if stream.shape[1] < needed or stream.shape[1] - needed >= 32 * (1 if self.method != "gptq" else bits):
            raise ExportError(f"the tensor '{base}.{part}' has {words.shape[1]} words for {count} codes of {bits} bits")
        numbers = np.packbits(stream[:, :needed].reshape(len(words), count, bits), axis=2, bitorder="little")[:, :, 0]
        if self.method == "awq":
            # The i-th nibble of a word is column order[i].
            numbers = numbers.reshape(len(words), -1, 8)[:, :, np.argsort(_AWQ_ORDER)].reshape(len(words), -1)
        return numbers

    def _order(self, base: str, shape: Shape, read: Read, k: int, group_size: int) -> np.ndarray | None:
        """The columns sorted by group, or None where they are."""
        if self.method == "awq" or shape(base + ".g_idx") is None:
            return None
        groups = read(base + ".g_idx").astype(np.int64)
        order = np.argsort(groups, kind="stable")
        if not np.array_equal(groups[order], np.arange(k) // group_size):
            raise ExportError(f"the tensor '{base}.g_idx' does not give each group {group_size} columns, which is not supported")
        return None if np.array_equal(order, np.arange(k)) else order


def packed_format(config: Mapping[str, Any], where: str) -> PackedFormat:
    """The format that a `quantization_config` tells of; ExportError where it is none of these."""
    method = config.get("quant_method", "gptq" if "bits" in config or "wbits" in config else None)
    if method not in ("gptq", "awq", "efficientqat"):
        raise ExportError(f"{where}: weights quantized by {method!r} are not supported; supported are gptq, awq and efficientqat. "
                          "Export the unquantized checkpoint")
    bits, group = config.get("bits", config.get("w_bit")), config.get("group_size", config.get("q_group_size"))
    if type(bits) is not int or bits not in ((4,) if method == "awq" else _BITS):
        raise ExportError(f"{where}: {method} of {bits!r} bits is not supported; supported are {4 if method == 'awq' else '2, 3, 4 and 8'}")
    if type(group) is not int or (group != -1 and group < 1):
        raise ExportError(f"{where}: the group size is {group!r}, expected a positive number, or -1")
    if config.get("dynamic"):
        raise ExportError(f"{where}: layers of different bits ('dynamic') are not supported")
    name = str(config.get("checkpoint_format", config.get("format", config.get("version", "")))).lower()
    known = {"gptq": ("", "gptq", "gptq_v2"), "awq": ("", "gemm"), "efficientqat": ("",)}[method]
    if name not in known or config.get("pack_dtype", "int32") != "int32" or config.get("zero_point") is False:
        raise ExportError(f"{where}: {method} in the format {name!r} is not supported; supported are {', '.join(filter(None, known)) or 'its own'}")
    return PackedFormat(method, bits, group, 1 if method == "gptq" and name != "gptq_v2" else 0)
