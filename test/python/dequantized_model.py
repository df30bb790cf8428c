"""Turns an HLQ model in ONNX into one with float weights, by NumPy: ONNX Runtime then runs it without expanding planes."""

import pathlib

import numpy as np
import onnx
from onnx import helper, numpy_helper


def dequantize(planes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, columns: int, group_size: int) -> np.ndarray:
    """The weights [N, columns] that planes [bits, N, G*g/8], scales [N, G, bits] and zeros [N, G] stand for.

    Codes of 8 bits are one plane [1, N, G*g]. One scale [N, G, 1] is that of the lowest plane.
    Compact: scales [N, G, 1], zeros [N, G, bits + 1], the planes' ratios and the zero raised by 128.
    """
    group = np.arange(columns) // group_size
    if zeros.ndim == 3:
        ratios, scales = zeros.astype(np.float32), scales.astype(np.float32)
        scales, zeros = scales * ratios[:, :, :-1], scales[:, :, 0] * (ratios[:, :, -1] - 128)
    has_codes = planes.shape[2] == scales.shape[1] * group_size
    if not has_codes and scales.shape[2] < planes.shape[0]:  # One scale: each plane counts twice as much as that below.
        scales = scales.astype(np.float32) * np.exp2(np.arange(planes.shape[0], dtype=np.float32))
    weights = zeros.astype(np.float32)[:, group]
    for plane in range(planes.shape[0]):
        bits = planes[plane, :, :columns] if has_codes else np.unpackbits(planes[plane], axis=1, count=columns, bitorder="little")
        weights += scales[:, :, plane].astype(np.float32)[:, group] * bits
    return weights


def write_dequantized(source: pathlib.Path, target: pathlib.Path) -> None:
    """Replaces HLQMatMul and HLQGather by MatMul and Gather with the weights that their planes stand for."""
    model = onnx.load(source)
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    replaced = set()

    def add_weights(node: onnx.NodeProto, transposed: bool) -> str:
        attributes = {a.name: a.i for a in node.attribute}
        planes, scales, zeros = node.input[1:4]
        name = planes.removesuffix(".planes") + (".transposed" if transposed else ".float")
        if name not in tensors:
            parts = [numpy_helper.to_array(tensors[part]) for part in (planes, scales, zeros)]
            weights = dequantize(*parts, attributes["K"], attributes["group_size"])
            tensors[name] = numpy_helper.from_array(np.ascontiguousarray(weights.T) if transposed else weights, name)
        replaced.update((planes, scales, zeros))
        return name

    for node in graph.node:
        if node.op_type == "HLQMatMul":
            operands = [node.input[0], add_weights(node, transposed=True)]
            node.CopyFrom(helper.make_node("MatMul", operands, node.output, node.name))
        elif node.op_type == "HLQGather":
            operands = [add_weights(node, transposed=False), node.input[0]]
            node.CopyFrom(helper.make_node("Gather", operands, node.output, node.name))
    del graph.initializer[:]
    graph.initializer.extend(tensor for name, tensor in tensors.items() if name not in replaced)
    del model.functions[:]
    onnx.save(model, target, save_as_external_data=True, location=target.name + ".data", size_threshold=1024)
