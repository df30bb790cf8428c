"""Bits for every matrix, so that a model of a given size loses least.

How much a matrix matters is measured: its group alone is quantized to few bits, and the model's outputs are compared with those of the
float model. How the loss falls with more bits is the solver's loss in the metric of the activations, and both together are taken for
proportional (as HAWQ, arXiv 1905.03696, takes the trace of the Hessian of the loss). Losses of different matrices are taken to add up;
what remains is a knapsack.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..errors import QuantizeError
from ..evaluation.metrics import Comparison
from ..solver import Hessian, Quantized, SolveOptions, solve
from ..tensors import Tensors
from .calibration import Calibration
from .graph import FLOATS, Graph, Group, Matrix
from .moments import read_rows, second_moments
from .streams import GraphPasses, Stream
from .workspace import Workspace

# The form in which groups are tried alone.
_PROBE_BITS = 2


@dataclass(frozen=True)
class Candidate:
    """A matrix with so many bits: its size, and what the model is expected to lose."""

    bits: int
    bytes: int
    loss: float


@dataclass(frozen=True)
class Choice:
    """What was chosen for a matrix, and what else there was."""

    name: str
    weights: int
    chosen: Candidate
    candidates: tuple[Candidate, ...]


def choose(model: str | os.PathLike[str], calibration: Calibration, *, bits_per_weight: float, group: int = 128,
           candidates: Sequence[int] = (1, 2, 3, 4, 8), exclude: str = "", damping: float = 0.01, threads: int = 0,
           progress: Callable[[float, float], None] = lambda done, whole: None) -> list[Choice]:
    """Bits for the linear layers of a model, at most `bits_per_weight` on average with scales and zeros.

    A few short windows of calibration suffice. Matrices with names that `exclude` matches are left out, as are tables that tokens look
    up. The models whose outputs are compared have one group of matrices quantized, to 2 bits.
    """
    source = Tensors(model)
    graph = Graph(source.model)
    names = [tensor.name for tensor in graph.initializers.values()
             if len(tensor.dims) == 2 and tensor.data_type in FLOATS and not (exclude and re.search(exclude, tensor.name))]
    groups, _ = graph.groups(graph.products(names))
    if not groups:
        raise QuantizeError(f"'{os.fspath(model)}' has no linear layers to choose bits for")
    passes = GraphPasses(graph, calibration, {m.name for g in groups for m in g.matrices}, threads)
    outputs = tuple(output.name for output in source.model.graph.output
                    if output.name == "logits") or tuple(output.name for output in source.model.graph.output)
    expected = list(passes.advance(None, outputs, source.read))
    found: dict[str, tuple[Candidate, ...]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stream = Stream(passes, Workspace(Path(folder) / "work", {}), "float", source.read)
        for index, (members, cut) in enumerate(zip(groups, graph.cuts(groups))):
            held = stream.at(index, cut)
            hessian = Hessian(second_moments(members, held.arrays[members.activations])[0], group=group, damping=damping, threads=threads)
            solved = {matrix: _solve(source, matrix, hessian, {*candidates, _PROBE_BITS}, group, threads) for matrix in members.matrices}
            probes = {matrix.name: by_bits[_PROBE_BITS] for matrix, by_bits in solved.items()}
            given = passes.advance(held, outputs, lambda name: _probe(source, members, probes, name))
            lost = float(np.mean([divergence(before, after) for before, after in zip(expected, given)]))
            scale = lost / (sum(float(probe.loss.sum()) for probe in probes.values()) or 1.0)
            for matrix, by_bits in solved.items():
                found[matrix.name] = tuple(Candidate(bits, _size(by_bits[bits]), scale * float(by_bits[bits].loss.sum()))
                                           for bits in sorted(candidates))
            progress(index + 1, len(groups))
    weights = {matrix.name: matrix.n * matrix.k for members in groups for matrix in members.matrices}
    chosen = allocate(found, bits_per_weight * sum(weights.values()) / 8)
    return [Choice(name, weights[name], chosen[name], found[name]) for name in found]


def _solve(source: Tensors, matrix: Matrix, hessian: Hessian, candidates: Iterable[int], group: int, threads: int) -> dict[int, Quantized]:
    weights = read_rows(source, matrix)
    # Refinement lowers all losses alike.
    return {bits: solve(weights, hessian, bits=bits, group=group, options=SolveOptions(rounds=0), threads=threads) for bits in candidates}


def _probe(source: Tensors, group: Group, probes: Mapping[str, Quantized], name: str) -> np.ndarray:
    """A constant of the model in which one group is quantized."""
    original = source.read(name)
    if name not in probes:
        return original
    matrix = next(matrix for matrix in group.matrices if matrix.name == name)
    weights = probes[name].dequantize()
    return np.ascontiguousarray(weights.T if matrix.is_transposed else weights, original.dtype)


def _size(quantized: Quantized) -> int:
    return quantized.planes.nbytes + quantized.plane_scales().nbytes + quantized.zeros.nbytes


def allocate(candidates: Mapping[str, Sequence[Candidate]], budget: float, steps: int = 1 << 14) -> dict[str, Candidate]:
    """The candidate of each matrix, so that their losses add up to the least and their bytes to at most `budget`: the knapsack with one of
    several, by dynamic programming over bytes in at most `steps` steps, rounded up.

    Raises QuantizeError if the smallest candidates exceed the budget.
    """
    least = {name: min(found, key=lambda c: (c.bytes, c.loss)) for name, found in candidates.items()}
    left = budget - sum(candidate.bytes for candidate in least.values())
    if left < 0:
        raise QuantizeError(f"the smallest choice needs {sum(c.bytes for c in least.values())} bytes, but {budget:.0f} are allowed")
    step = max(1, math.ceil(left / steps))
    steps = int(left // step)
    # best[s]: the least loss with s steps more than the least bytes; picks[i][s]: the candidate of matrix i there.
    best, picks = np.zeros(steps + 1), []
    for name, found in candidates.items():
        losses = np.full((len(found), steps + 1), np.inf)
        for position, candidate in enumerate(found):
            more = math.ceil((candidate.bytes - least[name].bytes) / step)
            if more <= steps:
                losses[position, more:] = best[:steps + 1 - more] + candidate.loss
        picks.append(losses.argmin(0))
        best = losses.min(0)
    chosen, at = {}, steps
    for (name, found), pick in zip(reversed(candidates.items()), reversed(picks)):
        chosen[name] = found[pick[at]]
        at -= math.ceil((chosen[name].bytes - least[name].bytes) / step)
    return {name: chosen[name] for name in candidates}


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
