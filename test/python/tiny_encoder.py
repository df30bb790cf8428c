"""A small BERT in standard operators, as torch.onnx.export writes one for opset 18, with pseudo-random weights."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

VOCABULARY, HIDDEN, INNER, HEADS, LAYERS, POSITIONS = 90, 64, 160, 4, 2, 48


class Builder:
    """Collects nodes and weights; names of values are counted."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=attributes.pop("node", name), **attributes))
        return name

    def weight(self, name: str, array: np.ndarray) -> str:
        self.weights.append(onnx.numpy_helper.from_array(array, name))
        return name

    def ints(self, *numbers: int) -> str:
        return self.weight(f"ints_{len(self.weights)}", np.array(numbers, np.int64))

    def number(self, value: float) -> str:
        return self.weight(f"number_{len(self.weights)}", np.array(value, np.float32))

    def linear(self, name: str, x: str, inputs: int, outputs: int) -> str:
        # Neither symmetric nor of mean 0.
        matrix = self.weight(f"{name}.weight", (self.random.normal(0.02, 1, (inputs, outputs)) / np.sqrt(inputs)).astype(np.float32))
        bias = self.weight(f"{name}.bias", self.random.normal(0.05, 0.1, outputs).astype(np.float32))
        return self.op("Add", self.op("MatMul", x, matrix, node=name), bias)

    def norm(self, name: str, x: str) -> str:
        scale = self.weight(f"{name}.scale", self.random.normal(1, 0.1, HIDDEN).astype(np.float32))
        bias = self.weight(f"{name}.bias", self.random.normal(0, 0.1, HIDDEN).astype(np.float32))
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    def gelu(self, x: str) -> str:
        half = self.op("Mul", x, self.number(0.5))
        erf = self.op("Erf", self.op("Div", x, self.number(np.sqrt(2))))
        return self.op("Mul", half, self.op("Add", erf, self.number(1)))

    def attention(self, layer: str, x: str, bias: str, shape: str) -> str:
        def heads(name: str, order: list[int]) -> str:
            split = self.op("Reshape", self.linear(f"{layer}.{name}", x, HIDDEN, HIDDEN), shape)
            return self.op("Transpose", split, perm=order)

        scores = self.op("MatMul", heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]))
        scores = self.op("Add", self.op("Mul", scores, self.number((HIDDEN / HEADS) ** -0.5)), bias)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), heads("value", [0, 2, 1, 3]))
        joined = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), self.ints(0, 0, HIDDEN))
        return self.linear(f"{layer}.output", joined, HIDDEN, HIDDEN)


def write_encoder(path: Path, seed: int = 5) -> None:
    """Inputs input_ids and attention_mask, int64 [batch, sequence]; output hidden, float32 [batch, sequence, HIDDEN]."""
    b = Builder(seed)
    words = b.weight("words", b.random.normal(0, 0.5, (VOCABULARY, HIDDEN)).astype(np.float32))
    positions = b.weight("positions", b.random.normal(0, 0.5, (1, POSITIONS, HIDDEN)).astype(np.float32))
    length = b.op("Gather", b.op("Shape", "input_ids"), b.ints(1), axis=0)
    places = b.op("Slice", positions, b.ints(0), length, b.ints(1))
    x = b.norm("embedding", b.op("Add", b.op("Gather", words, "input_ids", axis=0, node="words"), places))
    # 0 for what is seen, a very negative number for the padding: [batch, 1, 1, sequence].
    mask = b.op("Cast", b.op("Unsqueeze", "attention_mask", b.ints(1, 2)), to=TensorProto.FLOAT)
    bias = b.op("Mul", b.op("Sub", b.number(1), mask), b.number(-1e4))
    split = b.ints(0, 0, HEADS, HIDDEN // HEADS)
    for layer in range(LAYERS):
        name = f"layer{layer}"
        x = b.norm(f"{name}.norm1", b.op("Add", b.attention(name, x, bias, split), x))
        inner = b.gelu(b.linear(f"{name}.up", x, HIDDEN, INNER))
        x = b.norm(f"{name}.norm2", b.op("Add", b.linear(f"{name}.down", inner, INNER, HIDDEN), x))
    b.op("Identity", x)
    b.nodes[-1].output[0] = "hidden"
    graph = helper.make_graph(b.nodes, "encoder", [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
                                                   for name in ("input_ids", "attention_mask")],
                              [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", "sequence", HIDDEN])], b.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def sentences(lengths: list[int], width: int, left: bool = False, seed: int = 11) -> dict[str, np.ndarray]:
    """A batch of pseudo-random sentences, padded to `width` on one side with ids that are no padding."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCABULARY, (len(lengths), width))
    mask = np.zeros_like(ids)
    for row, length in zip(mask, lengths):
        row[slice(width - length, width) if left else slice(0, length)] = 1
    return {"input_ids": ids, "attention_mask": mask}
