"""Times the solver on layers of random weights and inputs of a model's shape: Hessians, and weights per second of each method.

    solver.py [--shape gemma,llama-7b] [--bits 2,4] [--rows N] [--threads N] [--json FILE]

A layer's matrices are solved one after the other, as a quantizer does; --rows solves the first N rows of each and scales the time, which
is proportional to them. Calibration is not included. Times are seconds of the clock on `threads` threads.
"""

import argparse
import json
import os
import resource
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from elutq.solver import Hessian, SolveOptions, solve  # noqa: E402

# Layers, then for each input its columns and the rows of the matrices that read it.
SHAPES = {
    "gemma": (18, [(640, [1024, 256, 256]), (1024, [640]), (640, [2048, 2048]), (2048, [640])]),
    "llama-7b": (32, [(4096, [4096] * 3), (4096, [4096]), (4096, [11008] * 2), (11008, [4096])]),
}
METHODS = {
    "data-free": None,
    "published HLQ-GPTQ": SolveOptions(starts=1, weighted=False, frozen_codes=True, rounds=0),
    "GPTQ, weighted fit": SolveOptions(rounds=0),
    "refined": SolveOptions(),
}


def random_hessian(columns, rng):
    """Of 1024 correlated tokens with a few columns much larger than the others, and as much noise as makes it regular."""
    x = rng.standard_normal((1024, columns), np.float32)
    x[:, 1:] += np.float32(0.5) * x[:, :-1]
    x *= np.exp(rng.standard_normal(columns) * 0.7).astype(np.float32)
    h = x.T @ x
    h[np.diag_indices(columns)] *= np.float32(1.1)
    return h


def measure(shape, bits, group, most_rows, threads):
    layers, inputs = SHAPES[shape]
    rng = np.random.default_rng(1)
    seconds = dict.fromkeys(METHODS, 0.0)
    hessians, weights = 0.0, 0
    for columns, all_rows in inputs:
        h = random_hessian(columns, rng)
        begin = time.perf_counter()
        hessian = Hessian(h, group=group, threads=threads)
        hessians += time.perf_counter() - begin
        del h
        for rows in all_rows:
            part = min(rows, most_rows)
            w = rng.standard_normal((part, columns), np.float32) * np.float32(0.05)
            for name, options in METHODS.items():
                begin = time.perf_counter()
                solve(w, hessian if options else None, bits=bits, group=group, options=options or SolveOptions(starts=1), threads=threads)
                seconds[name] += (time.perf_counter() - begin) * rows / part
            weights += rows * columns
        hessian.close()
    for name, taken in seconds.items():
        whole = layers * (taken + (hessians if METHODS[name] else 0))
        yield {"shape": shape, "bits": bits, "group": group, "threads": threads, "method": name, "layer_weights": weights,
               "solve_s": round(taken, 3), "hessians_s": round(hessians if METHODS[name] else 0, 3),
               "mweights_s": round(weights / taken / 1e6, 2), "model_s": round(whole, 1),
               "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="gemma", help="comma-separated: " + ", ".join(SHAPES))
    parser.add_argument("--bits", default="2,4")
    parser.add_argument("--group", type=int, default=128)
    parser.add_argument("--rows", type=int, default=1 << 30, help="solve only so many rows of each matrix, and scale")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="also write the rows to this file")
    arguments = parser.parse_args()
    unknown = [shape for shape in arguments.shape.split(",") if shape not in SHAPES]
    if unknown:
        parser.error(f"unknown shape '{unknown[0]}', expected {' or '.join(SHAPES)}")
    results = []
    print("shape      bits  method                Mweights/s   s/layer   Hessians s/layer   s/model   peak RSS MB")
    for shape in arguments.shape.split(","):
        for bits in map(int, arguments.bits.split(",")):
            for row in measure(shape, bits, arguments.group, arguments.rows, arguments.threads):
                results.append(row)
                print(f"{shape:<10} {bits:>4}  {row['method']:<20} {row['mweights_s']:>11.2f} {row['solve_s']:>9.2f} "
                      f"{row['hessians_s']:>18.2f} {row['model_s']:>9.1f} {row['peak_rss_mb']:>13}", flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
