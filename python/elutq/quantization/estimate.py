"""What a quantization would take."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from ..errors import QuantizeError
from ..tensors import Tensors
from .calibration import Calibration
from .graph import Graph, Group
from .pipeline import Options, operations


@dataclass(frozen=True)
class Estimate:
    """Seconds on this machine, greatest memory and disk space in bytes, of quantizing `groups`."""

    groups: list[Group]
    seconds: float
    memory: float
    disk: float

    def __str__(self) -> str:
        matrices = [matrix for group in self.groups for matrix in group.matrices]
        weights = sum(matrix.n * matrix.k for matrix in matrices)
        lines = [f"{len(matrices)} matrices in {len(self.groups)} groups, {weights / 1e6:.1f} million weights"]
        lines += [f"  {group.matrices[0].k:6} columns: " + ", ".join(f"{matrix.name} [{matrix.n}]" for matrix in group.matrices)
                  for group in self.groups]
        lines.append(f"about {self.seconds / 60:.1f} minutes, {self.memory / 2**20:.0f} MiB of memory, {self.disk / 2**20:.0f} MiB of disk "
                     "for unfinished work")
        return "\n".join(lines)


def estimate(model: str | os.PathLike[str], options: Options, calibration: Calibration) -> Estimate:
    """What `quantize` would do with a model, as far as that can be told from its graph."""
    graph = Graph(Tensors(model).model)
    groups, _ = graph.groups(graph.products(graph.float_matrices()))
    if not groups:
        raise QuantizeError(f"'{os.fspath(model)}' has no linear layers to calibrate")
    rows = calibration.tokens_per_pass
    speed = _product_speed()
    seconds = sum(operations(group, rows) for group in groups) / speed
    # A group's weights in f32 with a copy and their codes, and the second moments with their factor; a window's activations.
    memory = max(10 * sum(m.n for m in g.matrices) * g.matrices[0].k + 32 * g.matrices[0].k ** 2 for g in groups)
    memory += 8 * rows / calibration.count * max(matrix.n for group in groups for matrix in group.matrices)
    # Two cuts at a time, each with a group's activations and what passes by them.
    disk = 2 * 4 * rows * 2 * max(group.matrices[0].k for group in groups)
    disk += sum(m.n * m.k for g in groups for m in g.matrices) * (options.bits + 1) / 8
    return Estimate(groups, seconds, memory, disk)


def _product_speed(size: int = 1024) -> float:
    """Operations per second of products of f32 matrices."""
    matrix = np.random.default_rng(0).standard_normal((size, size), np.float32)
    matrix @ matrix
    started = time.perf_counter()
    matrix @ matrix
    return 2 * size ** 3 / (time.perf_counter() - started)
