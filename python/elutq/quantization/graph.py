"""The linear layers of an ONNX graph, and the cuts between them.

Calibration walks through a model once, from one set of linear layers with common activations to the next. What it holds in between is
a cut: the values that are computed already and that the rest of the graph still reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Container, Iterable, Iterator, Mapping, Sequence

import onnx
from onnx import TensorProto, helper

# Types of matrices that can be quantized.
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Matrix:
    """A matrix `w[n, k]` that activations are multiplied by. `is_transposed`: stored as [K, N]."""

    name: str
    n: int
    k: int
    is_transposed: bool


@dataclass(frozen=True)
class Product:
    """How a node uses a matrix. `is_transposed`: as [K, N]."""

    node: int
    activations: str
    is_lookup: bool
    is_transposed: bool


@dataclass(frozen=True)
class Group:
    """Matrices that the same activations are multiplied by."""

    activations: str
    matrices: tuple[Matrix, ...]
    nodes: tuple[int, ...]


@dataclass
class Graph:
    """An ONNX graph whose large constants need not be loaded."""

    model: onnx.ModelProto
    producers: dict[str, int] = field(init=False)
    initializers: dict[str, onnx.TensorProto] = field(init=False)
    inputs: dict[str, onnx.ValueInfoProto] = field(init=False)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = {value.name: value for value in graph.input if value.name not in self.initializers}
        self.producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}

    @property
    def nodes(self) -> Iterable[onnx.NodeProto]:
        return self.model.graph.node

    def float_matrices(self) -> list[str]:
        """The names of constants that may be matrices to quantize."""
        return [name for name, tensor in self.initializers.items() if len(tensor.dims) == 2 and tensor.data_type in FLOATS]

    def node_names(self, name: str, uses: Iterable[Product]) -> list[str]:
        """What a matrix may be called: by itself, or by the nodes that use it."""
        return [name, *(self.model.graph.node[use.node].name for use in uses)]

    def reads(self, index: int) -> set[str]:
        """Values that a node reads, those that its nested graphs take from outside included."""
        return set(_reads(self.model.graph.node[index]))

    def ancestors(self, values: Iterable[str], known: Iterable[str] = ()) -> set[int]:
        """Nodes that `values` are computed by, from `known` ones on."""
        known, found, pending = set(known), set(), list(values)
        while pending:
            name = pending.pop()
            index = self.producers.get(name)
            if name in known or index is None or index in found:
                continue
            found.add(index)
            pending.extend(self.reads(index))
        return found

    def products(self, names: Container[str]) -> dict[str, list[Product]]:
        """The products and look-ups that read each of the matrices `names`, directly or transposed."""
        transposes = {node.output[0]: node.input[0] for node in self.nodes
                      if node.op_type == "Transpose" and node.input[0] in names}
        found: dict[str, list[Product]] = {}
        for index, node in enumerate(self.nodes):
            position = _OPERANDS.get(node.op_type)
            if position is None or len(node.input) < 2:
                continue
            read = node.input[position]
            name = transposes.get(read, read)
            if name in names:
                is_transposed = node.op_type == "MatMul" or node.op_type == "Gemm" and not _attribute(node, "transB")
                found.setdefault(name, []).append(Product(index, node.input[1 - position], node.op_type == "Gather",
                                                          is_transposed != (read in transposes)))
        return found

    def groups(self, products: Mapping[str, list[Product]]) -> tuple[list[Group], dict[str, str]]:
        """The groups that matrices with these products form, in an order in which they can be computed; and why others are in none."""
        members: dict[str, list[tuple[int, str]]] = {}
        refused = {}
        for name, uses in products.items():
            if any(use.is_lookup for use in uses):
                refused[name] = "a table that tokens look up"
            elif len({use.activations for use in uses}) > 1:
                refused[name] = "products with different activations share it"
            else:
                members.setdefault(uses[0].activations, []).append((uses[0].node, name))
        groups = [Group(activations, tuple(self.matrix(name, products[name][0].is_transposed) for _, name in sorted(found)),
                        tuple(node for node, _ in sorted(found))) for activations, found in members.items()]
        return sorted(groups, key=lambda group: group.nodes[0]), refused

    def tied(self, products: Mapping[str, list[Product]]) -> list[Group]:
        """Tables that tokens look up and that one set of activations is multiplied by: embedding and head. Each is a group of its own."""
        found = []
        for name, uses in products.items():
            multiplied = [use for use in uses if not use.is_lookup]
            if len({use.activations for use in multiplied}) == 1 and len(multiplied) < len(uses):
                matrix = self.matrix(name, multiplied[0].is_transposed)
                found.append(Group(multiplied[0].activations, (matrix,), tuple(use.node for use in multiplied)))
        return found

    def matrix(self, name: str, is_transposed: bool) -> Matrix:
        """The constant of this name, as products use it; `is_transposed`: as [K, N]."""
        rows, columns = self.initializers[name].dims
        return Matrix(name, columns, rows, True) if is_transposed else Matrix(name, rows, columns, False)

    def cuts(self, groups: Sequence[Group]) -> list[tuple[str, ...]]:
        """For each group the values that are computed before it is multiplied, and that it or what follows reads."""
        products = {index for group in groups for index in group.nodes}
        # A value that no group's product leads to is computed again where it is needed.
        follows: set[str] = set()
        readers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            reads = self.reads(index)
            if index in products or reads & follows:
                follows.update(name for name in node.output if name)
            for name in reads:
                readers.setdefault(name, []).append(index)
        done: set[int] = set()
        cuts = []
        for group in groups:
            done |= self.ancestors([group.activations])
            values = {group.activations}
            values.update(name for name in follows
                          if self.producers[name] in done and any(reader not in done for reader in readers.get(name, ())))
            cuts.append(tuple(sorted(values)))
        return cuts

    def part(self, values: Sequence[str], known: Mapping[str, int], matrices: Container[str]) -> onnx.ModelProto:
        """The model that computes `values` from `known` ones (element types by name), inputs of the graph, and constants. The
        constants `matrices`, and those outside of the model's file, become inputs."""
        indices = sorted(self.ancestors(values, known))
        nodes = [self.model.graph.node[index] for index in indices]
        reads = {name for index in indices for name in self.reads(index)} | set(values)
        inputs = [helper.make_tensor_value_info(name, element, None) for name, element in known.items() if name in reads]
        inputs += [info for name, info in self.inputs.items() if name in reads and name not in known]
        initializers = []
        for name in sorted(reads & self.initializers.keys()):
            tensor = self.initializers[name]
            if name in matrices or tensor.data_location == onnx.TensorProto.EXTERNAL:
                inputs.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
            else:
                initializers.append(tensor)
        outputs = [helper.make_empty_tensor_value_info(name) for name in values]
        graph = helper.make_graph(nodes, "part", inputs, outputs, initializers)
        return helper.make_model(graph, opset_imports=self.model.opset_import, functions=self.model.functions,
                                 ir_version=self.model.ir_version)


# Where an operator has its matrix.
_OPERANDS = {"MatMul": 1, "Gemm": 1, "Gather": 0}


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            inside = {value.name for value in (*graph.input, *graph.initializer)}
            inside.update(name for nested in graph.node for name in nested.output)
            yield from (name for nested in graph.node for name in _reads(nested) if name not in inside)
            yield from (value.name for value in graph.output if value.name and value.name not in inside)
