"""ONNX operators in torch against ONNX Runtime, one by one and in whole models."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from elutq.errors import FinetuneError
from elutq.export import export_model
from elutq.feeds import graph_inputs, make_feeds
from elutq.tensors import Tensors
from tiny_models import CONFIGS, TOKENS, random_weights, write_checkpoint

torch = pytest.importorskip("torch")

from elutq.finetune.blocks import find_blocks  # noqa: E402
from elutq.finetune.interpreter import Interpreter  # noqa: E402
from elutq.finetune.operators import OPERATORS, to_tensor  # noqa: E402

RNG = np.random.default_rng(3)


def floats(*shape, low=-1.5, high=2.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


MASK = RNG.random((2, 1, 5, 9)) < 0.6
MASK[..., 0] = True  # A row without any key has no softmax.
Q, K, V = floats(2, 4, 5, 6), floats(2, 2, 5, 6), floats(2, 2, 5, 7)
PAST = floats(2, 2, 4, 6), floats(2, 2, 4, 7)
COS, SIN = floats(2, 5, 3), floats(2, 5, 3)
CASES = [
    *[(op, {}, [floats(2, 3, 4), floats(3, 1)]) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Greater", "GreaterOrEqual", "Less",
                                                         "LessOrEqual")],
    *[(op, {}, [floats(2, 5)]) for op in ("Cos", "Sin", "Erf", "Exp", "Neg", "Relu", "Sigmoid", "Tanh", "Identity")],
    *[(op, {}, [floats(2, 5, low=0.1)]) for op in ("Sqrt", "Log", "Reciprocal")],
    *[(op, {}, [RNG.random((2, 5)) < 0.5, RNG.random((2, 5)) < 0.5]) for op in ("And", "Or")],
    ("Not", {}, [RNG.random((2, 5)) < 0.5]), ("Equal", {}, [ints(1, 2, 3), ints(1, 0, 3)]), ("Div", {}, [ints(7, -7, 9), ints(2, 2, 3)]),
    ("Pow", {}, [floats(2, 5, low=0.1), floats(5)]), ("Cast", {"to": TensorProto.INT64}, [floats(2, 5)]),
    ("Clip", {}, [floats(2, 5), np.float32(-0.5), np.float32(0.7)]), ("Clip", {}, [floats(2, 5), None, np.float32(0.7)]),
    ("Concat", {"axis": 1}, [floats(2, 3), floats(2, 1)]), ("Constant", {"value": numpy_helper.from_array(floats(2, 2))}, []),
    ("Constant", {"value_ints": [3, 1]}, []), ("Expand", {}, [floats(3, 1), ints(2, 3, 4)]),
    ("Gather", {"axis": 1}, [floats(3, 5), np.array([[0, -1], [2, 2]])]), ("Gather", {}, [floats(6, 2), ints(5, 0)]),
    ("Gelu", {}, [floats(2, 5)]), ("Gelu", {"approximate": "tanh"}, [floats(2, 5)]),
    ("Gemm", {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, [floats(4, 3), floats(5, 4), floats(5)]),
    ("MatMul", {}, [floats(2, 3, 4), floats(4, 5)]),
    ("LayerNormalization", {"axis": 1, "epsilon": 0.01}, [floats(2, 3, 4), floats(3, 4), floats(3, 4)]),
    ("RMSNormalization", {"epsilon": 0.01}, [floats(2, 3, 4), floats(4)]), ("RMSNormalization", {"axis": 1}, [floats(2, 3, 4), floats(3, 4)]),
    ("Range", {}, [np.int64(2), np.int64(11), np.int64(3)]), ("ReduceMean", {"keepdims": 0}, [floats(2, 3, 4), ints(1)]),
    ("ReduceMean", {}, [floats(2, 3)]), ("Reshape", {}, [floats(2, 3, 4), ints(0, -1)]),
    ("Reshape", {"allowzero": 1}, [floats(0, 3), ints(3, 0)]), ("Shape", {}, [floats(2, 3, 4)]),
    ("Shape", {"start": 1, "end": -1}, [floats(2, 3, 4)]), ("Slice", {}, [floats(4, 9), ints(1, -3), ints(3, 9)]),
    ("Slice", {}, [floats(4, 9), ints(1), ints(8), ints(-1), ints(3)]), ("Softmax", {"axis": 1}, [floats(2, 3, 4)]),
    ("Split", {"axis": 1}, [floats(2, 6), ints(1, 5)], 2), ("Split", {"axis": 1, "num_outputs": 3}, [floats(2, 8)], 3),
    ("Squeeze", {}, [floats(1, 2, 1), ints(-1)]), ("Squeeze", {}, [floats(1, 2, 1)]), ("Unsqueeze", {}, [floats(2, 3), ints(0, -1)]),
    ("Transpose", {"perm": [2, 0, 1]}, [floats(2, 3, 4)]), ("Transpose", {}, [floats(2, 3)]),
    ("Where", {}, [RNG.random((2, 5)) < 0.5, floats(2, 5), floats(5)]),
    ("RotaryEmbedding", {}, [floats(2, 4, 5, 6), COS, SIN]), ("RotaryEmbedding", {"interleaved": 1}, [floats(2, 4, 5, 6), COS, SIN]),
    ("RotaryEmbedding", {"num_heads": 4}, [floats(2, 5, 24), COS, SIN]),
    ("RotaryEmbedding", {"rotary_embedding_dim": 4}, [floats(2, 4, 5, 6), COS[..., :2], SIN[..., :2]]),
    ("RotaryEmbedding", {}, [floats(2, 4, 5, 6), floats(9, 3), floats(9, 3), RNG.integers(0, 9, (2, 5))]),
    ("Attention", {}, [Q, K, V]), ("Attention", {"is_causal": 1, "scale": 0.3}, [Q, K, V]),
    ("Attention", {}, [Q, K, V, MASK, *PAST], 3), ("Attention", {"softcap": 1.5}, [Q, K, V, MASK, *PAST], 3),
    ("Attention", {}, [Q, K, V, floats(1, 1, 5, 5)]),
    ("Attention", {"q_num_heads": 4, "kv_num_heads": 2}, [floats(2, 5, 24), floats(2, 5, 12), floats(2, 5, 14)]),
]


def one_node(op, attributes, inputs, outputs=1, domain=""):
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], name="the node", domain=domain, **attributes)
    values = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.shape(array))
              for name, array in zip(names, inputs) if array is not None]
    graph = helper.make_graph([node], "g", values, [helper.make_empty_tensor_value_info(name) for name in node.output])
    opsets = [helper.make_opsetid("", 23), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11)


def test_every_operator_has_a_case():
    assert {case[0] for case in CASES} == set(OPERATORS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
def test_operator(case):
    model = one_node(*case)
    feeds = {f"x{i}": np.asarray(array) for i, array in enumerate(case[2]) if array is not None}
    expected = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    interpreter = Interpreter(model)
    names = [value.name for value in model.graph.output]
    interpreter.check(names)
    found = interpreter.run(names, {name: to_tensor(array) for name, array in feeds.items()}, lambda name: pytest.fail(name))
    for left, right in zip(found, expected, strict=True):
        assert left.numpy().dtype == right.dtype and left.shape == right.shape
        np.testing.assert_allclose(left.numpy(), right, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_models(name, tmp_path):
    write_checkpoint(tmp_path / "hf", CONFIGS[name], random_weights(CONFIGS[name], seed=8))
    export_model(tmp_path / "hf", tmp_path)
    path = tmp_path / "model.onnx"
    tensors = Tensors(path)
    feeds = make_feeds(graph_inputs(tensors.model.graph.input), np.array(TOKENS))
    expected = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["logits", "present.1.value"], feeds)
    interpreter = Interpreter(tensors.model)
    interpreter.check(["logits"])
    known = {name: to_tensor(array) for name, array in feeds.items()}
    found = interpreter.run(["logits", "present.1.value"], known, lambda name: to_tensor(tensors.read(name)))
    for left, right in zip(found, expected):
        np.testing.assert_allclose(left.numpy(), right, atol=2e-5)
    # Products in bfloat16 have 8 bits.
    rough = Interpreter(tensors.model, torch.bfloat16).run(["logits"], known, lambda name: to_tensor(tensors.read(name)))[0].numpy()
    assert 1e-4 < np.abs(rough - expected[0]).max() < 0.1 * np.ptp(expected[0])
    # A block is a layer, and the head, where it is a matrix of its own, is the last.
    graph = interpreter.graph
    groups, _ = graph.groups(graph.products({tensor.name for tensor in graph.model.graph.initializer if len(tensor.dims) == 2}))
    for parts, sizes in ((2, [7, 7, 7]), (1, [4, 3] * 3), (4, [14, 7])):
        blocks = find_blocks(graph, groups, "logits", parts)
        head = [] if CONFIGS[name]["tie_word_embeddings"] else [1]
        if parts == 4 and head:
            sizes, head = [14, 8], []
        assert [len(block.matrices) for block in blocks] == sizes + head
        assert [block.input for block in blocks] == [None, *[block.output for block in blocks[:-1]]]
    # The residual stream, whatever names say.
    assert [node.op_type for node in graph.nodes if node.output[0] == find_blocks(graph, groups, "logits", 1)[0].output] == ["Add"]


def test_all_unknown_operators_are_named():
    model = one_node("Foo", {}, [floats(2)], domain="my.domain")
    model.graph.node.append(helper.make_node("Acosh", ["y0"], ["z"], name="second"))
    model.graph.node.append(helper.make_node("Acosh", ["z"], ["out"], name="third"))
    with pytest.raises(FinetuneError, match=r"cannot run: Acosh \('second', 'third'\); my.domain::Foo \('the node'\)$"):
        Interpreter(model).check(["out"])


@pytest.mark.parametrize("case, message", [
    (("Slice", {}, [floats(5), ints(4), ints(0), ints(0), ints(-1)]), "node 'the node': Slice with a negative step is not supported"),
    (("MatMul", {}, [floats(2, 3), floats(2, 3)]), r"node 'the node' \(MatMul\) cannot be computed: .*shape"),
    (("Cast", {"to": TensorProto.STRING}, [floats(2)]), "node 'the node': a Cast to .*STRING is not supported"),
    (("Constant", {"value_string": "a"}, []), "node 'the node': a Constant without a numeric value"),
    (("LayerNormalization", {}, [floats(2, 3), floats(3)], 2), "LayerNormalization with its mean as output"),
    (("Attention", {}, [Q, K, V], 4), "with its scores as output")])
def test_what_operators_refuse(case, message):
    model = one_node(*case)
    known = {f"x{i}": to_tensor(np.asarray(array)) for i, array in enumerate(case[2])}
    with pytest.raises(FinetuneError, match=message):
        Interpreter(model).run([value.name for value in model.graph.output], known, lambda name: None)


def test_functions_are_inlined(tmp_path):
    body = helper.make_function("my.domain", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                                [helper.make_opsetid("", 23)])
    model = one_node("Twice", {}, [floats(2)], domain="my.domain")
    model.functions.append(body)
    x = floats(2)
    found = Interpreter(model).run(["y0"], {"x0": to_tensor(x)}, lambda name: None)[0]
    np.testing.assert_array_equal(found.numpy(), x + x)
