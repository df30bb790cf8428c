"""Where matrices are solved: in this process, or as tasks of a Dask cluster, with the same bits.

The walk through the model, its activations and what depends on the machine's libraries (second moments, corrections) stay in this
process. What goes out is the solver's work alone, whose results do not depend on machine, threads, or the rows beside a row.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Iterable, Iterator, NamedTuple, Protocol, Sequence

import numpy as np

from .. import __version__
from ..errors import QuantizeError, SolverError
from ..solver import Hessian, SolveOptions, solve

ENGINES = ("local", "dask")
# Rows of a task: as many as keep a worker busy for longer than it takes to send them. Any number gives the same result.
TILE_ROWS = 1024
# How often data is sent again that was lost with the workers that held it.
_TRIES = 3


@dataclass(frozen=True)
class Form:
    """The form that a matrix gets, and how the solver finds it."""

    bits: int
    group: int
    kind: str
    options: SolveOptions
    damping: float


@dataclass(frozen=True)
class Problem:
    """A matrix to solve: `weights`, f32 [N, K], whose loss by that of zeros is told, and what the result is fitted to, which are the
    same array where nothing is corrected."""

    name: str
    weights: np.ndarray
    target: np.ndarray
    form: Form


class Solution(NamedTuple):
    """planes, scales and zeros as of `elutq.solver.Quantized` with a scale for each plane, and f64 [N]: the rows' losses, those of zeros."""

    planes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    loss: np.ndarray
    whole: np.ndarray
    seconds: float


class Engine(Protocol):
    """Solves the matrices of one group after the other."""

    def solve(self, moments: np.ndarray, problems: Iterable[Problem]) -> Iterator[Solution]:
        """The solutions of matrices with activations of these second moments [K, K], in their order. An error names the matrix."""


class LocalEngine(AbstractContextManager):
    """One matrix after the other, with `threads` (0: one per core)."""

    def __init__(self, threads: int = 0):
        self.threads = threads

    def solve(self, moments: np.ndarray, problems: Iterable[Problem]) -> Iterator[Solution]:
        hessians = Hessians(moments, self.threads)
        for problem in problems:
            try:
                yield _solve_rows(hessians, problem.weights, problem.target, problem.form)
            except SolverError as error:
                raise QuantizeError(f"'{problem.name}': {error}") from None

    def __exit__(self, *exception: object) -> None:
        pass


class Hessians:
    """The Hessians of one group's activations, made when they are asked for; one at a time is held."""

    def __init__(self, moments: np.ndarray, threads: int):
        self.moments, self.threads, self._form, self._held = moments, threads, None, None

    def of(self, form: Form) -> Hessian:
        if self._form != (form.group, form.damping):
            self._held = Hessian(self.moments, group=form.group, damping=form.damping, threads=self.threads)
            self._form = (form.group, form.damping)
        return self._held


def _solve_rows(hessians: Hessians, weights: np.ndarray, target: np.ndarray, form: Form) -> Solution:
    started = time.monotonic()
    hessian = hessians.of(form)
    solved = solve(target, hessian, bits=form.bits, group=form.group, kind=form.kind, options=form.options, threads=hessians.threads)
    whole = hessian.loss(weights, np.zeros_like(weights), hessians.threads)
    return Solution(solved.planes, solved.plane_scales(), solved.zeros, solved.loss, whole, time.monotonic() - started)


def open_engine(name: str = "local", *, threads: int = 0, scheduler: str | None = None, workers: int = 0) -> LocalEngine | DaskEngine:
    """The engine of this name, to be closed by a `with`. threads: of the local one. scheduler: the address of a Dask scheduler; without
    one, `workers` processes of this machine are started (0: one per core). Raises QuantizeError."""
    if name not in ENGINES:
        raise QuantizeError(f"unknown engine '{name}', expected {' or '.join(ENGINES)}")
    if name == "local":
        if scheduler or workers:
            raise QuantizeError("a scheduler or workers are of use to the engine 'dask' only; name it with --engine dask")
        return LocalEngine(threads)
    if scheduler and workers:
        raise QuantizeError("expected a scheduler, which knows its workers, or a number of workers, but got both")
    return DaskEngine(scheduler, workers)


