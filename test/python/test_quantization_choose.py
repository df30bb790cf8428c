"""Choosing bits: the knapsack against all choices, divergences against SciPy-free NumPy, and a model whose layers differ."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from elutq.errors import QuantizeError
from elutq.quantization import Calibration
from elutq.quantization.choose import Candidate, allocate, choose, divergence


@pytest.mark.parametrize("seed", range(6))
def test_allocation_is_the_best(seed):
    rng = np.random.default_rng(seed)
    found = {f"m{i}": [Candidate(bits, int(size) * bits, float(scale * 4.0 ** -bits)) for bits in (1, 2, 3, 4)]
             for i, (size, scale) in enumerate(zip(rng.integers(5, 50, 7), rng.lognormal(0, 2, 7)))}
    budget = 2.4 * sum(c[0].bytes for c in found.values())
    chosen = allocate(found, budget)
    assert sum(c.bytes for c in chosen.values()) <= budget
    best = min(sum(c.loss for c in combination) for combination in itertools.product(*found.values())
               if sum(c.bytes for c in combination) <= budget)
    # Bytes are rounded to 1/16384 of the budget.
    assert best <= sum(c.loss for c in chosen.values()) <= 1.01 * best


def test_allocation_at_the_ends():
    found = {"a": [Candidate(2, 20, 1.0), Candidate(4, 40, 0.1)], "b": [Candidate(2, 10, 1.0), Candidate(4, 20, 0.5)]}
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


def test_layers_that_matter_get_more_bits(tmp_path):
    # y = relu(x a) b + 0.02 relu(x c) d: what c and d give hardly counts.
    rng = np.random.default_rng(4)
    weights = {name: rng.normal(0.1, 0.5, shape).astype(np.float32)
               for name, shape in (("a", (64, 48)), ("b", (48, 32)), ("c", (64, 48)), ("d", (48, 32)))}
    node = helper.make_node
    nodes = [node("MatMul", ["x", "a"], ["xa"]), node("Relu", ["xa"], ["ra"]), node("MatMul", ["ra", "b"], ["rb"]),
             node("Sqrt", ["x2"], ["x1"]), node("MatMul", ["x1", "c"], ["xc"]), node("Relu", ["xc"], ["rc"]),
             node("MatMul", ["rc", "d"], ["rd"]), node("Mul", ["rd", "small"], ["sd"]), node("Add", ["rb", "sd"], ["y"])]
    nodes.insert(0, node("Mul", ["x", "x"], ["x2"]))
    constants = {**weights, "small": np.array(0.02, np.float32)}
    graph = helper.make_graph(nodes, "main", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32])],
                              [numpy_helper.from_array(array, name) for name, array in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), tmp_path / "m.onnx")
    calibration = Calibration("x", arrays={"x": rng.standard_normal((300, 64)).astype(np.float32)})
    choices = {choice.name: choice for choice in choose(tmp_path / "m.onnx", calibration, bits_per_weight=4.6, group=32)}
    assert sum(choice.chosen.bytes for choice in choices.values()) * 8 <= 4.6 * sum(choice.weights for choice in choices.values())
    bits = {name: choice.chosen.bits for name, choice in choices.items()}
    assert min(bits["a"], bits["b"]) > max(bits["c"], bits["d"])
    for choice in choices.values():
        losses = [candidate.loss for candidate in choice.candidates]
        assert losses == sorted(losses, reverse=True)
