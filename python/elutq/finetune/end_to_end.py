"""Tunes all blocks together: the quantized model's predictions are brought near to the float model's.

The loss of a window is the KL divergence from the float model's predictions at some of its positions, drawn anew in each step, and the
relative error of the last block's output at all of them. The float model's share is its last block's output, which is kept from the tuning of
blocks, and the product with its head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .blockwise import Rates, anneal, optimizer, relative_error
from .models import ModelPair


@dataclass(frozen=True)
class Loss:
    """Of one step, in nats: `kl`, None for models without logits; `hidden` is the relative error of the last block's output."""

    kl: float | None
    hidden: float


class EndToEnd:
    """`step(i)` is the i-th of `steps`; `state` and `load` are all that a later step depends on.

    feeds: the graph's inputs for a window. target: the float model's output of the last block. positions: drawn per window for KL.
    recompute: activations within blocks are computed again in the backward pass, so that those of one block are in memory.
    """

    def __init__(self, pair: ModelPair, feeds: Callable[[int], dict[str, Tensor]], target: Callable[[int], Tensor], *, windows: int,
                 skip: int, steps: int, positions: int, hidden_weight: float, rates: Rates, seed: int, recompute: bool):
        self.pair, self.feeds, self.target, self.windows, self.skip, self.steps = pair, feeds, target, windows, skip, steps
        self.positions, self.hidden_weight, self.seed, self.recompute = positions, hidden_weight, seed, recompute
        self.matrices = [pair.tuned[name] for block in pair.blocks for name in block.matrices]
        self.adam = optimizer(self.matrices, rates)
        self._constants = pair.quantized_constants()
        self._last = pair.blocks[-1].output
        self._tails = [pair.quantized_constants(tail=True), pair.float_constants(tail=True)]
        graph = pair.interpreter.graph
        reads = {name for index in graph.ancestors([pair.output], [self._last]) for name in graph.reads(index)}
        self._is_positionwise = reads.isdisjoint(graph.inputs)
        self._has_logits = pair.output != self._last

    def step(self, step: int) -> Loss:
        """Changes the matrices."""
        anneal(self.adam, step, self.steps)
        self.adam.zero_grad(set_to_none=True)
        loss, measured = self.loss(*self.draw(step))
        loss.backward()
        self.adam.step()
        return measured

    def draw(self, step: int) -> tuple[int, np.ndarray]:
        """The window of a step, and the positions at which its predictions are compared."""
        epoch, place = divmod(step, self.windows)
        window = int(np.random.default_rng([self.seed, epoch]).permutation(self.windows)[place])
        length = self.target(window).shape[1] if self._has_logits else 1
        count = min(self.positions, length - self.skip)
        return window, self.skip + np.sort(np.random.default_rng([self.seed, epoch, place]).permutation(length - self.skip)[:count])

    def loss(self, window: int, positions: np.ndarray) -> tuple[Tensor, Loss]:
        feeds, target = self.feeds(window), self.target(window)
        hidden = self._hidden(feeds)
        error = relative_error(hidden, target, self.skip)
        if not self._has_logits:
            return error, Loss(None, error.item())
        chosen = torch.from_numpy(positions).to(self.pair.device)
        logits = self._logits(self._tails[0], hidden, chosen, feeds)
        with torch.no_grad():
            wanted = self._logits(self._tails[1], target, chosen, feeds)
        divergence = _Divergence.apply(logits, wanted)
        return divergence + self.hidden_weight * error, Loss(divergence.item(), error.item())

    def _hidden(self, feeds: dict[str, Tensor]) -> Tensor:
        hidden = None
        for block in self.pair.blocks:
            def forward(x: Tensor | None, block: Any = block) -> Tensor:
                known = feeds if x is None else {**feeds, block.input: x}
                return self.pair.interpreter.run([block.output], known, self._constants)[0]

            hidden = checkpoint(forward, hidden, use_reentrant=False) if self.recompute else forward(hidden)
        assert hidden is not None
        return hidden

    def _logits(self, constants: Callable[[str], Tensor], hidden: Tensor, positions: Tensor, feeds: dict[str, Tensor]) -> Tensor:
        """f32 [positions, vocabulary]"""
        if self._is_positionwise:
            return self.pair.interpreter.run([self.pair.output], {self._last: hidden[:, positions]}, constants)[0][0].float()
        return self.pair.interpreter.run([self.pair.output], {**feeds, self._last: hidden}, constants)[0][0, positions].float()

    def state(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for index, matrix in enumerate(self.matrices):
            for name, parameter in matrix.named_parameters():
                arrays[f"{index}.{name}"] = parameter.detach().cpu().numpy()
                for key, value in self.adam.state[parameter].items():
                    arrays[f"{index}.{name}.{key}"] = value.cpu().numpy()
        return arrays

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        for index, matrix in enumerate(self.matrices):
            matrix.load({name: arrays[f"{index}.{name}"] for name, _ in matrix.named_parameters()})
            for name, parameter in matrix.named_parameters():
                self.adam.state[parameter] = {
                    key: torch.from_numpy(arrays[f"{index}.{name}.{key}"]).to("cpu" if key == "step" else parameter.device)
                    for key in ("step", "exp_avg", "exp_avg_sq")}


class _Divergence(torch.autograd.Function):
    """Mean over rows of sum p (ln p - ln q), p = softmax(wanted), q = softmax(logits), f32 [rows, vocabulary]; `wanted` is
    overwritten."""

    @staticmethod
    def forward(context: Any, logits: Tensor, wanted: Tensor) -> Tensor:
        normalizers = logits.logsumexp(1), wanted.logsumexp(1)
        difference = torch.sub(wanted, logits)
        probabilities = wanted.sub_(normalizers[1][:, None]).exp_()
        divergence = torch.linalg.vecdot(probabilities, difference) - normalizers[1] + normalizers[0]
        # The gradient is q - p.
        context.save_for_backward(torch.sub(logits, normalizers[0][:, None], out=difference).exp_().sub_(probabilities))
        return divergence.mean()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (difference,) = context.saved_tensors
        return difference * (gradient / len(difference)), None
