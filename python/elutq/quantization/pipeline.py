"""Calibrated quantization of an ONNX model, one group of linear layers after the other.

Each group sees the activations that the groups before it, already quantized, lead to. In memory at a time are one group's weights, the
second moments of its activations, and one window; the activations of all windows lie on the disk.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping

import numpy as np

from .. import __version__
from ..compiler import compile as run_compiler
from ..errors import QuantizeError
from ..hlq_onnx import HLQMatrix, HLQModel, PARTS
from ..solver import SolveOptions
from ..tensors import Tensors
from .calibration import Calibration
from .engine import Engine, Form, LocalEngine, Problem
from .graph import Graph, Group, Matrix
from .moments import correction, read_rows, second_moments
from .sizes import Storage, storage
from .streams import GraphPasses, Stream
from .workspace import Workspace

# Form of the parameters, and how they are found. "published" is HLQ-GPTQ of arXiv 2510.19482; "loop" chooses its codes column by column, and
# "weighted" its parameters by what an error costs, too. "gptq" is GPTQ on the grid from min to max, "rtn" the nearest point of that grid.
METHODS = {
    "hlq": ("hlq", SolveOptions(rounds=64)),
    "uniform": ("uniform", SolveOptions(rounds=64)),
    "published": ("hlq", SolveOptions(starts=1, weighted=False, frozen_codes=True, rounds=0)),
    "loop": ("hlq", SolveOptions(starts=1, weighted=False, rounds=0)),
    "weighted": ("hlq", SolveOptions(starts=1, rounds=0)),
    "gptq": ("uniform", SolveOptions(fit_iterations=0, rounds=0)),
    "rtn": ("uniform", SolveOptions(fit_iterations=0, feedback=False, rounds=0)),
}
BASE = "base.onnx"
# What the solver does for a weight, in operations of a product: measured.
_SOLVER_OPERATIONS = 50_000


@dataclass(frozen=True)
class Options:
    """What the result depends on, besides the model and the calibration.

    bits, group, embedding, head, exclude  as of elutq-compile's --quantize
    method      "hlq", or one to compare with: "uniform" (one scale per group), "gptq" and "rtn" (uniform, too), "published" and what comes
                between it and "hlq" without refinement: "loop", "weighted"
    params      what groups of 1 to 4 bits store: "hlq", an f16 scale for each plane and a zero, or "compact", one f16 scale, 8-bit ratios and an
                8-bit zero; methods with uniform grids have neither
    damping     added to the diagonal of the second moments, as a share of its mean
    correction  the share of the difference between the float and the quantized model's activations that each group's weights make
                good; 0 takes half the time
    rounds      of refinement, at most
    tied        how much a matrix that is embedding and head counts as embedding: it is fitted in the metric H + tied * mean(diag H) * I of
                the head's activations; infinite: by its values alone. 8 bits are always fitted so
    table_group as `group`, of tables that tokens look up; None: the same
    plan        bits and group of some matrices by name, instead of the above
    """

    bits: int = 4
    group: int = 128
    embedding: int | None = None
    head: int | None = None
    exclude: str = ""
    method: str = "hlq"
    params: str = "hlq"
    damping: float = 0.01
    correction: float = 0.5
    rounds: int = 8
    tied: float = 0.5
    table_group: int | None = None
    plan: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise QuantizeError(f"unknown method '{self.method}', expected {', '.join(METHODS)}")
        if self.params not in ("hlq", "compact"):
            raise QuantizeError(f"unknown params '{self.params}', expected hlq or compact")
        if self.params == "compact" and METHODS[self.method][0] != "hlq":
            raise QuantizeError(f"the method '{self.method}' has a uniform grid, which compact parameters are of no use to")
        for name, least in (("damping", 0), ("correction", 0), ("rounds", 0), ("tied", 0)):
            if not getattr(self, name) >= least:
                raise QuantizeError(f"expected {name} to be at least {least}, but got {getattr(self, name)}")

    @property
    def kind(self) -> str:
        kind = METHODS[self.method][0]
        return self.params if kind == "hlq" else kind

    @property
    def solver(self) -> SolveOptions:
        options = METHODS[self.method][1]
        return replace(options, rounds=min(options.rounds, self.rounds))

    @property
    def group_of_tables(self) -> int:
        return self.group if self.table_group is None else self.table_group

    def table_bits(self, is_head: bool) -> int:
        """Bits that elutq-compile gives a table that tokens look up, and that is the head, too, if `is_head`."""
        given = (self.embedding, self.head) if is_head else (self.embedding,)
        return max(max(4, self.bits) if bits is None else bits for bits in given)

    def excludes(self, names: Iterable[str]) -> bool:
        """Whether a matrix of these names, its own and those of its nodes, stays float."""
        return bool(self.exclude) and any(re.search(self.exclude, name) for name in names)

    def for_compiler(self, folder: Path, graph: Graph) -> str:
        """The value of elutq-compile's --quantize for a model; a plan is written to `folder`."""
        text = f"hlq:bits={self.bits},group={self.group}" + (f",params={self.params}" if self.params != "hlq" else "")
        if plan := {**self._table_plan(graph), **self.plan}:
            path = folder / "plan.json"
            path.write_text(json.dumps({name: {"bits": bits, "group": group} for name, (bits, group) in plan.items()}))
            text += f",plan={path}"
        text += "".join(f",{key}={value}" for key in ("embedding", "head") if (value := getattr(self, key)) is not None)
        return text + (f",exclude={self.exclude}" if self.exclude else "")

    def _table_plan(self, graph: Graph) -> dict[str, tuple[int, int]]:
        """Tables that get another group than the rest, with the bits that elutq-compile gives them."""
        plan: dict[str, tuple[int, int]] = {}
        if self.group_of_tables == self.group:
            return plan
        for name, uses in graph.products(graph.float_matrices()).items():
            bits = self.table_bits(any(not use.is_lookup for use in uses))
            if bits and any(use.is_lookup for use in uses) and not self.excludes(graph.node_names(name, uses)):
                plan[name] = (bits, self.group_of_tables)
        return plan


