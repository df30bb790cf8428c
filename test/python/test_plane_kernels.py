"""Runs products with codes made from planes: vectors against scalar loops bit for bit, and both against NumPy."""

from dataclasses import dataclass

import hlq_reference as reference
import numpy as np
import pytest
import test_hlq_kernels
from test_hlq_kernels import ISAS, aligned, call, close_libraries, compile_libraries, make_layout, shapes, skip_unless_runnable


@dataclass(frozen=True)
class Case(test_hlq_kernels.Case):
    table_bits: int = 16

    @property
    def has_words(self):
        return self.table_bits == 16

    @property
    def per_dword(self):
        return 2 if self.has_words else 4

    @property
    def limit(self):
        return 8191 if self.has_words else 127

    @property
    def centre(self):
        return 2048 if self.has_words else 128

    @property
    def range(self):
        return np.float32(4080 if self.has_words else 251)

CASES = [
    # Every width, K and N ragged, bytes and words.
    Case(4, 128, 128, 9, 40, 300, 4),
    Case(4, 128, 128, 9, 40, 300, 8, table_bits=8),
    Case(3, 64, 64, 8, 70, 200, 4),
    Case(3, 64, 64, 7, 33, 200, 3, table_bits=8),
    Case(2, 32, 32, 3, 19, 90, 2),
    Case(2, 32, 32, 3, 19, 90, 2, table_bits=8),
    Case(1, 32, 32, 1, 19, 70, 1, table_bits=8),
    # Two groups in one step of dword lanes.
    Case(2, 16, 16, 3, 20, 90),
    Case(4, 16, 16, 5, 20, 90, table_bits=8),
    # Several table groups in a group, unrolled and in a loop.
    Case(2, 256, 128, 3, 33, 400, table_bits=8),
    Case(3, 512, 64, 2, 20, 500, 2),
    # Parameters.
    Case(4, 128, 128, 3, 20, 200, 4, "uniform"),
    Case(4, 32, 32, 3, 20, 100, 4, "symmetric", "f16", 8),
    Case(3, 32, 32, 3, 20, 100, 4, "symmetric", "f32", 3, table_bits=8),
    Case(4, 64, 64, 2, 35, 64, 2, "hlq", "f32"),
    # Compact parameters: every width, bytes and words, two groups in a step, several table groups, two passes.
    Case(1, 32, 32, 1, 19, 70, 1, "compact", table_bits=8),
    Case(2, 16, 16, 3, 20, 90, 4, "compact", table_bits=8),
    Case(2, 16, 16, 3, 20, 90, 4, "compact"),
    Case(3, 64, 64, 7, 70, 200, 3, "compact", "f32"),
    Case(4, 128, 128, 9, 40, 300, 8, "compact"),
    Case(4, 256, 256, 3, 64, 300, 4, "compact", table_bits=8),
    Case(3, 512, 64, 2, 20, 500, 2, "compact"),
    Case(4, 128, 128, 17, 40, 3400, 16, "compact"),
    # The longest sums.
    Case(4, 256, 256, 3, 64, 300, table_bits=8),
    # More units than one pass over the row blocks takes (table-bytes=16384).
    Case(2, 128, 128, 17, 40, 1700, 8),
    # As many rows of activations as a tile has.
    Case(3, 64, 64, 35, 20, 200, 16),
    Case(2, 128, 128, 33, 40, 1700, 16, table_bits=8),
    Case(4, 128, 128, 17, 40, 3400, 8, table_bits=8),
]


# Instruction sets whose products take the entries of a table group row by row.
TILES = {"avx512amx"}


def entries_shape(case, isa, m_blocks, columns):
    """Of the entries, bytes."""
    if isa in TILES:
        return m_blocks, columns // case.table_group, case.m_tile, case.table_group * case.table_bits // 8
    return m_blocks, columns // 16, case.m_tile, 2 * case.table_bits


def module(isa):
    text = []
    for case in CASES:
        layout = make_layout(case, isa)
        columns, m_blocks, n_blocks, block_bytes = shapes(case, layout)
        entries = f"memref<{'x'.join(map(str, entries_shape(case, isa, m_blocks, columns)))}xi8>"
        groups = f"memref<{m_blocks}x{columns // case.table_group}x{case.m_tile}x"
        f32, i32 = groups + "f32>", groups + "i32>"
        x, packed = f"memref<{case.m}x{case.k}xf32>", f"memref<{n_blocks}x{block_bytes}xi8>"
        y = f"memref<{m_blocks * case.m_tile}x{n_blocks * layout.rows}xf32>"
        kernel = f'#hlq.kernel<isa = "{isa.removesuffix("-dword")}", algorithm = "dot", m_tile = {case.m_tile}, n_tile = 4, table_bits = {case.table_bits}>'
        form = (", words" if case.has_words else "") + (", transposed" if layout.lane == "dword" else "") + (", by_row" if isa in TILES else "")
        text.append(f"""
func.func @round_{case.name}(%x: {x}, %e: {entries}, %s: {f32}, %u: {f32}, %o: {i32}) {{
  hlq.quantize_rows ins(%x : {x}) outs(%e, %s, %u, %o : {entries}, {f32}, {f32}, {i32}) {{table_group = {case.table_group} : i64{form}}}
  return
}}
func.func @matmul_{case.name}(%e: {entries}, %s: {f32}, %u: {f32}, %o: {i32}, %w: {packed}, %y: {y}) {{
  hlq.code_matmul ins(%e, %s, %u, %o, %w : {entries}, {f32}, {f32}, {i32}, {packed}) outs(%y : {y})
    {{layout = {layout}, kernel = {kernel}, table_group = {case.table_group} : i64}}
  return
}}""")
    return "\n".join(text)


