"""Runs the kernels that elutq-opt generates: vectors against scalar loops bit for bit, and both against NumPy.

Each module holds all cases of one instruction set, compiled twice; the cases call it by ctypes, or under qemu for AArch64.
"""

import ctypes
import os
import pathlib
import platform
import shutil
import subprocess
from dataclasses import dataclass

import emulator
import hlq_reference as reference
import numpy as np
import pytest

BUILD = pathlib.Path(os.environ.get("ELUTQ_BUILD_DIR", pathlib.Path(__file__).parents[2] / "build" / "release"))
LLVM_BIN = pathlib.Path(shutil.which("mlir-translate-22") or shutil.which("mlir-translate") or "/nonexistent").resolve().parent

LOWER = [
    "--convert-scf-to-cf",
    "--expand-strided-metadata",
    "--convert-vector-to-llvm=enable-amx=1",
    "--convert-math-to-llvm",
    "--convert-func-to-llvm=use-bare-ptr-memref-call-conv=1",
    "--finalize-memref-to-llvm",
    "--convert-arith-to-llvm",
    "--convert-index-to-llvm",
    "--convert-cf-to-llvm",
    "--reconcile-unrealized-casts",
]

AVX512 = ["-march=x86-64-v4"]
ISAS = {
    # isa: (lane, rows, compiler flags, flags of /proc/cpuinfo)
    "avx512amx": ("dword", 16, AVX512 + ["-mavx512vbmi", "-mavx512vnni", "-mamx-int8"], {"avx512vbmi", "avx512_vnni", "amx_tile", "amx_int8"}),
    "avx512vbmi": ("dword", 16, AVX512 + ["-mavx512vbmi", "-mavx512vnni"], {"avx512vbmi", "avx512_vnni", "avx512vl"}),
    "avx512bw": ("byte", 64, AVX512, {"avx512bw", "avx512vl"}),
    "avx2": ("byte", 32, ["-march=x86-64-v3"], {"avx2", "fma", "f16c"}),
    "generic": ("byte", 16, ["-march=native"], {"avx2", "fma", "f16c"}),
    # Tables of 64 bytes where no instruction looks them up.
    "avx512bw-dword": ("dword", 16, AVX512, {"avx512bw", "avx512vl"}),
    "avx2-dword": ("dword", 16, ["-march=x86-64-v3"], {"avx2", "fma", "f16c"}),
    "generic-dword": ("dword", 16, ["-march=native"], {"avx2", "fma", "f16c"}),
    # Run by an emulator, so no flag of this machine matters.
    "neon": ("byte", 16, emulator.clang_flags("neon"), set()),
    "neon-dword": ("dword", 16, emulator.clang_flags("neon"), set()),
    "neon_dotprod": ("byte", 16, emulator.clang_flags("neon_dotprod"), set()),
    "neon_dotprod-dword": ("dword", 16, emulator.clang_flags("neon_dotprod"), set()),
}


@dataclass(frozen=True)
class Case:
    bits: int
    group: int
    table_group: int
    m: int
    n: int
    k: int
    m_tile: int = 4
    params: str = "hlq"
    param_type: str = "f16"
    zero_point: int = 0
    table_bits: int = 8

    @property
    def name(self):
        return (
            f"w{self.bits}g{self.group}t{self.table_group}m{self.m}n{self.n}k{self.k}x{self.m_tile}"
            f"{self.params}_{self.param_type}z{self.zero_point}e{self.table_bits}"
        )


