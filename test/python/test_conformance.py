"""ONNX's conformance suite: every case passes but those of conformance/unsupported.json, and those fail.

A fixed quarter of the cases by default; all of them with ELUTQ_CONFORMANCE=full (scripts/test --full)."""

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).parent / "conformance"))

from cases import load_cases, run_cases  # noqa: E402
from report import TABLE, document, read_list  # noqa: E402

FULL = os.environ.get("ELUTQ_CONFORMANCE") == "full"


@pytest.fixture(scope="module")
def cases():
    return load_cases()


@pytest.fixture(scope="module")
def backend(compiler):
    from elutq.backend import Backend
    return Backend


def test_suite(compiler, cases):
    names = sorted(cases)[::1 if FULL else 4]
    assert len(names) >= 400
    listed = read_list()
    results = run_cases([cases[name] for name in names])
    unlisted = {name: result for name, result in results.items() if result and name not in listed}
    repaired = [name for name, result in results.items() if not result and name in listed]
    assert not unlisted, f"{len(unlisted)} cases fail that are not in unsupported.json: {unlisted}"
    assert not repaired, f"{len(repaired)} cases of unsupported.json pass; take them out: {repaired}"


def test_list_has_known_cases_with_reasons(cases):
    listed = read_list()
    assert set(listed) <= set(cases)
    assert all(len(reason) > 10 for reason in listed.values())


def test_documentation_is_current(cases):
    assert TABLE.read_text() == document(cases, read_list()), "run test/python/conformance/report.py"


