"""The two steps of a tuning, block after block and then all together, with what is finished on the disk.

In memory at a time are one block's weights and one window in the first step, all of the model in the second; activations of all windows
lie on the disk.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..errors import FinetuneError
from ..feeds import graph_inputs
from ..hlq_onnx import PARTS, HLQMatrix
from ..quantization import Calibration
from ..quantization.workspace import Activations, Workspace
from .blocks import Block
from .blockwise import Rates, tune_block
from .end_to_end import EndToEnd
from .memory import keep_freed_memory
from .models import Constants, ModelPair, as_tensor
from .options import Options
from .report import BlockRow, Report, StepRow

Progress = Callable[[float, float], None]
# Steps of the second kind between checkpoints.
_CHECKPOINT = 20
# What a backward pass costs by its forward pass.
_BACKWARD = 2


class Finetuner:
    """One run: `run` and then `write`. Whatever interrupts it, another one of the same arguments goes on from there."""

    def __init__(self, quantized: Path, reference: Path, options: Options, calibration: Calibration,
                 work: Path, threads: int = 0, device: str = "auto"):
        if threads:
            torch.set_num_threads(threads)
        self.options, self.calibration = options, calibration
        self.device = _device(device)
        self.precision = _precision(options.precision, self.device)
        self.pair = ModelPair(quantized, reference, parts=options.parts, precision=self.precision, device=self.device)
        self.workspace = Workspace(work, self._identity())
        self.inputs = graph_inputs(self.pair.interpreter.graph.inputs.values())
        self.skip = _common_prefix(calibration)
        self._streams = {"float": self.pair.float_constants(), "quantized": self.pair.quantized_constants()}

    def run(self, progress: Progress) -> Report:
        """Tunes; returns what became of blocks and steps."""
        keep_freed_memory()
        work = _Work(self, progress)
        blocks = [self._block(index, block, work) for index, block in enumerate(self.pair.blocks)]
        steps, seconds = self._end_to_end(work)
        return Report(str(self.pair.quantized.path), str(self.pair.reference.path), self.options, self.calibration,
                      str(self.precision).removeprefix("torch."), blocks, steps, sum(row.seconds for row in blocks) + seconds)

    def write(self, output: Path) -> None:
        """Writes the quantized model with its tuned matrices to `output` and `output`.data, and removes the folder of the work."""
        self.workspace.write_output(self.pair.quantized, ((name, matrix.matrix()) for name, matrix in self.pair.tuned.items()), output)

    def feeds(self, window: int) -> dict[str, Tensor]:
        return {name: as_tensor(array).to(self.device) for name, array in self.calibration.feeds(self.inputs, window).items()}

    def _identity(self) -> dict[str, Any]:
        return {"version": __version__, "quantized": self.pair.quantized.tensors.identity(), "reference": self.pair.reference.identity(),
                "options": asdict(self.options), "calibration": self.calibration.digest(), "precision": str(self.precision),
                "device": self.device.type}

    # The first step.

    def _block(self, index: int, block: Block, work: _Work) -> BlockRow:
        name = f"block-{index}"
        result = self.workspace.load(name)
        if result is None:
            result = self._tune(index, block, work)
            self.workspace.save(name, result)
        else:
            work.done(work.of_block(block))
        # What was rounded is what later blocks see.
        self.pair.tune(block, False, {matrix: self._read(matrix, result, position) for position, matrix in enumerate(block.matrices)})
        before, after, seconds = result["measures"].tolist()
        return BlockRow(block.output, block.matrices, before, after, seconds)

    def _read(self, name: str, result: dict[str, np.ndarray], position: int) -> HLQMatrix:
        slot = self.pair.quantized.slots[name]
        return HLQMatrix(*(result[f"{position}.{part}"] for part in PARTS), slot.bits, slot.k, slot.group_size)

    def _tune(self, index: int, block: Block, work: _Work) -> dict[str, np.ndarray]:
        options, began = self.options, time.monotonic()
        given, wanted = self._at("quantized", index), self._at("float", index + 1)
        assert wanted is not None
        matrices = self.pair.tune(block, options.codes != "none")
        constants = self.pair.quantized_constants()

        def forward(window: int) -> Tensor:
            return self._forward(block, given, window, constants)

        measures = tune_block(matrices, forward, lambda window: self._load(wanted, window), self.calibration.count, self.skip,
                              options.epochs, Rates(*options.block_rates), options.seed + index, lambda: work.done(work.step(block)))
        parts = {f"{position}.{part}": getattr(matrix.matrix(), part) for position, matrix in enumerate(matrices) for part in PARTS}
        if not all(np.isfinite(array).all() for array in parts.values()) or not np.isfinite(measures).all():
            raise FinetuneError(f"tuning of the block that ends with '{block.output}' gave values that are not finite; choose lower rates")
        return {**parts, "measures": np.array([*measures, time.monotonic() - began])}

    def _forward(self, block: Block, given: Activations | None, window: int, constants: Constants) -> Tensor:
        known = self.feeds(window)
        if block.input is not None:
            assert given is not None
            known[block.input] = self._load(given, window)
        return self.pair.interpreter.run([block.output], known, constants)[0]

    def _load(self, activations: Activations, window: int) -> Tensor:
        (array,) = activations.window(window).values()
        return as_tensor(array).to(self.device)

    def _at(self, kind: str, index: int) -> Activations | None:
        """The outputs of block `index - 1` for every window, with float or with tuned weights; those before are removed."""
        if index == 0:
            return None
        name = f"{kind}-{index}"
        found = self.workspace.activations(name)
        if found is None:
            before = self._at(kind, index - 1)
            self.workspace.save_activations(name, self._advance(kind, index - 1, before), self.calibration.count)
            found = self.workspace.activations(name)
        self.workspace.remove(f"{kind}-{index - 1}")
        return found

    def _advance(self, kind: str, index: int, given: Activations | None) -> Iterator[dict[str, np.ndarray]]:
        block, constants = self.pair.blocks[index], self._streams[kind]
        with torch.no_grad():
            for window in range(self.calibration.count):
                value = self._forward(block, given, window, constants).cpu().numpy()
                if not np.isfinite(value).all():
                    raise FinetuneError(f"the activations '{block.output}' hold values that are not finite")
                yield {block.output: value}
        constants.clear()

    # The second step.

    def _end_to_end(self, work: _Work) -> tuple[list[StepRow], float]:
        options = self.options
        if not options.steps and options.minutes is None:
            return [], 0.0
        target = self._at("float", len(self.pair.blocks))
        for block in self.pair.blocks:
            start = {name: self.pair.tuned[name].matrix() for name in block.matrices}
            self.pair.tune(block, options.codes == "both", start)

        def tuner(steps: int) -> EndToEnd:
            return EndToEnd(self.pair, self.feeds, lambda window: self._load(target, window), windows=self.calibration.count,
                            skip=self.skip, steps=steps, positions=options.positions, hidden_weight=options.hidden_weight,
                            rates=Rates(*options.rates), seed=options.seed, recompute=options.recompute)

        steps = self._number_of_steps(tuner)
        work.set_steps(steps)
        tuning = tuner(steps)
        rows, spent = self._resume(tuning)
        work.done(work.end_to_end_step() * len(rows))
        began = time.monotonic()
        for step in range(len(rows), steps):
            measured = tuning.step(step)
            if not np.isfinite(measured.hidden):
                raise FinetuneError(f"the loss of step {step} is not finite; choose lower rates")
            rows.append(StepRow(step, measured.kl, measured.hidden))
            work.done(work.end_to_end_step())
            if (step + 1) % _CHECKPOINT == 0 or step + 1 == steps:
                self._save(tuning, rows, spent + time.monotonic() - began)
        return rows, spent + time.monotonic() - began

    def _number_of_steps(self, tuner: Callable[[int], EndToEnd]) -> int:
        """As asked for; or what fits into the time, decided once."""
        if self.options.minutes is None:
            return self.options.steps
        found = self.workspace.load("steps")
        if found is None:
            tuning = tuner(1)
            began = time.monotonic()
            for _ in range(2):
                tuning.loss(*tuning.draw(0))[0].backward()
            found = {"steps": np.array(max(1, int(self.options.minutes * 60 / ((time.monotonic() - began) / 2))))}
            self.workspace.save("steps", found)
        return int(found["steps"])

    def _save(self, tuning: EndToEnd, rows: list[StepRow], seconds: float) -> None:
        curve = np.array([[np.nan if row.kl is None else row.kl, row.hidden] for row in rows])
        self.workspace.save(f"step-{len(rows)}", {**tuning.state(), "curve": curve, "seconds": np.array(seconds)})
        for count in self._saved():
            if count != len(rows):
                (self.workspace.folder / f"step-{count}.npz").unlink()

    def _saved(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("step-")) for path in self.workspace.folder.glob("step-*.npz"))

    def _resume(self, tuning: EndToEnd) -> tuple[list[StepRow], float]:
        saved = self._saved()
        arrays = self.workspace.load(f"step-{saved[-1]}") if saved else None
        if arrays is None:
            return [], 0.0
        tuning.load(arrays)
        rows = [StepRow(step, None if np.isnan(kl) else float(kl), float(hidden)) for step, (kl, hidden) in enumerate(arrays["curve"])]
        return rows, float(arrays["seconds"])


class _Work:
    """How much is done, in weights times windows of a forward pass, about."""

    def __init__(self, tuner: Finetuner, progress: Progress):
        self._tuner, self._progress = tuner, progress
        self._sizes = {block.output: sum(tuner.pair.quantized.slots[name].n * tuner.pair.quantized.slots[name].k
                                         for name in block.matrices) for block in tuner.pair.blocks}
        self._blocks = sum(map(self.of_block, tuner.pair.blocks))
        self._done, self._steps = 0.0, 0
        self.set_steps(tuner.options.steps)

    def set_steps(self, steps: int) -> None:
        self._steps = steps

    def step(self, block: Block) -> float:
        return self._sizes[block.output] * (1 + _BACKWARD)

    def of_block(self, block: Block) -> float:
        return self.step(block) * self._tuner.options.epochs * self._tuner.calibration.count

    def end_to_end_step(self) -> float:
        return sum(self._sizes.values()) * 2 * (1 + _BACKWARD)

    def done(self, amount: float) -> None:
        self._done += amount
        self._progress(self._done, self._blocks + self._steps * self.end_to_end_step())


def _common_prefix(calibration: Calibration) -> int:
    """How many tokens all windows begin with: BOS."""
    tokens = calibration.tokens
    if tokens is None or len(tokens) < 2:
        return 0
    differs = (tokens != tokens[0]).any(0)
    return int(differs.argmax()) if differs.any() else 0


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise FinetuneError("torch finds no CUDA device; choose --device cpu")
    return torch.device(name)


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        is_fast = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if is_fast else torch.float32
    return {"f32": torch.float32, "bf16": torch.bfloat16}[name]
