"""The node cases of ONNX's conformance suite, compiled and run, each in a process that may crash alone.

    python test/python/conformance/cases.py [--shard FAST|ALL|PREFIX...] [--jobs N] [--json FILE]    prints what passes and why the rest does not
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "python"))
TIMEOUT = 120  # Seconds of one case.


def load_cases() -> dict[str, Any]:
    """All cases of the pinned ONNX by name; the calls that make them draw from numpy's generator, which is seeded anew."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in collect_testcases(None)}


def _array(value: Any) -> np.ndarray:
    import onnx

    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def run_case(case: Any) -> str:
    """The empty string if the case passes; else why it does not, in one line."""
    from onnx.backend.test.runner import Runner

    from elutq.backend import Backend
    from elutq.errors import ElutqError

    for value in [*case.model.graph.input, *case.model.graph.output]:
        if not value.type.HasField("tensor_type"):
            return f"compile: '{value.name}' is no tensor"
    try:
        prepared = Backend.prepare(case.model)
    except ElutqError as error:
        return f"compile: {error}"
    for inputs, outputs in case.data_sets:
        try:
            results = prepared.run([_array(value) for value in inputs])
        except ElutqError as error:
            return f"run: {error}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Runner.assert_similar_outputs([_array(value) for value in outputs], results, rtol=case.rtol, atol=case.atol)
        except AssertionError as error:
            return "wrong: " + " ".join(str(error).split())[:300]
        except TypeError as error:
            return f"wrong: {error}"
    return ""


def _work(case: Any, connection: Any) -> None:
    try:
        connection.send(run_case(case))
    except BaseException as error:  # Whatever it is belongs to this case.
        connection.send(f"error: {type(error).__name__}: {error}")


def run_alone(case: Any) -> str:
    """`run_case` in a process of its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(case, sender))
    process.start()
    sender.close()
    try:
        result = receiver.recv() if receiver.poll(TIMEOUT) else f"timeout: more than {TIMEOUT} s"
    except EOFError:
        process.join()
        result = f"crash: exit status {process.exitcode}"
    if process.is_alive() and result.startswith("timeout"):
        process.terminate()
    process.join()
    return result


def _serve(cases: list[Any], first: int, step: int, connection: Any) -> None:
    for case in cases[first::step]:
        connection.send((case.name, run_alone(case)))
    connection.close()


def run_cases(cases: list[Any], jobs: int | None = None) -> dict[str, str]:
    """The results of `run_case` by name, from `jobs` processes (default: one per processor)."""
    jobs = jobs or len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")
    receivers, processes = [], []
    for index in range(jobs):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(cases, index, jobs, sender))
        process.start()
        sender.close()
        receivers.append(receiver)
        processes.append(process)
    results = {}
    while receivers:
        for receiver in multiprocessing.connection.wait(receivers):
            try:
                name, result = receiver.recv()
                results[name] = result
            except EOFError:
                receivers.remove(receiver)
    for process in processes:
        process.join()
    return {case.name: results.get(case.name, "crash: its worker ended") for case in cases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("patterns", nargs="*", help="regular expressions of names; default: all")
    parser.add_argument("--jobs", type=int, help="processes; default: one per processor")
    parser.add_argument("--json", type=Path, help="write names and results to this file")
    parser.add_argument("-v", action="store_true", help="print each failure")
    options = parser.parse_args()
    cases = [case for name, case in load_cases().items() if not options.patterns or any(re.search(p, name) for p in options.patterns)]
    begin = time.monotonic()
    results = run_cases(cases, options.jobs)
    failures = {name: result for name, result in results.items() if result}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if options.v:
        for name, result in failures.items():
            print(f"{name}: {result}")
    reasons = collections.Counter(re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "_", result)[:110] for result in failures.values())
    for reason, count in reasons.most_common(40):
        print(f"{count:5} {reason}")
    print(f"{len(cases) - len(failures)} of {len(cases)} pass, {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
