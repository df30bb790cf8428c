"""What the solver needs of a group: its weights, and the second moments of its activations."""

from __future__ import annotations

import numpy as np

from ..errors import QuantizeError
from ..tensors import Tensors
from .graph import Group, Matrix


# What f64 solves to a few digits, whatever the moments.
_LEAST_DAMPING = 1e-6


def read_rows(tensors: Tensors, matrix: Matrix) -> np.ndarray:
    """The weights, f32 [N, K]."""
    weights = tensors.read(matrix.name)
    return (weights.T if matrix.is_transposed else weights).astype(np.float32)


def second_moments(group: Group, activations: np.ndarray, reference: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The means of x x^T and, with a reference, of (reference - x) x^T over all activations, f64 [K, K]."""
    columns = group.matrices[0].k
    moments, count = np.zeros((columns, columns)), 0
    cross = None if reference is None else np.zeros((columns, columns))
    # What overflows is found at the end.
    with np.errstate(over="ignore", invalid="ignore"):
        for index, window in enumerate(activations):
            rows = window.reshape(-1, columns).astype(np.float32, copy=False)
            moments += rows.T @ rows
            count += len(rows)
            if cross is not None:
                cross += (reference[index].reshape(-1, columns) - rows).T @ rows
    if not np.isfinite(moments.trace()):
        raise QuantizeError(f"the activations '{group.activations}' hold values that are not finite, or whose squares are not")
    return moments / count, None if cross is None else cross / count


def correction(weights: np.ndarray, moments: np.ndarray, cross: np.ndarray, damping: float) -> np.ndarray:
    """What to add to `weights` so that the quantized model's activations x give what the float model's x_f gave: W C (H + d I)^-1 with
    the moments H = mean(x x^T), C = mean((x_f - x) x^T), and d `damping` times the mean diagonal of H, but enough for an H that is singular,
    as one of few samples is. f32 [N, K]."""
    if not moments.any():
        return np.zeros_like(weights)
    damped = moments + max(damping, _LEAST_DAMPING) * moments.trace() / len(moments) * np.eye(len(moments))
    return (weights @ np.linalg.solve(damped, cross.T).T).astype(np.float32)
