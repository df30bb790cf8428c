"""What stops `elutq quantize`: disks without space, layers and activations that degenerate, foreign tokenizers."""

import errno
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import ROOT
from elutq.errors import ElutqError, QuantizeError
from elutq.hlq_onnx import HLQModel
from elutq.quantization import Calibration, Options, quantize
from elutq.quantization.workspace import Workspace


def run(model, output, *options, limit=None):
    """`elutq quantize`, in which no file may be longer than `limit` bytes."""
    words = [sys.executable, "-m", "elutq", "quantize", model, "-o", output, "--bits", "2", "--group", "16", "-q", *options]
    return subprocess.run([str(word) for word in words], env={**os.environ, "PYTHONPATH": str(ROOT / "python")}, capture_output=True, text=True,
                          preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))


def error_of(done) -> str:
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("elutq: error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_no_space_for_activations(decoder, tokens, tmp_path):
    # 12 windows of 40 tokens: 48 columns fit, the 80 of a down projection do not.
    done = run(decoder, tmp_path / "q.onnx", "--calibration", tokens, limit=120_000)
    work = tmp_path / "q.onnx.work"
    assert f"'{work}/quantized-3' cannot be written: File too large; what is finished is kept" in error_of(done)
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("group-*.npz")}
    assert sorted(kept) == ["group-0.npz", "group-1.npz", "group-2.npz"]
    # Nothing half done takes the space.
    assert not list(work.glob("*.partial")) and not list(tmp_path.glob("q.onnx"))
    assert run(decoder, tmp_path / "q.onnx", "--calibration", tokens).returncode == 0
    assert run(decoder, tmp_path / "other.onnx", "--calibration", tokens).returncode == 0
    assert (tmp_path / "q.onnx.data").read_bytes() == (tmp_path / "other.onnx.data").read_bytes()


def test_no_space_for_the_first_file(decoder, tokens, tmp_path):
    message = error_of(run(decoder, tmp_path / "q.onnx", "--calibration", tokens, limit=5000))
    assert "cannot write '" in message and "q.onnx.work/base.onnx" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokens.npy"]


@pytest.mark.parametrize("what", ["copy", "move"])
def test_no_space_for_the_output(what, tmp_path, compiler, monkeypatch):
    calibration = matrices(tmp_path)

    def full(*paths, **options):
        if what == "move":  # As much as there is room for.
            paths[1].write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(paths[1]))

    monkeypatch.setattr(shutil, "copyfile" if what == "copy" else "move", full)
    with pytest.raises(QuantizeError, match="q.onnx' cannot be written: No space left on device; what is finished is kept"):
        quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", Options(bits=2, group=16), calibration=calibration)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "q.onnx.work"]
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "q.onnx.work").glob("group-*.npz")}
    assert len(finished) == 2
    monkeypatch.undo()
    seen = []
    monkeypatch.setattr(Workspace, "save", lambda self, name, arrays: seen.append(name))
    quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", Options(bits=2, group=16), calibration=calibration)
    assert not seen
    onnx.checker.check_model(str(tmp_path / "q.onnx"))


def test_no_space_for_the_report(decoder, tokens, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    done = run(decoder, tmp_path / "q.onnx", "--calibration", tokens, "--report", "/dev/full")
    assert "'/dev/full' cannot be written: No space left on device; the model itself is" in error_of(done)
    assert (tmp_path / "q.onnx").exists()
    done = run(decoder, tmp_path / "r.onnx", "--calibration", tokens, "--report", tmp_path / "no" / "r.json")
    assert "there is no folder for '" in error_of(done) and not (tmp_path / "r.onnx").exists()


def matrices(folder, change=lambda weights, x: None):
    """m.onnx, y = relu(x a) b, and a calibration for it; `change` may alter both."""
    rng = np.random.default_rng(2)
    weights = {name: rng.normal(0.1, 0.4, shape).astype(np.float32) for name, shape in (("a", (40, 64)), ("b", (64, 48)))}
    x = rng.standard_normal((300, 40)).astype(np.float32)
    change(weights, x)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "b"], ["y"])]
    graph = helper.make_graph(nodes, "main", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 40])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 48])],
                              [numpy_helper.from_array(array, name) for name, array in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), folder / "m.onnx")
    return Calibration("x", arrays={"x": x})


