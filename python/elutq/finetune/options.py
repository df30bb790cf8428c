"""What a tuning depends on, besides the models and the calibration. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import FinetuneError

CODES = ("both", "blocks", "none")
PRECISIONS = ("auto", "f32", "bf16")


@dataclass(frozen=True)
class Options:
    """epochs          how often each block sees the calibration; 0 leaves the first step out
    steps           windows of the second step, end to end; 0 leaves it out
    minutes         time of the second step instead: `steps` is what fits, told when it begins
    codes           in which steps codes are tuned beside scales and zeros: "both", "blocks", "none"
    positions       of a window, whose predictions are compared with the float model's in the second step
    block_rates     of the first step, for scales and zeros and for codes' latent weights, by a group's mean scale
    rates           of the second step
    hidden_weight   of the relative error of the last block's output in the loss of the second step
    parts           narrow places that a block goes through; a transformer's layer has 2, behind attention and behind the MLP
    precision       of products and attention: "f32", "bf16", or "auto", bf16 where the processor multiplies it
    recompute       compute activations again in the second step's backward pass: a block's are in memory at a time
    seed            of the order of windows, and of positions
    """

    epochs: int = 1
    steps: int = 300
    minutes: float | None = None
    codes: str = "none"
    positions: int = 256
    block_rates: tuple[float, float] = (3e-3, 3e-3)
    rates: tuple[float, float] = (1.5e-3, 1e-3)
    hidden_weight: float = 1.0
    parts: int = 2
    precision: str = "auto"
    recompute: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("steps", 0), ("positions", 1), ("parts", 1), ("hidden_weight", 0), ("seed", 0)):
            if not getattr(self, name) >= least:
                raise FinetuneError(f"expected {name} to be at least {least}, but got {getattr(self, name)}")
        if self.minutes is not None and not self.minutes > 0:
            raise FinetuneError(f"expected minutes to be more than 0, but got {self.minutes}")
        for name, known in (("codes", CODES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise FinetuneError(f"unknown {name} '{getattr(self, name)}', expected {', '.join(known)}")
        for name in ("block_rates", "rates"):
            if not all(rate >= 0 for rate in getattr(self, name)):
                raise FinetuneError(f"expected {name} to be at least 0, but got {getattr(self, name)}")
