"""The formulas: what logits say about the tokens that follow, against the text and against another model.

For a position with logits x, reference logits y and the next token t, in nats:
    nll   = ln Σ exp x − x[t]
    kl    = Σ p·(ln p − ln q), p = softmax y, q = softmax x
    agree = argmax x == argmax y
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import EvaluationError

_SLICE_BYTES = 2 << 20  # of one array, so that they stay in the cache


@dataclass(frozen=True)
class Mean:
    """The mean of a measure over all predicted tokens; `error` is its standard error over windows, None for one window."""

    value: float
    error: float | None

    @staticmethod
    def over_windows(means: np.ndarray) -> Mean:
        """means: one per window; windows have the same number of tokens."""
        error = float(means.std(ddof=1) / math.sqrt(means.size)) if means.size > 1 else None
        return Mean(float(means.mean()), error)

    def exp(self) -> Mean:
        """Of the exponential: exp(value), and the error that a small change of `value` makes."""
        value = math.exp(self.value) if self.value < 709 else math.inf
        return Mean(value, None if self.error is None else value * self.error)


class Comparison:
    """Measures rows of logits in f64. Needs memory for a few rows, whatever their number.

    nll, and with a reference reference_nll, kl and agree, hold a value per position of the window.
    """

    def __init__(self, targets: np.ndarray, with_reference: bool, window: int = 0):
        """targets: the next token of each position. window: its number, for messages."""
        self.targets, self.window = targets, window
        count = targets.size
        self.nll = np.full(count, np.nan)
        self.reference_nll, self.kl, self.agree = (np.full(count if with_reference else 0, np.nan) for _ in range(3))
        self._scratch: list[np.ndarray] = []

    def add(self, start: int, logits: np.ndarray, reference: np.ndarray | None = None) -> None:
        """Logits [rows, vocabulary] of the positions from `start` on, and the reference's at the same positions."""
        rows, vocabulary = logits.shape
        step = max(1, min(rows, _SLICE_BYTES // (8 * vocabulary)))
        if not self._scratch or self._scratch[0].shape != (step, vocabulary):
            self._scratch = [np.empty((step, vocabulary)) for _ in range(4)]
        for row in range(0, rows, step):
            part = slice(row, min(row + step, rows))
            # NumPy's maxima of f16 are slow.
            found, expected = (None if x is None else x[part].astype(np.float32, copy=False) for x in (logits, reference))
            self._add_slice(start + row, found, expected)

    def _add_slice(self, start: int, logits: np.ndarray, reference: np.ndarray | None) -> None:
        count = len(logits)
        shifted, exponentials, other, other_exponentials = (array[:count] for array in self._scratch)
        positions = slice(start, start + count)
        targets = self.targets[positions]
        log_sum = self._shift(logits, shifted, exponentials, start, "model")
        self.nll[positions] = log_sum - shifted[np.arange(count), targets]
        if reference is None:
            return
        other_sum = self._shift(reference, other, other_exponentials, start, "reference")
        self.reference_nll[positions] = other_sum - other[np.arange(count), targets]
        self.agree[positions] = logits.argmax(axis=1) == reference.argmax(axis=1)
        # Σ p·((y − ln Σ exp y) − (x − ln Σ exp x)); what the reference excludes counts nothing.
        difference = exponentials
        difference.fill(0.0)
        np.subtract(other, shifted, out=difference, where=other_exponentials > 0)
        mean = np.einsum("rv,rv->r", other_exponentials, difference) / np.exp(other_sum)
        self.kl[positions] = mean - other_sum + log_sum

    def _shift(self, logits: np.ndarray, shifted: np.ndarray, exponentials: np.ndarray, start: int, name: str) -> np.ndarray:
        """shifted = logits − max, exponentials = exp shifted; returns ln Σ exponentials [rows]."""
        largest = logits.max(axis=1)
        if not np.isfinite(largest).all():
            row = int(np.argmin(np.isfinite(largest)))
            raise EvaluationError(f"the {name}'s logits at position {start + row} of window {self.window} have the maximum "
                                  f"{largest[row]}, expected a finite number")
        np.subtract(logits, largest[:, None], out=shifted, dtype=np.float64)
        np.exp(shifted, out=exponentials)
        return np.log(exponentials.sum(axis=1))