def quantized(folder, change, **options):
    """Weights and rows of the report of a model that `change` altered."""
    calibration = matrices(folder, change)
    report = quantize(folder / "m.onnx", folder / "q.onnx", Options(**{"bits": 2, "group": 16, **options}), calibration=calibration)
    weights = {tensor.name: numpy_helper.to_array(tensor).T for tensor in onnx.load(folder / "m.onnx").graph.initializer}
    model = HLQModel(folder / "q.onnx")
    return weights, {name: model.read(name).dequantize() for name in model.slots}, {row.name: row for row in report.rows}


def test_constant_rows(compiler, tmp_path):
    def change(weights, x):
        weights["a"][:, 3] = 0.25
        weights["a"][:, 5] = 0

    weights, found, rows = quantized(tmp_path, change, correction=0)
    np.testing.assert_array_equal(found["a"][3], 0.25)
    np.testing.assert_array_equal(found["a"][5], 0)
    assert all(np.isfinite(values).all() for values in found.values()) and 0 < rows["a"].relative_loss < 0.3


def test_dead_activations(compiler, tmp_path):
    """Columns that no sample excites, a whole group of them, say nothing about their weights; these are fitted by their values."""
    def change(weights, x):
        x[:, 16:32] = 0
        x[:, 3] = 0

    weights, found, rows = quantized(tmp_path, change)
    assert all(np.isfinite(values).all() for values in found.values()) and 0 < rows["a"].relative_loss < 0.3
    error = np.square(found["a"] - weights["a"])[:, 16:32].sum() / np.square(weights["a"][:, 16:32]).sum()
    assert error < 0.2


def test_no_activations_at_all(compiler, tmp_path):
    """Where every product is zero, no loss is left to lower."""
    def change(weights, x):
        x[:] = 0

    weights, found, rows = quantized(tmp_path, change)
    assert rows["a"].loss < 1e-6 and rows["a"].relative_loss == 0
    assert np.square(found["a"] - weights["a"]).sum() < 0.2 * np.square(weights["a"]).sum()


def test_a_singular_hessian(compiler, tmp_path):
    """Fewer samples than columns, and equal ones: the damping makes up for it, with a loss below that of data-free weights."""
    def change(weights, x):
        x[7:] = x[:1] * np.geomspace(1, 3, 293)[:, None]

    weights, found, rows = quantized(tmp_path, change, damping=0)
    assert all(np.isfinite(values).all() for values in found.values())
    calibration = matrices(tmp_path, change).arrays["x"].astype(np.float64)
    from elutq.solver import solve

    free = solve(weights["a"], bits=2, group=16).dequantize()
    losses = [np.square(calibration @ (weights["a"] - values).T).sum() for values in (found["a"], free)]
    assert losses[0] < 0.5 * losses[1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("correction", [0.0, 0.5])
def test_activations_that_are_not_finite(value, correction, compiler, tmp_path):
    # In the activations of the second product alone: log of a negative number, or of zero.
    weights = {name: array for name, array in (("a", np.eye(40, dtype=np.float32)), ("b", np.ones((40, 16), np.float32)))}
    x = np.random.default_rng(1).uniform(1, 2, (50, 40)).astype(np.float32)
    x[17, 4] = -1 if np.isnan(value) else 0
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Log", ["h"], ["logs"]),
             helper.make_node("MatMul", ["logs", "b"], ["y"])]
    graph = helper.make_graph(nodes, "main", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 40])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 16])],
                              [numpy_helper.from_array(array, name) for name, array in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), tmp_path / "m.onnx")
    with pytest.raises(QuantizeError, match="the activations 'logs' hold values that are not finite"):
        quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", Options(bits=8, group=16, correction=correction),
                 calibration=Calibration("x", arrays={"x": x}))
    # The first group is finished and kept.
    assert [path.name for path in (tmp_path / "q.onnx.work").glob("group-*")] == ["group-0.npz"]


def test_tokenizers_of_other_models(decoder, tmp_path):
    from tokenizers import Tokenizer, models

    (tmp_path / "text.txt").write_text("abcdefghij" * 100)
    options = ("--calibration", tmp_path / "text.txt", "--window", "40")
    assert "tokenizer.json" in error_of(run(decoder, tmp_path / "q.onnx", *options))
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "is no tokenizer that" in error_of(run(decoder, tmp_path / "q.onnx", *options, "--tokenizer", tmp_path))
    # Its ids go beyond the model's 61.
    Tokenizer(models.BPE(vocab={chr(i + 97): i + 55 for i in range(26)}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    assert "vocabulary has 61 tokens" in error_of(run(decoder, tmp_path / "q.onnx", *options, "--tokenizer", tmp_path))
    assert not list(tmp_path.glob("q.onnx*"))