CASES = [
    # Every width, M below, at and above the tile, N and K ragged.
    Case(1, 32, 32, 1, 19, 70, 1),
    Case(2, 32, 32, 3, 33, 90),
    Case(3, 64, 64, 8, 16, 200, 8),
    Case(4, 128, 128, 3, 40, 300),
    Case(4, 128, 128, 9, 70, 130, 8),
    # Two groups in one step of dword lanes; table groups smaller than a step.
    Case(2, 16, 16, 3, 20, 90),
    Case(4, 16, 16, 1, 64, 64, 1, "uniform"),
    Case(3, 64, 16, 2, 17, 100, 2),
    # Several table groups per group, unrolled and in a loop.
    Case(2, 256, 128, 3, 33, 400),
    Case(2, 256, 128, 3, 33, 400, 4, "uniform"),
    Case(4, 512, 64, 2, 20, 500, 2),
    Case(4, 512, 64, 2, 20, 500, 2, "symmetric", "f32", 8),
    # Parameters.
    Case(2, 32, 32, 3, 20, 100, 4, "uniform", "f32"),
    Case(4, 128, 128, 3, 20, 200, 4, "uniform"),
    Case(4, 32, 32, 3, 20, 100, 4, "symmetric", "f16", 8),
    Case(3, 32, 32, 1, 20, 100, 1, "symmetric", "f32", 3),
    Case(4, 64, 64, 2, 35, 64, 2, "hlq", "f32"),
    # Compact parameters: every width, one row and several, two groups in a step, several table groups, the longest sums.
    Case(1, 32, 32, 1, 19, 70, 1, "compact"),
    Case(2, 16, 16, 3, 20, 90, 4, "compact"),
    Case(3, 64, 64, 8, 35, 200, 8, "compact"),
    Case(4, 128, 128, 1, 40, 300, 1, "compact", table_bits=16),
    Case(4, 128, 128, 9, 70, 300, 8, "compact", "f32"),
    Case(4, 512, 64, 2, 20, 500, 2, "compact", table_bits=16),
    Case(3, 1024, 1024, 3, 33, 2000, 4, "compact", table_bits=16),
    Case(2, 128, 128, 17, 40, 1700, 8, "compact", table_bits=16),
    # The longest 16-bit sums.
    Case(2, 256, 256, 3, 64, 300),
    Case(1, 1024, 1024, 3, 33, 1024),
    Case(4, 1024, 1024, 1, 20, 2000, 1, "uniform"),
    # More units than one pass over the row blocks takes (table-bytes=16384).
    Case(2, 128, 128, 17, 40, 1700, 8),
    Case(4, 32, 32, 4, 24, 4500, 1),
    # Tables of 16 bits: shared by all planes or not, combined planes, two groups in a step, the longest sums, two passes.
    Case(4, 128, 128, 1, 40, 300, 1, table_bits=16),
    Case(3, 64, 64, 9, 35, 200, 8, table_bits=16),
    Case(4, 16, 16, 3, 20, 90, 2, "uniform", table_bits=16),
    Case(4, 512, 64, 2, 20, 500, 2, "symmetric", "f32", 8, table_bits=16),
    Case(2, 1024, 1024, 3, 33, 2000, 4, table_bits=16),
    Case(2, 128, 128, 17, 40, 1700, 8, table_bits=16),
]


def cases_of(isa):
    """Tables of 64 bytes in generic code take minutes to compile: single rows show that they work."""
    return [case for case in CASES if isa != "generic-dword" or (case.m_tile == 1 and case.k <= 300)]


def each_case(condition=lambda case: True):
    """Parametrizes a test by instruction set and case."""
    pairs = [pytest.param(isa, case, id=f"{isa}-{case.name}") for isa in ISAS for case in cases_of(isa) if condition(case)]
    return pytest.mark.parametrize("kernels, case", pairs, indirect=["kernels"])


