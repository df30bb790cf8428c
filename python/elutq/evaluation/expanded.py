"""HLQ models as ONNX Runtime multiplies them fastest: with the float weights that their planes stand for.

The functions of `ai.elutq` expand a matrix in every run. Here it is expanded once, and products and look-ups read the same array [N, K].
"""

from __future__ import annotations

import os
from typing import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..hlq_onnx import DOMAIN, HLQModel, PARTS

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def expanded_bytes(model: HLQModel) -> int:
    """Of all weights in f32."""
    return sum(4 * slot.n * slot.k for slot in model.slots.values())


def expand(model: HLQModel) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model with a MatMul for every HLQMatMul and a Gather for every HLQGather, and its constants outside of the model's file:
    the weights, f32 [N, K], and what the model keeps outside itself.

    The products are com.microsoft's FusedMatMul, which reads [N, K]; as in the functions, they and their inputs are f32, and results have
    the type of the activations.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model.tensors.model)
    graph = result.graph
    parameters = {f"{name}.{part}" for name in model.slots for part in PARTS}
    constants = {f"{name}.weights": np.ascontiguousarray(model.read(name).dequantize()) for name in model.slots}
    kept = [tensor for tensor in graph.initializer if tensor.name not in parameters]
    casts = _has_halves(graph, kept)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes += _expanded(node, casts) if node.domain == DOMAIN else [node]
    for name, array in constants.items():
        kept.append(_external(name, TensorProto.FLOAT, array.shape))
    for tensor in kept:
        if tensor.data_location == TensorProto.EXTERNAL and tensor.name not in constants:
            constants[tensor.name] = np.ascontiguousarray(model.tensors.read(tensor.name))
    replaced = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    initializers = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.node[:], graph.initializer[:], result.functions[:]
    graph.node.extend(replaced)
    graph.initializer.extend(initializers)
    domains = [opset for opset in result.opset_import if opset.domain not in (DOMAIN, "com.microsoft")]
    del result.opset_import[:]
    result.opset_import.extend([*domains, helper.make_opsetid("com.microsoft", 1)])
    return result, constants


def _expanded(node: onnx.NodeProto, casts: bool) -> list[onnx.NodeProto]:
    activations, weights = node.input[0], node.input[1].removesuffix(".planes") + ".weights"
    if node.op_type == "HLQGather":
        return [helper.make_node("Gather", [weights, activations], node.output, node.name)]
    output = node.output[0]
    product = helper.make_node("FusedMatMul", [activations, weights], [output], node.name, domain="com.microsoft", transB=1)
    if not casts:
        return [product]
    product.input[0], product.output[0] = f"{output}/float_input", f"{output}/float"
    return [helper.make_node("Cast", [activations], [product.input[0]], to=TensorProto.FLOAT), product,
            helper.make_node("CastLike", [product.output[0], activations], [output])]


def _has_halves(graph: onnx.GraphProto, constants: Iterable[onnx.TensorProto]) -> bool:
    """Whether activations may be f16 or bfloat16."""
    types = {value.type.tensor_type.elem_type for value in graph.input} | {tensor.data_type for tensor in constants}
    for node in graph.node:
        types.update(attribute.i for attribute in node.attribute if node.op_type == "Cast" and attribute.name == "to")
        types.update(attribute.t.data_type for attribute in node.attribute if attribute.type == onnx.AttributeProto.TENSOR)
    return not types.isdisjoint(_HALVES)


def _external(name: str, type_: int, shape: Iterable[int]) -> onnx.TensorProto:
    """A constant that the session is given beside the model."""
    tensor = TensorProto(name=name, data_type=type_, dims=shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="given")
    return tensor


def available_memory() -> int:
    """Bytes that programs can have without swapping."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            values = dict(line.split(":", 1) for line in file)
        return 1024 * int(values["MemAvailable"].split()[0])
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
