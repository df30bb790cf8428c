"""Matrices that a checkpoint stores quantized, and the same matrices as HLQ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ExportError
from ..hlq_onnx import HLQMatrix

GROUPS = (256, 128, 64, 32, 16)


@dataclass(frozen=True)
class UniformMatrix:
    """`w[n, order[k]] = scales[n, g] * codes[n, k] + zeros[n, g]` with `g = k // group_size`.

    codes: u8 [N, K], below 2^bits; scales, zeros: f32 [N, G], where a zero is -zero_point * scale, or a minimum.
    order: int64 [K], the input of each column; None where it is the column.
    """

    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    bits: int
    group_size: int
    order: np.ndarray | None = None

    def rows(self, chosen: np.ndarray) -> UniformMatrix:
        """The rows of these indices, in their order."""
        return UniformMatrix(self.codes[chosen], self.scales[chosen], self.zeros[chosen], self.bits, self.group_size, self.order)

    def dequantize(self) -> np.ndarray:
        """f32 [N, K], columns in the order of inputs. One rounding: the products are exact."""
        n, k = self.codes.shape
        groups = np.arange(k) // self.group_size
        weights = self.codes.astype(np.float32)
        weights *= self.scales[:, groups]
        weights += self.zeros[:, groups]
        if self.order is None:
            return weights
        result = np.empty_like(weights)
        result[:, self.order] = weights
        return result

    def hlq(self, name: str) -> HLQMatrix:
        """Planes of the same codes, f16 parameters where these are exact, f32 otherwise; columns in the order of the codes."""
        n, k = self.codes.shape
        scales, zeros, group = self.scales, self.zeros, self.group_size
        if not (np.isfinite(scales).all() and np.isfinite(zeros).all()):
            raise ExportError(f"the tensor '{name}' has scales or zeros that are not finite")
        if group >= k:
            group = -(-k // 32) * 32
        elif group not in GROUPS:
            # Neighbouring groups may have the same parameters.
            group = next((size for size in GROUPS if self.group_size % size == 0), 0)
            if not group:
                raise ExportError(f"the tensor '{name}' has groups of {self.group_size} columns, expected a multiple of 16")
            first = np.arange(0, k, group) // self.group_size
            scales, zeros = scales[:, first], zeros[:, first]
        groups = -(-k // group)
        padded = np.zeros((n, groups * group), np.uint8)
        padded[:, :k] = self.codes
        if self.bits == 8:
            planes = padded[None]
        else:
            planes = np.stack([np.packbits(padded >> j & 1, axis=1, bitorder="little") for j in range(self.bits)])
        with np.errstate(over="ignore"):
            halves = scales.astype(np.float16), zeros.astype(np.float16)
        if (halves[0] == scales).all() and (halves[1] == zeros).all():
            scales, zeros = halves
        return HLQMatrix(planes, np.ascontiguousarray(scales[:, :, None]), np.ascontiguousarray(zeros), self.bits, k, group)