@pytest.fixture(scope="module", params=[isa for isa in ISAS if isa != "generic-dword"])
def kernels(request, tmp_path_factory):
    skip_unless_runnable(request.param)
    compiled = compile_libraries(tmp_path_factory.mktemp(request.param), request.param, module(request.param))
    yield request.param, compiled
    close_libraries(compiled)


def by_row(case, array):
    """[MB, U, m_tile] as [M, U]."""
    return array.transpose(0, 2, 1).reshape(-1, array.shape[1])


def in_column_order(case, isa, entries):
    """What hlq.quantize_rows wrote as integers [M, columns]."""
    blocks, _, m_tile, _ = entries.shape
    per_dword = case.per_dword
    if isa in TILES:
        parts = entries.reshape(blocks, -1, m_tile, case.table_bits // 8, case.table_group // 16, 16)
        wide = parts[:, :, :, 0].astype(np.int64)
        if case.has_words:
            wide = 256 * wide + parts[:, :, :, 1].view(np.uint8)
        wide, per_dword = wide.transpose(0, 1, 3, 2, 4).reshape(blocks, -1, m_tile, 16), 4
    else:
        wide = entries.view(np.int16 if case.has_words else np.int8).astype(np.int64)
    if ISAS[isa][0] == "dword":
        wide = wide.reshape(*wide.shape[:3], -1, per_dword).swapaxes(3, 4)
    return wide.reshape(blocks, -1, m_tile, 16).transpose(0, 2, 1, 3).reshape(blocks * m_tile, -1)


def round_rows(libraries, case, isa, x):
    columns, m_blocks, _, _ = shapes(case, make_layout(case, isa))
    results = []
    for library in libraries.values():
        groups = (m_blocks, columns // case.table_group, case.m_tile)
        arrays = [aligned(entries_shape(case, isa, m_blocks, columns), np.int8, 0x5A),
                  *(aligned(groups, dtype, 0x5A) for dtype in (np.float32, np.float32, np.int32))]
        call(library, f"round_{case.name}", x, *arrays)
        results.append(arrays)
    for loops, vector in zip(*results):
        np.testing.assert_array_equal(loops.view(np.uint8), vector.view(np.uint8))
    return results[0]


def multiply(libraries, case, layout, arrays, packed):
    results = []
    for library in libraries.values():
        y = aligned((arrays[0].shape[0] * case.m_tile, packed.shape[0] * layout.rows), np.float32, 0x5A)
        call(library, f"matmul_{case.name}", *arrays, packed, y)
        results.append(y)
    np.testing.assert_array_equal(results[0].view(np.uint32), results[1].view(np.uint32))
    return results[0]


def codes_of(case, matrix):
    """`q - centre` [N, K], `d` and `zc` [N, G] of the op description, in float32 where it says so."""
    if case.params == "hlq":
        scales = matrix.scales.astype(np.float32)
        total = np.abs(scales[..., 0])
        for plane in range(1, case.bits):
            total = total + np.abs(scales[..., plane])
        is_large = total >= np.float32(2.0**-100)
        with np.errstate(divide="ignore", over="ignore"):
            inverse = np.where(is_large, case.range / total, np.float32(0)).astype(np.float32)
        d = np.where(is_large, total / case.range, np.float32(0)).astype(np.float32)
        steps = np.rint(scales * inverse[..., None]).astype(np.int64)
    elif case.params == "compact":
        d = matrix.scales[..., 0].astype(np.float32)
        steps = matrix.zeros[..., :-1].astype(np.int64)
    else:
        d = matrix.scales[..., 0].astype(np.float32)
        steps = np.broadcast_to(2 ** np.arange(case.bits), (*d.shape, case.bits))
    middle = 128 - matrix.zeros[..., -1].astype(np.int64) if case.params == "compact" else steps.sum(-1) >> 1
    codes = np.einsum("ngj,jngk->ngk", steps, matrix.bits_of.reshape(case.bits, len(d), -1, case.group).astype(np.int64))
    codes = codes - middle[..., None]
    return codes.reshape(len(d), -1), d.astype(np.float64), d * middle.astype(np.float64) + matrix.plane_zeros()


def check_product(y, arrays, case, isa, matrix):
    """The result against the formula of the op in float64, with a bound by the magnitude of the terms."""
    entries, scales, sums, offsets = arrays
    codes, d, zc = codes_of(case, matrix)
    assert -case.centre <= codes.min() and codes.max() < case.centre
    values = in_column_order(case, isa, entries)
    by_group = values.reshape(len(values), -1, case.table_group)
    np.testing.assert_array_equal(by_row(case, offsets), -case.centre * by_group.sum(-1))
    acc = np.einsum("mut,nut->mnu", by_group, codes.reshape(len(codes), -1, case.table_group))
    assert np.abs(acc).max() < 2**31
    partial = (acc * by_row(case, scales).astype(np.float64)[:, None]).reshape(len(values), len(codes), matrix.groups, -1).sum(-1)
    totals = by_row(case, sums).astype(np.float64).reshape(len(values), matrix.groups, -1).sum(-1)
    terms, centred = partial * d, totals[:, None] * zc
    magnitude = (np.abs(terms) + np.abs(centred)).sum(-1)
    assert (np.abs(y[:, : case.n] - (terms + centred).sum(-1)) <= 1e-5 * magnitude + 1e-30).all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_linear(kernels, case):
    isa, libraries = kernels
    rng = np.random.default_rng(len(case.name) + case.k)
    layout = make_layout(case, isa)
    matrix = reference.Matrix.random(layout, case.n, case.k, rng)
    # A group of zeros, one of denormal numbers, and one that rounding fills: all steps have the same fraction.
    matrix.scales[0, 0] = 0
    matrix.scales[1, 0] = np.finfo(layout.dtype).smallest_subnormal
    matrix.scales[2, 0] = 1
    x = rng.standard_normal((case.m, case.k)).astype(np.float32) + np.float32(0.3)
    x[0, : min(case.table_group, case.k)] = 0
    x[-1, -1] = -9

    arrays = round_rows(libraries, case, isa, x)
    columns, m_blocks, _, _ = shapes(case, layout)
    padded = np.zeros((m_blocks * case.m_tile, columns), np.float32)
    padded[: case.m, : case.k] = x
    grouped = padded.reshape(len(padded), -1, case.table_group)
    scales = np.abs(grouped).max(-1) / np.float32(case.limit)
    with np.errstate(divide="ignore"):
        inverse = np.where(scales > 0, np.float32(1) / scales, np.float32(0)).astype(np.float32)
    expected = np.rint(grouped * inverse[..., None]).astype(np.int64).reshape(len(padded), -1)
    np.testing.assert_array_equal(in_column_order(case, isa, arrays[0]), expected)
    np.testing.assert_array_equal(by_row(case, arrays[1]), scales)
    np.testing.assert_allclose(by_row(case, arrays[2]), grouped.astype(np.float64).sum(-1), rtol=0, atol=1e-4)

    y = multiply(libraries, case, layout, arrays, matrix.pack())
    check_product(y, arrays, case, isa, matrix)
    # The stated errors: half a step per entry, half a step of a code per plane (none where codes are exact), beside float sums.
    weights = matrix.dequantize()
    _, d, zc = codes_of(case, matrix)
    per_column = lambda values: np.repeat(values, case.group, axis=1)
    code_error = case.bits / 2 * np.abs(d) if case.params == "hlq" else 0 * d
    bound = np.abs(padded) @ per_column(code_error).T
    bound += np.repeat(scales / 2, case.table_group, axis=1) @ (np.abs(weights - per_column(zc)) + per_column(code_error)).T
    exact = padded.astype(np.float64) @ weights.T
    rounding = 1e-5 * (np.abs(padded) @ (np.abs(weights) + 2 * np.abs(per_column(zc))).T)
    assert (np.abs(y[:, : case.n] - exact) <= bound + rounding + 1e-6).all()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("case", [case for case in CASES if case.table_group >= 128], ids=lambda case: case.name)
def test_extremes(kernels, case, code, sign):
    """The longest sums of the largest products: nothing saturates or overflows."""
    isa, libraries = kernels
    layout = make_layout(case, isa)
    matrix = reference.Matrix.random(layout, case.n, case.k, np.random.default_rng(3))
    matrix.bits_of[:] = code
    matrix.bits_of[-1, ::2] = 1 - code
    x = np.full((case.m, case.k), sign * 3.5, np.float32)
    x[:, ::7] *= -1
    arrays = round_rows(libraries, case, isa, x)
    check_product(multiply(libraries, case, layout, arrays, matrix.pack()), arrays, case, isa, matrix)
