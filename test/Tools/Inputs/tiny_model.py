"""Writes a language model of one layer with random weights: tiny_model.py FOLDER [--no-inputs]

Vocabulary 96, hidden 64, 2 heads of 32 with one key-value head, a window of 16 positions, tied embedding.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, HIDDEN, HEADS, HEAD, WINDOW = 96, 64, 2, 32, 16

random = np.random.default_rng(7)
nodes: list[onnx.NodeProto] = []
initializers: list[onnx.TensorProto] = []


def constant(name: str, value: np.ndarray) -> str:
    initializers.append(numpy_helper.from_array(value, name))
    return name


def weight(name: str, *shape: int) -> str:
    return constant(name, (random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))


def integers(name: str, *values: int) -> str:
    return constant(name, np.array(values, np.int64))


def node(operator: str, *inputs: str, name: str, **attributes: object) -> str:
    nodes.append(helper.make_node(operator, list(inputs), [name + "_output"], name=name, **attributes))
    return name + "_output"


def scalar(name: str, value: int) -> str:
    return constant(name, np.array(value, np.int64))


def causal_mask() -> str:
    past = node("Shape", "past_key_values.0.key", name="/mask/past", start=2, end=3)
    step = node("Shape", "input_ids", name="/mask/step", start=1, end=2)
    total = node("Squeeze", node("Add", past, step, name="/mask/total"), name="/mask/scalar")
    keys = node("Range", scalar("zero", 0), total, scalar("one", 1), name="/mask/range")
    keys = node("Unsqueeze", keys, integers("axes012", 0, 1, 2), name="/mask/keys")
    queries = node("Unsqueeze", "position_ids", integers("axes13", 1, 3), name="/mask/queries")
    causal = node("LessOrEqual", keys, queries, name="/mask/causal")
    first = node("Sub", queries, scalar("window", WINDOW), name="/mask/first")
    return node("And", causal, node("Greater", keys, first, name="/mask/near"), name="/mask/and")


def build() -> onnx.ModelProto:
    table = weight("model.embed_tokens.weight", VOCABULARY, HIDDEN)
    x = node("Gather", table, "input_ids", name="/model/embed_tokens/Gather")
    mask = causal_mask()
    h = node("RMSNormalization", x, constant("model.norm0.weight", np.ones(HIDDEN, np.float32)), name="/model/norm0", axis=-1)
    q = node("MatMul", h, weight("model.q_proj.weight", HIDDEN, HEADS * HEAD), name="/model/q_proj/MatMul")
    k = node("MatMul", h, weight("model.k_proj.weight", HIDDEN, HEAD), name="/model/k_proj/MatMul")
    v = node("MatMul", h, weight("model.v_proj.weight", HIDDEN, HEAD), name="/model/v_proj/MatMul")
    nodes.append(helper.make_node(
        "Attention", [q, k, v, mask, "past_key_values.0.key", "past_key_values.0.value"],
        ["attention_output", "present.0.key", "present.0.value"], name="/model/attention", q_num_heads=HEADS,
        kv_num_heads=1, is_causal=0))
    o = node("MatMul", "attention_output", weight("model.o_proj.weight", HEADS * HEAD, HIDDEN), name="/model/o_proj/MatMul")
    y = node("Add", x, o, name="/model/residual")
    y = node("RMSNormalization", y, constant("model.norm1.weight", np.ones(HIDDEN, np.float32)), name="/model/norm1", axis=-1)
    head = node("Transpose", table, name="/lm_head/Transpose", perm=[1, 0])
    nodes.append(helper.make_node("MatMul", [y, head], ["logits"], name="/lm_head/MatMul"))

    step = ["batch_size", "sequence_length"]
    cache = ["batch_size", 1, "past_sequence_length", HEAD]
    present = ["batch_size", 1, "total_sequence_length", HEAD]
    tensor = helper.make_tensor_value_info
    inputs = [tensor("input_ids", TensorProto.INT64, step), tensor("position_ids", TensorProto.INT64, step),
              tensor("past_key_values.0.key", TensorProto.FLOAT, cache),
              tensor("past_key_values.0.value", TensorProto.FLOAT, cache)]
    outputs = [tensor("logits", TensorProto.FLOAT, [*step, VOCABULARY]),
               tensor("present.0.key", TensorProto.FLOAT, present), tensor("present.0.value", TensorProto.FLOAT, present)]
    if "--no-inputs" in sys.argv:
        for value in nodes:
            value.input[:] = ["tokens" if name == "input_ids" else name for name in value.input]
        inputs[0] = tensor("tokens", TensorProto.INT64, step)
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
model = build()
onnx.checker.check_model(model)
onnx.save(model, folder / "model.onnx")
(folder / "config.json").write_text(json.dumps(
    {"model_type": "tiny", "max_position_embeddings": 128, "bos_token_id": 2, "eos_token_id": [1, 3]}))
