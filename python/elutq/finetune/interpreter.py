"""Runs parts of an ONNX graph in torch."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterable, Mapping, Sequence

import onnx
import torch
from onnx import helper, inliner
from torch import Tensor

from ..errors import FinetuneError
from ..quantization.graph import Graph
from .operators import OPERATORS, Attributes

Constants = Callable[[str], Tensor]


class Interpreter:
    """A graph whose values can be computed from inputs or from other values. Function bodies of the model are inlined.

    precision: of products and attention, torch.float32 or torch.bfloat16; sums are f32 in both.
    """

    def __init__(self, model: onnx.ModelProto, precision: torch.dtype = torch.float32, device: torch.device | str = "cpu"):
        self.graph = Graph(inliner.inline_local_functions(model) if model.functions else model)
        self.device = torch.device(device)
        self._attributes = [Attributes(node.name or node.output[0], {attribute.name: helper.get_attribute_value(attribute)
                                                                    for attribute in node.attribute}, precision, len(node.output))
                            for node in self.graph.nodes]
        self._orders: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[list[int], list[list[str]]]] = {}

    def check(self, wanted: Iterable[str]) -> None:
        """Raises FinetuneError that names all nodes, among those that lead to `wanted`, whose operators are not known."""
        unknown: dict[str, list[str]] = {}
        for index in sorted(self.graph.ancestors(wanted)):
            node = self.graph.model.graph.node[index]
            if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
                operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
                unknown.setdefault(operator, []).append(f"'{self._attributes[index].node}'")
        if unknown:
            raise FinetuneError("the model has operators that finetune cannot run: "
                                + "; ".join(f"{operator} ({', '.join(nodes)})" for operator, nodes in sorted(unknown.items())))

    def run(self, wanted: Sequence[str], known: Mapping[str, Tensor], constants: Constants) -> list[Tensor]:
        """The values `wanted`, from those that `known` gives by name (inputs of the graph among them) and from constants. Values are
        dropped after their last use."""
        # Constants that operators make have to be on the device, too.
        with self.device if self.device.type != "cpu" else contextlib.nullcontext():
            return self._run(wanted, dict(known), constants)

    def _run(self, wanted: Sequence[str], values: dict[str, Tensor], constants: Constants) -> list[Tensor]:
        order, last_uses = self._order(tuple(wanted), tuple(sorted(values)))
        nodes = self.graph.model.graph.node
        for index, unused in zip(order, last_uses):
            node = nodes[index]
            inputs = [self._value(name, values, constants) if name else None for name in node.input]
            while inputs and inputs[-1] is None:
                inputs.pop()
            try:
                result = OPERATORS[node.op_type](self._attributes[index], *inputs)
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                raise FinetuneError(f"node '{self._attributes[index].node}' ({node.op_type}) cannot be computed: {error}") from error
            outputs = result if isinstance(result, tuple) else (result,)
            values.update((name, value) for name, value in zip(node.output, outputs) if name)
            del inputs, result, outputs
            for name in unused:
                values.pop(name, None)
        return [self._value(name, values, constants) for name in wanted]

    def _value(self, name: str, values: dict[str, Tensor], constants: Constants) -> Tensor:
        if name not in values:
            if name not in self.graph.initializers:
                raise FinetuneError(f"the graph's input '{name}' has no value")
            return constants(name)
        return values[name]

    def _order(self, wanted: tuple[str, ...], known: tuple[str, ...]) -> tuple[list[int], list[list[str]]]:
        """The nodes to compute, and after each the values that no later one reads."""
        if (wanted, known) not in self._orders:
            indices = sorted(self.graph.ancestors(wanted, known))
            seen = set(wanted)
            last_uses: list[list[str]] = []
            for index in reversed(indices):
                node = self.graph.model.graph.node[index]
                names = (set(node.input) | set(node.output)) - seen - {""}
                last_uses.append(sorted(names))
                seen |= names
            self._orders[wanted, known] = indices, last_uses[::-1]
        return self._orders[wanted, known]
