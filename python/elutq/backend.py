"""ELUTQ as a backend of ONNX (onnx.backend.base): models of any kind, each compiled to a library for this machine.

`prepare` compiles, `run` of what it returns computes; `run_model` does both:

    from elutq.backend import Backend
    outputs = Backend.run_model(model, [x, y])

Inputs are bound by position, in the order of the graph, without those that have an initializer. All shapes must be known when the
model is compiled; what an operator needs to know then, and is not constant, is an error of `prepare`.
"""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import onnx
from onnx.backend.base import Backend as _Backend
from onnx.backend.base import BackendRep as _BackendRep

from .compiler import compile as compile_model
from .graph import Graph


class BackendRep(_BackendRep):
    """A compiled model."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The outputs for a sequence of arrays, or for a dictionary of them by name. Raises GraphError for wrong ones."""
        return tuple(self.graph.run(inputs))


class Backend(_Backend):
    """Compiles with elutq-compile --emit=graph."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", *, arguments: Sequence[str] = (), **kwargs: Any) -> BackendRep:
        """Compiles a model, with further `arguments` of elutq-compile. Raises CompileError with the compiler's message, which names
        every node that is not supported."""
        if not cls.supports_device(device):
            raise ValueError(f"the device '{device}' is not supported, but CPU is")
        with tempfile.TemporaryDirectory(prefix="elutq-backend-") as folder:
            path = Path(folder, "model.onnx")
            onnx.save(model, path)
            compile_model(path, Path(folder, "model.so"), emit="graph", arguments=["--threads=1", *arguments])
            return BackendRep(Graph(Path(folder, "model.so")))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[np.ndarray, ...]:
        """`prepare` and `run`."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Sequence[tuple[Any, Sequence[int]]] | None = None,
                 **kwargs: Any) -> tuple[np.ndarray, ...]:
        """Computes one node. `outputs_info`: (element type, shape) of each output, which ONNX cannot always infer."""
        arrays = [np.asarray(array) for array in inputs]
        names = [name for name in node.input if name]
        if outputs_info is None:
            raise ValueError("run_node needs outputs_info: element type and shape of each output")
        graph = onnx.helper.make_graph(
            [node], "node", [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                             for name, array in zip(names, arrays)],
            [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
             for name, (dtype, shape) in zip([name for name in node.output if name], outputs_info)])
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        return cls.run_model(model, arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """CPU, for which this module's own machine stands."""
        return device.split(":")[0] == "CPU" and platform.system() == "Linux" and os.name == "posix"


prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
is_compatible = Backend.is_compatible
