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

from ._build import built_files
from .errors import SolverError

LIBRARY = "libelutq-quantize.so"
ABI_VERSION = 2
KINDS = ("hlq", "uniform", "ternary", "compact")
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
    tolerance: float = 5e-3


class Hessian:
    """`h` = sum over tokens of x x^T, [K, K] (symmetric), or a vector of K column weights; finite, diagonal not negative.

    Holds what all matrices with this input share: the order of columns and the Cholesky factor of the damped inverse.
    `damping` is added to the diagonal, as a share of its mean. `order` says in what order columns are quantized: "natural";
    "groups": groups with the largest diagonal first; "columns": the same, and within a group the columns, too. The memory is
    8 K^2 bytes, 16 K^2 while it is made; `close()` (or the end of a `with`) returns it.
    Raises SolverError naming what is wrong with `h`.
    """

    columns: int
    group: int
    damping: float
    """The share of the mean diagonal that was added in fact: more than asked for where the matrix needs it."""
    dead_columns: int
    """Columns that no token of the calibration text excites."""

    def __init__(self, h: np.ndarray, *, group: int = 128, damping: float = 0.01, order: str = "natural", threads: int = 0):
        self._handle: int | None = None
        h = np.ascontiguousarray(h, np.float32)
        if h.ndim not in (1, 2) or (h.ndim == 2 and h.shape[0] != h.shape[1]):
            raise SolverError(f"expected a square Hessian or a vector of column weights, but got shape {list(h.shape)}")
        options = _HessianOptions()
        _library().elutqHessianOptionsInit(byref(options))
        options.threads, options.order, options.isDiagonal = threads, _index(order, ORDERS, "order"), h.ndim == 1
        options.groupSize, options.damping = group, damping
        self._handle = _library().elutqHessianCreate(h.ctypes.data, h.shape[0], byref(options))
        if not self._handle:
            raise _last_error()
        info = _HessianInfo()
        _library().elutqHessianGetInfo(self._handle, byref(info))
        self.columns, self.group, self.damping, self.dead_columns = h.shape[0], group, info.damping, info.deadColumns

    def loss(self, weights: np.ndarray, values: np.ndarray, threads: int = 0) -> np.ndarray:
        """(w - v) H (w - v)^T of each row of [N, K] matrices, f64 [N]; H without damping."""
        weights, values = (np.ascontiguousarray(x, np.float32) for x in (weights, values))
        if weights.ndim != 2 or weights.shape != values.shape or weights.shape[1] != self.columns:
            raise SolverError(f"expected two matrices of {self.columns} columns, but got shapes {list(weights.shape)} and "
                              f"{list(values.shape)}")
        loss = np.empty(len(weights))
        _library().elutqHessianComputeLoss(self._open(), weights.ctypes.data, values.ctypes.data, len(weights),
                                           loss.ctypes.data, threads)
        return loss

    def close(self) -> None:
        """Frees the memory; the object cannot be used any more."""
        if self._handle:
            _library().elutqHessianDestroy(self._handle)
            self._handle = None

    def _open(self) -> int:
        if not self._handle:
            raise SolverError("the Hessian is closed")
        return self._handle

    def __enter__(self) -> Hessian:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


@dataclass
class Quantized:
    """A matrix [rows, columns] in HLQ form, G = ceil(columns / group) groups in a row."""

    planes: np.ndarray
    """u8 [bits, rows, G * group / 8], bit t of byte i is column 8 i + t; with 8 bits codes u8 [1, rows, G * group]."""
    scales: np.ndarray
    """f16 [rows, G, bits]; [rows, G, 1] for kind "uniform" and 8 bits: the scale of plane j is 2^j times it; and for kind "compact"."""
    zeros: np.ndarray
    """f16 [rows, G]; kind "compact": u8 [rows, G, bits + 1], the scale of each plane in units of the only one, and 128 more than the zero."""
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
        """f16 [rows, G, bits]: a scale for each plane ([rows, G, 1] with 8 bits and for kind "compact")."""
        if self.bits == 8 or self.kind != "uniform":
            return self.scales
        return self.scales * np.exp2(np.arange(self.bits)).astype(np.float16)

    def codes(self) -> np.ndarray:
        """u8 [rows, columns]: bit j of a code is plane j."""
        return _codes(self.planes, self.bits)[:, :self.columns]

    def dequantize(self) -> np.ndarray:
        """f32 [rows, columns]."""
        return dequantize(self.planes, self.scales, self.zeros, bits=self.bits, columns=self.columns)


