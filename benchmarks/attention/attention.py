"""Speed of lm.attention alone, beside the read bandwidth of the same run.

    attention.py [--build build/release] [--threads 1,2] [--kv-cache f16,int8] [--mcpu native] [--isa avx512vbmi] [--json FILE]

Compiles a chain of attention ops of each shape through the compiler's own stages, links it with the runtime's thread pool and times
decode at a full context (cache bytes per second, as a share of what reading the same memory reaches) and prefill in chunks of 64
(floating-point operations per second). Prints a table; the JSON file holds a list of rows.
"""
import argparse
import ctypes
import json
import mmap
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LLVM = pathlib.Path(os.environ.get("ELUTQ_LLVM_BIN", "/usr/lib/llvm-22/bin"))
CHUNK = 64
HUGE_PAGE = 2 << 20
# Seconds.
TURN = 0.05
GOAL = 0.8


@dataclass(frozen=True)
class Shape:
    name: str
    heads: int
    kv_heads: int
    size: int
    context: int
    window: int = 0
    layers: int = 1

    @property
    def capacity(self):
        slots = min(self.window + CHUNK, self.context) if self.window else self.context
        return (slots + 63) // 64 * 64


# As many layers as make the caches larger than the processor's.
DECODE = [Shape("7B, 8k", 32, 32, 128, 8192, layers=2), Shape("GQA 32/8, 8k", 32, 8, 128, 8192, layers=8),
          Shape("Gemma 270M, window 512", 4, 1, 256, 1024, 512)]
PREFILL = [Shape("Gemma 270M, window 512", 4, 1, 256, 1024, 512), Shape("7B, 512", 32, 32, 128, 1024),
           Shape("GQA 32/8, 512", 32, 8, 128, 1024)]


def module(shape: Shape, rows: int, kv: str) -> str:
    """Layers in a chain: the query of each is what the one before gave."""
    element = {"int8": "i8"}.get(kv, kv)
    q = f"tensor<{rows}x{shape.heads}x{shape.size}xf32>"
    key = f"tensor<{shape.kv_heads}x{shape.capacity // 64}x{shape.size}x64x{element}>"
    value = f"tensor<{shape.kv_heads}x{shape.capacity}x{shape.size}x{element}>"
    scales = f"tensor<{shape.kv_heads}x{shape.capacity}xf32>"
    per_layer = [("k", key), ("v", value)] + ([("ks", scales), ("vs", scales)] if kv == "int8" else [])
    caches = [(f"%{name}{i}", type) for i in range(shape.layers) for name, type in per_layer]
    width = shape.heads * shape.size
    lines = [f"%q0 = arith.constant dense_resource<query> : {q}"]
    for i in range(shape.layers):
        extra = f" scales(%ks{i}, %vs{i} : {scales}, {scales})" if kv == "int8" else ""
        lines += [f"%e{i} = tensor.empty() : {q}",
                  f"%q{i + 1} = lm.attention ins(%q{i}, %k{i}, %v{i}, %position : {q}, {key}, {value}){extra} outs(%e{i} : {q}) "
                  f"{{scale = 0.0883883461 : f32, window = {shape.window} : i64}} -> {q}"]
    lines += [f"%flat = tensor.collapse_shape %q{shape.layers} [[0], [1, 2]] : {q} into tensor<{rows}x{width}xf32>",
              "return " + ", ".join(["%flat"] + [name for name, _ in caches]) + " : "
              + ", ".join([f"tensor<{rows}x{width}xf32>"] + [type for _, type in caches])]
    arguments = ", ".join(f"{name}: {type}" for name, type in caches)
    results = ", ".join([f"tensor<{rows}x{width}xf32>"] + [type for _, type in caches])
    return (f"func.func @step(%tokens: tensor<{rows}xi64>, %count: index, %position: index, {arguments}) -> ({results}) {{\n"
            + "\n".join(lines) + "\n}\n")


def run(*command: object, **options) -> str:
    try:
        return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, **options).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"attention.py: error: {error}")


