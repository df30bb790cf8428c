"""Engines: tasks of a Dask cluster give the bits of this process, whatever workers die; what is lost is told."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

from conftest import ROOT
from elutq.errors import QuantizeError
from elutq.quantization import Options, Quantizer, open_calibration, open_engine, quantize
from elutq.quantization.engine import DaskEngine, Form, LocalEngine, Problem
from elutq.solver import SolveOptions


@pytest.fixture(scope="module")
def cluster():
    """An engine with two worker processes and tiles of 64 rows."""
    with DaskEngine(workers=2, tile_rows=64) as engine:
        yield engine


def problems(seed, rows=(200, 130), columns=160, options=SolveOptions(), corrected=True):
    rng = np.random.default_rng(seed)
    activations = rng.standard_normal((500, columns)) @ rng.normal(0, 0.2, (columns, columns))
    found = []
    for index, count in enumerate(rows):
        weights = rng.standard_t(4, (count, columns)).astype(np.float32)
        target = weights + rng.normal(0, 0.05, weights.shape).astype(np.float32) if corrected else weights
        found.append(Problem(f"w{index}", weights, target, Form(2 + index, (32, 64)[index], "hlq", options, 0.01)))
    return activations.T @ activations / len(activations), found


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        for name in ("planes", "scales", "zeros", "loss", "whole"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("corrected", [False, True])
def test_tiles_have_the_bits_of_whole_matrices(cluster, corrected):
    moments, given = problems(1, corrected=corrected)
    expected = list(LocalEngine(1).solve(moments, given))
    assert_same(list(cluster.solve(moments, given)), expected)
    # Losses as the formula has them.
    from elutq.solver import dequantize

    values = dequantize(expected[0].planes, expected[0].scales, expected[0].zeros, bits=2, columns=160).astype(np.float64)
    difference = given[0].target.astype(np.float64) - values
    np.testing.assert_allclose(expected[0].loss, ((difference @ moments) * difference).sum(1), rtol=1e-5)
    whole = given[0].weights.astype(np.float64)
    np.testing.assert_allclose(expected[0].whole, ((whole @ moments) * whole).sum(1), rtol=1e-5)


def test_a_worker_dies_while_it_solves(cluster):
    # Some seconds of work, so that there is a middle.
    moments, given = problems(2, rows=(960, 640), columns=512, options=SolveOptions(rounds=64, tolerance=0))
    killed = []

    def kill():
        pids = cluster.client.run(os.getpid)
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            busy = [worker for worker, keys in cluster.client.processing().items() if any("_solve_tile" in str(key) for key in keys)]
            if busy:
                time.sleep(0.1)
                os.kill(pids[busy[0]], signal.SIGKILL)
                killed.append(pids[busy[0]])

    thread = threading.Thread(target=kill)
    thread.start()
    found = list(cluster.solve(moments, given))
    thread.join()
    assert len(killed) == 1
    assert_same(found, list(LocalEngine(2).solve(moments, given)))


def test_errors_name_the_matrix(cluster):
    moments, given = problems(3, corrected=False)
    given[1].weights[129, 5] = np.inf
    with pytest.raises(QuantizeError, match="'w1': weights of row 129, .* not a finite number"):
        list(cluster.solve(moments, given))
    moments, given = problems(3, corrected=False)
    given[1] = Problem("w1", given[1].weights, given[1].target, Form(5, 64, "hlq", SolveOptions(), 0.01))
    for engine in (cluster, LocalEngine()):
        with pytest.raises(QuantizeError, match="'w1': expected 1 to 4 bits, but got 5"):
            list(engine.solve(moments, given))


def test_engines_by_name():
    with pytest.raises(QuantizeError, match="unknown engine 'ray', expected local or dask"):
        open_engine("ray")
    with pytest.raises(QuantizeError, match="of use to the engine 'dask' only"):
        open_engine(scheduler="tcp://127.0.0.1:1")
    with pytest.raises(QuantizeError, match="but got both"):
        open_engine("dask", scheduler="tcp://127.0.0.1:1", workers=2)


def command(model, output, tokens, *options):
    words = [sys.executable, "-m", "elutq", "quantize", model, "-o", output, "--bits", "2", "--group", "16", "--calibration", tokens, "-q"]
    return [str(word) for word in (*words, *options)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}


def test_a_worker_killed_in_the_middle_of_a_run(decoder, tokens, tmp_path):
    import psutil

    subprocess.run(command(decoder, tmp_path / "local.onnx", tokens), env=ENVIRONMENT, check=True)
    (tmp_path / "dask").mkdir()
    process = subprocess.Popen(command(decoder, tmp_path / "dask" / "local.onnx", tokens, "--engine", "dask", "--workers", "2"),
                               env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    work = tmp_path / "dask" / "local.onnx.work"
    while process.poll() is None and not list(work.glob("group-1.npz")):
        time.sleep(0.002)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGKILL)
    # In the middle: groups are left.
    assert not list(work.glob("group-11.npz"))
    assert process.communicate()[1] == "" and process.returncode == 0
    for name in ("local.onnx", "local.onnx.data"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "dask" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "dask").iterdir()) == ["local.onnx", "local.onnx.data"]


@pytest.fixture
def scheduler():
    """A scheduler with two workers of two threads, as processes of their own: its address, and the scheduler's process."""
    options = dict(env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    first = subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
                             **options)
    address = next(found[0] for line in first.stderr if (found := re.search(r"tcp://127.0.0.1:\d+", line)))
    threading.Thread(target=first.stderr.read, daemon=True).start()
    workers = [subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "2", "--no-dashboard"],
                                env=ENVIRONMENT, stderr=subprocess.DEVNULL) for _ in range(2)]
    yield address, first
    for process in (first, *workers):
        process.terminate()
    for process in (first, *workers):
        process.wait()


def test_the_scheduler_is_lost(decoder, tokens, tmp_path, scheduler):
    address, process = scheduler
    calibration, seen = open_calibration(decoder, tokens), []
    expected = tmp_path / "expected.onnx"
    quantize(decoder, expected, Options(bits=2, group=16), calibration=calibration)

    def kill_after_three(group):
        seen.append(group)
        if len(seen) == 3:
            process.kill()
            process.wait()

    work = tmp_path / "q.onnx.work"
    with open_engine("dask", scheduler=address) as engine:
        with pytest.raises(QuantizeError, match=f"the connection to the Dask scheduler '{address}' is lost; the same command goes on"):
            Quantizer(decoder, Options(bits=2, group=16), calibration, work, engine=engine).solve(kill_after_three)
    finished = sorted(path.name for kind in ("group", "tied") for path in work.glob(f"{kind}-*.npz"))
    assert 3 <= len(finished) <= 4
    # The same run goes on, by whatever engine.
    quantize(decoder, tmp_path / "q.onnx", Options(bits=2, group=16), calibration=calibration)
    assert (tmp_path / "q.onnx.data").read_bytes() == (tmp_path / "expected.onnx.data").read_bytes()


def test_no_scheduler(decoder, tokens, tmp_path):
    done = subprocess.run(command(decoder, tmp_path / "q.onnx", tokens, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"),
                          env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("elutq: error: the Dask scheduler 'tcp://127.0.0.1:9' cannot be reached: ")
    assert not list(tmp_path.glob("q.onnx*"))
