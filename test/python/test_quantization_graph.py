"""The linear layers of a graph and the cuts between them; parts of a graph do together what the whole does."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from elutq.quantization.graph import Graph

RNG = np.random.default_rng(11)
CONSTANTS = {"table": RNG.standard_normal((20, 8), np.float32), "wq": RNG.standard_normal((8, 12), np.float32),
             "wk": RNG.standard_normal((6, 8), np.float32), "wo": RNG.standard_normal((12, 8), np.float32),
             "up": RNG.standard_normal((8, 16), np.float32), "down": RNG.standard_normal((16, 8), np.float32),
             "twice": RNG.standard_normal((8, 8), np.float32), "bias": RNG.standard_normal(6, np.float32),
             "flat": np.array([-1, 8], np.int64), "scale": np.float32(0.5)}


def model() -> onnx.ModelProto:
    """Two residual blocks, a matrix that is used twice, a branch that depends on inputs alone, and a tied head."""
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["x0"]),
        node("Reshape", ["x0", "flat"], ["x"]),
        node("Shape", ["ids"], ["shape"]),
        node("ReduceMax", ["shape"], ["length"], keepdims=0),
        node("Cast", ["length"], ["side"], to=TensorProto.FLOAT),
        node("Mul", ["x", "side"], ["n1"]),
        node("MatMul", ["n1", "wq"], ["q"]),
        node("Gemm", ["n1", "wk", "bias"], ["k"], transB=1),
        node("ReduceMean", ["k"], ["km"], keepdims=0),
        node("Mul", ["q", "km"], ["a"]),
        node("MatMul", ["a", "wo"], ["o"]),
        node("Add", ["x", "o"], ["x1"]),
        node("Mul", ["x1", "side"], ["n2"]),
        node("MatMul", ["n2", "up"], ["u"]),
        node("Relu", ["u"], ["r"]),
        node("MatMul", ["r", "down"], ["d"]),
        node("Add", ["x1", "d"], ["x2"]),
        node("MatMul", ["x2", "twice"], ["t1"]),
        node("MatMul", ["t1", "twice"], ["t2"]),
        node("Transpose", ["table"], ["table_t"], perm=[1, 0]),
        node("MatMul", ["t2", "table_t"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "main", [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["tokens", 20])],
                              [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


MATRICES = ("table", "wq", "wk", "wo", "up", "down", "twice")


def test_groups():
    graph = Graph(model())
    groups, refused = graph.groups(graph.products(MATRICES))
    assert [(group.activations, [m.name for m in group.matrices]) for group in groups] == [
        ("n1", ["wq", "wk"]), ("a", ["wo"]), ("n2", ["up"]), ("r", ["down"])]
    assert [(m.n, m.k, m.is_transposed) for m in groups[0].matrices] == [(12, 8, True), (6, 8, False)]
    assert refused == {"table": "a table that tokens look up", "twice": "products with different activations share it"}
    assert graph.products(MATRICES)["table"][1].is_transposed is False  # [N, K] behind the transposition


def test_cuts_hold_what_follows_reads():
    graph = Graph(model())
    groups, _ = graph.groups(graph.products(MATRICES))
    # x depends on inputs alone and is computed again; behind the first products the residual is held.
    assert graph.cuts(groups) == [("n1",), ("a",), ("n2", "x1"), ("r", "x1")]


def test_parts_compute_what_the_whole_computes():
    graph, ids = Graph(model()), np.array([[3, 19, 0, 7, 7]])
    whole = model()
    names = ["n1", "a", "n2", "x1", "r"]
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    expected = dict(zip(names, onnxruntime.InferenceSession(whole.SerializeToString()).run(names, {"ids": ids})))
    groups, _ = graph.groups(graph.products(MATRICES))
    held: dict[str, np.ndarray] = {}
    for cut in graph.cuts(groups):
        wanted = [name for name in cut if name not in held]
        part = graph.part(wanted, {name: TensorProto.FLOAT for name in held}, MATRICES)
        # Matrices are inputs, so that quantized ones can take their place; other constants are inside.
        assert not set(MATRICES) & {tensor.name for tensor in part.graph.initializer}
        feeds = {value.name: held.get(value.name, CONSTANTS.get(value.name, ids)) for value in part.graph.input}
        found = dict(zip(wanted, onnxruntime.InferenceSession(part.SerializeToString()).run(wanted, feeds)))
        held = {name: found[name] if name in found else held[name] for name in cut}
        for name, array in held.items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-6)


def test_nested_graphs_read_from_outside():
    then = helper.make_graph([helper.make_node("MatMul", ["outer", "w"], ["inner"])], "then", [],
                             [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["same"])], "else", [],
                              [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)])
    nodes = [helper.make_node("Relu", ["x"], ["outer"]),
             helper.make_node("If", ["condition"], ["y"], then_branch=then, else_branch=other)]
    graph = Graph(helper.make_model(helper.make_graph(nodes, "main", [], [])))
    assert graph.reads(1) == {"condition", "outer", "w", "x"}
    assert graph.ancestors(["y"]) == {0, 1}
    assert graph.ancestors(["y"], known=["outer"]) == {1}
