"""The blocks of GGUF's quantized types as codes, scales and minima: `w = scale * code + zero`.

| type | bits | group | scale | zero | parameters in f16 |
|---|---|---|---|---|---|
| Q4_0         | 4 | 32  | d         | -8 d     | exact |
| Q4_1         | 4 | 32  | d         | m        | exact |
| TQ1_0, TQ2_0 | 2 | 256 | d         | -d       | exact |
| Q2_K         | 2 | 16  | d * sc    | -dmin * m | f32   |
| Q3_K         | 3 | 16  | d * sc    | -4 d * sc | f32   |
| Q4_K         | 4 | 32  | d * sc    | -dmin * m | f32   |
| Q8_0         | 8 | 32  | d         | -128 d   | exact |
| Q5_0, Q5_1   | 8 | 32  | d         | -16 d, m | exact |
| Q5_K         | 8 | 32  | d * sc    | -dmin * m | f32   |
| Q6_K         | 8 | 16  | d * sc    | -32 d * sc | f32  |

d, dmin and m are f16, sc and m of the K types integers of 4 to 8 bits, so that their products are exact in f32. Codes of 5 and 6 bits are kept in
bytes. Source: the gguf package's quants.py and llama.cpp's ggml-quants.c.
"""

from __future__ import annotations

from typing import Callable

import gguf
import numpy as np

from .gguf_file import GGUFTensor
from .quantized import UniformMatrix

_Parts = tuple[np.ndarray, np.ndarray, np.ndarray]  # codes [B, block], scales and zeros [B, block / group]


def _half(data: np.ndarray, offset: int) -> np.ndarray:
    """f32 [B, 1] of the f16 at a byte of each block."""
    return np.ascontiguousarray(data[:, offset:offset + 2]).view("<f2").astype(np.float32)


def _nibbles(data: np.ndarray) -> np.ndarray:
    """[B, n] bytes → [B, 2 n]: low halves first."""
    return np.concatenate([data & 15, data >> 4], axis=1)


def _pairs(data: np.ndarray, width: int) -> np.ndarray:
    """[B, n] bytes in runs of `width` → [B, 4 n]: of each run the lowest two bits of all bytes, then the next two."""
    runs = data.reshape(len(data), -1, 1, width) >> np.array([0, 2, 4, 6], np.uint8)[:, None]
    return (runs & 3).reshape(len(data), -1)


def _fifth_bits(data: np.ndarray) -> np.ndarray:
    """[B, 4] bytes → [B, 32]: 16 or 0."""
    return np.unpackbits(data, axis=1, bitorder="little") << 4


def _q4_0(data: np.ndarray) -> _Parts:
    d = _half(data, 0)
    return _nibbles(data[:, 2:]), d, -8 * d


def _q4_1(data: np.ndarray) -> _Parts:
    return _nibbles(data[:, 4:]), _half(data, 0), _half(data, 2)


def _q5_0(data: np.ndarray) -> _Parts:
    d = _half(data, 0)
    return _nibbles(data[:, 6:]) | _fifth_bits(data[:, 2:6]), d, -16 * d


def _q5_1(data: np.ndarray) -> _Parts:
    return _nibbles(data[:, 8:]) | _fifth_bits(data[:, 4:8]), _half(data, 0), _half(data, 2)


def _q8_0(data: np.ndarray) -> _Parts:
    d = _half(data, 0)
    return data[:, 2:] ^ 128, d, -128 * d


def _q2_k(data: np.ndarray) -> _Parts:
    scales = data[:, :16]
    return _pairs(data[:, 16:80], 32), _half(data, 80) * (scales & 15), -_half(data, 82) * (scales >> 4)