class Compiled:
    """One entry, its memory full of small random numbers."""

    def __init__(self, shape: Shape, rows: int, kv: str, args: argparse.Namespace, folder: pathlib.Path):
        opt = pathlib.Path(args.build) / "bin" / "elutq-opt"
        lowered = run(opt, "-elutq-tile-and-bufferize", f"-elutq-vectorize=isa={args.isa}", f"-elutq-lower-to-llvm=isa={args.isa}",
                      input=module(shape, rows, kv))
        (folder / "step.mlir").write_text(lowered)
        run(LLVM / "mlir-translate", "--mlir-to-llvmir", folder / "step.mlir", "-o", folder / "step.ll")
        library = folder / f"{len(list(folder.glob('*.so')))}.so"
        run(LLVM / "clang++", "-std=c++17", "-O3", f"-march={args.mcpu}", "-ffp-contract=off", "-mprefer-vector-width=512", "-shared", "-fPIC",
            "-Wno-override-module", f"-I{SOURCE}/runtime/include", f"-I{SOURCE}/runtime/lib", folder / "step.ll",
            SOURCE / "benchmarks/attention/driver.cpp", SOURCE / "runtime/lib/ThreadPool.cpp", SOURCE / "runtime/lib/Trace.cpp", SOURCE / "runtime/lib/Json.cpp", "-lpthread", "-lm", "-o", library)
        self.library = ctypes.CDLL(str(library))
        self.library.bench_read.restype = self.library.bench_step.restype = ctypes.c_double

        def number(name):
            return int(re.search(name + r" = (\d+) : i64", lowered).group(1))

        rng = np.random.default_rng(1)
        self.arena = self.memory(number("arena_bytes"))
        self.weights = self.memory(number("weights_bytes"))
        self.weights.view(np.float32)[:] = rng.standard_normal(self.weights.size // 4)
        self.cache = self.memory(number("cache_bytes"))
        # Bytes that are small finite numbers in f16 and f32, and any number in i8.
        self.cache.view(np.uint16)[:] = 0x2C00 + rng.integers(0, 0x400, 4096, np.uint16).repeat(-(-self.cache.size // 8192))[: self.cache.size // 2]
        self.result = np.zeros(rows * shape.heads * shape.size, np.float32)
        self.tokens = np.zeros(rows, np.int64)
        self.rows = rows

    @staticmethod
    def memory(size: int) -> np.ndarray:
        """Huge pages where there are any, as the runtime asks for them."""
        pages = mmap.mmap(-1, max(-(-size // HUGE_PAGE), 1) * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pages.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(pages, np.uint8, size)

    def call(self, position: int, steps: int = 1) -> float:
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (self.arena, self.weights, self.cache, self.result)]
        return self.library.bench_step(ctypes.c_void_p(self.tokens.ctypes.data), ctypes.c_int64(self.rows), ctypes.c_int64(position),
                                       *pointers, ctypes.c_int(steps))

    def read(self) -> float:
        return self.library.bench_read(ctypes.c_void_p(self.cache.ctypes.data), ctypes.c_int64(self.cache.size))


def repeat(body, seconds: float) -> float:
    """The fastest of as many calls as fit into the time, three at least."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        times.append(body())
    return min(times)


def decode(shape: Shape, kv: str, threads: list, args: argparse.Namespace, folder: pathlib.Path) -> list:
    compiled, rows = Compiled(shape, 1, kv, args, folder), []
    seen = min(shape.window or shape.context, shape.context)
    size = {"f16": 2 * shape.size, "f32": 4 * shape.size, "int8": shape.size + 4}[kv]
    bytes_read = 2 * shape.layers * shape.kv_heads * seen * size
    for count in threads:
        compiled.library.bench_set_threads(count)
        steps = max(1, int(1e-3 / compiled.call(shape.context - 1)))
        step = lambda: compiled.call(shape.context - 1, steps)  # noqa: E731
        # Bandwidth wanders from second to second on a virtual machine: each turn of steps has one of reading beside it.
        turns, end = [], time.perf_counter() + args.seconds
        while len(turns) < 5 or time.perf_counter() < end:
            turns.append((repeat(step, TURN), repeat(compiled.read, TURN)))
        speeds, bandwidths = (np.array(values) / 1e9 for values in (bytes_read / np.array([turn[0] for turn in turns]),
                                                                    compiled.cache.size / np.array([turn[1] for turn in turns])))
        rows.append({"work": f"decode {shape.name}", "kv_cache": kv, "threads": count,
                     "us": round(bytes_read / float(np.median(speeds)) / 1e3, 1), "gb_s": round(float(np.median(speeds)), 1),
                     "bandwidth_gb_s": round(float(np.median(bandwidths)), 1), "ratio": round(float(np.median(speeds / bandwidths)), 2)})
    return rows


def prefill(shape: Shape, kv: str, threads: list, args: argparse.Namespace, folder: pathlib.Path) -> list:
    compiled, rows = Compiled(shape, CHUNK, kv, args, folder), []
    positions = range(0, 512, CHUNK)
    pairs = sum(min(p + 1, shape.window or p + 1) for p in range(512))
    operations = 4 * shape.layers * shape.heads * shape.size * pairs
    for count in threads:
        compiled.library.bench_set_threads(count)
        us = repeat(lambda: sum(compiled.call(p) for p in positions), args.seconds) * 1e6
        rows.append({"work": f"prefill 512 {shape.name}", "kv_cache": kv, "threads": count, "us": round(us, 1),
                     "gflop_s": round(operations / us / 1e3, 1)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=SOURCE / "build" / "release")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--kv-cache", default="f16,int8")
    parser.add_argument("--mcpu", default="native")
    parser.add_argument("--isa", default="avx512vbmi")
    parser.add_argument("--only", default="", help="rows whose name contains this text")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each measurement")
    parser.add_argument("--json")
    args = parser.parse_args()
    threads = [int(count) for count in args.threads.split(",")]

    rows = []
    print(f"{'work':38} {'cache':6} {'threads':>7} {'us':>10} {'GB/s':>7} {'of':>7} {'ratio':>6} {'GFLOP/s':>8}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for kv in args.kv_cache.split(","):
            for measure, shapes in ((decode, DECODE), (prefill, PREFILL)):
                for shape in shapes:
                    if args.only not in f"{measure.__name__} {shape.name}":
                        continue
                    for row in measure(shape, kv, threads, args, pathlib.Path(name)):
                        verdict = ""
                        if "8k" in row["work"]:
                            row |= {"goal": GOAL, "verdict": "PASS" if row["ratio"] >= GOAL else "FALLS SHORT"}
                            verdict = row["verdict"]
                        print(f"{row['work']:38} {row['kv_cache']:6} {row['threads']:7} {row['us']:10} {row.get('gb_s', ''):>7} "
                              f"{row.get('bandwidth_gb_s', ''):>7} {row.get('ratio', ''):>6} {row.get('gflop_s', ''):>8}  {verdict}", flush=True)
                        rows.append(row)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
