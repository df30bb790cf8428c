"""Cuts a graph into blocks: what lies between values that everything behind them depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

from ..errors import FinetuneError
from ..quantization.graph import FLOATS, Graph, Group


@dataclass(frozen=True)
class Block:
    """Computes `output` from `input` and from what depends on the graph's inputs alone; `matrices` are multiplied in it. The first
    block begins at the graph's inputs: its input is None."""

    input: str | None
    output: str
    matrices: tuple[str, ...]


def find_blocks(graph: Graph, groups: Sequence[Group], output: str, parts: int) -> list[Block]:
    """The blocks on the way to `output`, in the order in which they are computed.

    A narrow place is a value that alone is read by all later nodes that depend on matrices or embeddings: in a transformer the residual
    stream, behind attention and behind the MLP. A block goes through `parts` narrow places with matrices in between. Neither names
    nor the kinds of operators matter.
    """
    blocks: list[Block] = []
    matrices: list[str] = []
    begin, passed = None, 0
    for place, between in _narrow_places(graph, groups, output):
        matrices += between
        passed += bool(between)
        if matrices and (passed == parts or place == output):
            blocks.append(Block(begin, place, tuple(matrices)))
            begin, matrices, passed = place, [], 0
    if matrices:
        blocks.append(Block(begin, output, tuple(matrices)))
    if not blocks:
        raise FinetuneError(f"there is nothing to tune: no matrix with 1 to 4 bits of its own leads to the output '{output}'")
    return blocks


def _narrow_places(graph: Graph, groups: Sequence[Group], output: str) -> Iterator[tuple[str, list[str]]]:
    """Narrow places, and the matrices that are multiplied between each and the one before."""
    multiplied = {node: matrix.name for group in groups for matrix, node in zip(group.matrices, group.nodes)}
    order = sorted(graph.ancestors([output]))
    last_read = {name: place for place, index in enumerate(order) for name in graph.reads(index)}
    last_read[output] = len(order)
    follows: set[str] = set()
    live: set[str] = set()
    between: list[str] = []
    for place, index in enumerate(order):
        node = graph.model.graph.node[index]
        if index in multiplied:
            between.append(multiplied[index])
        if index in multiplied or _is_embedding(graph, index) or not follows.isdisjoint(graph.reads(index)):
            follows.update(node.output)
            live.update(node.output)
        live = {name for name in live if last_read.get(name, -1) > place}
        if len(live) == 1 and (value := next(iter(live))) in node.output:
            yield value, between
            between = []


def _is_embedding(graph: Graph, index: int) -> bool:
    node = graph.model.graph.node[index]
    table = graph.initializers.get(node.input[0]) if node.op_type == "Gather" else None
    return table is not None and table.data_type in FLOATS and len(table.dims) == 2
