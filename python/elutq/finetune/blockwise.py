"""Tunes one block: its output, from what the quantized blocks before it give, is brought near to the float block's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .matrices import TunedMatrix

Forward = Callable[[int], Tensor]
# Windows on which a block's loss is measured before and after.
_MEASURED = 4


@dataclass(frozen=True)
class Rates:
    """Learning rates at the start, in units of a group's mean scale: they fall to zero along a cosine."""

    parameters: float
    codes: float


def optimizer(matrices: Sequence[TunedMatrix], rates: Rates) -> torch.optim.Adam:
    groups = [{"params": [matrix.delta for matrix in matrices], "lr": rates.parameters, "rate": rates.parameters}]
    latent = [matrix.latent for matrix in matrices if matrix.latent is not None]
    if latent:
        groups.append({"params": latent, "lr": rates.codes, "rate": rates.codes})
    return torch.optim.Adam(groups, betas=(0.9, 0.95), foreach=True)


def anneal(adam: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Sets the rates of a step."""
    for group in adam.param_groups:
        group["lr"] = group["rate"] * 0.5 * (1 + math.cos(math.pi * step / steps))


def relative_error(found: Tensor, wanted: Tensor, skip: int) -> Tensor:
    """Squared error of each position by its squared norm, on average; [1, T, ...], or [T, ...] where there are no windows of tokens.
    The first `skip` positions are left out: activations of the token that begins a text are many times larger."""
    found, wanted = found[:, skip:] if skip else found, wanted[:, skip:] if skip else wanted
    error = (found.float() - wanted.float()).square().sum(-1)
    return (error / wanted.float().square().sum(-1).clamp(min=1e-12)).mean()


def tune_block(matrices: Sequence[TunedMatrix], forward: Forward, target: Callable[[int], Tensor], windows: int, skip: int,
               epochs: int, rates: Rates, seed: int, advance: Callable[[], None]) -> tuple[float, float]:
    """Tunes a block's matrices; returns the loss on the first windows before and after. `forward` computes a window's output."""

    def measure() -> float:
        with torch.no_grad():
            return float(np.mean([relative_error(forward(i), target(i), skip).item() for i in range(min(windows, _MEASURED))]))

    first = [{name: array.copy() for name, array in matrix.state().items()} for matrix in matrices]
    before = measure()
    adam = optimizer(matrices, rates)
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(windows) for _ in range(epochs)]) if epochs else np.empty(0, int)
    for step, window in enumerate(order.tolist()):
        anneal(adam, step, len(order))
        loss = relative_error(forward(window), target(window), skip)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        advance()
    after = measure()
    if not after < before:
        for matrix, state in zip(matrices, first):
            matrix.load(state)
        after = before
    return before, after
