"""A small builder of ONNX graphs whose weights are streamed to one external data file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..hlq_onnx import DOMAIN, PARTS, HLQMatrix, functions

ALIGNMENT = 4096
OPSET = 23
IR_VERSION = 11
_ELEMENT_TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16, np.dtype(np.uint8): TensorProto.UINT8,
                  np.dtype(np.int64): TensorProto.INT64}


class ExternalData:
    """The file that holds the weights, written front to back; each tensor begins at a multiple of 4096."""

    def __init__(self, path: Path, location: str):
        self.location = location  # the name model.onnx will refer to
        self._file = open(path, "wb")

    def append(self, pieces: Iterable[np.ndarray], dtype: np.dtype) -> tuple[int, int]:
        """Writes consecutive pieces of a tensor; returns its offset and length in bytes."""
        offset = -(-self._file.tell() // ALIGNMENT) * ALIGNMENT
        self._file.seek(offset)
        for piece in pieces:
            self._file.write(np.ascontiguousarray(piece, dtype=dtype.newbyteorder("<")).data)
        return offset, self._file.tell() - offset

    def close(self) -> None:
        self._file.close()


class GraphBuilder:
    """Collects nodes, initializers, inputs and outputs. Values are handled by their names."""

    def __init__(self, data: ExternalData):
        self._data = data
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._hlq: dict[str, HLQMatrix] = {}  # without their arrays

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def output(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, element_type, shape))

    def node(self, op: str, inputs: Sequence[str], name: str, outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        """Adds a node; returns its first output, named after the node unless `outputs` says otherwise."""
        outputs = outputs or [f"{name}_output_0"]
        self._nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def constant(self, name: str, values: Any) -> str:
        """A small int64 tensor kept inside the model file, once per name."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.asarray(values, dtype=np.int64), name)
        return name

    def weight(self, name: str, shape: Sequence[int], pieces: Iterable[np.ndarray], dtype: np.dtype) -> str:
        """A tensor of `shape` in the external file, made of consecutive pieces of its first axis."""
        offset, length = self._data.append(pieces, dtype)
        expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if length != expected:
            raise AssertionError(f"'{name}' has {length} bytes, expected {expected}")
        tensor = TensorProto(name=name, data_type=_ELEMENT_TYPES[dtype], dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self._data.location), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        self._initializers[name] = tensor
        return name

    def hlq_matrix(self, name: str, matrix: HLQMatrix) -> None:
        """The planes, scales and zeros of a matrix in the external file, for `hlq_node`."""
        for part in PARTS:
            array = getattr(matrix, part)
            self.weight(f"{name}.{part}", array.shape, [array], array.dtype)
        self._hlq[name] = dataclasses.replace(matrix, **{part: np.empty((*getattr(matrix, part).shape[:-1], 0)) for part in PARTS})

    def has_hlq_matrix(self, name: str) -> bool:
        return name in self._hlq

    def hlq_node(self, op: str, x: str, matrix: str, name: str, outputs: Sequence[str] | None = None) -> str:
        """HLQMatMul: [..., K] → [..., N]; HLQGather: [...] → [..., K]."""
        facts = self._hlq[matrix]
        return self.node(op, [x, *(f"{matrix}.{part}" for part in PARTS)], name, outputs, domain=DOMAIN, K=facts.columns,
                         N=facts.planes.shape[1], bits=facts.bits, group_size=facts.group_size)

    def model(self, graph_name: str, producer_version: str) -> onnx.ModelProto:
        opsets = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid(DOMAIN, 1)] if self._hlq else [])
        graph = helper.make_graph(self._nodes, graph_name, self._inputs, self._outputs, list(self._initializers.values()))
        return helper.make_model(
            graph, ir_version=IR_VERSION, producer_name="elutq", producer_version=producer_version,
            opset_imports=opsets, functions=functions(OPSET) if self._hlq else [])