def _q3_k(data: np.ndarray) -> _Parts:
    high = data[:, None, :32] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    codes = _pairs(data[:, 32:96], 32) | high.reshape(len(data), -1) << 2
    low, rest = data[:, 96:104], data[:, 104:108]
    scales = np.concatenate([low & 15, low >> 4], axis=1) | _pairs(rest, 4) << 4
    scales = _half(data, 108) * (scales.astype(np.float32) - 32)
    return codes, scales, -4 * scales


def _k_scales(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales and minima [B, 8] of 6 bits out of 12 bytes."""
    low, middle, mixed = data[:, :4], data[:, 4:8], data[:, 8:]
    scales = np.concatenate([low & 63, mixed & 15 | low >> 2 & 48], axis=1)
    return scales, np.concatenate([middle & 63, mixed >> 4 | middle >> 2 & 48], axis=1)


def _k_nibbles(data: np.ndarray) -> np.ndarray:
    """[B, 128] bytes → [B, 256]: low halves of each 32, then high ones."""
    runs = data.reshape(len(data), 4, 1, 32) >> np.array([0, 4], np.uint8)[:, None]
    return (runs & 15).reshape(len(data), 256)


def _q4_k(data: np.ndarray) -> _Parts:
    scales, minima = _k_scales(data[:, 4:16])
    return _k_nibbles(data[:, 16:]), _half(data, 0) * scales, -_half(data, 2) * minima


def _q5_k(data: np.ndarray) -> _Parts:
    scales, minima = _k_scales(data[:, 4:16])
    high = data[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return _k_nibbles(data[:, 48:]) | high.reshape(len(data), 256) << 4, _half(data, 0) * scales, -_half(data, 2) * minima


def _q6_k(data: np.ndarray) -> _Parts:
    low = data[:, :128].reshape(len(data), 2, 1, 64) >> np.array([0, 4], np.uint8)[:, None]
    codes = (low & 15).reshape(len(data), 256) | _pairs(data[:, 128:192], 32) << 4
    scales = _half(data, 208) * data[:, 192:208].view(np.int8).astype(np.float32)
    return codes, scales, -32 * scales


def _tq1_0(data: np.ndarray) -> _Parts:
    powers = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]
    parts = [data[:, None, :32] * powers, data[:, None, 32:48] * powers, data[:, None, 48:52] * powers[:4]]
    digits = np.concatenate([part.reshape(len(data), -1) for part in parts], axis=1).astype(np.uint16) * 3 >> 8
    d = _half(data, 52)
    return digits.astype(np.uint8), d, -d


def _tq2_0(data: np.ndarray) -> _Parts:
    d = _half(data, 64)
    return _pairs(data[:, :64], 32), d, -d


_TYPES: dict[str, tuple[int, int, Callable[[np.ndarray], _Parts]]] = {
    "Q4_0": (4, 32, _q4_0), "Q4_1": (4, 32, _q4_1), "Q5_0": (8, 32, _q5_0), "Q5_1": (8, 32, _q5_1), "Q8_0": (8, 32, _q8_0),
    "Q2_K": (2, 16, _q2_k), "Q3_K": (3, 16, _q3_k), "Q4_K": (4, 32, _q4_k), "Q5_K": (8, 32, _q5_k), "Q6_K": (8, 16, _q6_k),
    "TQ1_0": (2, 256, _tq1_0), "TQ2_0": (2, 256, _tq2_0),
}


def read_codes(tensor: GGUFTensor) -> UniformMatrix | None:
    """A matrix [N, K] in the form of its blocks, without loss; None where its type is no uniform one."""
    if tensor.type.name not in _TYPES or len(tensor.shape) != 2:
        return None
    bits, group, split = _TYPES[tensor.type.name]
    n, k = tensor.shape
    block, block_bytes = gguf.GGML_QUANT_SIZES[tensor.type]
    codes, scales, zeros = split(tensor.data.reshape(n * k // block, block_bytes))
    return UniformMatrix(codes.reshape(n, k), scales.reshape(n, k // group).astype(np.float32), zeros.reshape(n, k // group).astype(np.float32), bits, group)