def solve(weights: np.ndarray, hessian: Hessian | np.ndarray | None = None, *, bits: int, group: int = 128,
          kind: str = "hlq", options: SolveOptions = SolveOptions(), threads: int = 0,
          progress: Progress | None = None) -> Quantized:
    """Quantizes `weights` [N, K], f32, f16 or bfloat16 in any strides (the transposed view of an ONNX initializer is not copied).

    `bits` is 1 to 4, or 8 (uniform codes, data-free whatever the Hessian). `kind`: "hlq" has a free scale for each plane,
    "uniform" one scale, "ternary" (2 bits) the values -s, 0, s, "compact" one f16 scale and 8-bit ratios. `group` is a multiple of 8 and may exceed K; it must be the
    Hessian's. An array is made a Hessian with the defaults first. `progress(rows done, rows)` may raise, which stops the work.
    `threads` 0: one per core. Raises SolverError; a weight that is not finite is named by row and columns.
    """
    weights = np.asarray(weights)
    if weights.ndim != 2 or 0 in weights.shape:
        raise SolverError(f"expected a matrix of weights, but got shape {list(weights.shape)}")
    type_ = _TYPES.get(weights.dtype.name)
    if type_ is None:
        raise SolverError(f"expected weights of type {', '.join(_TYPES)}, but got {weights.dtype}")
    if isinstance(hessian, np.ndarray):
        with Hessian(hessian, group=group, threads=threads) as made:
            return solve(weights, made, bits=bits, group=group, kind=kind, options=options, threads=threads, progress=progress)

    rows, columns = weights.shape
    groups = -(-columns // group) if group > 0 else 0
    chosen = _solve_options(bits, group, kind, options, threads)
    raised: list[BaseException] = []

    def report(user: object, done: int, total: int) -> int:
        try:
            progress(done, total)
        except BaseException as error:  # Raised again by the caller's thread.
            raised.append(error)
        return not raised

    if progress is not None:
        chosen.progress = _PROGRESS(report)
    sizes = [c_int64() for _ in range(3)]
    _library().elutqSolveGetSizes(rows, columns, byref(chosen), *map(byref, sizes))
    planes, scales, zeros = (np.zeros(max(size.value, 0), dtype)
                             for size, dtype in zip(sizes, (np.uint8, np.float16, np.uint8)))
    loss = np.zeros(rows)
    done = _SolveReport()
    matrix = _Matrix(ctypes.sizeof(_Matrix), type_, weights.ctypes.data, rows, columns,
                     *(stride // weights.itemsize for stride in weights.strides))
    is_weighed = hessian is not None and bits != 8
    if not _library().elutqSolve(byref(matrix), hessian._open() if is_weighed else None, byref(chosen), planes.ctypes.data,
                                 scales.ctypes.data, zeros.ctypes.data, loss.ctypes.data if bits != 8 else None, byref(done)):
        raise raised[0] if raised else _last_error()
    is_compact = kind == "compact" and bits != 8
    zeros = zeros.reshape(rows, groups, -1) if is_compact else zeros.view(np.float16).reshape(rows, groups)
    result = Quantized(planes.reshape(1 if bits == 8 else bits, rows, -1), scales.reshape(rows, groups, -1), zeros, bits, group, "uniform" if bits == 8 else kind, columns, loss,
                       done.squaredError, done.squaredNorm, done.clampedGroups, done.rounds, done.cpuSeconds)
    if bits == 8:
        values = result.dequantize()
        result.loss = (hessian.loss(weights, values, threads) if hessian is not None else
                       np.square(weights.astype(np.float64) - values).sum(1))
    return result


def dequantize(planes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, *, bits: int, columns: int) -> np.ndarray:
    """f32 [N, columns] from planes, scales and zeros as `Quantized` has them."""
    rows, groups = zeros.shape[:2]
    codes = _codes(planes, bits).reshape(rows, groups, -1)
    if zeros.ndim == 3:
        numbers = zeros[:, :, bits:].astype(np.float32) - 128
        for j in range(bits):
            numbers = numbers + zeros[:, :, j:j + 1] * (codes >> j & 1)
        return (scales.astype(np.float32) * numbers).reshape(rows, -1)[:, :columns]
    values = np.repeat(zeros.astype(np.float32)[:, :, None], codes.shape[2], axis=2)
    for j, scale in enumerate(scales.astype(np.float32).transpose(2, 0, 1)):
        values += scale[:, :, None] * (codes if scales.shape[2] == 1 else codes >> j & 1)
    return values.reshape(rows, -1)[:, :columns]


def find_library() -> Path:
    """The library named by ELUTQ_QUANTIZE_LIBRARY; else the one of a build tree, ELUTQ_BUILD_DIR or the source tree's build/release;
    else the one beside the package."""
    if named := os.environ.get("ELUTQ_QUANTIZE_LIBRARY"):
        if not Path(named).is_file():
            raise SolverError(f"ELUTQ_QUANTIZE_LIBRARY names '{named}', which is no file")
        return Path(named)
    for candidate in built_files(__file__, "lib", LIBRARY):
        if candidate.is_file():
            return candidate
    raise SolverError(f"{LIBRARY} is not to be found: build it (scripts/setup), or let ELUTQ_QUANTIZE_LIBRARY name it")


_TYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
_PROGRESS = ctypes.CFUNCTYPE(c_int32, c_void_p, c_int64, c_int64)


class _Matrix(ctypes.Structure):
    _fields_ = [("structSize", c_uint32), ("type", c_int32), ("data", c_void_p), ("rows", c_int64), ("columns", c_int64),
                ("rowStride", c_int64), ("columnStride", c_int64)]


class _HessianOptions(ctypes.Structure):
    _fields_ = [("structSize", c_uint32), ("threads", c_uint32), ("order", c_int32), ("isDiagonal", c_int32),
                ("groupSize", c_int64), ("damping", c_double)]


class _HessianInfo(ctypes.Structure):
    _fields_ = [("structSize", c_uint32), ("isDiagonal", c_int32), ("size", c_int64), ("groupSize", c_int64),
                ("deadColumns", c_int64), ("damping", c_double)]

    def __init__(self) -> None:
        super().__init__(ctypes.sizeof(_HessianInfo))


class _SolveOptions(ctypes.Structure):
    _fields_ = [("structSize", c_uint32), ("threads", c_uint32), ("kind", c_int32), ("bits", c_int32), ("groupSize", c_int64),
                ("fitIterations", c_int64), ("starts", c_int64), ("maxRounds", c_int64), ("isWeighted", c_int32),
                ("hasFeedback", c_int32), ("hasFrozenCodes", c_int32), ("tolerance", c_double), ("progress", _PROGRESS),
                ("user", c_void_p)]


class _SolveReport(ctypes.Structure):
    _fields_ = [("structSize", c_uint32), ("rounds", c_int64), ("clampedGroups", c_int64), ("loss", c_double),
                ("squaredError", c_double), ("squaredNorm", c_double), ("cpuSeconds", c_double)]

    def __init__(self) -> None:
        super().__init__(ctypes.sizeof(_SolveReport))


# Name: result, arguments.
_FUNCTIONS = {
    "elutqQuantizeGetVersion": (c_uint32, []),
    "elutqQuantizeGetLastError": (c_char_p, []),
    "elutqHessianOptionsInit": (None, [POINTER(_HessianOptions)]),
    "elutqSolveOptionsInit": (None, [POINTER(_SolveOptions)]),
    "elutqHessianCreate": (c_void_p, [c_void_p, c_int64, POINTER(_HessianOptions)]),
    "elutqHessianDestroy": (None, [c_void_p]),
    "elutqHessianGetInfo": (None, [c_void_p, POINTER(_HessianInfo)]),
    "elutqHessianComputeLoss": (None, [c_void_p, c_void_p, c_void_p, c_int64, c_void_p, c_uint32]),
    "elutqSolveGetSizes": (None, [c_int64, c_int64, POINTER(_SolveOptions), *[POINTER(c_int64)] * 3]),
    "elutqSolve": (c_int32, [POINTER(_Matrix), c_void_p, POINTER(_SolveOptions), *[c_void_p] * 4, POINTER(_SolveReport)]),
}


@cache
def _library() -> ctypes.CDLL:
    path = find_library()
    try:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise SolverError(f"'{path}' cannot be used: {error}") from error
    if (version := library.elutqQuantizeGetVersion()) != ABI_VERSION:
        raise SolverError(f"'{path}' has version {version} of the C interface, expected {ABI_VERSION}")
    return library


def _last_error() -> SolverError:
    return SolverError(_library().elutqQuantizeGetLastError().decode())


def _index(name: str, names: tuple[str, ...], what: str) -> int:
    if name not in names:
        raise SolverError(f"expected the {what} to be one of {', '.join(names)}, but got '{name}'")
    return names.index(name)


def _solve_options(bits: int, group: int, kind: str, options: SolveOptions, threads: int) -> _SolveOptions:
    chosen = _SolveOptions()
    _library().elutqSolveOptionsInit(byref(chosen))
    chosen.threads, chosen.kind, chosen.bits, chosen.groupSize = threads, _index(kind, KINDS, "kind"), bits, group
    chosen.fitIterations, chosen.starts, chosen.maxRounds = options.fit_iterations, options.starts, options.rounds
    chosen.isWeighted, chosen.hasFeedback = options.weighted, options.feedback
    chosen.hasFrozenCodes, chosen.tolerance = options.frozen_codes, options.tolerance
    return chosen


def _codes(planes: np.ndarray, bits: int) -> np.ndarray:
    """u8 [rows, padded columns]."""
    if bits == 8:
        return planes[0]
    codes = np.zeros((planes.shape[1], planes.shape[2] * 8), np.uint8)
    for j in range(bits):
        codes |= np.unpackbits(planes[j], axis=1, bitorder="little") << j
    return codes
