"""What a tuning did, as JSON. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..quantization import Calibration
from .options import Options


@dataclass(frozen=True)
class BlockRow:
    """The relative error of a block's output before and after the first step, on the first windows of the calibration."""

    output: str
    matrices: tuple[str, ...]
    before: float
    after: float
    seconds: float


@dataclass(frozen=True)
class StepRow:
    """A step of the second kind: its KL divergence in nats, and the relative error of the last block's output."""

    step: int
    kl: float | None
    hidden: float


@dataclass(frozen=True)
class Report:
    quantized: str
    reference: str
    options: Options
    calibration: Calibration
    precision: str
    blocks: list[BlockRow]
    steps: list[StepRow]
    seconds: float
    """Of tuning, over all runs that contributed."""

    def as_json(self) -> str:
        return json.dumps({
            "quantized": self.quantized, "reference": self.reference, "options": asdict(self.options),
            "calibration": {"source": self.calibration.name, "samples": self.calibration.count}, "precision": self.precision,
            "seconds": self.seconds, "blocks": [asdict(row) for row in self.blocks],
            "steps": [asdict(row) for row in self.steps]}, indent=1) + "\n"

    def __str__(self) -> str:
        lines = [f"{self.precision} products, {self.seconds:.0f} s"]
        if self.blocks:
            lines.append("relative error of blocks' outputs: " + ", ".join(f"{row.before:.3g} -> {row.after:.3g}" for row in self.blocks))
        if self.steps:
            tenth = max(1, len(self.steps) // 10)
            first, last = self.steps[:tenth], self.steps[-tenth:]
            what = "hidden" if self.steps[0].kl is None else "kl"
            ends = (sum(getattr(row, what) for row in rows) / tenth for rows in (first, last))
            lines.append(f"{'relative error' if what == 'hidden' else 'KL'} of the first and the last {tenth} steps: "
                         + " -> ".join(f"{value:.3g}" for value in ends))
        return "\n".join(lines)
