"""Which of several forms each matrix gets, so that all of them together lose least in a given number of bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence

import numpy as np

from ..errors import QuantizeError


@dataclass(frozen=True)
class Candidate:
    """A form of a matrix, 0 bits standing for float: its size, and what the model is expected to lose."""

    bits: int
    group: int
    bytes: int
    loss: float

    def __str__(self) -> str:
        return f"{self.bits} bits, group {self.group}" if self.bits else "float"


@dataclass(frozen=True)
class Choice:
    """What was chosen for a matrix, and what else there was."""

    name: str
    weights: int
    chosen: Candidate
    candidates: tuple[Candidate, ...]


def efficient(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other one of as few bytes beats, from the smallest to the one that loses least."""
    result: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.bytes, c.loss)):
        if not result or candidate.loss < result[-1].loss:
            result.append(candidate)
    return result


def allocate(candidates: Mapping[str, Sequence[Candidate]], budget: float, steps: int = 1 << 16) -> dict[str, Candidate]:
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
        picks.append(losses.argmin(0).astype(np.uint16))
        best = losses.min(0)
    chosen, at = {}, steps
    for (name, found), pick in zip(reversed(candidates.items()), reversed(picks)):
        chosen[name] = found[pick[at]]
        at -= math.ceil((chosen[name].bytes - least[name].bytes) / step)
    return {name: chosen[name] for name in candidates}