class DaskEngine(AbstractContextManager):
    """Matrices, large ones in tiles of rows, as tasks of one solver thread each.

    Second moments go out once for a group, and each row once. A worker that dies costs what it was working on: Dask gives its tasks to
    others, and what it alone held is sent again. Without an address, worker processes on this machine live as long as the engine.
    """

    def __init__(self, scheduler: str | None = None, workers: int = 0, *, tile_rows: int = TILE_ROWS):
        try:
            import distributed
        except ImportError as error:
            raise QuantizeError("the engine 'dask' needs the package 'distributed': pip install 'elutq[distributed]'") from error
        # What is lost is told by one error, not by the connections' own messages.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._distributed, self.tile_rows = distributed, tile_rows
        self._cluster = self.client = None
        try:
            if scheduler is None:
                self._cluster = distributed.LocalCluster(n_workers=workers or os.cpu_count(), threads_per_worker=1, processes=True,
                                                         dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
                                                         silence_logs=logging.CRITICAL)
            self.client = distributed.Client(self._cluster or scheduler, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            self.__exit__()
            raise QuantizeError(f"the Dask scheduler '{scheduler or 'of this machine'}' cannot be reached: {error}") from error
        self.address = scheduler or self._cluster.scheduler_address

    def __exit__(self, *exception: object) -> None:
        for opened in (self.client, self._cluster):
            if opened is not None:
                opened.close(timeout=5)

    def solve(self, moments: np.ndarray, problems: Iterable[Problem]) -> Iterator[Solution]:
        problems = list(problems)
        for problem in problems:
            if not np.isfinite(problem.target).all():
                # Here the message has the numbers of the whole matrix's rows.
                next(LocalEngine(1).solve(moments, [problem]))
        tiles = [Tile(index, start, min(start + self.tile_rows, len(problem.target)))
                 for index, problem in enumerate(problems) for start in range(0, len(problem.target), self.tile_rows)]
        done: dict[Tile, Solution] = {}
        key = uuid.uuid4().hex
        for tries in range(1, _TRIES + 1):
            try:
                # The solver takes f32; half as many bytes go out.
                self._run(key, moments.astype(np.float32), problems, [tile for tile in tiles if tile not in done], done)
                break
            except (CancelledError, OSError) as error:
                if self.client.status != "running":
                    raise QuantizeError(f"the connection to the Dask scheduler '{self.address}' is lost; the same command goes on from "
                                        "the last group that is finished") from error
                if tries == _TRIES:
                    raise QuantizeError(f"the workers of the Dask scheduler '{self.address}' were lost {tries} times: {error}") from error
        for index in range(len(problems)):
            parts = [done[tile] for tile in tiles if tile.problem == index]
            yield Solution(np.concatenate([part.planes for part in parts], axis=1),
                           *(np.concatenate(arrays) for arrays in zip(*(part[1:-1] for part in parts))),
                           sum(part.seconds for part in parts))

    def _run(self, key: str, moments: np.ndarray, problems: Sequence[Problem], tiles: Sequence[Tile], done: dict[Tile, Solution]) -> None:
        """Solves `tiles`, adding to `done`. Raises CancelledError or OSError when data was lost with a worker or the scheduler."""
        shared = self.client.scatter(moments, hash=False)
        futures = {}
        for tile in tiles:
            problem, rows = problems[tile.problem], slice(tile.start, tile.stop)
            arrays = [problem.target[rows], *([] if problem.weights is problem.target else [problem.weights[rows]])]
            sent = self.client.scatter(arrays, hash=False)
            futures[self.client.submit(_solve_tile, __version__, key, shared, problem.form, *sent, pure=False)] = tile
        for future in self._distributed.as_completed(list(futures), loop=self.client.loop, raise_errors=False):
            tile = futures[future]
            if future.status == "error":
                error = future.exception()
                what = "the workers that solved it died one after the other" if isinstance(error, self._distributed.KilledWorker) else error
                raise QuantizeError(f"'{problems[tile.problem].name}': {what}") from error
            done[tile] = future.result()


class Tile(NamedTuple):
    """Rows of the problem of this number."""

    problem: int
    start: int
    stop: int


_lock = threading.Lock()
_held: tuple[str, Hessians] | None = None


def _solve_tile(version: str, key: str, moments: np.ndarray, form: Form, target: np.ndarray, weights: np.ndarray | None = None) -> Solution:
    """Runs in a worker, which keeps the Hessian of the group `key` for the tiles that follow."""
    global _held
    if version != __version__:
        raise SolverError(f"a worker has elutq {__version__}, but {version} is needed")
    with _lock:
        if _held is None or _held[0] != key:
            _held = key, Hessians(moments, threads=1)
        hessians = _held[1]
        hessians.of(form)
    return _solve_rows(hessians, target if weights is None else weights, target, form)