def shapes(case, layout):
    columns = reference.Matrix.random(layout, 1, case.k, np.random.default_rng(0)).groups * case.group
    m_blocks, n_blocks = -(-case.m // case.m_tile), -(-case.n // layout.rows)
    units = columns // layout.unit_columns
    planes = case.bits * layout.unit_columns // layout.step_columns * layout.rows * (4 if layout.lane == "dword" else 1)
    unit_bytes = planes + layout.unit_columns // case.group * layout.group_param_bytes
    return columns, m_blocks, n_blocks, -(-units * unit_bytes // 64) * 64


def make_layout(case, isa):
    lane, rows, _, _ = ISAS[isa]
    return reference.Layout(lane, rows, case.bits, case.group, case.params, case.param_type, case.zero_point)


def module(isa):
    text = []
    for case in cases_of(isa):
        layout = make_layout(case, isa)
        columns, m_blocks, n_blocks, block_bytes = shapes(case, layout)
        tables = f"memref<{m_blocks}x{columns // 16}x{case.m_tile}x{8 * case.table_bits}xi8>"
        groups = f"memref<{m_blocks}x{columns // case.table_group}x{case.m_tile}xf32>"
        x, packed = f"memref<{case.m}x{case.k}xf32>", f"memref<{n_blocks}x{block_bytes}xi8>"
        y = f"memref<{m_blocks * case.m_tile}x{n_blocks * layout.rows}xf32>"
        rows = f"memref<{case.m}x{columns - 5 if case.group > 16 else columns}xf32>"
        kernel = f'#hlq.kernel<isa = "{isa}", algorithm = "lut", m_tile = {case.m_tile}, n_tile = 4, table_bits = {case.table_bits}>'
        text.append(f"""
func.func @build_{case.name}(%x: {x}, %t: {tables}, %s: {groups}, %u: {groups}) {{
  hlq.build_lut ins(%x : {x}) outs(%t, %s, %u : {tables}, {groups}, {groups})
    {{table_group = {case.table_group} : i64, lane = {int(layout.lane == "dword")} : i32}}
  return
}}
func.func @matmul_{case.name}(%t: {tables}, %s: {groups}, %u: {groups}, %w: {packed}, %y: {y}) {{
  hlq.lut_matmul ins(%t, %s, %u, %w : {tables}, {groups}, {groups}, {packed}) outs(%y : {y})
    {{layout = {layout}, kernel = {kernel}, table_group = {case.table_group} : i64}}
  return
}}
func.func @gather_{case.name}(%i: memref<{case.m}xi64>, %w: {packed}, %y: {rows}) {{
  hlq.packed_gather ins(%i, %w : memref<{case.m}xi64>, {packed}) outs(%y : {rows}) {{layout = {layout}}}
  return
}}""")
    return "\n".join(text)


def compile_module(folder, isa, lowering, text):
    source, llvm, library = (folder / f"{lowering}{suffix}" for suffix in (".mlir", ".ll", ".so"))
    source.write_text(text)
    opt = [BUILD / "bin" / "elutq-opt", source, f"--convert-hlq-to-{lowering}"]
    opt += [f"--convert-hlq-to-llvm=isa={isa.removesuffix('-dword')}", *LOWER]
    lowered = subprocess.run(opt, check=True, capture_output=True, text=True).stdout
    translate = [LLVM_BIN / "mlir-translate", "--mlir-to-llvmir", "-o", llvm]
    subprocess.run(translate, input=lowered, check=True, text=True)
    emulated = isa.startswith("neon")
    flags = ISAS[isa][2] if lowering == "vector" or emulated else ISAS["avx2"][2]
    clang = [LLVM_BIN / "clang", "-x", "ir", llvm, "-shared", "-fPIC", "-o", library, "-lm", "-Wno-override-module"]
    subprocess.run([*clang, "-O2" if lowering == "vector" else "-O1", *flags], check=True)
    return emulator.Library(library, isa.removesuffix("-dword")) if emulated else ctypes.CDLL(str(library))


def compile_libraries(folder, isa, text):
    """The module `text` as a library, by loops and by vectors."""
    return {lowering: compile_module(folder, isa, lowering, text) for lowering in ("loops", "vector")}


def close_libraries(libraries):
    for library in libraries.values():
        if isinstance(library, emulator.Library):
            library.close()


def host_flags():
    if platform.machine() != "x86_64":
        return set()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compiles the cases of an instruction set when they are first asked for."""
    known = {}

    def get(isa):
        if isa not in known:
            known[isa] = compile_libraries(tmp_path_factory.mktemp(isa), isa, module(isa))
        return known[isa]

    yield get
    for libraries in known.values():
        close_libraries(libraries)


def permits_tiles():
    """Asks Linux for the registers of tiles (arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), as the runtime does."""
    return ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


def skip_unless_runnable(isa):
    if not ISAS[isa][3] <= host_flags() or (isa == "avx512amx" and not permits_tiles()):
        pytest.skip(f"this machine lacks {isa}")
    if isa.startswith("neon"):
        emulator.skip_unless_available()


@pytest.fixture
def kernels(request, compiled):
    skip_unless_runnable(request.param)
    return request.param, compiled(request.param)


def call(library, name, *arrays):
    if isinstance(library, emulator.Library):
        return library.call(name, arrays)
    getattr(library, name)(*(ctypes.c_void_p(array.ctypes.data) for array in arrays))


def aligned(shape, dtype, fill):
    """An array at a 64-byte boundary, full of what no kernel writes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.full(size + 64, fill, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def build(libraries, case, layout, x):
    columns, m_blocks, _, _ = shapes(case, layout)
    results = {}
    for lowering, library in libraries.items():
        tables = aligned((m_blocks, columns // 16, case.m_tile, 8 * case.table_bits), np.uint8, 0x5A)
        scales = aligned((m_blocks, columns // case.table_group, case.m_tile), np.float32, 0x5A)
        sums = aligned(scales.shape, np.float32, 0x5A)
        call(library, f"build_{case.name}", x, tables, scales, sums)
        results[lowering] = (tables, scales, sums)
    for loops, vector in zip(results["loops"], results["vector"]):
        np.testing.assert_array_equal(loops.view(np.uint8), vector.view(np.uint8))
    return results["vector"]


def multiply(libraries, case, layout, tables, packed):
    results = []
    for library in libraries.values():
        shape = (tables[0].shape[0] * case.m_tile, packed.shape[0] * layout.rows)
        y = aligned(shape, np.float32, 0x5A)
        call(library, f"matmul_{case.name}", *tables, packed, y)
        results.append(y)
    np.testing.assert_array_equal(results[0].view(np.uint32), results[1].view(np.uint32))
    return results[0]


def check_product(y, tables, matrix, case):
    expected, magnitude = reference.product(*tables, matrix, case.table_group)
    # f32 sums of some hundred terms: a bound on each result by the magnitude of its terms.
    error = np.abs(y[:, : expected.shape[1]] - expected)
    assert (error <= 1e-5 * magnitude + 1e-30).all()


@each_case()
def test_linear(kernels, case):
    isa, libraries = kernels
    rng = np.random.default_rng(len(case.name))
    layout = make_layout(case, isa)
    matrix = reference.Matrix.random(layout, case.n, case.k, rng)
    columns, _, _, block_bytes = shapes(case, layout)
    packed = matrix.pack()
    assert packed.shape[1] == block_bytes
    x = rng.standard_normal((case.m, case.k)).astype(np.float32) + np.float32(0.3)
    x[0, : min(case.table_group, case.k)] = 0

    tables = build(libraries, case, layout, x)
    expected = reference.build_tables(x, case.m_tile, case.table_group, columns, layout.lane, case.table_bits)
    np.testing.assert_array_equal(tables[0], expected[0])
    np.testing.assert_array_equal(tables[1], expected[1])
    np.testing.assert_allclose(tables[2], expected[2], rtol=0, atol=1e-4)

    y = multiply(libraries, case, layout, tables, packed)
    check_product(y, tables, matrix, case)
    # The tables' rounding is the only difference to the product in float.
    exact = x.astype(np.float64) @ matrix.dequantize()[:, : case.k].T
    bound = np.abs(matrix.plane_scales()).sum((1, 2)) * case.group / 8 * tables[1].max() + 1e-3
    assert (np.abs(y[: case.m, : case.n] - exact) <= bound).all()


@pytest.mark.parametrize("fill", [0x00, 0x7F, 0x80, 0xFF])
@each_case(lambda case: case.table_group >= 128)
def test_extreme_tables(kernels, case, fill):
    isa, libraries = kernels
    rng = np.random.default_rng(fill)
    layout = make_layout(case, isa)
    matrix = reference.Matrix.random(layout, case.n, case.k, rng)
    columns, m_blocks, _, _ = shapes(case, layout)
    tables = np.full((m_blocks, columns // 16, case.m_tile, 8 * case.table_bits), fill, np.uint8)
    scales = rng.random((m_blocks, columns // case.table_group, case.m_tile), np.float32)
    sums = rng.standard_normal(scales.shape).astype(np.float32)
    y = multiply(libraries, case, layout, (tables, scales, sums), matrix.pack())
    check_product(y, (tables, scales, sums), matrix, case)


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-38, 1e30])
@pytest.mark.parametrize("kernels", [isa for isa in ISAS if isa != "generic-dword"], indirect=True)
def test_extreme_activations(kernels, scale):
    isa, libraries = kernels
    case = CASES[3]
    x = (np.random.default_rng(1).standard_normal((case.m, case.k)) * scale).astype(np.float32)
    tables, scales, _ = build(libraries, case, make_layout(case, isa), x)
    assert np.isfinite(scales).all()
    if scale in (0.0, 1e-45):
        assert not scales.any()


@each_case()
def test_gather(kernels, case):
    isa, libraries = kernels
    rng = np.random.default_rng(7)
    layout = make_layout(case, isa)
    matrix = reference.Matrix.random(layout, case.n, case.k, rng)
    columns = shapes(case, layout)[0]
    indices = rng.integers(0, case.n, case.m)
    indices[-1] = case.n - 1
    packed = matrix.pack()
    results = []
    for library in libraries.values():
        y = aligned((case.m, columns - 5 if case.group > 16 else columns), np.float32, 0x5A)
        call(library, f"gather_{case.name}", indices, packed, y)
        results.append(y)
    np.testing.assert_array_equal(results[0].view(np.uint32), results[1].view(np.uint32))
    expected = matrix.dequantize()[indices][:, : results[0].shape[1]]
    np.testing.assert_allclose(results[0], expected, rtol=1e-6, atol=1e-6)
