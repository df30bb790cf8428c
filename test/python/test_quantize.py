"""`elutq quantize`: results, interruption, reports, errors. The references are ONNX Runtime and NumPy."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import TOKENS, check_killed_run
from elutq.cli import main
from elutq.errors import ElutqError, QuantizeError
from elutq.feeds import graph_inputs, make_feeds
from elutq.hlq_onnx import HLQModel
from elutq.quantization import Calibration, Options, Quantizer, open_calibration, quantize


def logits(path, ids):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], make_feeds(graph_inputs(session.get_inputs()), ids))[0].astype(np.float64)


def fails(capsys, *arguments) -> str:
    """The one line that the failing command prints, behind what it says of the calibration."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("calibration: ")]
    assert len(lines) == 1 and lines[0].startswith("elutq: error: ")
    return lines[0]


def test_calibration_lowers_the_loss(decoder, tokens, tmp_path):
    data_free, calibrated = tmp_path / "free.onnx", tmp_path / "calibrated.onnx"
    from elutq.compiler import compile as run_compiler

    run_compiler(decoder, data_free, emit="hlq-onnx", quantize="hlq:bits=2,group=16,embedding=8")
    report = quantize(decoder, calibrated, Options(bits=2, group=16, embedding=8), calibration=open_calibration(decoder, tokens))
    onnx.checker.check_model(str(calibrated))
    assert not (tmp_path / "calibrated.onnx.work").exists()
    # Other tokens than those of the calibration.
    ids = np.random.default_rng(6).integers(0, 61, (1, 60))
    expected = logits(decoder, ids)
    errors = [np.square(logits(path, ids) - expected).mean() for path in (data_free, calibrated)]
    assert errors[1] < 0.7 * errors[0]
    # Every layer's matrices are calibrated, the tied table is not: it has 8 bits.
    assert [row.reason for row in report.rows if row.loss is None] == ["a table that tokens look up"]
    assert len(report.rows) == 3 * 7 + 1


