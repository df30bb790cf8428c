"""Choosing bits and groups: the knapsack against all choices, divergences against NumPy, sizes, and models whose layers differ."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from elutq.errors import QuantizeError
from elutq.quantization import Calibration, Options
from elutq.quantization.allocate import Candidate, allocate, efficient
from elutq.quantization.choose import choose
from elutq.quantization.graph import Graph
from elutq.quantization.outputs import before_head, divergence
from elutq.quantization.sizes import matrix_bytes, parse_size
from elutq.solver import solve


@pytest.mark.parametrize("seed", range(6))
def test_allocation_is_the_best(seed):
    rng = np.random.default_rng(seed)
    found = {f"m{i}": [Candidate(bits, 64, int(size) * bits, float(scale * 4.0 ** -bits)) for bits in (1, 2, 3, 4)]
             for i, (size, scale) in enumerate(zip(rng.integers(5, 50, 7), rng.lognormal(0, 2, 7)))}
    budget = 2.4 * sum(c[0].bytes for c in found.values())
    chosen = allocate(found, budget)
    assert sum(c.bytes for c in chosen.values()) <= budget
    best = min(sum(c.loss for c in combination) for combination in itertools.product(*found.values())
               if sum(c.bytes for c in combination) <= budget)
    # Bytes are rounded to 1/65536 of the budget.
    assert best <= sum(c.loss for c in chosen.values()) <= 1.01 * best


def test_allocation_at_the_ends():
    found = {"a": [Candidate(2, 64, 20, 1.0), Candidate(4, 64, 40, 0.1)], "b": [Candidate(2, 64, 10, 1.0), Candidate(4, 64, 20, 0.5)]}
    assert [c.bits for c in allocate(found, 60).values()] == [4, 4]
    assert [c.bits for c in allocate(found, 59).values()] == [4, 2]
    assert [c.bits for c in allocate(found, 30).values()] == [2, 2]
    with pytest.raises(QuantizeError, match="the smallest choice needs 30 bytes, but 29 are allowed"):
        allocate(found, 29)


def test_divergence():
    rng = np.random.default_rng(1)
    p, q = (rng.standard_normal((1, 100, 9)).astype(np.float32) * 3 for _ in range(2))
    a, b = (np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum(-1, keepdims=True) for x in (p, q))
    np.testing.assert_allclose(divergence({"logits": p}, {"logits": q}), (a * np.log(a / b)).sum(-1).mean(), rtol=1e-9)
    assert divergence({"logits": p}, {"logits": p}) == 0
    np.testing.assert_allclose(divergence({"y": p}, {"y": q}), np.square(p - q).sum() / np.square(p).sum(), rtol=1e-6)


def test_efficient_candidates():
    given = [Candidate(4, 128, 45, 0.1), Candidate(3, 64, 36, 0.3), Candidate(2, 32, 35, 0.9), Candidate(3, 128, 35, 0.4),
             Candidate(2, 128, 24, 1.2), Candidate(0, 0, 320, 0.0), Candidate(3, 32, 46, 0.2)]
    assert [(c.bits, c.group) for c in efficient(given)] == [(2, 128), (3, 128), (3, 64), (4, 128), (0, 0)]


@pytest.mark.parametrize("text, size", [("2GB", 2 * 10**9), ("1.5 GiB", 1610612736), ("700kb", 700000), ("3MiB", 3145728), ("12", 12), ("9B", 9)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2TB", "-3MB", "GB", "1e9", "0MB", "2 G B"])
def test_no_sizes(text):
    with pytest.raises(QuantizeError, match=f"'{text}' is no size, expected a number and bytes"):
        parse_size(text)


@pytest.mark.parametrize("params", ["hlq", "compact"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("n, k, group", [(3, 100, 32), (5, 640, 256), (2, 64, 64)])
def test_bytes_are_those_of_the_solver(bits, n, k, group, params):
    solved = solve(np.random.default_rng(0).standard_normal((n, k), np.float32), bits=bits, group=group, kind=params)
    assert matrix_bytes(n, k, bits, group, params) == solved.planes.nbytes + solved.scales.nbytes + solved.zeros.nbytes


def branches(path, rng):
    """y = relu(x a) b + 0.02 relu(sqrt(x^2) c) d: what c and d give hardly counts."""
    weights = {name: rng.normal(0.1, 0.5, shape).astype(np.float32)
               for name, shape in (("a", (64, 48)), ("b", (48, 32)), ("c", (64, 48)), ("d", (48, 32)))}
    node = helper.make_node
    nodes = [node("Mul", ["x", "x"], ["x2"]), node("MatMul", ["x", "a"], ["xa"]), node("Relu", ["xa"], ["ra"]),
             node("MatMul", ["ra", "b"], ["rb"]), node("Sqrt", ["x2"], ["x1"]), node("MatMul", ["x1", "c"], ["xc"], name="c/product"),
             node("Relu", ["xc"], ["rc"]), node("MatMul", ["rc", "d"], ["rd"]), node("Mul", ["rd", "small"], ["sd"]),
             node("Add", ["rb", "sd"], ["y"])]
    constants = {**weights, "small": np.array(0.02, np.float32)}
    graph = helper.make_graph(nodes, "main", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32])],
                              [numpy_helper.from_array(array, name) for name, array in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), path)
    return Calibration("x", arrays={"x": rng.standard_normal((300, 64)).astype(np.float32)})


def test_layers_that_matter_get_more_bits(tmp_path):
    calibration = branches(tmp_path / "m.onnx", np.random.default_rng(4))
    choices = {choice.name: choice for choice in choose(tmp_path / "m.onnx", calibration, bits_per_weight=4.6, groups=(32,))}
    assert sum(choice.chosen.bytes for choice in choices.values()) * 8 <= 4.6 * sum(choice.weights for choice in choices.values())
    bits = {name: choice.chosen.bits for name, choice in choices.items()}
    assert min(bits["a"], bits["b"]) > max(bits["c"], bits["d"]) > 0
    for choice in choices.values():
        losses = [candidate.loss for candidate in choice.candidates]
        assert losses == sorted(losses, reverse=True) and losses[-1] == 0
        assert {candidate.group for candidate in choice.candidates} == {0, 32}


def test_groups_are_chosen_too(tmp_path):
    calibration = branches(tmp_path / "m.onnx", np.random.default_rng(4))
    losses = []
    for groups in ((32,), (64,), (16, 32, 64)):
        choices = choose(tmp_path / "m.onnx", calibration, bits_per_weight=4.6, groups=groups)
        assert sum(choice.chosen.bytes for choice in choices) * 8 <= 4.6 * sum(choice.weights for choice in choices)
        losses.append(sum(choice.chosen.loss for choice in choices))
    # More to choose from, and less loss.
    assert losses[2] < min(losses[:2])
    assert len({choice.chosen.group for choice in choices}) > 1


def test_a_generous_limit_leaves_float(tmp_path):
    calibration = branches(tmp_path / "m.onnx", np.random.default_rng(4))
    choices = choose(tmp_path / "m.onnx", calibration, Options(exclude="c/product"), bits_per_weight=40)
    # The node's name excludes c.
    assert {choice.name: (choice.chosen.bits, choice.chosen.loss) for choice in choices} == {name: (0, 0.0) for name in "abd"}
    assert {choice.name: choice.chosen.bytes for choice in choices} == {"a": 4 * 64 * 48, "b": 4 * 48 * 32, "d": 4 * 48 * 32}


def test_limits_that_cannot_be_kept(tmp_path):
    calibration = branches(tmp_path / "m.onnx", np.random.default_rng(4))
    # One bit, and a scale and a zero for each group of 64, into which rows of 48 are padded.
    least = sum(n * (8 + 4) for n in (48, 32, 48, 32))
    fewest = 8 * least / (2 * (64 * 48 + 48 * 32))
    with pytest.raises(QuantizeError, match=f"cannot have 1.6 bits per weight: the fewest that these options allow are {fewest:.4f}"):
        choose(tmp_path / "m.onnx", calibration, bits_per_weight=1.6, groups=(64,))
    choices = choose(tmp_path / "m.onnx", calibration, bits_per_weight=fewest + 1e-9, groups=(64,))
    assert {choice.chosen.bits for choice in choices} == {1}
    with pytest.raises(QuantizeError, match=r"the model cannot have 1.000 KB: the smallest that these options allow has (\d+) bytes") as error:
        choose(tmp_path / "m.onnx", calibration, size=1000)
    smallest = int(error.value.args[0].split(" has ")[1].split()[0])
    choose(tmp_path / "m.onnx", calibration, size=smallest)
    with pytest.raises(QuantizeError, match="the smallest that these options allow"):
        choose(tmp_path / "m.onnx", calibration, size=smallest - 1)


def test_heads_are_found(decoder, tmp_path):
    graph = Graph(onnx.load(decoder, load_external_data=False))
    name = before_head(graph)
    product = next(node for node in graph.nodes if node.op_type == "MatMul" and name in node.input)
    assert product.output[0] == "logits" or any(product.output[0] in node.input for node in graph.nodes)
    # What mixes rows behind the product is no head.
    model = onnx.load(decoder)
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Softmax", ["before"], ["logits"], axis=1))
    assert before_head(Graph(model)) is None
