"""HLQ matrices whose scales, zeros and codes can be tuned.

In a group of g weights the code words are `l_c = sum_j bit_j(c) s_j + z`. All is measured in units of the group's first mean scale, so
that one learning rate fits all groups: `s = unit * (s0 + delta)`. Codes are tuned by latent weights u: the code is that of the code word
nearest to u, and the gradient of the weight passes straight through to u (as in EfficientQAT, arXiv 2407.11062).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..hlq_onnx import HLQMatrix

# Share of the way to the neighbouring code word at which latent weights begin at most; 0.5 is where the code changes.
_FARTHEST = 0.45


class TunedMatrix(nn.Module):
    """A matrix [N, K] of b bits, b <= 4. `parameters` [N * G, b + 1] are scales and zeros in units of the group, `latent`
    [N * G, g] the latent weights, None where codes stay."""

    def __init__(self, matrix: HLQMatrix, weights: np.ndarray | None = None, device: torch.device | str = "cpu"):
        """weights: the float matrix f32 [N, K], where codes are to be tuned."""
        super().__init__()
        self.bits, self.rows, self.columns = matrix.bits, matrix.planes.shape[1], matrix.columns
        self.groups = matrix.zeros.shape[1]
        self.size = matrix.planes.shape[2] * 8 // self.groups
        self._types = matrix.scales.dtype, matrix.zeros.dtype
        self._group_size = matrix.group_size
        start = np.concatenate([matrix.scales.reshape(-1, self.bits), matrix.zeros.reshape(-1, 1)], 1).astype(np.float32)
        unit = np.abs(start[:, :-1]).mean(1, keepdims=True)
        unit[unit == 0] = 1.0  # A group of one value: its zero alone is tuned.
        codes = np.zeros((self.rows, self.groups * self.size), np.uint8)
        for j in range(self.bits):
            codes |= np.unpackbits(matrix.planes[j], axis=1, bitorder="little") << j
        self.register_buffer("unit", torch.from_numpy(unit).to(device))
        self.register_buffer("start", torch.from_numpy(start / unit).to(device))
        self.register_buffer("codes", torch.from_numpy(codes.reshape(-1, self.size)).to(device))
        self.register_buffer("patterns", (torch.arange(2**self.bits)[:, None] >> torch.arange(self.bits) & 1).float().to(device))
        self.delta = nn.Parameter(torch.zeros_like(self.start))
        self.latent: nn.Parameter | None = None
        if weights is not None:
            self.latent = nn.Parameter(self._first_latent(weights, device))

    def forward(self, dtype: torch.dtype) -> Tensor:
        """The weights [N, K]."""
        theta = self.start + self.delta
        if self.latent is None:
            values = _FixedCodes.apply(theta, self.codes, self.unit, self.patterns, dtype)
        else:
            values = _NearestCodes.apply(theta, self.latent, self.unit, self.patterns, dtype)
        return values.view(self.rows, -1)[:, :self.columns]

    def state(self) -> dict[str, np.ndarray]:
        """What tuning changes."""
        return {name: parameter.detach().cpu().numpy() for name, parameter in self.named_parameters()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.from_numpy(state[name]))

    @torch.no_grad()
    def matrix(self) -> HLQMatrix:
        """The matrix as tuned, its parameters rounded."""
        theta = self.start + self.delta
        codes = self.codes if self.latent is None else _nearest(_levels(theta, self.patterns), self.latent)
        values = (theta * self.unit).cpu().numpy()
        limits = [float(np.finfo(dtype).max) for dtype in self._types]
        scales = np.clip(values[:, :-1], -limits[0], limits[0]).astype(self._types[0]).reshape(self.rows, self.groups, self.bits)
        zeros = np.clip(values[:, -1], -limits[1], limits[1]).astype(self._types[1]).reshape(self.rows, self.groups)
        flat = codes.to(torch.uint8).cpu().numpy().reshape(self.rows, -1)
        planes = np.stack([np.packbits(flat >> j & 1, axis=1, bitorder="little") for j in range(self.bits)])
        return HLQMatrix(planes, scales, zeros, self.bits, self.columns, self._group_size)

    def _first_latent(self, weights: np.ndarray, device: torch.device | str) -> Tensor:
        """The float weights, brought so near to their code words that the codes are those of the matrix."""
        padded = np.zeros((self.rows, self.groups * self.size), np.float32)
        padded[:, :self.columns] = weights
        wanted = torch.from_numpy(padded.reshape(-1, self.size)).to(device) / self.unit
        levels, order = _levels(self.start, self.patterns).sort(dim=1, stable=True)
        rank = order.argsort(1).gather(1, self.codes.long())
        here = levels.gather(1, rank)
        last = levels.shape[1] - 1
        below = here - levels.gather(1, (rank - 1).clamp(min=0))
        above = levels.gather(1, (rank + 1).clamp(max=last)) - here
        # Beyond the outermost code words nothing changes the code.
        below, above = torch.where(rank == 0, 1.0, below), torch.where(rank == last, 1.0, above)
        return torch.minimum(torch.maximum(wanted, here - _FARTHEST * below), here + _FARTHEST * above)


def _levels(theta: Tensor, patterns: Tensor) -> Tensor:
    """The code words of each group [R, 2^b]."""
    return theta[:, :-1] @ patterns.T + theta[:, -1:]


def _nearest(levels: Tensor, latent: Tensor) -> Tensor:
    """The codes of the code words nearest to each latent weight, int64 [R, g]."""
    ordered, order = levels.sort(dim=1, stable=True)
    bounds = (ordered[:, 1:] + ordered[:, :-1]) / 2
    rank = (latent > bounds[:, :1]).to(torch.int64)
    for i in range(1, bounds.shape[1]):
        rank += latent > bounds[:, i:i + 1]
    return order.gather(1, rank)


def _values(levels: Tensor, codes: Tensor, unit: Tensor, dtype: torch.dtype) -> Tensor:
    return (levels * unit).to(dtype).gather(1, codes)


def _parameter_gradient(gradient: Tensor, codes: Tensor, bits: int) -> Tensor:
    """Of scales and zeros [R, b + 1], from that of the weights [R, g]."""
    sums = [(gradient * (codes >> j & 1)).sum(1) for j in range(bits)]
    return torch.stack([*sums, gradient.sum(1)], 1)


class _FixedCodes(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, theta: Tensor, codes: Tensor, unit: Tensor, patterns: Tensor, dtype: torch.dtype) -> Tensor:
        context.save_for_backward(codes, unit)
        context.bits = patterns.shape[1]
        return _values(_levels(theta, patterns), codes.long(), unit, dtype)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        codes, unit = context.saved_tensors
        return _parameter_gradient(gradient.float(), codes, context.bits) * unit, None, None, None, None


class _NearestCodes(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, theta: Tensor, latent: Tensor, unit: Tensor, patterns: Tensor, dtype: torch.dtype) -> Tensor:
        levels = _levels(theta, patterns)
        codes = _nearest(levels, latent)
        context.save_for_backward(codes.to(torch.uint8), unit)
        context.bits = patterns.shape[1]
        return _values(levels, codes, unit, dtype)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        codes, unit = context.saved_tensors
        gradient = gradient.float() * unit
        return _parameter_gradient(gradient, codes, context.bits), gradient, None, None, None