def model(nodes, inputs, outputs, opset=23):
    def info(name, element, shape):
        return helper.make_tensor_value_info(name, element, shape)
    graph = helper.make_graph(nodes, "g", [info(*value) for value in inputs], [info(*value) for value in outputs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_backend_runs_a_model_by_position_and_by_name(backend):
    proto = model([helper.make_node("Sub", ["a", "b"], ["y"])], [("a", TensorProto.FLOAT, [2, 3]), ("b", TensorProto.FLOAT, [3])],
                  [("y", TensorProto.FLOAT, [2, 3])])
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    prepared = backend.prepare(proto)
    for inputs in ([a, b], {"b": b, "a": a}):
        np.testing.assert_array_equal(prepared.run(inputs)[0], a - b)
    np.testing.assert_array_equal(backend.run_node(proto.graph.node[0], [a, b], outputs_info=[(np.float32, (2, 3))])[0], a - b)
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA")


def test_wrong_inputs_are_named(backend):
    from elutq.errors import GraphError

    prepared = backend.prepare(model([helper.make_node("Neg", ["x"], ["y"])], [("x", TensorProto.FLOAT, [2])], [("y", TensorProto.FLOAT, [2])]))
    with pytest.raises(GraphError, match=r"'x' must be float32\[2\], but got float64\[2\]"):
        prepared.run([np.zeros(2)])
    with pytest.raises(GraphError, match="no inputs z"):
        prepared.run({"x": np.zeros(2, np.float32), "z": np.zeros(1)})
    with pytest.raises(GraphError, match="no value for the inputs x"):
        prepared.run({})


@pytest.mark.parametrize("condition", [True, False])
def test_if_with_a_known_condition(backend, condition):
    def branch(operator):
        return helper.make_graph([helper.make_node(operator, ["x"], ["t"])], operator, [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, [3])])
    nodes = [helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [condition])),
             helper.make_node("If", ["c"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs"))]
    proto = model(nodes, [("x", TensorProto.FLOAT, [3])], [("y", TensorProto.FLOAT, [3])])
    x = np.array([1.5, -2, 3], np.float32)
    np.testing.assert_array_equal(backend.run_model(proto, [x])[0], -x if condition else abs(x))


# y = a running product and its steps, of a Loop whose number of turns or first condition is an input in place of a constant, and of a Scan.
LOOP = """<ir_version: 10, opset_import: ["" : 21]> g (float[2] x INPUT) => (float[2] y, float[N, 2] steps)
<int64 count = {3}, bool condition = {1}> {
  y, steps = Loop(COUNT, CONDITION, x) <body = b (int64 i, bool go, float[2] state) => (bool more, float[2] next, float[2] step)
    { more = Identity(go) turn = Cast<to = 1>(i) step = Sub(state, turn) next = Mul(state, step) }>
}"""


@pytest.mark.parametrize("count, condition, turns", [("count", "condition", 3), ("count", "", 3), ("n", "condition", None), ("count", "go", None)])
def test_loop_of_known_turns(backend, count, condition, turns):
    from elutq.errors import CompileError

    given = ", int64 n" if count == "n" else ", bool go" if condition == "go" else ""
    proto = onnx.parser.parse_model(LOOP.replace("INPUT", given).replace("COUNT", count).replace("CONDITION", condition).replace("float[N, 2]", "float[3, 2]"))
    x = np.array([1.5, -2], np.float32)
    if turns is None:
        with pytest.raises(CompileError, match="'Loop' .*is supported only where what it does is known when the model is compiled"):
            backend.prepare(proto)
        return
    state, steps = x, []
    for turn in range(turns):
        steps.append(state - np.float32(turn))
        state = state * steps[-1]
    for actual, expected in zip(backend.run_model(proto, [x]), (state, steps)):
        np.testing.assert_array_equal(actual, np.array(expected))


def test_all_unsupported_nodes_are_named_at_once(backend, tmp_path):
    from elutq.errors import CompileError

    nodes = [helper.make_node("NonZero", ["x"], ["n"], name="first"), helper.make_node("RandomNormalLike", ["x"], ["r"], name="second"),
             helper.make_node("Det", ["x"], ["d"], name="third"), helper.make_node("Add", ["r", "d"], ["y"])]
    proto = model(nodes, [("x", TensorProto.FLOAT, [2, 2])], [("y", TensorProto.FLOAT, [2, 2]), ("n", TensorProto.INT64, [2, 4])])
    with pytest.raises(CompileError) as error:
        backend.prepare(proto)
    for part in ("first", "NonZero", "second", "RandomNormalLike", "third", "Det", "docs/Operators.md"):
        assert part in str(error.value)


def test_all_stages_are_heard(backend):
    """An operator that the importer does not know, an attribute and a type that it does not, and what linalg cannot do."""
    from elutq.errors import CompileError

    nodes = [helper.make_node("RandomNormalLike", ["x"], ["r"], name="random"), helper.make_node("DFT", ["x"], ["f"], name="fourier", axis=1),
             helper.make_node("Cast", ["x"], ["s"], name="text", to=TensorProto.STRING), helper.make_node("Cast", ["s"], ["n"], name="number", to=1),
             helper.make_node("Dropout", ["r", "", "yes"], ["d"], name="drop"), helper.make_node("Sum", ["d", "n", "f"], ["y"], name="sum")]
    proto = model(nodes, [("x", TensorProto.FLOAT, [1, 4, 2])], [("y", TensorProto.FLOAT, [1, 4, 2])], opset=18)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    with pytest.raises(CompileError) as error:
        backend.prepare(proto)
    for part in ("cannot convert 4 operations", "'RandomNormalLike' (node \"random\"): this operator", "'DFT' (node \"fourier\"): attribute 'axis'",
                 "'Cast' (node \"text\"): value 's' has element type STRING", "'onnx.Dropout' (node \"drop\"): training"):
        assert part in str(error.value)


def test_an_error_leaves_no_artefact(compiler, tmp_path):
    import subprocess

    onnx.save(model([helper.make_node("Det", ["x"], ["y"])], [("x", TensorProto.FLOAT, [2, 2])], [("y", TensorProto.FLOAT, [])]), tmp_path / "m.onnx")
    result = subprocess.run([compiler, tmp_path / "m.onnx", "-q", "--emit=graph", "-o", tmp_path / "m.so"], capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
