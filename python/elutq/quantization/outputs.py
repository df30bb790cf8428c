"""What a model's outputs lose when some of its constants are others."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping

import numpy as np

from ..evaluation.metrics import Comparison
from .graph import Graph
from .streams import GraphPasses, Weights
from .workspace import Activations

# Positions of a window whose logits are compared, where the graph lets them be chosen.
_POSITIONS = 32
# Operators of one row of activations, which may follow the head.
_ELEMENTWISE = {"Add", "Cast", "Div", "Identity", "Mul", "Tanh"}


class Outputs:
    """The outputs that a model should give: the logits, or all outputs of one that has none.

    A vocabulary is large: where logits are the product of a head, it is computed for some positions of each window only.
    """

    def __init__(self, passes: GraphPasses, weights: Weights):
        """weights: of the model to compare with."""
        self.passes, graph = passes, passes.graph
        names = [output.name for output in graph.model.graph.output]
        self.names = ("logits",) if "logits" in names else tuple(names)
        self.before = before_head(graph) if "logits" in names else None
        self.expected = self._compute(None, weights)

    def lost(self, held: Activations | None, weights: Weights) -> float:
        """The mean divergence of the outputs that `weights` lead to; `held` are values of a cut before which they are those
        of the model to compare with."""
        return float(np.mean([divergence(before, after) for before, after in zip(self.expected, self._compute(held, weights))]))

    def _compute(self, held: Activations | None, weights: Weights) -> list[dict[str, np.ndarray]]:
        if self.before is None:
            return list(self.passes.advance(held, self.names, weights))
        rows = [some_positions(values[self.before]) for values in self.passes.advance(held, (self.before,), weights)]
        # All windows at once: a head that is a transposed table is transposed each time.
        whole = replace(self.passes, calibration=self.passes.calibration.shortened(1, 1))
        return list(whole.advance(Activations({self.before: np.concatenate(rows, axis=rows[0].ndim - 2)[None]}), self.names, weights))


def some_positions(values: np.ndarray) -> np.ndarray:
    """Some of [1, positions, width], evenly spread; of another rank all."""
    if values.ndim != 3:
        return values
    step = max(1, values.shape[1] // _POSITIONS)
    return np.ascontiguousarray(values[:, step - 1::step])


def before_head(graph: Graph) -> str | None:
    """The activations [1, positions, width] whose product with a constant matrix is the logits but for elementwise operators, so that each
    row of them gives a row of logits; None: there are none such."""
    name, inputs = "logits", set(graph.inputs)
    while (index := graph.producers.get(name)) is not None:
        node = graph.model.graph.node[index]
        varying = [value for value in node.input if value in inputs or any(inputs & graph.reads(i) for i in graph.ancestors([value]))]
        if len(varying) != 1:
            return None
        if node.op_type == "MatMul" and varying[0] == node.input[0]:
            return varying[0]
        if node.op_type not in _ELEMENTWISE:
            return None
        name = varying[0]
    return None


def divergence(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """How far outputs are from those expected: of logits the mean Kullback-Leibler divergence over rows, in nats; of other outputs
    the squared error by the squared norm."""
    if "logits" in expected:
        reference, logits = (outputs["logits"].reshape(-1, outputs["logits"].shape[-1]) for outputs in (expected, found))
        comparison = Comparison(np.zeros(len(logits), np.int64), with_reference=True)
        comparison.add(0, logits, reference)
        return float(comparison.kl.mean())
    error = sum(float(np.square(expected[name].astype(np.float64) - found[name]).sum()) for name in expected)
    return error / (sum(float(np.square(array.astype(np.float64)).sum()) for array in expected.values()) or 1.0)