def test_losses_are_those_of_the_activations(decoder, tokens, tmp_path):
    # The first group's activations do not depend on other matrices than the table, which is 8 bits and nearly exact.
    report = quantize(decoder, tmp_path / "q.onnx", Options(bits=3, group=16, embedding=0, head=0),
                      calibration=open_calibration(decoder, tokens))
    model = onnx.load(decoder)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    row = next(row for row in report.rows if row.name == "model.layers.0.self_attn.q_proj.weight")
    node = next(node for node in model.graph.node if row.name in node.input)
    model.graph.output.append(helper.make_empty_tensor_value_info(node.input[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = graph_inputs(session.get_inputs())
    x = np.concatenate([session.run([node.input[0]], make_feeds(inputs, window[None]))[0][0] for window in TOKENS]).astype(np.float64)
    weights, quantized = tensors[row.name].T.astype(np.float64), HLQModel(tmp_path / "q.onnx").read(row.name).dequantize()
    loss = np.square(x @ (weights - quantized).T).sum(1).mean()
    np.testing.assert_allclose(row.loss, loss, rtol=1e-4)
    np.testing.assert_allclose(row.relative_loss, loss / np.square(x @ weights.T).sum(1).mean(), rtol=1e-4)


def test_a_tied_table_is_fitted_to_the_heads_activations(decoder, tokens, tmp_path):
    """The layers stay float, so that nothing else differs."""
    from elutq.compiler import compile as run_compiler

    calibration, common = open_calibration(decoder, tokens), {"bits": 2, "group": 16, "embedding": 2, "head": 2, "exclude": "layers"}
    run_compiler(decoder, tmp_path / "free.onnx", emit="hlq-onnx", quantize="hlq:bits=2,group=16,embedding=2,head=2,exclude=layers")
    reports = {name: quantize(decoder, tmp_path / f"{name}.onnx", Options(**common, tied=tied), calibration=calibration)
               for name, tied in (("fitted", 0.1), ("alone", np.inf))}
    ids = np.random.default_rng(6).integers(0, 61, (1, 60))
    expected = logits(decoder, ids)[0]

    def divergence(path):
        p, q = (np.exp(x - x.max(-1, keepdims=True)) for x in (expected, logits(path, ids)[0]))
        p, q = (x / x.sum(-1, keepdims=True) for x in (p, q))
        return (p * np.log(p / q)).sum(-1).mean()

    free, alone, fitted = (divergence(tmp_path / f"{name}.onnx") for name in ("free", "alone", "fitted"))
    assert alone == free and fitted < 0.8 * free
    table = "model.embed_tokens.weight"
    assert [(row.name, row.reason) for row in reports["alone"].rows] == [(table, "a table that tokens look up")]
    (row,) = reports["fitted"].rows
    assert (row.name, row.reason) == (table, "")
    # The loss is that of the metric: the head's activations in the float model, and a share of their mean for all columns alike.
    model = onnx.load(decoder)
    node = next(node for node in model.graph.node if node.name.startswith("/lm_head") and node.op_type == "MatMul")
    model.graph.output.append(helper.make_empty_tensor_value_info(node.input[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = graph_inputs(session.get_inputs())
    x = np.concatenate([session.run([node.input[0]], make_feeds(inputs, window[None]))[0][0] for window in TOKENS]).astype(np.float64)
    h = x.T @ x / len(x)
    h += 0.1 * h.trace() / len(h) * np.eye(len(h))
    weights = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == table).astype(np.float64)
    error = weights - HLQModel(tmp_path / "fitted.onnx").read(table).dequantize()
    np.testing.assert_allclose(row.loss, np.einsum("nk,kl,nl->", error, h, error), rtol=1e-4)


def test_a_table_with_groups_of_its_own(decoder, tokens, tmp_path):
    calibration = open_calibration(decoder, tokens)
    table = "model.embed_tokens.weight"
    report = quantize(decoder, tmp_path / "q.onnx", Options(bits=2, group=32, table_group=16), calibration=calibration)
    assert {(row.name == table, row.bits, row.group_size) for row in report.rows} == {(True, 4, 16), (False, 2, 32)}
    assert [row.reason for row in report.rows] == [""] * 22
    # Bits of embedding and head as the compiler takes them, and what is excluded stays float.
    for options, bits in (({"embedding": 3, "head": 2}, 3), ({"embedding": 0, "head": 0}, None), ({"exclude": "embed_tokens"}, None)):
        report = quantize(decoder, tmp_path / "q.onnx", Options(bits=2, group=32, table_group=16, **options), calibration=calibration)
        assert [(row.bits, row.group_size) for row in report.rows if row.name == table] == ([(bits, 16)] if bits else [])


def test_eight_bits_of_a_tied_table_need_no_activations(decoder, tokens, tmp_path):
    report = quantize(decoder, tmp_path / "q.onnx", Options(bits=8, group=16, exclude="layers"), calibration=open_calibration(decoder, tokens))
    assert [row.reason for row in report.rows] == ["a table that tokens look up"]


class Stop(Exception):
    pass


def test_an_interrupted_run_goes_on(decoder, tokens, tmp_path):
    calibration, options = open_calibration(decoder, tokens), Options(bits=2, group=16)
    quantize(decoder, tmp_path / "whole.onnx", Options(bits=2, group=16), calibration=calibration)
    seen = []

    def stop_after_three(group):
        seen.append(group)
        if len(seen) == 3:
            raise Stop

    work = tmp_path / "parts.onnx.work"
    with pytest.raises(Stop):
        Quantizer(decoder, options, calibration, work).solve(stop_after_three)
    finished = {path: path.stat().st_mtime_ns for path in work.glob("*.npz")}
    assert sorted(path.name for path in finished) == ["group-0.npz", "group-1.npz", "tied-0.npz"]
    again = Quantizer(decoder, options, calibration, work)
    again.solve()
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    again.write(tmp_path / "parts.onnx")
    assert not work.exists()
    whole, parts = HLQModel(tmp_path / "whole.onnx"), HLQModel(tmp_path / "parts.onnx")
    assert whole.slots == parts.slots
    for name in whole.slots:
        for part in ("planes", "scales", "zeros"):
            np.testing.assert_array_equal(getattr(whole.read(name), part), getattr(parts.read(name), part))


def test_killed(decoder, tokens, tmp_path):
    command = ["quantize", decoder, "--bits", "3", "--group", "32", "--calibration", tokens, "-q"]
    check_killed_run(command, tmp_path, lambda work: (work / "group-1.npz").exists())


def test_a_fitted_table_is_kept(decoder, tokens, tmp_path):
    """What comes before the first group is finished work, too."""
    class Interruption(Exception):
        pass

    def interrupt(done, whole):
        raise Interruption

    calibration = open_calibration(decoder, tokens)
    with pytest.raises(Interruption):
        quantize(decoder, tmp_path / "q.onnx", Options(bits=2, group=16), calibration=calibration, progress=interrupt)
    assert [path.name for path in (tmp_path / "q.onnx.work").glob("*.npz")] == ["tied-0.npz"]


def test_report(decoder, tokens, tmp_path, capsys):
    command = ["quantize", decoder, "-o", tmp_path / "q.onnx", "--bits", "2", "--group", "16", "--calibration", tokens]
    assert main([str(word) for word in [*command, "--report", tmp_path / "r.json"]]) == 0
    assert "calibration: 12 samples of " in capsys.readouterr().err
    report = json.loads((tmp_path / "r.json").read_text())
    down = next(row for row in report["matrices"] if row["name"].endswith("layers.1.mlp.down_proj.weight"))
    assert (down["n"], down["k"], down["bits"], down["group_size"]) == (48, 80, 2, 16)
    # Two planes of 80 bits, and two scales and a zero of 16 bits for each of 5 groups.
    assert down["bytes"] == 48 * (2 * 10 + 5 * 3 * 2)
    assert 0 < down["relative_loss"] < 0.3 and down["reason"] == ""
    assert main([str(word) for word in [*command, "-q", "--report", tmp_path / "r.html"]]) == 0
    page = (tmp_path / "r.html").read_text()
    # The tied table has a bar, too.
    assert page.count("<rect ") == 22 and "model.layers.1.mlp.down_proj.weight" in page


def test_dry_run(decoder, tokens, tmp_path, capsys):
    assert main(["quantize", str(decoder), "--calibration", str(tokens), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "21 matrices in 12 groups" in text
    assert "    48 columns: model.layers.0.mlp.gate_proj.weight [80], model.layers.0.mlp.up_proj.weight [80]" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokens.npy"]


def encoder(path, weights):
    """relu(x a) b + x: no tokens, a batch of rows."""
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Gemm", ["r", "b"], ["y0"], transB=1), helper.make_node("Add", ["y0", "x"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 40]) for name in "xy"]
    graph = helper.make_graph(nodes, "main", values[:1], values[1:], [numpy_helper.from_array(w, name) for name, w in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), path)


def encoder_weights():
    rng = np.random.default_rng(2)
    return {name: rng.normal(0.1, 0.4, shape).astype(np.float32) for name, shape in (("a", (40, 64)), ("b", (40, 64)))}


def test_a_model_without_tokens(compiler, tmp_path):
    encoder(tmp_path / "m.onnx", encoder_weights())
    rng = np.random.default_rng(9)
    mixing = rng.standard_normal((40, 40)) * np.geomspace(1, 0.01, 40)
    np.savez(tmp_path / "in.npz", x=(rng.standard_normal((50, 7, 40)) @ mixing).astype(np.float32))
    np.savez(tmp_path / "wrong.npz", z=np.zeros((3, 7, 40), np.float32))
    calibration = open_calibration(tmp_path / "m.onnx", tmp_path / "in.npz", windows=20)
    assert calibration.count == 20
    # Samples of [1, 7, 40]: the model takes [rows, 40].
    with pytest.raises(QuantizeError, match=r"a sample of 'x' has the shape \[1, 7, 40\], but the model takes \['rows', 40\]"):
        quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", Options(bits=2, group=16), calibration=calibration)
    with pytest.raises(QuantizeError, match="no array for the input 'x'"):
        quantize(tmp_path / "m.onnx", tmp_path / "w.onnx", Options(bits=2), calibration=open_calibration(tmp_path / "m.onnx", tmp_path / "wrong.npz"))
    np.savez(tmp_path / "in.npz", x=(rng.standard_normal((350, 40)) @ mixing).astype(np.float32))
    quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", Options(bits=2, group=16), calibration=open_calibration(tmp_path / "m.onnx", tmp_path / "in.npz", windows=350))
    from elutq.compiler import compile as run_compiler

    run_compiler(tmp_path / "m.onnx", tmp_path / "free.onnx", emit="hlq-onnx", quantize="hlq:bits=2,group=16")
    x = (rng.standard_normal((200, 40)) @ mixing).astype(np.float32)
    y, free, fitted = (onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
                       for name in ("m.onnx", "free.onnx", "q.onnx"))
    assert np.square(fitted - y).mean() < 0.7 * np.square(free - y).mean()


@pytest.mark.parametrize("broken, message", [
    ("weights", "'b': weights of row 3, .* not a finite number"), ("activations", "the activations 'r' hold values that are not finite")])
def test_values_that_are_not_finite(broken, message, compiler, tmp_path):
    weights = encoder_weights()
    weights["b" if broken == "weights" else "a"][3, 4] = np.nan if broken == "weights" else 1e14
    encoder(tmp_path / "m.onnx", weights)
    x = np.random.default_rng(9).standard_normal((30, 40)).astype(np.float32) * (1 if broken == "weights" else 1e17)
    with pytest.raises(ElutqError, match=message):
        quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", Options(bits=2), calibration=Calibration("x", arrays={"x": x}))
    assert not (tmp_path / "q.onnx").exists()


BAD_ARRAYS = {"floats.npy": "expected integers", "large.npy": "vocabulary has 61 tokens", "no.npz": "cannot be read as NumPy arrays",
              "uneven.npz": "arrays of one number of samples"}
BAD_TEXTS = {"missing.txt": "No such file", "empty.txt": "is empty", "latin.txt": "is not UTF-8", "short.txt": "a window needs 40"}


@pytest.mark.parametrize("name", [*BAD_ARRAYS, *BAD_TEXTS])
def test_bad_calibrations(name, decoder, tmp_path, capsys):
    from tokenizers import Tokenizer, models

    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "short.txt").write_text("abc" * 13)
    np.save(tmp_path / "floats.npy", np.zeros((2, 8)))
    np.save(tmp_path / "large.npy", np.full((2, 8), 61))
    (tmp_path / "no.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "uneven.npz", a=np.zeros((2, 3)), b=np.zeros((3, 3)))
    Tokenizer(models.BPE(vocab={chr(i + 97): i for i in range(26)}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    command = ["quantize", decoder, "-o", tmp_path / "q.onnx", "--window", "40", "--calibration", tmp_path / name]
    if name in BAD_TEXTS:
        command += ["--tokenizer", tmp_path]
    assert {**BAD_ARRAYS, **BAD_TEXTS}[name] in fails(capsys, *command)
    assert not (tmp_path / "q.onnx").exists() and not (tmp_path / "q.onnx.work").exists()


def test_bad_models(decoder, tokens, tmp_path, capsys):
    (tmp_path / "text.onnx").write_text("no model")
    assert "is no ONNX model" in fails(capsys, "quantize", tmp_path / "text.onnx", "-o", tmp_path / "q.onnx", "--calibration", tokens)
    assert "missing.onnx'" in fails(capsys, "quantize", tmp_path / "missing.onnx", "-o", tmp_path / "q.onnx", "--calibration", tokens)
    assert "name one with -o" in fails(capsys, "quantize", decoder, "--calibration", tokens)
    assert "expected bits to be 1 to 4 or 8" in fails(capsys, "quantize", decoder, "-o", tmp_path / "q.onnx", "--bits", "5", "--calibration", tokens)


def test_work_of_another_run(decoder, tokens, tmp_path, capsys):
    calibration = open_calibration(decoder, tokens)
    Quantizer(decoder, Options(bits=2), calibration, tmp_path / "w")
    message = fails(capsys, "quantize", decoder, "-o", tmp_path / "q.onnx", "--bits", "3", "--calibration", tokens, "--work", tmp_path / "w")
    assert "holds unfinished work of another model, other options or another calibration" in message


def test_compact_parameters(decoder, tokens, tmp_path, capsys):
    free, compact = tmp_path / "free.onnx", tmp_path / "compact.onnx"
    known = [decoder, "--bits", "3", "--group", "16", "--embedding", "8", "--calibration", tokens, "-q"]
    assert main([str(argument) for argument in ["quantize", *known, "-o", free]]) == 0
    assert main([str(argument) for argument in ["quantize", *known, "-o", compact, "--params", "compact"]]) == 0
    model = HLQModel(compact)
    assert {name for name, slot in model.slots.items() if not model.is_compact(name)} == {"model.embed_tokens.weight"}
    sizes = [sum(HLQModel(path).read(name).num_bytes for name in model.slots) for path in (free, compact)]
    assert sizes[1] < sizes[0]
    # ONNX Runtime takes the functions' arithmetic.
    ids = np.random.default_rng(6).integers(0, 61, (1, 60))
    expected = logits(decoder, ids)
    errors = [np.square(logits(path, ids) - expected).mean() for path in (free, compact)]
    assert errors[1] < 1.2 * errors[0]
    known = ["quantize", decoder, "--calibration", tokens, "-o", tmp_path / "no.onnx", "--params", "compact"]
    assert "the method 'gptq' has a uniform grid, which compact parameters are of no use to" in fails(capsys, *known, "--method", "gptq")


def test_bits_chosen_for_an_average(decoder, tokens, tmp_path):
    command = ["quantize", decoder, "-o", tmp_path / "q.onnx", "--target-bpw", "4.5", "--group", "16", "--calibration", tokens, "-q"]
    assert main([str(word) for word in [*command, "--report", tmp_path / "r.json"]]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    linear = [row for row in report["matrices"] if ".layers." in row["name"]]
    assert 4.2 < 8 * sum(row["bytes"] for row in linear) / sum(row["n"] * row["k"] for row in linear) <= 4.5
    assert len({row["bits"] for row in linear}) > 1
    assert {choice["name"]: choice["chosen"]["bits"] for choice in report["choices"]} == {row["name"]: row["bits"] for row in linear}
    from elutq.compiler import compile as run_compiler

    run_compiler(tmp_path / "q.onnx", tmp_path / "q.o", emit="obj", quantize="none")


def test_forms_chosen_for_a_size(decoder, tokens, tmp_path, capsys):
    command = ["quantize", decoder, "-o", tmp_path / "q.onnx", "--calibration", tokens, "--report", tmp_path / "r.html"]
    assert "the smallest that these options allow has " in fails(capsys, *command, "--target-size", "5KB")
    assert not (tmp_path / "q.onnx.work").exists()
    assert "'20 QB' is no size" in fails(capsys, *command, "--target-size", "20 QB")
    report = tmp_path / "r.json"
    assert main([str(word) for word in [*command[:-1], report, "--target-size", "30KB"]]) == 0
    found = json.loads(report.read_text())
    # The limit is kept by what is written, pages of the file included, and little of it is left.
    written = (tmp_path / "q.onnx.data").stat().st_size
    inside = sum(len(tensor.raw_data) for tensor in onnx.load(tmp_path / "q.onnx", load_external_data=False).graph.initializer)
    assert 0.9 * 30_000 < written + inside <= 30_000
    chosen = {choice["name"]: choice["chosen"] for choice in found["choices"]}
    # The tied table is chosen for, too.
    assert len(chosen) == 3 * 7 + 1 and "model.embed_tokens.weight" in chosen
    slots = HLQModel(tmp_path / "q.onnx").slots
    assert {name: (slot.bits, slot.group_size) for name, slot in slots.items()} == {
        name: (choice["bits"], choice["group"]) for name, choice in chosen.items() if choice["bits"]}
    # Bits that are given are not chosen.
    assert main([str(word) for word in [*command, "-q", "--target-size", "30KB", "--embedding", "3", "--group", "32"]]) == 0
    assert HLQModel(tmp_path / "q.onnx").slots["model.embed_tokens.weight"].bits == 4  # The larger of 3 and the head's 4.
    assert (tmp_path / "q.onnx.data").stat().st_size <= 30_000
    page = (tmp_path / "r.html").read_text()
    assert "Choice of bits and groups" in page and "model.embed_tokens.weight" in page


def test_a_choice_is_kept(decoder, tokens, tmp_path, capsys, monkeypatch):
    command = [str(word) for word in ["quantize", decoder, "-o", tmp_path / "q.onnx", "--target-bpw", "4.5", "--calibration", tokens, "-q"]]
    asked = []
    monkeypatch.setattr(Quantizer, "solve", lambda self, advance: (_ for _ in ()).throw(OSError("stopped")))
    assert "stopped" in fails(capsys, *command)
    monkeypatch.undo()
    monkeypatch.setattr(sys.modules["elutq.quantization.choose"], "choose", lambda *given, **options: asked.append(given))
    assert main(command) == 0 and not asked
    assert not (tmp_path / "q.onnx.work").exists()


def test_storage(decoder, tokens, tmp_path):
    report = quantize(decoder, tmp_path / "q.onnx", Options(bits=3, group=128, embedding=8), calibration=open_calibration(decoder, tokens))
    model = onnx.load(tmp_path / "q.onnx")
    sizes = {tensor.name: numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer}
    held = report.storage
    for part in ("planes", "scales", "zeros"):
        assert getattr(held, part) == sum(size for name, size in sizes.items() if name.endswith("." + part))
    assert held.size == sum(sizes.values())
    # Rows of 48 and 80 in groups of 128, 3 bits, and a table of 61 rows of 48 with 8.
    padding = sum(row.n * (-row.k % 128) * row.bits // 8 for row in report.rows)
    assert held.padding == padding > 0
    assert held.weights == sum(row.n * row.k for row in report.rows)
    assert held.bits_per_weight == 8 * sum(row.bytes for row in report.rows) / held.weights


@pytest.mark.parametrize("params", ["hlq", "compact"])
def test_mixed_models_compile(params, decoder, tokens, tmp_path):
    """Matrices of all bits and groups in one model, float ones among them, compute what ONNX Runtime computes."""
    import elutq

    names = sorted(tensor.name for tensor in onnx.load(decoder, load_external_data=False).graph.initializer
                   if tensor.name.startswith("model.layers.") and len(tensor.dims) == 2)
    forms = [(bits, group) for group in (16, 32, 64, 128, 256, 0) for bits in (1, 2, 3, 4, 8)][::2] + [(0, 0), (0, 0)]
    plan = {name: forms[index * 5 % len(forms)] for index, name in enumerate(names)}
    assert {bits for bits, _ in plan.values()} == {0, 1, 2, 3, 4, 8} and len({group for _, group in plan.values()}) == 6
    (tmp_path / "q").mkdir()
    shutil.copy(decoder.with_name("config.json"), tmp_path / "q")
    path = tmp_path / "q" / "model.onnx"
    report = quantize(decoder, path, Options(embedding=8, plan=plan, params=params), calibration=open_calibration(decoder, tokens))
    # Rows of 48 and 80 are groups of 64 and 96.
    assert {row.name: row.bits for row in report.rows} == {
        **{name: bits for name, (bits, _) in plan.items() if bits}, "model.embed_tokens.weight": 8}
    # What the model has in float stays so: it has quantized matrices, too.
    elutq.compile(path, tmp_path / "mixed", emit="lib", arguments=["--kv-cache=f32"])
    ids = np.random.default_rng(6).integers(0, 61, 50)
    expected = logits(path, ids[None])[0]
    with elutq.Model(tmp_path / "libmixed.so") as model:
        session = model.session()
        decoded = np.stack([session.decode(int(token)) for token in ids])
        session.reset()
        prefilled = session.prefill(ids)
    for found, rows in ((decoded, expected), (prefilled, expected[-1])):
        assert (np.abs(found - rows).max(-1) / np.ptp(rows, axis=-1)).max() < 1e-3
    # Far from what the float model gives.
    assert np.abs(expected - logits(decoder, ids[None])[0]).max() > 0.05 * np.ptp(expected)


@pytest.mark.parametrize("params", ["hlq", "compact"])
def test_a_program_tells_its_bits_per_weight(params, decoder, tokens, tmp_path):
    """Tables that are read twice count once; what rows are padded to counts."""
    import elutq

    (tmp_path / "q").mkdir()
    shutil.copy(decoder.with_name("config.json"), tmp_path / "q")
    path = tmp_path / "q" / "model.onnx"
    report = quantize(decoder, path, Options(bits=3, group=16, embedding=8, head=8, params=params), calibration=open_calibration(decoder, tokens))
    elutq.compile(path, tmp_path / "chat")
    told = json.loads(subprocess.run([tmp_path / "chat", "--info", "--json"], capture_output=True, check=True).stdout)
    assert told["quantization"] == "none"
    weights, size = int(told["quantized_weights"]), int(told["quantized_bytes"])
    assert weights == report.storage.weights == sum(row.n * row.k for row in report.rows)
    # Blocks of at most 64 rows, and the same bits, scales and zeros for each.
    padded = sum(row.bytes * (-(-row.n // 64) * 64) // row.n for row in report.rows)
    assert sum(row.bytes for row in report.rows) <= size <= padded
    text = subprocess.run([tmp_path / "chat", "--info"], capture_output=True, check=True, text=True).stdout
    assert f"bits per weight  {8 * size / weights:.3f} (planes, scales, zeros and padding of {weights / 1e6:.1f} million weights)\n" in text
