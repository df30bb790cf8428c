"""Runs lm.attention and lm.cache_append: vectors against scalar loops bit for bit, chunks and parts against each other, all against NumPy."""

from dataclasses import dataclass

import ctypes
import subprocess

import emulator
import numpy as np
import pytest
from test_hlq_kernels import BUILD, ISAS, LLVM_BIN, aligned, call, skip_unless_runnable

BLOCK = 64


@dataclass(frozen=True)
class Case:
    heads: int
    kv_heads: int
    size: int
    capacity: int
    rows: int
    kv: str = "f16"
    window: int = 0
    softcap: float = 0.0
    part: int = 64
    slots: int = 4

    @property
    def name(self):
        return (f"h{self.heads}_{self.kv_heads}d{self.size}c{self.capacity}m{self.rows}{self.kv}w{self.window}"
                f"s{int(self.softcap)}p{self.part}")

    @property
    def dtype(self):
        return {"f16": np.float16, "f32": np.float32, "int8": np.int8}[self.kv]

    @property
    def parts(self):
        return (self.window + self.part - 2) // self.part + 1 if self.window else -(-self.capacity // self.part)

    @property
    def scale(self):
        return np.float32(1 / np.sqrt(self.size))


CASES = [
    # One query head per KV head; several; a group that is no divisor of a tile; more heads in a group than a tile has rows.
    Case(2, 2, 32, 192, 7),
    Case(4, 1, 64, 256, 8, window=100),
    Case(6, 2, 48, 256, 5, part=128),
    Case(14, 2, 16, 128, 3, window=40, softcap=30.0),
    Case(10, 1, 16, 128, 4, "f32"),
    # A ring that the parts do not divide.
    Case(4, 2, 32, 192, 16, window=150, part=128),
    Case(4, 2, 32, 192, 16, "int8", window=150, part=128),
    Case(8, 1, 80, 256, 6, "int8", softcap=20.0),
    # A head that is no multiple of 16 wide: scalar loops only.
    Case(2, 1, 24, 128, 3, "int8"),
]
LOOPS_FLAGS = ["-march=x86-64-v3"]


