"""Fits HLQ parameters and codes to weight matrices: `solve`, in the C++ library libelutq-quantize.

    hessian = Hessian(x.T @ x, group=128)              # once per input: q, k and v share one
    result = solve(w, hessian, bits=2, group=128)      # w [N, K], a linear layer's y = x @ w.T
    result.planes, result.scales, result.zeros         # as ai.elutq::HLQMatMul takes them
    result.loss.sum()                                  # sum over rows of (w - v) H (w - v)^T, v the quantized row

Without a Hessian the fit is data-free; a Hessian made from a vector weighs the columns. Needs numpy only. Results do not
depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_char_p, c_double, c_int32, c_int64, c_uint32, c_void_p
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Callable

import numpy as np

from .errors import SolverError

LIBRARY = "libelutq-quantize.so"
ABI_VERSION = 1
KINDS = ("hlq", "uniform", "ternary")
ORDERS = ("natural", "groups", "columns")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SolveOptions:
    """How `solve` works; the defaults are what is best.

    fit_iterations  rounds of code choice and least squares in a group's fit; 0 leaves the uniform grid from min to max
    starts          where the group's fit starts from, the best result wins; 1: the uniform grid alone
    weighted        the group's fit weighs column k by 1 / U[k, k]^2, what an error there costs after feedback
    feedback        the error of a column is made good in the columns after it (GPTQ)
    frozen_codes    codes are chosen at the group's start, not column by column after feedback (the published HLQ-GPTQ)
    rounds          greatest number of rounds of refinement in the metric of H; 0: none
    tolerance       a row is refined until a round lowers its loss by less than this share

    The published HLQ-GPTQ is SolveOptions(starts=1, weighted=False, frozen_codes=True, rounds=0), GPTQ on the min-max grid
    SolveOptions(fit_iterations=0, rounds=0) with kind="uniform".
    """

    fit_iterations: int = 10
    starts: int = 4
    weighted: bool = True
    feedback: bool = True
    frozen_codes: bool = False
    rounds: int = 8
    tolerance: float = 1e-3


class Hessian:
    """`h` = sum over tokens of x x^T, [K, K] (symmetric), or a vector of K column weights; finite, diagonal not negative.

    Holds what all matrices with this input share: the order of columns and the Cholesky factor of the damped inverse.
    `damping` is added to the diagonal, as a share of its mean. `order` says in what order columns are quantized: "natural";
    "groups": groups with the largest diagonal first; "columns": the same, and within a group the columns, too. The memory is
    8 K^2 bytes, 16 K^2 while it is made; `close()` (or the end of a `with`) returns it.
    Raises SolverError naming what is wrong with `h`.
    """

    def __init__(self, h: np.ndarray, *, group: int = 128, damping: float = 0.01, order: str = "natural", threads: int = 0):
        raise NotImplementedError

    columns: int
    group: int
    damping: float
    """The share of the mean diagonal that was added in fact: more than asked for where the matrix needs it."""
    dead_columns: int
    """Columns that no token of the calibration text excites."""

    def loss(self, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(w - v) H (w - v)^T of each row of [N, K] matrices, f64 [N]; H without damping."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees the memory; the object cannot be used any more."""


@dataclass
class Quantized:
    """A matrix [rows, columns] in HLQ form, G = ceil(columns / group) groups in a row."""

    planes: np.ndarray
    """u8 [bits, rows, G * group / 8], bit t of byte i is column 8 i + t; with 8 bits codes u8 [1, rows, G * group]."""
    scales: np.ndarray
    """f16 [rows, G, bits], or [rows, G, 1] for kind "uniform" and 8 bits: the scale of plane j is 2^j times it."""
    zeros: np.ndarray
    """f16 [rows, G]."""
    bits: int
    group: int
    kind: str
    columns: int
    loss: np.ndarray = field(repr=False)
    """f64 [rows]: (w - v) H (w - v)^T, H without damping; without a Hessian the squared error."""
    squared_error: float = 0.0
    squared_norm: float = 0.0
    clamped_groups: int = 0
    """Groups with a parameter beyond the range of f16, which was cut to it."""
    rounds: int = 0
    """Most rounds of refinement that a row took."""
    cpu_seconds: float = 0.0

    @property
    def rows(self) -> int:
        return self.planes.shape[1]

    def plane_scales(self) -> np.ndarray:
        """f16 [rows, G, bits]: a scale for each plane, whatever the kind ([rows, G, 1] with 8 bits)."""
        raise NotImplementedError

    def codes(self) -> np.ndarray:
        """u8 [rows, columns]: bit j of a code is plane j."""
        raise NotImplementedError

    def dequantize(self) -> np.ndarray:
        """f32 [rows, columns]."""
        raise NotImplementedError


def solve(weights: np.ndarray, hessian: Hessian | np.ndarray | None = None, *, bits: int, group: int = 128,
          kind: str = "hlq", options: SolveOptions = SolveOptions(), threads: int = 0,
          progress: Progress | None = None) -> Quantized:
    """Quantizes `weights` [N, K], f32, f16 or bfloat16 in any strides (the transposed view of an ONNX initializer is not copied).

    `bits` is 1 to 4, or 8 (uniform codes, data-free whatever the Hessian). `kind`: "hlq" has a free scale for each plane,
    "uniform" one scale, "ternary" (2 bits) the values -s, 0, s. `group` is a multiple of 8 and may exceed K; it must be the
    Hessian's. An array is made a Hessian with the defaults first. `progress(rows done, rows)` may raise, which stops the work.
    `threads` 0: one per core. Raises SolverError; a weight that is not finite is named by row and columns.
    """
    raise NotImplementedError


def dequantize(planes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, columns: int) -> np.ndarray:
    """f32 [N, columns] from planes, scales and zeros as `Quantized` has them."""
    raise NotImplementedError
