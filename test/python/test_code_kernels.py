"""Runs the kernels for weights of 8 bits: vectors against scalar loops bit for bit, and both against NumPy."""

from dataclasses import dataclass

import numpy as np
import pytest
from test_hlq_kernels import ISAS, aligned, call, close_libraries, compile_libraries, skip_unless_runnable


@dataclass(frozen=True)
class Case:
    group: int
    table_group: int
    m: int
    n: int
    k: int
    m_tile: int
    params: str = "uniform"
    param_type: str = "f16"
    zero_point: int = 0
    table_bits: int = 16

    @property
    def name(self):
        return f"g{self.group}t{self.table_group}m{self.m}n{self.n}k{self.k}x{self.m_tile}{self.params}_{self.param_type}z{self.zero_point}e{self.table_bits}"

    @property
    def groups(self):
        return -(-self.k // self.group)

    @property
    def columns(self):
        return self.groups * self.group

    @property
    def blocks(self):
        """Blocks of rows of activations, and of weights."""
        return -(-self.m // self.m_tile), -(-self.n // 16)

    @property
    def dtype(self):
        return np.dtype(np.float16 if self.param_type == "f16" else np.float32)

    @property
    def layout(self):
        zero_point = f", zero_point = {self.zero_point}" if self.zero_point else ""
        return (f"#hlq.layout<lane = dword, rows = 16, bits = 8, group_size = {self.group}, params = {self.params}, "
                f"param_type = {self.param_type}{zero_point}>")

    @property
    def block_bytes(self):
        params = 1 if self.params == "symmetric" else 2
        return -(-self.groups * 16 * (self.group + params * self.dtype.itemsize) // 64) * 64


CASES = [
    # One row, as in decode; K and N ragged.
    Case(128, 128, 1, 40, 300, 1),
    Case(32, 32, 9, 19, 70, 8, param_type="f32"),
    Case(16, 16, 2, 20, 90, 2, "symmetric", "f32", 7, table_bits=8),
    # Two table groups in a group, and many in a loop.
    Case(256, 128, 3, 33, 500, 2, "symmetric", zero_point=128),
    Case(512, 64, 4, 20, 1000, 4, table_bits=8),
    # The longest sums.
    Case(256, 256, 3, 17, 512, 4),
    # More units than one pass over the row blocks takes (table-bytes=16384).
    Case(128, 128, 8, 35, 1300, 8),
]
CODE_ISAS = [isa for isa in ISAS if not isa.endswith("-dword")]


@dataclass
class Matrix:
    """Codes [N, columns], scales and zeros [N, groups]; the zeros are null where the zero point stands for them."""

    case: Case
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray

    @staticmethod
    def random(case, rng, codes=None):
        if codes is None:
            codes = rng.integers(0, 256, (case.n, case.columns), np.uint8)
        scales = (rng.standard_normal((case.n, case.groups)) * 0.1 + 0.05).astype(case.dtype)
        zeros = rng.standard_normal((case.n, case.groups)).astype(case.dtype) if case.params == "uniform" else None
        return Matrix(case, codes, scales, zeros)

    def wide_parameters(self):
        scales = self.scales.astype(np.float64)
        return scales, -self.case.zero_point * scales if self.zeros is None else self.zeros.astype(np.float64)

    def dequantize(self):
        scales, zeros = (np.repeat(p, self.case.group, axis=1) for p in self.wide_parameters())
        return scales * self.codes + zeros

    def pack(self):
        case, blocks = self.case, []
        for first in range(0, case.n, 16):
            rows = slice(first, min(first + 16, case.n))
            parts = []
            for group in range(case.groups):
                codes = np.zeros((16, case.group), np.uint8)
                codes[: rows.stop - first] = self.codes[rows, group * case.group : (group + 1) * case.group]
                parts.append(codes.reshape(16, -1, 4).transpose(1, 0, 2))
                for parameter in (self.scales, self.zeros):
                    if parameter is not None:
                        padded = np.zeros(16, case.dtype)
                        padded[: rows.stop - first] = parameter[rows, group]
                        parts.append(padded.view(np.uint8))
            block = np.concatenate([part.reshape(-1) for part in parts])
            blocks.append(np.pad(block, (0, -len(block) % 64)))
        return np.stack(blocks)


def module(isa):
    text = []
    for case in CASES:
        m_blocks, n_blocks = case.blocks
        entries = f"memref<{m_blocks}x{case.columns // 16}x{case.m_tile}x{2 * case.table_bits}xi8>"
        groups = f"memref<{m_blocks}x{case.columns // case.table_group}x{case.m_tile}x"
        f32, i32 = groups + "f32>", groups + "i32>"
        x, packed = f"memref<{case.m}x{case.k}xf32>", f"memref<{n_blocks}x{case.block_bytes}xi8>"
        y, rows = f"memref<{m_blocks * case.m_tile}x{n_blocks * 16}xf32>", f"memref<{case.m}x{case.k}xf32>"
        kernel = f'#hlq.kernel<isa = "{isa}", algorithm = "dot", m_tile = {case.m_tile}, n_tile = 4, table_bits = {case.table_bits}>'
        text.append(f"""
func.func @round_{case.name}(%x: {x}, %e: {entries}, %s: {f32}, %u: {f32}, %o: {i32}) {{
  hlq.quantize_rows ins(%x : {x}) outs(%e, %s, %u, %o : {entries}, {f32}, {f32}, {i32}) {{table_group = {case.table_group} : i64}}
  return
}}
func.func @matmul_{case.name}(%e: {entries}, %s: {f32}, %u: {f32}, %o: {i32}, %w: {packed}, %y: {y}) {{
  hlq.code_matmul ins(%e, %s, %u, %o, %w : {entries}, {f32}, {f32}, {i32}, {packed}) outs(%y : {y})
    {{layout = {case.layout}, kernel = {kernel}, table_group = {case.table_group} : i64}}
  return
}}
func.func @gather_{case.name}(%i: memref<{case.m}xi64>, %w: {packed}, %y: {rows}) {{
  hlq.packed_gather ins(%i, %w : memref<{case.m}xi64>, {packed}) outs(%y : {rows}) {{layout = {case.layout}}}
  return
}}""")
    return "\n".join(text)


@pytest.fixture(scope="module", params=CODE_ISAS)
def libraries(request, tmp_path_factory):
    skip_unless_runnable(request.param)
    compiled = compile_libraries(tmp_path_factory.mktemp(request.param), request.param, module(request.param))
    yield compiled
    close_libraries(compiled)


def round_rows(libraries, case, x):
    """What hlq.quantize_rows writes: entries, scales, sums, offsets."""
    results = []
    for library in libraries.values():
        entries = aligned((case.blocks[0], case.columns // 16, case.m_tile, 2 * case.table_bits), np.int8, 0x5A)
        groups = (case.blocks[0], case.columns // case.table_group, case.m_tile)
        arrays = [entries, *(aligned(groups, dtype, 0x5A) for dtype in (np.float32, np.float32, np.int32))]
        call(library, f"round_{case.name}", x, *arrays)
        results.append(arrays)
    for loops, vector in zip(*results):
        np.testing.assert_array_equal(loops.view(np.uint8), vector.view(np.uint8))
    return results[0]


def by_row(case, array):
    """[MB, U, m_tile] as [M, U]."""
    return array.transpose(0, 2, 1).reshape(case.blocks[0] * case.m_tile, -1)


def integers(case, entries):
    """The entries as integers [M, columns]."""
    chunks = entries.astype(np.int64).transpose(0, 2, 1, 3).reshape(case.blocks[0] * case.m_tile, case.columns // 16, -1)
    if case.table_bits == 16:
        chunks = 256 * chunks[..., :16] + chunks[..., 16:]
    return chunks.reshape(chunks.shape[0], -1)


def multiply(libraries, case, arrays, packed):
    results = []
    for library in libraries.values():
        y = aligned((case.blocks[0] * case.m_tile, case.blocks[1] * 16), np.float32, 0x5A)
        call(library, f"matmul_{case.name}", *arrays, packed, y)
        results.append(y)
    np.testing.assert_array_equal(results[0].view(np.uint32), results[1].view(np.uint32))
    return results[0]


def check_product(y, arrays, matrix):
    """The result against the formula of the op in float64, with a bound by the magnitude of the terms."""
    case = matrix.case
    entries, scales, sums, offsets = arrays
    products = matrix.codes.astype(np.int64)[None] * integers(case, entries)[:, None]
    acc = products.reshape(*products.shape[:2], -1, case.table_group).sum(-1) + by_row(case, offsets)[:, None]
    partial = acc.astype(np.float64) * by_row(case, scales)[:, None]
    partial = partial.reshape(*partial.shape[:2], case.groups, -1).sum(-1)
    totals = by_row(case, sums).astype(np.float64).reshape(len(y), case.groups, -1).sum(-1)
    w_scales, w_zeros = matrix.wide_parameters()
    terms = partial * w_scales
    centred = totals[:, None] * (w_zeros + 128 * w_scales)
    magnitude = (np.abs(terms) + np.abs(centred)).sum(-1)
    assert (np.abs(y[:, : case.n] - (terms + centred).sum(-1)) <= 1e-5 * magnitude + 1e-30).all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_linear(libraries, case):
    rng = np.random.default_rng(len(case.name) + case.k)
    matrix = Matrix.random(case, rng)
    packed = matrix.pack()
    assert packed.shape[1] == case.block_bytes
    x = rng.standard_normal((case.m, case.k)).astype(np.float32) + np.float32(0.3)
    x[0, : min(case.table_group, case.k)] = 0
    x[-1, -1] = -9

    arrays = round_rows(libraries, case, x)
    padded = np.zeros((case.blocks[0] * case.m_tile, case.columns), np.float32)
    padded[: case.m, : case.k] = x
    grouped = padded.reshape(len(padded), -1, case.table_group)
    scales = np.abs(grouped).max(-1) / np.float32(127 if case.table_bits == 8 else 127 * 256)
    with np.errstate(divide="ignore"):
        inverse = np.where(scales > 0, np.float32(1) / scales, np.float32(0)).astype(np.float32)
    expected = np.rint(grouped * inverse[..., None]).astype(np.int64)
    np.testing.assert_array_equal(integers(case, arrays[0]), expected.reshape(len(padded), -1))
    np.testing.assert_array_equal(by_row(case, arrays[1]), scales)
    np.testing.assert_allclose(by_row(case, arrays[2]), grouped.astype(np.float64).sum(-1), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(by_row(case, arrays[3]), -128 * expected.sum(-1))

    y = multiply(libraries, case, arrays, packed)
    check_product(y, arrays, matrix)
    # The rounding of the activations is the only difference to the product in float.
    weights = matrix.dequantize()[:, : case.k]
    bound = np.abs(matrix.wide_parameters()[0]).max(-1) * 128 * case.columns * scales.max() / 2 + 1e-3
    assert (np.abs(y[: case.m, : case.n] - x.astype(np.float64) @ weights.T) <= bound).all()


@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
@pytest.mark.parametrize("code", [0, 255])
@pytest.mark.parametrize("case", [case for case in CASES if case.group == 256], ids=lambda case: case.name)
def test_extremes(libraries, case, code, byte):
    """The longest sums of the largest products: nothing saturates or overflows."""
    rng = np.random.default_rng(byte)
    matrix = Matrix.random(case, rng, np.full((case.n, case.columns), code, np.uint8))
    groups = (case.blocks[0], case.columns // case.table_group, case.m_tile)
    entries = np.full((case.blocks[0], case.columns // 16, case.m_tile, 2 * case.table_bits), byte, np.uint8).view(np.int8)
    scales = rng.random(groups, np.float32)
    sums = rng.standard_normal(groups).astype(np.float32)
    total = integers(case, entries).reshape(len(entries) * case.m_tile, -1, case.table_group).sum(-1)
    offsets = (-128 * total).reshape(groups[0], groups[2], groups[1]).transpose(0, 2, 1).astype(np.int32)
    arrays = (entries, scales, sums, np.ascontiguousarray(offsets))
    check_product(multiply(libraries, case, arrays, matrix.pack()), arrays, matrix)


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-38, 1e30])
def test_extreme_activations(libraries, scale):
    case = CASES[0]
    x = (np.random.default_rng(1).standard_normal((case.m, case.k)) * scale).astype(np.float32)
    entries, scales, _, offsets = round_rows(libraries, case, x)
    assert np.isfinite(scales).all()
    if scale in (0.0, 1e-45):
        assert not scales.any() and not entries.any() and not offsets.any()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gather(libraries, case):
    rng = np.random.default_rng(7)
    matrix = Matrix.random(case, rng)
    indices = rng.integers(0, case.n, case.m)
    indices[-1] = case.n - 1
    packed = matrix.pack()
    results = []
    for library in libraries.values():
        y = aligned((case.m, case.k), np.float32, 0x5A)
        call(library, f"gather_{case.name}", indices, packed, y)
        results.append(y)
    np.testing.assert_array_equal(results[0].view(np.uint32), results[1].view(np.uint32))
    np.testing.assert_allclose(results[0], matrix.dequantize()[indices][:, : case.k], rtol=1e-6, atol=1e-5)
