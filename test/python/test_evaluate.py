"""elutq evaluate against the formulas written out in NumPy, on models whose logits NumPy can compute, too."""

import json
import math

import numpy as np
import onnx
import onnxruntime
import pytest
from genai_models import GenAISession, write_model
from onnx import TensorProto, helper, numpy_helper
from test_text import ids, write_tokenizer

import elutq
from elutq.cli import main
from elutq.errors import EvaluationError, FeedError, TextError
from elutq.evaluation.metrics import Comparison, Mean
from elutq.evaluation.scorers import open_scorer
from elutq.text import open_tokenizer

VOCABULARY, WIDTH = 96, 8
TEXT = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs! 0123456789 "


def weights(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of different seeds are near each other."""
    rng, near = np.random.default_rng(0), np.random.default_rng(seed)
    return tuple((rng.normal(mean, 1.0, shape) + near.normal(0, 0.3, shape)).astype(np.float32)
                 for mean, shape in ((0.2, (VOCABULARY, WIDTH)), (-0.1, (WIDTH, VOCABULARY))))


def write_bigram(path, seed: int = 1, *, vocabulary: int | None = VOCABULARY, extra=(), last=False, nan=False, output="logits",
                 input_name="input_ids", half=False):
    """A causal model without a past: the logits after a token are table[token] @ head. vocabulary None: of a size that depends on
    the inputs."""
    table, head = (array[:vocabulary] if array.shape[0] == VOCABULARY else array[:, :vocabulary] for array in weights(seed))
    if nan:
        head[3, 7] = np.nan
    nodes = [helper.make_node("Gather", ["table", input_name], ["x"]), helper.make_node("MatMul", ["x", "head"], ["all"]),
             helper.make_node("Slice", ["all", "from", "to", "axes"], ["part"]),
             helper.make_node("Shape", [input_name], ["batch"], start=0, end=1), helper.make_node("Mul", ["batch", "size"], ["sizes"]),
             helper.make_node("Slice", ["part", "zero", "sizes" if vocabulary is None else "to", "last"], ["whole"]),
             helper.make_node("Cast", ["whole"], [output], to=TensorProto.FLOAT16 if half else TensorProto.FLOAT)]
    constants = {"table": table, "head": head, "from": np.array([-1 if last else -(2**31)]), "to": np.array([2**31]), "axes": np.array([1]),
                 "zero": np.array([0]), "last": np.array([2]), "size": np.array([VOCABULARY])}
    graph = helper.make_graph(
        nodes, "bigram",
        [helper.make_tensor_value_info(input_name, TensorProto.INT64, ["batch", "sequence"]),
         *(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in extra)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT16 if half else TensorProto.FLOAT, ["batch", "positions", "vocabulary"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.fixture
def folder(tmp_path):
    return write_tokenizer(tmp_path, template=True)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.longdouble))
    return e / e.sum(-1, keepdims=True)


def expected_measures(windows, seed: int, reference_seed: int):
    """nll, reference nll, KL and agreement of bigrams, [windows, positions]."""
    table, head = weights(seed)
    other_table, other_head = weights(reference_seed)
    windows = np.array(windows)
    x, y = table[windows[:, :-1]] @ head, other_table[windows[:, :-1]] @ other_head
    q, p = softmax(x), softmax(y)
    following = windows[:, 1:, None]
    nll, reference_nll = (-np.log(np.take_along_axis(part, following, -1))[..., 0] for part in (q, p))
    return nll, reference_nll, (p * np.log(p / q)).sum(-1), x.argmax(-1) == y.argmax(-1)


def check_mean(mean: Mean, values: np.ndarray) -> None:
    per_window = values.astype(float).mean(axis=1)
    assert mean.value == pytest.approx(per_window.mean(), rel=1e-5)
    assert mean.error == pytest.approx(np.sqrt(per_window.var() / (len(per_window) - 1)), rel=1e-4)


def test_measures_of_an_onnx_model(folder):
    model, reference = write_bigram(folder / "model.onnx"), write_bigram(folder / "float.onnx", 2)
    result = elutq.evaluate(model, reference=reference, text=TEXT, windows=4, window=20)
    windows = [ids("^" + TEXT[first:first + 19]) for first in range(0, 80, 20)]
    nll, reference_nll, kl, agree = expected_measures(windows, 1, 2)
    check_mean(result.nll, nll)
    check_mean(result.reference_nll, reference_nll)
    check_mean(result.delta, nll - reference_nll)
    check_mean(result.kl, kl)
    check_mean(result.top1, agree)
    assert 0.2 < result.top1.value < 0.9 and result.kl.value > 0.1
    assert result.perplexity.value == pytest.approx(math.exp(nll.mean()), rel=1e-5)
    assert result.perplexity.error == pytest.approx(result.perplexity.value * result.nll.error)
    assert result.window_nll == pytest.approx([float(value) for value in nll.mean(1)], rel=1e-5)
    assert (result.windows, result.window, result.prefix, result.predicted_tokens) == (4, 20, (ord("^") - 32,), 76)


def test_a_model_against_itself(folder):
    model = write_bigram(folder / "model.onnx")
    result = elutq.evaluate(model, reference=model, text=TEXT, windows=2, window=20)
    assert result.kl.value == pytest.approx(0, abs=1e-12) and result.delta.value == 0 and result.top1.value == 1


def test_one_window_has_no_error(folder):
    result = elutq.evaluate(write_bigram(folder / "model.onnx"), text=TEXT, windows=1, window=20, bos="never")
    assert result.nll.error is None and result.perplexity.error is None and result.kl is None and result.prefix == ()
    table, head = weights(1)
    window = np.array(ids(TEXT[:20]))
    p = softmax(table[window[:-1]] @ head)
    assert result.nll.value == pytest.approx(float(-np.log(p[np.arange(19), window[1:]]).mean()), rel=1e-5)


@pytest.mark.parametrize("options", [{"vocabulary": None}, {"output": "y"}, {"input_name": "tokens"}])
def test_forms_of_graphs(folder, options):
    expected = elutq.evaluate(write_bigram(folder / "model.onnx"), text=TEXT, windows=3, window=20)
    actual = elutq.evaluate(write_bigram(folder / "other.onnx", **options), text=TEXT, windows=3, window=20)
    assert actual.window_nll == expected.window_nll


def test_logits_of_half_precision(folder):
    expected = elutq.evaluate(write_bigram(folder / "model.onnx"), text=TEXT, windows=3, window=20)
    actual = elutq.evaluate(write_bigram(folder / "half.onnx", half=True), text=TEXT, windows=3, window=20)
    assert actual.nll.value != expected.nll.value and actual.nll.value == pytest.approx(expected.nll.value, rel=1e-3)


def test_excluded_tokens_and_large_logits():
    # Tokens that both models exclude; logits whose exponentials overflow.
    rng = np.random.default_rng(3)
    x, y = (rng.normal(900, 4, (5, 40)).astype(np.float32) for _ in range(2))
    x[:, 30:] = y[:, 30:] = -np.inf
    targets = rng.integers(0, 30, 5)
    comparison = Comparison(targets, with_reference=True)
    comparison.add(0, x[:2], y[:2])
    comparison.add(2, x[2:], y[2:])
    q, p = softmax(x[:, :30] - np.float32(900)), softmax(y[:, :30] - np.float32(900))
    np.testing.assert_allclose(comparison.nll, -np.log(q[np.arange(5), targets]).astype(float), rtol=1e-9)
    np.testing.assert_allclose(comparison.kl, (p * np.log(p / q)).sum(1).astype(float), rtol=1e-9)
    np.testing.assert_array_equal(comparison.agree, x.argmax(1) == y.argmax(1))


def test_slices_do_not_matter(monkeypatch):
    rng = np.random.default_rng(4)
    x, y, targets = rng.normal(0, 3, (7, 50)).astype(np.float32), rng.normal(0, 3, (7, 50)).astype(np.float32), rng.integers(0, 50, 7)
    results = []
    for size in (1, 3 * 50 * 8, 1 << 20):
        monkeypatch.setattr("elutq.evaluation.metrics._SLICE_BYTES", size)
        results.append(Comparison(targets, with_reference=True))
        results[-1].add(0, x, y)
    for other in results[1:]:
        for name in ("nll", "reference_nll", "kl", "agree"):
            np.testing.assert_array_equal(getattr(results[0], name), getattr(other, name))


@pytest.fixture(scope="module")
def compiled(tiny_model, compiler, tmp_path_factory):
    """The tiny model with 4 bits: as a library, and as ONNX."""
    folder = tmp_path_factory.mktemp("compiled")
    for kind, name in (("lib", "tiny"), ("hlq-onnx", "tiny.onnx")):
        elutq.compile(tiny_model, folder / name, emit=kind, quantize="hlq:bits=4,group=32")
    return folder


def test_compiled_library_and_its_onnx_model(compiled, tiny_model):
    """The same weights: the tables and the cache in f16 are the only difference."""
    options = {"text": TEXT * 3, "reference": tiny_model, "windows": 3, "window": 60}
    library = elutq.evaluate(compiled / "libtiny.so", **options)
    graph = elutq.evaluate(compiled / "tiny.onnx", **options)
    assert library.tokenizer.startswith("the tokenizer in") and graph.tokenizer.endswith("tokenizer.json")
    assert library.perplexity.value == pytest.approx(graph.perplexity.value, rel=0.01)
    assert library.reference_nll == graph.reference_nll and library.kl.value == pytest.approx(graph.kl.value, rel=0.05)
    assert graph.kl.value > 1e-4


def write_tied(path, half: bool):
    """A table that is looked up and multiplied by, a layer, and a residual, with activations in f16 or f32."""
    rng = np.random.default_rng(12)
    type_, element = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    constants = {"table": rng.normal(0.1, 0.5, (VOCABULARY, 40)).astype(np.float32), "layer": rng.normal(0, 0.3, (40, 40)).astype(type_),
                 "axes": np.array([1, 0])}
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["e"]), helper.make_node("Cast", ["e"], ["x"], to=element),
             helper.make_node("MatMul", ["x", "layer"], ["y"]), helper.make_node("Add", ["x", "y"], ["z"]),
             helper.make_node("Cast", ["z"], ["w"], to=TensorProto.FLOAT), helper.make_node("Transpose", ["table"], ["head"], perm=[1, 0]),
             helper.make_node("MatMul", ["w", "head"], ["logits"])]
    graph = helper.make_graph(nodes, "tied", [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", VOCABULARY])],
                              [numpy_helper.from_array(value, name) for name, value in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.mark.parametrize("bits, half", [(1, False), (2, False), (3, True), (4, False), (8, False), (8, True)])
def test_expanded_weights_give_the_logits_of_the_functions(bits, half, compiler, tmp_path):
    elutq.compile(write_tied(tmp_path / "float.onnx", half), tmp_path / "q.onnx", emit="hlq-onnx",
                  quantize=f"hlq:bits={bits},group=16,embedding={bits},head={bits}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(tmp_path / "q.onnx", options, providers=["CPUExecutionProvider"])
    assert {node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node} >= {"HLQGather", "HLQMatMul"}
    window = np.random.default_rng(bits).integers(0, VOCABULARY, 30)
    (expected,) = session.run(["logits"], {"input_ids": window[None]})
    scorer = open_scorer(tmp_path / "q.onnx")
    assert scorer.kind.endswith(", weights in f32")
    ((start, rows),) = scorer.blocks(window)
    assert start == 0
    # In f16 the layer's result may be rounded the other way.
    np.testing.assert_allclose(rows, expected[0, :-1], rtol=1e-5, atol=2e-2 if half else 1e-4)


def test_weights_that_do_not_fit_the_memory_are_not_expanded(compiled, monkeypatch):
    window = np.array(ids(TEXT[:30]))
    results = []
    for free in (1 << 40, 1000):
        monkeypatch.setattr("elutq.evaluation.scorers.available_memory", lambda: free)
        scorer = open_scorer(compiled / "tiny.onnx")
        assert scorer.kind.endswith(", weights in f32") == (free > 1000)
        results.append(next(scorer.blocks(window))[1].copy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-4)


def test_kept_logits_of_the_reference(folder, monkeypatch):
    model, reference = write_bigram(folder / "model.onnx"), write_bigram(folder / "float.onnx", 2)
    options = {"reference": reference, "text": TEXT, "window": 20}
    expected = elutq.evaluate(model, windows=4, **options)
    cache = folder / "cache"
    first = elutq.evaluate(model, windows=3, reference_cache=cache, **options)
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(kept) == 3 and all(np.load(path).shape == (19, VOCABULARY) and np.load(path).max(1).tolist() == [0] * 19 for path in kept)
    again = elutq.evaluate(model, windows=4, reference_cache=cache, **options)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept and len(list(cache.iterdir())) == 4
    assert first.window_nll == again.window_nll[:3] == expected.window_nll[:3]
    assert again.kl.value == pytest.approx(expected.kl.value, abs=2e-5) and again.top1.value == pytest.approx(expected.top1.value, abs=0.03)
    assert again.reference_nll.value == pytest.approx(expected.reference_nll.value, abs=1e-3)
    # Another model under the same name is another reference.
    write_bigram(reference, 3)
    other = elutq.evaluate(model, windows=4, reference_cache=cache, **options)
    assert len(list(cache.iterdir())) == 8
    assert other.kl.value == pytest.approx(elutq.evaluate(model, windows=4, **options).kl.value, abs=2e-5) != again.kl.value
    with pytest.raises(EvaluationError, match="does not exist"):
        elutq.evaluate(model, windows=1, reference_cache=cache, **{**options, "reference": folder / "nothing.onnx"})


@pytest.mark.parametrize("path", ["decode", "prefill"])
def test_the_path_of_a_compiled_library(compiled, path):
    """What is measured are the logits that decode, or a prefill of any number of tokens, gives."""
    model = elutq.Model(compiled / "libtiny.so")
    window = np.array(ids(TEXT[:50]))
    blocks = list(open_scorer(compiled / "libtiny.so", feed=path).blocks(window))
    assert [start for start, _ in blocks] == list(range(49))
    session = model.session()
    for start, rows in blocks:
        if path == "decode":
            np.testing.assert_array_equal(rows[0], session.decode(window[start]))
        elif start % 7 == 0 or start > 40:
            np.testing.assert_array_equal(rows[0], model.session().prefill(window[:start + 1]))


def test_a_compiled_reference(compiled, tiny_model):
    result = elutq.evaluate(compiled / "tiny.onnx", reference=compiled, tokenizer=tiny_model.parent, text=TEXT, windows=1, window=40)
    assert result.reference_nll.value != result.nll.value and 0 < result.kl.value < 0.01


@pytest.mark.parametrize("name", ["llama-fp32", "gemma3-fp32"])
def test_graphs_of_the_model_builder(name, tmp_path):
    """With a mask and a cache whose sizes genai_config.json tells; text longer than the sliding window of 16."""
    folder = write_model(name, tmp_path / "model")
    result = elutq.evaluate(folder, text=TEXT, windows=1, window=40)
    tokens = np.array(open_tokenizer(folder).encode(TEXT)[:40])
    session = GenAISession(folder)
    logits = np.concatenate([session.feed([token]) for token in tokens[:-1]])
    assert result.nll.value == pytest.approx(float(-np.log(softmax(logits)[np.arange(39), tokens[1:]]).mean()), rel=1e-4)


def run(*arguments) -> int:
    return main(["evaluate", *map(str, arguments)])


def test_command(folder, capsys):
    model, reference = write_bigram(folder / "model.onnx"), write_bigram(folder / "float.onnx", 2)
    (folder / "text.txt").write_text(TEXT)
    file = folder / "result.json"
    assert run(folder, "--text", folder / "text.txt", "--reference", reference, "--window", 30, "--json", file) == 0
    result = elutq.evaluate(model, text=folder / "text.txt", reference=reference, window=30)
    written, output = json.loads(file.read_text()), capsys.readouterr()
    for name in ("perplexity", "nll", "kl", "top1", "delta"):
        mean = getattr(result, name)
        assert written[name] == {"value": mean.value, "standard_error": mean.error}
    assert written["windows"] == 3 and written["predicted_tokens"] == 87 and written["text"].endswith("text.txt")
    assert f"perplexity  {result.perplexity.value:.5g} ± " in output.out and "3 windows (of 16: the text has no more) of 30" in output.out
    assert output.err == ""  # No bar where nobody looks.


def test_default_text_is_named(folder, capsys):
    # ONNX's descriptions hold other letters, too, which this tokenizer drops.
    assert run(write_bigram(folder / "model.onnx"), "--windows", 2, "--window", 50) == 0
    assert f"the descriptions of ONNX {onnx.__version__}'s operators, the default text" in capsys.readouterr().out


@pytest.mark.parametrize("options, error, message", [
    ({"extra": [("pixels", [1, 3])]}, FeedError, "the input 'pixels'"),
    ({"last": True}, EvaluationError, r"has the shape \[1, 1, 96\] for 20 tokens, expected \[1, 20, vocabulary\]"),
    ({"nan": True}, EvaluationError, "the model's logits at position 0 of window 0 have the maximum nan"),
    ({"vocabulary": 50}, TextError, "the token id .*, but the model's vocabulary has 50 tokens: it is the tokenizer of another model"),
])
def test_models_that_cannot_be_measured(folder, options, error, message):
    with pytest.raises(error, match=message):
        elutq.evaluate(write_bigram(folder / "model.onnx", **options), text=TEXT, windows=1, window=20)


def test_a_tokenizer_that_gives_ids_which_the_graph_does_not_know(folder):
    np.save(folder / "ids.npy", np.full(30, VOCABULARY))
    with pytest.raises(EvaluationError, match="ONNX Runtime does not run '.*model.onnx'"):
        elutq.evaluate(write_bigram(folder / "model.onnx", vocabulary=None), text=folder / "ids.npy", windows=1, window=20)


def test_outputs_that_are_no_logits(folder):
    path = write_bigram(folder / "model.onnx", output="y")
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("all", TensorProto.FLOAT, ["batch", "positions", VOCABULARY]))
    onnx.save(model, path)
    with pytest.raises(FeedError, match="has no output 'logits' .* its outputs are y, all"):
        elutq.evaluate(path, text=TEXT)


def test_refused_models(folder, compiled, tmp_path):
    with pytest.raises(EvaluationError, match="does not exist"):
        elutq.evaluate(folder / "nothing.onnx")
    for name in ("broken.onnx", "chat"):
        (folder / name).write_bytes(b"\x7fELF")
    with pytest.raises(EvaluationError, match="ONNX Runtime does not load"):
        elutq.evaluate(folder / "broken.onnx")
    with pytest.raises(EvaluationError, match="programs cannot be measured: compile the model with --emit=lib"):
        elutq.evaluate(folder / "chat")
    model = write_bigram(folder / "model.onnx")
    (folder / "libtiny.so").touch()
    with pytest.raises(EvaluationError, match="holds both model.onnx and libtiny.so"):
        elutq.evaluate(folder)
    with pytest.raises(EvaluationError, match="a context of 128 tokens, but a window of 200 needs 199"):
        elutq.evaluate(compiled / "libtiny.so", text=TEXT * 3, window=200)
    with pytest.raises(EvaluationError, match="the path is 'both'"):
        elutq.evaluate(compiled / "libtiny.so", text=TEXT, path="both")
    (tmp_path / "apart").mkdir()
    apart = write_bigram(tmp_path / "apart" / "model.onnx", vocabulary=90)
    with pytest.raises(EvaluationError, match="no tokenizer.json beside .*--tokenizer"):
        elutq.evaluate(apart, text=TEXT)
    with pytest.raises(EvaluationError, match="has a vocabulary of 96 tokens, but its reference .* one of 90"):
        elutq.evaluate(model, reference=apart, text=TEXT)
    unknown = write_bigram(folder / "unknown.onnx", vocabulary=None)
    with pytest.raises(EvaluationError, match="has a vocabulary of 96 tokens, but its reference .* one of 90"):
        elutq.evaluate(unknown, reference=apart, text="0123456789", window=5, bos="never")


def test_command_errors(folder, capsys):
    model = write_bigram(folder / "model.onnx")
    (folder / "short.txt").write_text("abc")
    (folder / "latin.txt").write_bytes("naïve".encode("latin-1"))
    (folder / "empty.txt").touch()
    for arguments, message in [
            (["--text", folder / "short.txt"], "has 3 tokens, but a window needs 1023"),
            (["--text", folder / "latin.txt"], "is not UTF-8"), (["--text", folder / "empty.txt"], "is empty"),
            (["--text", folder / "nothing.txt"], "nothing.txt"), (["--window", 1], "window of 1 tokens"),
            (["--json", folder / "nowhere" / "x.json"], "there is no folder"), (["--tokenizer", folder / "nowhere"], "nowhere")]:
        assert run(model, *arguments) == 1
        output = capsys.readouterr()
        assert output.out == "" and output.err.startswith("elutq: error: ") and message in output.err and output.err.count("\n") == 1
