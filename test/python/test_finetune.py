"""`elutq finetune`: results, interruption, errors. What was gained is measured with ONNX Runtime, in f64 where it counts."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import check_killed_run
from elutq.cli import main
from elutq.compiler import compile as run_compiler
from elutq.errors import FinetuneError, QuantizeError
from elutq.export import export_model
from elutq.feeds import graph_inputs, make_feeds
from elutq.hlq_onnx import HLQMatrix, HLQModel
from elutq.quantization import Calibration, open_calibration
from tiny_models import CONFIGS, random_weights, write_checkpoint

torch = pytest.importorskip("torch")

from elutq.finetune import Options, finetune  # noqa: E402
from elutq.finetune.matrices import TunedMatrix  # noqa: E402
from elutq.finetune.pipeline import Finetuner  # noqa: E402

TOKENS = np.random.default_rng(5).integers(0, 61, (24, 60))
TOKENS[:, 0] = 2  # All windows begin with the same token, as with BOS.
FAST = {"epochs": 1, "steps": 6, "precision": "f32"}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """A decoder with tied embedding, q/k norms and a sliding window; 2 layers."""
    folder = tmp_path_factory.mktemp("decoder")
    config = {**CONFIGS["gemma3"], "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2}
    write_checkpoint(folder / "hf", config, random_weights(config, seed=8))
    export_model(folder / "hf", folder / "onnx")
    return folder / "onnx" / "model.onnx"


@pytest.fixture(scope="module")
def quantized(decoder, compiler, tmp_path_factory):
    """That at 2 bits, fitted to its weights alone, so that there is something to gain."""
    path = tmp_path_factory.mktemp("quantized") / "q.onnx"
    run_compiler(decoder, path, emit="hlq-onnx", quantize="hlq:bits=2,group=16,embedding=8")
    return path


@pytest.fixture
def tokens(tmp_path):
    np.save(tmp_path / "tokens.npy", TOKENS)
    return tmp_path / "tokens.npy"


def log_probabilities(path, ids):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = session.run(["logits"], make_feeds(graph_inputs(session.get_inputs()), ids))[0].astype(np.float64)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def divergence(path, reference, ids):
    wanted, found = (log_probabilities(model, ids) for model in (reference, path))
    return (np.exp(wanted) * (wanted - found)).sum(-1)[:, 1:].mean()


def other_tokens():
    """Not those of the calibration."""
    ids = np.random.default_rng(6).integers(0, 61, (4, 60))
    ids[:, 0] = 2
    return ids


def parts(path):
    model = HLQModel(path)
    return {(name, part): getattr(model.read(name), part) for name in model.slots for part in ("planes", "scales", "zeros")}


def fails(capsys, *arguments) -> str:
    """The one line that the failing command prints, behind what it says of the calibration."""
    assert main(["finetune", *(str(argument) for argument in arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("calibration: ")]
    assert len(lines) == 1 and lines[0].startswith("elutq: error: ")
    return lines[0]


@pytest.mark.parametrize("codes", ["none", "blocks"])
def test_both_steps_lower_the_divergence(codes, decoder, quantized, tokens, tmp_path):
    calibration = open_calibration(decoder, tokens)
    blocks, both = tmp_path / "blocks.onnx", tmp_path / "both.onnx"
    report = finetune(quantized, decoder, blocks, Options(epochs=6, steps=0, codes=codes, precision="f32"), calibration=calibration)
    assert len(report.blocks) == 2 and all(len(row.matrices) == 7 for row in report.blocks)
    assert all(row.after < 0.8 * row.before for row in report.blocks)
    report = finetune(quantized, decoder, both, Options(epochs=6, steps=100, codes=codes, precision="f32"), calibration=calibration)
    onnx.checker.check_model(str(both))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks.onnx", "blocks.onnx.data", "both.onnx", "both.onnx.data", "tokens.npy"]
    kl = [row.kl for row in report.steps]
    assert len(kl) == 100 and np.mean(kl[-12:]) < 0.75 * np.mean(kl[:12])
    before, first, second = (divergence(path, decoder, other_tokens()) for path in (quantized, blocks, both))
    assert second < 0.95 * first and first < 0.6 * before
    # The form is as before, and so is what is not tuned; codes change where they may.
    assert HLQModel(both).slots == HLQModel(quantized).slots
    changed = {key for key, array in parts(both).items() if not np.array_equal(array, parts(quantized)[key])}
    names = {name for row in report.blocks for name in row.matrices}
    assert "model.embed_tokens.weight" not in names
    assert {key for key in changed if key[1] != "planes"} == {(name, part) for name in names for part in ("scales", "zeros")}
    assert (codes == "none") == (not {key for key in changed if key[1] == "planes"})


def test_torch_computes_what_the_model_does(decoder, quantized, tmp_path):
    """The curve's first entry, before anything has changed, is what ONNX Runtime says of the quantized model."""
    calibration = Calibration("tokens", tokens=TOKENS[:2])
    options = Options(epochs=0, steps=1, positions=1000, precision="f32", codes="none", rates=(0.0, 0.0))
    report = finetune(quantized, decoder, tmp_path / "o.onnx", options, calibration=calibration)
    candidates = [divergence(quantized, decoder, window[None]) for window in TOKENS[:2]]
    assert min(abs(report.steps[0].kl / kl - 1) for kl in candidates) < 1e-4
    assert all(np.array_equal(array, parts(quantized)[key]) for key, array in parts(tmp_path / "o.onnx").items())


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_matrices(bits):
    """Values and gradients against formulas in NumPy; 100 columns leave part of the last group unused."""
    rng, rows, columns, size = np.random.default_rng(bits), 6, 100, 16
    codes = rng.integers(0, 2**bits, (rows, 112))
    planes = np.stack([np.packbits(codes >> j & 1, axis=1, bitorder="little") for j in range(bits)]).astype(np.uint8)
    scales = (0.02 * 2.0 ** np.arange(bits) * rng.uniform(0.8, 1.2, (rows, 7, bits))).astype(np.float16)
    matrix = HLQMatrix(planes, scales, rng.normal(-0.03, 0.01, (rows, 7)).astype(np.float16), bits, columns, size)
    weights = matrix.dequantize() + rng.normal(0, 0.005, (rows, columns)).astype(np.float32)
    factors = rng.standard_normal((rows, columns)).astype(np.float32)
    padded = np.zeros((rows, 112))
    padded[:, :columns] = factors
    grouped, bit = padded.reshape(rows, 7, 1, size), codes.reshape(rows, 7, 1, size) >> np.arange(bits)[:, None] & 1
    unit = scales.astype(np.float64).mean(-1)
    expected = np.concatenate([(grouped * bit).sum(-1), grouped.sum(-1)], 2) * unit[..., None]
    for float_weights in (None, weights):
        tuned = TunedMatrix(matrix, float_weights)
        values = tuned(torch.float32)
        np.testing.assert_allclose(values.detach().numpy(), matrix.dequantize(), atol=1e-6)
        (values * torch.from_numpy(factors)).sum().backward()
        np.testing.assert_allclose(tuned.delta.grad.numpy(), expected.reshape(-1, bits + 1), rtol=1e-4, atol=1e-5)
        found = tuned.matrix()
        for part in ("planes", "scales", "zeros"):
            np.testing.assert_array_equal(getattr(found, part), getattr(matrix, part))
    # Straight through: a latent weight's gradient is the weight's.
    np.testing.assert_allclose(tuned.latent.grad.numpy(), (padded.reshape(rows, 7, size) * unit[..., None]).reshape(-1, size), rtol=1e-4,
                               atol=1e-6)
    # A latent weight that moves to another code word takes its code.
    words = (np.arange(2**bits)[:, None] >> np.arange(bits) & 1) @ scales[0, 0].astype(np.float64) + float(matrix.zeros[0, 0])
    with torch.no_grad():
        tuned.latent[0, :2**bits] = torch.from_numpy(words / unit[0, 0]).float()
    moved = tuned.matrix().planes[:, 0, :2]
    count = min(2**bits, 8)
    assert [sum(int(moved[j, k // 8] >> k % 8 & 1) << j for j in range(bits)) for k in range(count)] == list(range(count))


class Stop(Exception):
    pass


@pytest.mark.parametrize("codes", ["none", "both"])
def test_an_interrupted_run_goes_on(codes, decoder, quantized, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr("elutq.finetune.pipeline._CHECKPOINT", 2)
    calibration, options = open_calibration(decoder, tokens), Options(codes=codes, **FAST)
    seen = []

    def count(done, whole):
        assert 0 < done <= whole * 1.0001
        seen.append(done)

    finetune(quantized, decoder, tmp_path / "whole.onnx", options, calibration=calibration, progress=count)
    expected = parts(tmp_path / "whole.onnx")
    work = tmp_path / "parts.onnx.work"
    # In the first block, behind it, in the second step before and behind a checkpoint.
    finished = []
    for stop in (5, 30, len(seen) - 5, len(seen) - 2):
        calls = []

        def interrupt(done, whole):
            calls.append(done)
            if done >= seen[stop]:
                raise Stop

        with pytest.raises(Stop):
            Finetuner(quantized, decoder, options, calibration, work).run(interrupt)
        now = {path: path.stat().st_mtime_ns for path in work.glob("block-*.npz")}
        assert all(now[path] == time for path, time in finished)
        finished = list(now.items())
    assert len(finished) == 2 and [path.name for path in work.glob("step-*")] == ["step-4.npz"]
    report = finetune(quantized, decoder, tmp_path / "parts.onnx", options, calibration=calibration)
    assert len(report.steps) == 6 and not work.exists()
    assert all(np.array_equal(array, expected[key]) for key, array in parts(tmp_path / "parts.onnx").items())


@pytest.mark.parametrize("after", ["block-0.npz", "step-20.npz"])
def test_killed(after, decoder, quantized, tokens, tmp_path):
    command = ["finetune", quantized, "--reference", decoder, "--calibration", tokens, "--epochs", "1", "--windows", "8", "--steps", "45",
               "--precision", "f32", "--threads", "1", "-q"]
    check_killed_run(command, tmp_path, lambda work: (work / after).exists())


def test_recomputing_changes_nothing(decoder, quantized, tokens, tmp_path):
    calibration = open_calibration(decoder, tokens)
    for recompute in (False, True):
        finetune(quantized, decoder, tmp_path / f"{recompute}.onnx", Options(recompute=recompute, **FAST), calibration=calibration)
    first, second = (parts(tmp_path / f"{recompute}.onnx") for recompute in (False, True))
    assert all(np.array_equal(array, second[key]) for key, array in first.items())


def test_command(decoder, quantized, tokens, tmp_path, capsys):
    command = ["finetune", quantized, "--reference", decoder.parent, "-o", tmp_path / "o.onnx", "--calibration", tokens, "--windows", "4",
               "--epochs", "2", "--minutes", "0.01", "--report", tmp_path / "r.json"]
    assert main([str(word) for word in command]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "calibration: 4 samples of " in captured.err and "relative error of blocks' outputs: " in captured.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["options"]["minutes"] == 0.01 and report["calibration"]["samples"] == 4
    assert len(report["blocks"]) == 2 and report["blocks"][1]["output"].endswith("layers.1/Add_1_output_0")
    assert report["steps"] and set(report["steps"][0]) == {"step", "kl", "hidden"}


def test_a_checkpoint_is_exported(decoder, quantized, tokens, tmp_path, capsys):
    options = ["--calibration", str(tokens), "--epochs", "1", "--steps", "2", "--precision", "f32", "-q"]
    for name, reference in (("a", decoder.parent.parent / "hf"), ("b", decoder)):
        assert main(["finetune", str(quantized), "--reference", str(reference), "-o", str(tmp_path / f"{name}.onnx"), *options]) == 0
    assert (tmp_path / "a.onnx.data").read_bytes() == (tmp_path / "b.onnx.data").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data", "b.onnx", "b.onnx.data", "tokens.npy"]


def test_the_result_compiles(decoder, quantized, tokens, compiler, tmp_path):
    finetune(quantized, decoder, tmp_path / "o.onnx", Options(**FAST), calibration=open_calibration(decoder, tokens))
    run_compiler(tmp_path / "o.onnx", tmp_path / "o.o", emit="obj", quantize="none")
    assert (tmp_path / "o.o").stat().st_size > 0


def test_a_model_without_tokens(compiler, tmp_path):
    """relu(x a) b + x."""
    rng = np.random.default_rng(2)
    weights = {name: rng.normal(0.1, 0.4, (40, 64)).astype(np.float32) for name in "ab"}
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Gemm", ["r", "b"], ["y0"], transB=1), helper.make_node("Add", ["y0", "x"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 40]) for name in "xy"]
    graph = helper.make_graph(nodes, "main", values[:1], values[1:], [numpy_helper.from_array(w, name) for name, w in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), tmp_path / "m.onnx")
    mixing = rng.standard_normal((40, 40)) * np.geomspace(1, 0.01, 40)
    np.savez(tmp_path / "in.npz", x=(rng.standard_normal((80, 40)) @ mixing).astype(np.float32))
    calibration = open_calibration(tmp_path / "m.onnx", tmp_path / "in.npz", windows=80)
    run_compiler(tmp_path / "m.onnx", tmp_path / "q.onnx", emit="hlq-onnx", quantize="hlq:bits=2,group=16")
    report = finetune(tmp_path / "q.onnx", tmp_path / "m.onnx", tmp_path / "o.onnx",
                      Options(epochs=3, steps=80, codes="none", precision="f32"), calibration=calibration)
    assert [row.matrices for row in report.blocks] == [("a", "b")] and report.steps[0].kl is None
    x = (rng.standard_normal((200, 40)) @ mixing).astype(np.float32)
    y, before, after = (onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
                        for name in "mqo")
    assert np.square(after - y).mean() < 0.9 * np.square(before - y).mean()


def test_errors(decoder, quantized, tokens, tmp_path, capsys):
    output = ["-o", tmp_path / "o.onnx", "--calibration", tokens]
    known = ["--reference", decoder, *output]
    assert "has no quantized matrices: elutq quantize makes them" in fails(capsys, decoder, *known)
    assert "missing.onnx'" in fails(capsys, tmp_path / "missing.onnx", *known)
    assert "missing.onnx'" in fails(capsys, quantized, "--reference", tmp_path / "missing.onnx", *output)
    assert "expected epochs to be at least 0, but got -1" in fails(capsys, quantized, *known, "--epochs", "-1")
    assert "expected minutes to be more than 0" in fails(capsys, quantized, *known, "--minutes", "0")
    assert "there is no folder for" in fails(capsys, quantized, *known, "--report", tmp_path / "no" / "r.json")
    assert "there is no folder for" in fails(capsys, quantized, *known, "-o", tmp_path / "no" / "o.onnx")
    run_compiler(decoder, tmp_path / "compact.onnx", emit="hlq-onnx", quantize="hlq:bits=2,group=16,params=compact")
    assert "has compact parameters, which cannot be tuned: quantize the model with --params hlq" in fails(capsys, tmp_path / "compact.onnx", *known)
    model = onnx.load(quantized)
    scales = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".scales") and tensor.dims[2] > 1)
    scales.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scales)[..., :1], scales.name))
    onnx.save(model, tmp_path / "uniform.onnx")
    assert "has one scale for all planes of a group, which cannot be tuned" in fails(capsys, tmp_path / "uniform.onnx", *known)
    if not torch.cuda.is_available():
        assert "finds no CUDA device; choose --device cpu" in fails(capsys, quantized, *known, "--device", "cuda")
    (tmp_path / "empty.txt").write_text("")
    write = ["--reference", decoder, "-o", tmp_path / "o.onnx", "--calibration"]
    assert "expected integers" in fails(capsys, quantized, *write, save(tmp_path / "floats.npy", np.zeros((2, 8))))
    assert "vocabulary has 61 tokens" in fails(capsys, quantized, *write, save(tmp_path / "large.npy", np.full((2, 8), 61)))
    assert not (tmp_path / "o.onnx").exists() and not (tmp_path / "o.onnx.work").exists()


def save(path, array):
    np.save(path, array)
    return path


def test_another_reference(decoder, quantized, tokens, tmp_path, capsys):
    for name, changes, message in (
            ("wide", {"intermediate_size": 96}, "its matrix 'model.layers.0.mlp.gate_proj.weight' is 80 x 48, the reference's 48 x 96"),
            ("short", {"num_hidden_layers": 1}, "its matrix 'model.layers.1.self_attn.q_proj.weight' is 40 x 48, which the reference has not")):
        config = {**CONFIGS["gemma3"], "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, **changes}
        write_checkpoint(tmp_path / name, config, random_weights(config, seed=8))
        found = fails(capsys, quantized, "--reference", tmp_path / name, "-o", tmp_path / "o.onnx", "--calibration", tokens)
        assert message in found and "was not made from" in found
    assert not (tmp_path / "o.onnx.work").exists()


def test_unknown_operators(decoder, quantized, tokens, tmp_path, capsys):
    model = onnx.load(decoder, load_external_data=False)
    for index, node in enumerate(node for node in model.graph.node if node.op_type == "Gelu"):
        node.op_type, node.name = "Softplus", f"soft {index}"
        del node.attribute[:]
    os.link(decoder.with_name("model.onnx.data"), tmp_path / "model.onnx.data")
    onnx.save(model, tmp_path / "model.onnx")
    assert "cannot run: Softplus ('soft 0', 'soft 1')" in fails(capsys, quantized, "--reference", tmp_path, "-o", tmp_path / "o.onnx",
                                                                 "--calibration", tokens)


def test_rates_that_are_too_high(decoder, quantized, tokens, tmp_path):
    with pytest.raises(FinetuneError, match="not finite; choose lower rates"):
        finetune(quantized, decoder, tmp_path / "o.onnx", Options(epochs=0, steps=4, precision="f32", rates=(1e30, 0.0)),
                 calibration=open_calibration(decoder, tokens))


def test_work_of_another_run(decoder, quantized, tokens, tmp_path, capsys):
    calibration = open_calibration(decoder, tokens)
    Finetuner(quantized, decoder, Options(), calibration, tmp_path / "w")
    with pytest.raises(QuantizeError, match="holds unfinished work of another model, other options or another calibration"):
        Finetuner(quantized, decoder, Options(seed=1), calibration, tmp_path / "w")
