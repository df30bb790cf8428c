"""Time of one batch of an encoder, compiled and by ONNX Runtime, on as many threads: a table in Markdown.

    encoder.py MODEL.onnx --batch 8 --length 128 --threads 2

MODEL.onnx has the inputs of BERT, with symbolic dimensions batch and sequence, as test/exporters/export_encoder.py writes them. ONNX Runtime computes the
floats, and int8 by its own dynamic quantization. Errors are the greatest difference from ONNX Runtime's float result, as a part of its greatest value.
Each has its runs in a row, twice, for threads of the one before may still spin; the round with the lower median counts.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

import elutq

COMPILED = {"float": ("none", ()), "4 bits": ("hlq:bits=4,group=32", ()), "4 bits, --tables=8": ("hlq:bits=4,group=32", ("--tables=8",)),
            "3 bits, --tables=8": ("hlq:bits=3,group=32", ("--tables=8",)), "2 bits, --tables=8": ("hlq:bits=2,group=32", ("--tables=8",))}


def by_onnxruntime(path: Path, feeds: dict[str, np.ndarray], threads: int) -> Callable[[], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--work", type=Path, help="keep the compiled libraries there, and take those that are there already")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    ids = random.integers(1000, 20000, (args.batch, args.length))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        work.mkdir(exist_ok=True, parents=True)
        runs = {"ONNX Runtime, float": by_onnxruntime(args.model, feeds, args.threads)}
        int8 = work / "int8.onnx"
        if not int8.exists():
            quantize_dynamic(args.model, int8, weight_type=QuantType.QInt8)
        runs["ONNX Runtime, int8"] = by_onnxruntime(int8, feeds, args.threads)
        for number, (name, (quantize, options)) in enumerate(COMPILED.items()):
            library = work / f"encoder{number}.so"
            if not library.exists():
                elutq.compile(args.model, library, emit="graph", quantize=quantize,
                              arguments=[f"--shape=batch={args.batch},sequence={args.length}", *options])
            runs[name] = lambda graph=elutq.Graph(library, threads=args.threads): graph.run(feeds)[0]
        results = {name: run() for name, run in runs.items()}
        times = {name: np.inf for name in runs}
        for _ in range(2):
            for name, run in runs.items():
                run()
                seconds = []
                for _ in range(args.runs):
                    start = time.perf_counter()
                    run()
                    seconds.append(time.perf_counter() - start)
                times[name] = min(times[name], float(np.median(seconds)))
    expected = results["ONNX Runtime, float"]
    baseline = times["ONNX Runtime, int8"]
    print(f"batch {args.batch}, {args.length} tokens, {args.threads} threads of {os.cpu_count()} processors\n")
    print("| | ms | speed, int8 = 1 | error |\n|---|---|---|---|")
    for name, seconds in times.items():
        error = np.abs(results[name] - expected).max() / np.abs(expected).max()
        print(f"| {name} | {seconds * 1e3:.1f} | {baseline / seconds:.2f} | {error:.1e} |")


if __name__ == "__main__":
    main()