def module():
    text = []
    for case in CASES:
        element = {"int8": "i8"}.get(case.kv, case.kv)
        key = f"memref<{case.kv_heads}x{case.capacity // BLOCK}x{case.size}x{BLOCK}x{element}>"
        value = f"memref<{case.kv_heads}x{case.capacity}x{case.size}x{element}>"
        scales = f"memref<{case.kv_heads}x{case.capacity}xf32>"
        places = -(-case.parts // case.slots)
        sums = f"memref<{case.heads}x{case.slots}x{places}x{case.size}xf32>"
        stats = f"memref<{case.heads}x{case.slots}x{places}x2xf32>"
        update = f"memref<{case.rows}x{case.kv_heads}x{case.size}xf32>"
        quantized = case.kv == "int8"
        scaled = f" scales(%ks, %vs : {scales}, {scales})" if quantized else ""
        attributes = (f"scale = {case.scale:.9f} : f32, window = {case.window} : i64, softcap = {case.softcap:.6f} : f32, "
                      f"part = {case.part} : i64")
        caches = f"%k: {key}, %ks: {scales}, %v: {value}, %vs: {scales}"
        numbers = "%numbers: memref<2xi64>"
        read = ("%c0 = arith.constant 0 : index\n%c1 = arith.constant 1 : index\n%p64 = memref.load %numbers[%c0] : memref<2xi64>\n"
                "%n64 = memref.load %numbers[%c1] : memref<2xi64>\n%p = arith.index_cast %p64 : i64 to index\n"
                "%n = arith.index_cast %n64 : i64 to index\n")

        def append(new, cache, type, scale):
            outs = f"%{cache}, %{scale} : {type}, {scales}" if quantized else f"%{cache} : {type}"
            return f"lm.cache_append ins(%{new}, %p, %n : {update}) outs({outs})\n"

        q = f"memref<{case.rows}x{case.heads}x{case.size}xf32>"
        one = f"memref<1x{case.heads}x{case.size}xf32>"
        text.append(f"""
func.func @append_{case.name}({numbers}, %x: {update}, %y: {update}, {caches}) {{
{read}{append("x", "k", key, "ks")}{append("y", "v", value, "vs")}return
}}
func.func @attend_{case.name}({numbers}, %q: {q}, {caches}, %o: {q}) {{
{read}lm.attention ins(%q, %k, %v, %p : {q}, {key}, {value}){scaled} outs(%o : {q}) {{{attributes}}}
return
}}
func.func @decode_{case.name}({numbers}, %q: {one}, {caches}, %o: {one}) {{
{read}lm.attention ins(%q, %k, %v, %p : {one}, {key}, {value}){scaled} outs(%o : {one}) {{{attributes}}}
return
}}
func.func @parts_{case.name}({numbers}, %q: {one}, {caches}, %s: {sums}, %t: {stats}) {{
{read}lm.attention_parts ins(%q, %k, %v, %p, %c0 : {one}, {key}, {value}){scaled} outs(%s, %t : {sums}, {stats})
  {{{attributes}, slots = {case.slots} : i64}}
return
}}
func.func @merge_{case.name}({numbers}, %s: {sums}, %t: {stats}, %o: {one}) {{
{read}lm.merge_parts ins(%s, %t, %p : {sums}, {stats}) outs(%o : {one}) {{window = {case.window} : i64, part = {case.part} : i64}}
return
}}""")
    return "\n".join(text)


def compile_module(folder, name, lowering, flags, isa):
    source, llvm, library = (folder / f"{name}{suffix}" for suffix in (".mlir", ".ll", ".so"))
    source.write_text(module())
    opt = BUILD / "bin" / "elutq-opt"
    pipeline = f"builtin.module(func.func({lowering},canonicalize,cse))"
    lowered = subprocess.run([opt, source, f"--pass-pipeline={pipeline}"], check=True, capture_output=True, text=True).stdout
    lowered = subprocess.run([opt, "--elutq-lower-to-llvm"], input=lowered, check=True, capture_output=True, text=True).stdout
    subprocess.run([LLVM_BIN / "mlir-translate", "--mlir-to-llvmir", "-o", llvm], input=lowered, check=True, text=True)
    clang = [LLVM_BIN / "clang", "-x", "ir", llvm, "-shared", "-fPIC", "-o", library, "-lm", "-Wno-override-module", "-O1", *flags]
    subprocess.run(clang, check=True)
    return emulator.Library(library, isa) if isa.startswith("neon") else ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    skip_unless_runnable("avx2")
    return compile_module(tmp_path_factory.mktemp("loops"), "loops", "convert-lm-to-loops", LOOPS_FLAGS, "avx2")


@pytest.fixture(scope="module", params=["avx512vbmi", "avx2", "neon"])
def vectors(request, tmp_path_factory):
    isa = request.param
    skip_unless_runnable(isa)
    accumulators = 16 if isa.startswith("avx512") else 6
    library = compile_module(tmp_path_factory.mktemp(isa), isa, f"convert-lm-to-vector{{accumulators={accumulators}}}", ISAS[isa][2], isa)
    yield library
    if isinstance(library, emulator.Library):
        library.close()


class Caches:
    """Keys, values and their scales; what was never written is NaN, or -1 in i8."""

    def __init__(self, case):
        shape = (case.kv_heads, case.capacity)
        self.arrays = [aligned((case.kv_heads, case.capacity // BLOCK, case.size, BLOCK), case.dtype, 0xFF),
                       aligned(shape, np.float32, 0xFF), aligned((*shape, case.size), case.dtype, 0xFF), aligned(shape, np.float32, 0xFF)]

    def rows(self, case):
        """Keys and values `[heads, capacity, size]` in float64, as stored."""
        key, key_scales, value, value_scales = (array.astype(np.float64) for array in self.arrays)
        key = key.transpose(0, 1, 3, 2).reshape(value.shape)
        return (key * key_scales[..., None], value * value_scales[..., None]) if case.kv == "int8" else (key, value)


def numbers(position, count):
    return np.array([position, count], np.int64)


def run(library, case, q, k, v, steps):
    """Appends and attends in chunks of `steps` rows; gives results and caches."""
    caches, results, position = Caches(case), [], 0
    while position < len(q):
        count = min(steps[len(results) % len(steps)], len(q) - position)
        padded = [np.full((case.rows, *array.shape[1:]), np.nan, np.float32) for array in (q, k, v)]
        for pad, array in zip(padded, (q, k, v)):
            pad[:count] = array[position : position + count]
        out = aligned(padded[0].shape, np.float32, 0x5A)
        call(library, f"append_{case.name}", numbers(position, count), *padded[1:], *caches.arrays)
        call(library, f"attend_{case.name}", numbers(position, count), padded[0], *caches.arrays, out)
        results.append(out[:count].copy())
        position += count
    return np.concatenate(results), caches


def decode(library, case, q, k, v, parts):
    """The same one row at a time, in one piece or by parts."""
    caches, results = Caches(case), []
    places = -(-case.parts // case.slots)
    for position in range(len(q)):
        update = [np.full((case.rows, *array.shape[1:]), np.nan, np.float32) for array in (k, v)]
        for pad, array in zip(update, (k, v)):
            pad[0] = array[position]
        call(library, f"append_{case.name}", numbers(position, 1), *update, *caches.arrays)
        row, out = np.ascontiguousarray(q[position : position + 1]), aligned((1, *q.shape[1:]), np.float32, 0x5A)
        if parts:
            sums = aligned((case.heads, case.slots, places, case.size), np.float32, 0xFF)
            stats = aligned((case.heads, case.slots, places, 2), np.float32, 0xFF)
            call(library, f"parts_{case.name}", numbers(position, 1), row, *caches.arrays, sums, stats)
            call(library, f"merge_{case.name}", numbers(position, 1), sums, stats, out)
        else:
            call(library, f"decode_{case.name}", numbers(position, 1), row, *caches.arrays, out)
        results.append(out.copy())
    return np.concatenate(results)


def stored(case, rows):
    """What a cache keeps of the rows, in float64, and a bound on what it loses of a number."""
    if case.kv != "int8":
        return rows.astype(case.dtype).astype(np.float64)
    scale = np.abs(rows).max(-1, keepdims=True) * np.float32(1 / 127)
    inverse = np.where(scale >= np.float32(2**-126), np.float32(1) / np.where(scale > 0, scale, 1), np.float32(0)).astype(np.float32)
    return np.rint(rows * inverse).astype(np.float64) * scale.astype(np.float64)


def reference(case, q, k, v):
    """Attention in float64 on keys and values as given."""
    group = case.heads // case.kv_heads
    k, v = (np.repeat(array.astype(np.float64), group, 1) for array in (k, v))
    a = np.einsum("mhd,phd->hmp", q.astype(np.float64), k) * float(case.scale)
    if case.softcap:
        a = case.softcap * np.tanh(a / case.softcap)
    rows = np.arange(len(q))
    seen = rows[None, :] <= rows[:, None]
    if case.window:
        seen &= rows[None, :] > rows[:, None] - case.window
    a = np.where(seen, a, -np.inf)
    w = np.exp(a - a.max(-1, keepdims=True))
    w /= w.sum(-1, keepdims=True)
    return np.einsum("hmp,phd->mhd", w, v)


def inputs(case, kind):
    rng = np.random.default_rng(len(case.name) + case.size)
    count = case.capacity if not case.window else case.capacity + 3 * case.rows + 1
    q, k, v = (rng.standard_normal((count, heads, case.size)).astype(np.float32) + np.float32(0.1)
               for heads in (case.heads, case.kv_heads, case.kv_heads))
    if kind == "equal":
        k[:] = k[0]
    elif kind == "outliers":
        k[:, :, 3] *= 60
        v[5::7] *= 300
        q[2::5] *= 8
    elif kind == "tiny":
        k *= np.float32(1e-30)
        v *= np.float32(1e-30)
    elif kind == "zero":
        k[1::3], v[::2] = 0, 0
    return q, k, v


def same_bits(first, second):
    np.testing.assert_array_equal(first.view(np.uint32), second.view(np.uint32))


KINDS = ["normal", "equal", "outliers", "tiny", "zero"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loops_agree_with_numpy(loops, case, kind):
    q, k, v = inputs(case, kind)
    result, caches = run(loops, case, q, k, v, [case.rows])
    if case.capacity >= len(q):
        keys, values = (array[:, : len(q)].transpose(1, 0, 2) for array in caches.rows(case))
        np.testing.assert_array_equal(keys, stored(case, k))
        np.testing.assert_array_equal(values, stored(case, v))
    expected = reference(case, q, stored(case, k), stored(case, v))
    # Scores are sums of up to `size` products in f32; an error of a score is a relative one of its weight.
    score = np.abs(q).max() * np.abs(k).max() * case.size * float(case.scale)
    score = min(score, case.softcap) if case.softcap else score
    bound = 3e-6 * (1 + score) * np.abs(v).max() + 1e-37
    assert np.abs(result - expected).max() <= bound


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [case for case in CASES if case.kv == "int8"], ids=lambda case: case.name)
def test_error_of_int8(loops, case, kind):
    """A number loses at most half a step of its row; so the error of a score, of a weight and of the result is bounded."""
    q, k, v = inputs(case, kind)
    result, _ = run(loops, case, q, k, v, [case.rows])
    step_k, step_v = np.abs(k).max(-1).max(0) / 254, np.abs(v).max() / 254
    score = (np.abs(q).sum(-1).max(0).reshape(case.kv_heads, -1).max(-1) * step_k).max() * float(case.scale)
    bound = step_v + 2 * np.abs(v).max() * np.expm1(np.minimum(2 * score, 50)) + 1e-4 * np.abs(v).max()
    assert np.abs(result - reference(case, q, k, v)).max() <= bound


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vectors_give_the_bits_of_loops(loops, vectors, case, kind):
    data = inputs(case, kind)
    expected, caches = run(loops, case, *data, [case.rows])
    # Chunks of other sizes, too.
    result, written = run(vectors, case, *data, [1, case.rows, 2, max(case.rows - 1, 1)])
    same_bits(result, expected)
    for first, second in zip(caches.arrays, written.arrays):
        np.testing.assert_array_equal(first.view(np.uint8), second.view(np.uint8))


@pytest.mark.parametrize("parts", [False, True], ids=["whole", "parts"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decode_gives_the_bits_of_prefill(loops, vectors, case, parts):
    data = inputs(case, "normal")
    expected, _ = run(loops, case, *data, [case.rows])
    same_bits(decode(vectors, case, *data, parts), expected)
    if parts:
        same_bits(decode(loops, case, *data, parts), expected)