@dataclass(frozen=True)
class Row:
    """What became of a matrix. `loss` is `tr((W - Q) H (W - Q)^T)` with H the mean second moment of its activations, and
    `relative_loss` that by `tr(W H W^T)`; both are missing where it was fitted by its values alone, for the `reason` given."""

    name: str
    n: int
    k: int
    bits: int
    group_size: int
    bytes: int
    loss: float | None = None
    relative_loss: float | None = None
    seconds: float | None = None
    reason: str = ""


class Quantizer:
    """One run: `solve` and then `write`. Whatever interrupts it, another one of the same arguments goes on from there."""

    def __init__(self, model: str | os.PathLike[str], options: Options, calibration: Calibration, work: str | os.PathLike[str],
                 threads: int = 0, engine: Engine | None = None):
        """threads: of ONNX Runtime. engine: what solves; by default this process with as many threads."""
        self.options, self.calibration = options, calibration
        self.engine = engine or LocalEngine(threads)
        self.source = Tensors(model)
        self.graph = Graph(self.source.model)
        self.workspace = Workspace(Path(work), self._identity())
        base = self.workspace.folder / BASE
        if not base.exists():
            # Fits all matrices by their values alone, which gives the output its form.
            run_compiler(model, base, emit="hlq-onnx", quantize=options.for_compiler(self.workspace.folder, self.graph))
        self.base = HLQModel(base)
        self.products = self.graph.products(self.base.slots)
        self.groups, self.refused = self.graph.groups(self.products)
        self.cuts = self.graph.cuts(self.groups)
        self.tied = [group for group in self.graph.tied(self.products)
                     if math.isfinite(options.tied) and self.base.slots[group.matrices[0].name].bits != 8]
        # Matrices that are solved: the file that holds each, and its place in it.
        self._solved: dict[str, tuple[str, int]] = {}
        self.passes = GraphPasses(self.graph, calibration, set(self.base.slots), threads)
        self.streams = [Stream(self.passes, self.workspace, "quantized", self._weights)]
        if options.correction:
            self.streams.append(Stream(self.passes, self.workspace, "float", self.source.read))

    def _identity(self) -> dict[str, Any]:
        return {"version": __version__, **self.source.identity(), "options": asdict(self.options), "calibration": self.calibration.digest()}

    def solve(self, advance: Callable[[Group], None] = lambda group: None) -> list[Row]:
        """Solves group after group; returns what became of every matrix. `advance` hears of each finished group."""
        rows: list[Row] = []
        for index, group in enumerate(self.tied):
            rows.append(self._solve_tied(f"tied-{index}", group))
            advance(group)
        for index, (group, cut) in enumerate(zip(self.groups, self.cuts)):
            name = f"group-{index}"
            result = self.workspace.load(name)
            if result is None:
                result = self._solve(group, *(stream.at(index, cut).arrays[group.activations] for stream in self.streams))
                self.workspace.save(name, result)
            for position, matrix in enumerate(group.matrices):
                self._solved[matrix.name] = (name, position)
                rows.append(self._row(matrix.name, result, position))
            advance(group)
        return rows + [self._row(name) for name in sorted(self.refused) if name not in self._solved]

    def _solve_tied(self, name: str, group: Group) -> Row:
        """Solves an embedding that is the head, too, before anything reads it: for the head's activations in the float model."""
        result = self.workspace.load(name)
        if result is None:
            windows = self.passes.advance(None, (group.activations,), self.source.read)
            moments, _ = second_moments(group, (window[group.activations] for window in windows))
            metric = moments + self.options.tied * moments.trace() / len(moments) * np.eye(len(moments))
            # Refinement takes four times as long for all rows of a vocabulary, and gives next to nothing.
            result = self._solve_for(group, metric, solver=replace(self.options.solver, rounds=0))
            self.workspace.save(name, result)
        matrix = group.matrices[0].name
        self._solved[matrix] = (name, 0)
        return self._row(matrix, result, 0)

    def write(self, output: str | os.PathLike[str]) -> Storage:
        """Writes the model with its solved matrices to `output` and `output`.data, and removes the folder of the work. Returns what its
        constants take."""
        return storage(self.workspace.write_output(self.base, ((name, self._matrix(name)) for name in self._solved), Path(output)))

    def _weights(self, name: str) -> np.ndarray:
        """A constant as the graph reads it: what its bits stand for, where it has them already."""
        original = self.source.read(name)
        if name in self._solved:
            weights = self._matrix(name).dequantize()
        elif name in self.refused:
            weights = self.base.read(name).dequantize()
        else:
            return original
        return np.ascontiguousarray(weights.T if self.products[name][0].is_transposed else weights, original.dtype)

    def _matrix(self, name: str) -> HLQMatrix:
        """A solved matrix."""
        file, position = self._solved[name]
        result = self.workspace.load(file)
        slot = self.base.slots[name]
        return HLQMatrix(*(result[f"{position}.{part}"] for part in PARTS), slot.bits, slot.k, slot.group_size)

    def _solve(self, group: Group, activations: np.ndarray, reference: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Parts and losses of the group's matrices, by their position in it; `reference` are the float model's activations."""
        return self._solve_for(group, *second_moments(group, activations, reference))

    def _solve_for(self, group: Group, moments: np.ndarray, cross: np.ndarray | None = None,
                   solver: SolveOptions | None = None) -> dict[str, np.ndarray]:
        """The same, for second moments and those with what the activations lack; `solver`: other options than the run's."""
        result: dict[str, np.ndarray] = {}
        problems = (self._problem(matrix, moments, cross, solver or self.options.solver) for matrix in group.matrices)
        for position, solution in enumerate(self.engine.solve(moments, problems)):
            result.update((f"{position}.{part}", getattr(solution, part)) for part in PARTS)
            result[f"{position}.measures"] = np.array([solution.loss.sum(), solution.whole.sum(), solution.seconds])
        return result

    def _problem(self, matrix: Matrix, moments: np.ndarray, cross: np.ndarray | None, solver: SolveOptions) -> Problem:
        weights, slot, options = read_rows(self.source, matrix), self.base.slots[matrix.name], self.options
        target = weights if cross is None else weights + options.correction * correction(weights, moments, cross, options.damping)
        return Problem(matrix.name, weights, target, Form(slot.bits, slot.group_size, options.kind, solver, options.damping))

    def _row(self, name: str, result: dict[str, np.ndarray] | None = None, position: int = 0) -> Row:
        slot = self.base.slots[name]
        row = Row(name, slot.n, slot.k, slot.bits, slot.group_size, self.base.read(name).num_bytes)
        if result is None:
            return replace(row, reason=self.refused[name])
        loss, whole, seconds = (float(value) for value in result[f"{position}.measures"])
        return replace(row, loss=loss, relative_loss=loss / whole if whole else 0.0, seconds=seconds)


def operations(group: Group, tokens: int) -> float:
    """Floating-point operations of a group, about: its products, the second moments of its activations, and the solver's."""
    columns, rows = group.matrices[0].k, sum(matrix.n for matrix in group.matrices)
    return 2.0 * tokens * columns * (rows + columns) + _SOLVER_OPERATIONS * rows * columns
