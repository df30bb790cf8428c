"""Activations of a model, from cut to cut, for every window of the calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterator

import numpy as np
import onnx
from onnx import helper

from ..errors import QuantizeError
from ..feeds import graph_inputs
from .calibration import Calibration
from .graph import Graph
from .workspace import Activations, Workspace

Weights = Callable[[str], np.ndarray]


@dataclass
class GraphPasses:
    """A graph whose parts ONNX Runtime computes; `matrices` are constants that differ from pass to pass."""

    graph: Graph
    calibration: Calibration
    matrices: set[str]
    threads: int

    def __post_init__(self) -> None:
        self.inputs = graph_inputs(self.graph.inputs.values())

    def advance(self, known: Activations | None, cut: tuple[str, ...], weights: Weights) -> Iterator[dict[str, np.ndarray]]:
        """The values of `cut`, window by window, from those of the cut before, with constants that `weights` gives by name."""
        held = known.arrays if known else {}
        wanted = [name for name in cut if name not in held and name not in self.graph.inputs]
        types = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in held.items()}
        model = self.graph.part(wanted, types, self.matrices)
        session = self._session(model) if wanted else None
        needed = {value.name for value in model.graph.input}
        constants = {name: weights(name) for name in needed if name not in held and name not in self.graph.inputs}
        for window in range(self.calibration.count):
            given = {**self.calibration.feeds(self.inputs, window), **(known.window(window) if known else {})}
            feeds = {name: array for name, array in {**given, **constants}.items() if name in needed}
            try:
                found = dict(zip(wanted, session.run(wanted, feeds))) if session else {}
            except Exception as error:  # ONNX Runtime's have no common class of their own.
                raise QuantizeError(f"the model cannot read '{self.calibration.name}': {error}") from error
            yield {name: found[name] if name in found else given[name] for name in cut}

    def _session(self, model: onnx.ModelProto) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, self.threads
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Stream:
    """The activations that certain weights lead to. `at` must be called with one cut after the other."""

    def __init__(self, passes: GraphPasses, workspace: Workspace, name: str, weights: Weights):
        self.passes, self.workspace, self.name, self.weights = passes, workspace, name, weights

    def at(self, index: int, cut: tuple[str, ...]) -> Activations:
        """The values of cut `index`; those of the cut before are removed."""
        here, before = f"{self.name}-{index}", f"{self.name}-{index - 1}"
        found = self.workspace.activations(here)
        if found is None:
            windows = self.passes.advance(self.workspace.activations(before), cut, self.weights)
            self.workspace.save_activations(here, windows, self.passes.calibration.count)
            found = self.workspace.activations(here)
        self.workspace.remove(before)
        return found
