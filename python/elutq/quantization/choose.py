"""Bits and groups for every matrix, so that a model of a given size loses least.

How much a matrix matters is measured: its group alone is quantized, and the model's outputs are compared with those of the float model.
How the loss falls with more bits and smaller groups is the solver's loss in the metric of the activations, to which the model's is taken
to be nearly proportional (as HAWQ, arXiv 1905.03696, takes the trace of the Hessian of the loss). Losses of different matrices are taken
to add up; what remains is a knapsack (`allocate`).
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Mapping, Sequence

import numpy as np
from onnx import TensorProto

from .. import __version__
from ..errors import QuantizeError
from ..solver import Hessian, SolveOptions, solve
from ..tensors import Tensors
from .allocate import Candidate, Choice, allocate, efficient
from .calibration import Calibration
from .graph import Graph, Group, Matrix
from .moments import read_rows, second_moments
from .outputs import Outputs
from .pipeline import Options
from .sizes import format_size, matrix_bytes, stored_bytes, stored_matrix_bytes, tensor_bytes
from .streams import GraphPasses, Stream
from .workspace import IDENTITY, Activations, Workspace, foreign_work, write_file

# What may be chosen; 0 bits: float.
BITS, GROUPS = (0, 1, 2, 3, 4, 8), (32, 64, 128, 256)
# The form in which groups, and tables, are tried alone.
_PROBE, _TABLE_PROBE = (3, 128), (4, 128)
# The model's loss grows with this power of a matrix's: 4.2 times from 3 to 2 bits where the solver's grows 3.8 times is 1.1, and what matrices
# of few bits do to each other is more (docs/Rationale.md).
_GROWTH = 1.2
# Windows of the calibration, and tokens of each, that suffice to choose.
CHOICE_SAMPLES = (6, 256)
# Rows of a matrix whose loss is measured in every form.
_ROWS = 128


@dataclass(frozen=True)
class _Item:
    """A matrix to choose a form for: [n, k], stored with elements of so many bytes, or quantized with these parameters."""

    matrix: Matrix
    itemsize: int
    params: str

    def bytes(self, bits: int, group: int, stored: bool) -> int:
        """What it takes; `stored`: with what aligns it in a file."""
        n, k = self.matrix.n, self.matrix.k
        if bits == 0:
            return (stored_bytes if stored else int)(n * k * self.itemsize)
        return (stored_matrix_bytes if stored else matrix_bytes)(n, k, bits, group, self.params)


def choose(model: str | os.PathLike[str], calibration: Calibration, options: Options = Options(), *, bits_per_weight: float | None = None,
           size: int | None = None, bits: Sequence[int] = BITS, groups: Sequence[int] = GROUPS, threads: int = 0,
           progress: Callable[[float, float], None] = lambda done, whole: None) -> list[Choice]:
    """Bits and groups for the matrices of a model, within one of two limits.

    bits_per_weight  of the linear layers on average, scales, zeros and padding included
    size             in bytes, of all constants of the written model: OUT.onnx.data and what small ones take in OUT.onnx

    With `size`, tables that tokens look up and heads tied to them are chosen for, too, unless `options` names their bits. What `options`
    excludes, or has bits of its own for (`embedding`, `head`), is left as it is. bits, groups: what may be chosen, 0 bits standing for
    float. A few short windows of calibration suffice. The models whose outputs are compared have one group of matrices quantized, to 3
    bits, or a table, to 4.

    Raises QuantizeError, with the smallest limit that can be kept, where this one cannot.
    """
    source = Tensors(model)
    work = _Chooser(source, calibration, options, bits, groups, size is not None, threads)
    if not work.items:
        raise QuantizeError(f"'{os.fspath(model)}' has no linear layers to choose bits for")
    weights = {name: item.matrix.n * item.matrix.k for name, item in work.items.items()}
    if size is not None:
        budget = size - work.fixed_bytes()
        least = size - budget + sum(work.least(name) for name in work.items)
        if least > size:
            raise QuantizeError(f"the model cannot have {format_size(size)}: the smallest that these options allow has {least} bytes "
                                f"({format_size(least)})")
    else:
        budget = bits_per_weight * sum(weights.values()) / 8
        least = 8 * sum(work.least(name) for name in work.items) / sum(weights.values())
        if not bits_per_weight >= least:
            raise QuantizeError(f"linear layers cannot have {bits_per_weight} bits per weight: the fewest that these options allow are "
                                f"{least:.4f}")
    found = {name: efficient(candidates) for name, candidates in work.candidates(progress).items()}
    chosen = allocate(found, budget)
    return [Choice(name, weights[name], chosen[name], tuple(found[name])) for name in found]


def choose_once(folder: Path, model: str | os.PathLike[str], calibration: Calibration, options: Options = Options(), *,
                bits_per_weight: float | None = None, size: int | None = None, groups: Sequence[int] = GROUPS, threads: int = 0,
                progress: Callable[[float, float], None] = lambda done, whole: None) -> list[Choice]:
    """What `choose` says, kept in a folder of unfinished work, so that a run that goes on need not ask again.

    Raises QuantizeError if the folder holds the work of another run.
    """
    kept = folder / "choices.json"
    limits = {"bits_per_weight": bits_per_weight, "size": size, "groups": list(groups)}
    identity = json.loads(json.dumps({"version": __version__, **Tensors(model).identity(), "options": asdict(options), **limits,
                                      "calibration": calibration.digest()}))
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["identity"] != identity:
            raise foreign_work(folder)
        return [Choice(choice["name"], choice["weights"], Candidate(**choice["chosen"]), tuple(Candidate(**c) for c in choice["candidates"]))
                for choice in known["choices"]]
    if (folder / IDENTITY).exists():
        raise foreign_work(folder)
    choices = choose(model, calibration, options, bits_per_weight=bits_per_weight, size=size, groups=groups, threads=threads,
                     progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(kept, json.dumps({"identity": identity, "choices": [asdict(choice) for choice in choices]}, indent=1).encode())
    return choices


class _Chooser:
    """The matrices of a model that forms are chosen for, and what each would lose."""

    def __init__(self, source: Tensors, calibration: Calibration, options: Options, bits: Sequence[int], groups: Sequence[int],
                 is_stored: bool, threads: int):
        self.source, self.calibration, self.options, self.threads, self.is_stored = source, calibration, options, threads, is_stored
        self.forms = [(b, group) for b in bits for group in (groups if b else (0,))]
        self.graph = Graph(source.model)
        self.products = self.graph.products(self.graph.float_matrices())
        found, self.refused = self.graph.groups(self.products)
        self.groups: list[Group] = []
        self.items: dict[str, _Item] = {}
        for group in found:
            matrices = tuple(matrix for matrix in group.matrices if self._is_free(matrix.name))
            if matrices:
                self.groups.append(Group(group.activations, matrices, group.nodes))
                self.items.update((matrix.name, self._item(matrix)) for matrix in matrices)
        self.tables = [self.graph.matrix(name, self.products[name][0].is_transposed) for name in self.refused
                       if is_stored and self._is_free(name) and self._can_be_stored(name)]
        self.items.update((matrix.name, self._item(matrix)) for matrix in self.tables)
        if not self.groups:
            self.items.clear()

    def _item(self, matrix: Matrix) -> _Item:
        return _Item(matrix, tensor_bytes(self.graph.initializers[matrix.name]) // (matrix.n * matrix.k), self.options.params)

    def _can_be_stored(self, name: str) -> bool:
        """Whether elutq-compile quantizes a matrix: one that all uses read in one order, and tables of f32 only."""
        uses, is_f32 = self.products[name], self.graph.initializers[name].data_type == TensorProto.FLOAT
        return len({use.is_transposed for use in uses}) == 1 and (is_f32 or not self._is_table(name))

    def _fixed_bits(self, name: str) -> int | None:
        """Bits that the options name for a matrix; None: none."""
        options, uses = self.options, self.products[name]
        names = self.graph.node_names(name, uses)
        if options.excludes(names):
            return 0
        if not self._is_table(name):
            return options.head if any("lm_head" in found for found in names) else None
        is_head = any(not use.is_lookup for use in uses)
        is_free = options.embedding is None and (options.head is None or not is_head)
        return None if is_free else options.table_bits(is_head)

    def _is_table(self, name: str) -> bool:
        return any(use.is_lookup for use in self.products[name])

    def _is_free(self, name: str) -> bool:
        return self._fixed_bits(name) is None

    def fixed_bytes(self) -> int:
        """What everything takes that nothing is chosen for."""
        whole = 0
        for name, tensor in self.graph.initializers.items():
            if name in self.items:
                continue
            bits = self._fixed_bits(name) if name in self.products and self._can_be_stored(name) else 0
            if bits:
                matrix = self.graph.matrix(name, self.products[name][0].is_transposed)
                group = self.options.group_of_tables if self._is_table(name) else self.options.group
                whole += stored_matrix_bytes(matrix.n, matrix.k, bits, group, self.options.params)
            else:
                whole += stored_bytes(tensor_bytes(tensor))
        return whole

    def least(self, name: str) -> int:
        return min(self.items[name].bytes(*form, self.is_stored) for form in self.forms)

    def candidates(self, progress: Callable[[float, float], None]) -> dict[str, list[Candidate]]:
        """Every form of every matrix, with what the model is expected to lose."""
        passes = GraphPasses(self.graph, self.calibration, set(self.items), self.threads)
        outputs = Outputs(passes, self.source.read)
        found: dict[str, list[Candidate]] = {}
        whole = len(self.tables) + len(self.groups)
        for index, table in enumerate(self.tables):
            weights = read_rows(self.source, table)
            probe = solve(weights, None, bits=_TABLE_PROBE[0], group=_TABLE_PROBE[1], threads=self.threads).dequantize()
            lost = outputs.lost(None, lambda name: self._replaced(name, {table.name: probe}))
            losses = {form: self._loss(weights, {}, form) for form in (*self.forms, _TABLE_PROBE)}
            found[table.name] = self._candidates(table, losses, lost, losses[_TABLE_PROBE])
            progress(index + 1, whole)
        with tempfile.TemporaryDirectory() as folder:
            stream = Stream(passes, Workspace(Path(folder) / "work", {}), "float", self.source.read)
            for index, (group, cut) in enumerate(zip(self.groups, self.graph.cuts(self.groups))):
                self._try(group, stream.at(index, cut), outputs, found)
                progress(len(self.tables) + index + 1, whole)
        return found

    def _try(self, group: Group, held: Activations, outputs: Outputs, found: dict[str, list[Candidate]]) -> None:
        """Adds the candidates of a group's matrices, whose activations are `held`."""
        moments = second_moments(group, held.arrays[group.activations])[0]
        hessians = {size: Hessian(moments, group=size, damping=self.options.damping, threads=self.threads)
                    for size in {size for bits, size in (*self.forms, _PROBE) if bits}}
        weights = {matrix.name: read_rows(self.source, matrix) for matrix in group.matrices}
        probes = {name: solve(rows, hessians[_PROBE[1]], bits=_PROBE[0], group=_PROBE[1], options=SolveOptions(rounds=0),
                              threads=self.threads).dequantize() for name, rows in weights.items()}
        lost = outputs.lost(held, lambda name: self._replaced(name, probes))
        losses = {name: {form: self._loss(rows, hessians, form) for form in (*self.forms, _PROBE)} for name, rows in weights.items()}
        whole = sum(of[_PROBE] for of in losses.values()) or 1.0
        for matrix in group.matrices:
            of = losses[matrix.name]
            found[matrix.name] = self._candidates(matrix, of, lost * of[_PROBE] / whole, of[_PROBE])

    def _loss(self, weights: np.ndarray, hessians: Mapping[int, Hessian], form: tuple[int, int]) -> float:
        """The loss of a matrix in one form, from some of its rows. Without Hessians: the squared error."""
        bits, group = form
        if bits == 0:
            return 0.0
        rows = weights[::max(1, len(weights) // _ROWS)]
        # Refinement lowers all losses alike.
        solved = solve(rows, hessians.get(group), bits=bits, group=group, kind=self.options.params,
                       options=SolveOptions(rounds=0), threads=self.threads)
        return float(solved.loss.sum()) * len(weights) / len(rows)

    def _candidates(self, matrix: Matrix, losses: Mapping[tuple[int, int], float], lost: float, probe: float) -> list[Candidate]:
        """The forms of a matrix that the model loses `lost` by, where the matrix's own loss is `probe`."""
        item = self.items[matrix.name]
        return [Candidate(*form, item.bytes(*form, self.is_stored), lost * (losses[form] / (probe or 1.0)) ** _GROWTH) for form in self.forms]

    def _replaced(self, name: str, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """A constant of the model in which some matrices are others."""
        original = self.source.read(name)
        if name not in weights:
            return original
        rows = weights[name]
        return np.ascontiguousarray(rows.T if self.items[name].matrix.is_transposed else rows, original.dtype)
