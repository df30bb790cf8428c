"""`elutq finetune`: tunes a quantized model by its float model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .calibration import add_calibration, read_calibration
from .progress import bar


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser(
        "finetune", help="tune a quantized ONNX model by its float model",
        description="Tune scales, zeros and codes of a model that elutq quantize wrote: first each block by the float block's output, then "
                    "all together by the float model's predictions. Needs torch. The result has the same form. After an interruption, the "
                    "same command goes on from where it was. docs/Finetuning.md tells more.")
    parser.add_argument("model", metavar="MODEL", help="the quantized model.onnx")
    parser.add_argument("--reference", required=True, metavar="MODEL",
                        help="the float model that it was made from: model.onnx, or a GGUF file or Hugging Face directory, exported first")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the model to write; tensors go to FILE.data beside it")
    add_calibration(parser, "the reference")
    parser.add_argument("--epochs", type=int, default=1, metavar="N",
                        help="how often each block sees the calibration in the first step (default 1; 0: no first step)")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="windows of the second step (default 300; 0: no second step)")
    parser.add_argument("--minutes", type=float, metavar="X",
                        help="time for the second step instead of --steps: as many as fit by the time that the first ones take")
    parser.add_argument("--codes", choices=("none", "blocks", "both"), default="none",
                        help="in which steps codes are tuned, too: in none (default), in the first (blocks), or in both")
    parser.add_argument("--positions", type=int, default=256, metavar="N",
                        help="of a window, whose predictions are compared in the second step (default 256)")
    parser.add_argument("--precision", choices=("auto", "f32", "bf16"), default="auto",
                        help="of products: auto (default) is bf16 where the processor multiplies it")
    parser.add_argument("--recompute", action="store_true", help="less memory, a third more time in the second step")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto (default): a GPU if torch finds one")
    parser.add_argument("--seed", type=int, default=0, help="of the order of windows, and of positions (default 0)")
    parser.add_argument("--work", metavar="DIR", help="where unfinished work is kept (default: FILE.work)")
    parser.add_argument("--report", metavar="FILE", help="JSON: the loss of each block before and after, and of each step")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    from ..finetune import Options, finetune, open_reference, require_torch
    from ..quantization.workspace import remove_if_nothing_is_finished

    require_torch()
    for path in (arguments.output, arguments.report):
        if path and not Path(path).resolve().parent.is_dir():
            raise FileNotFoundError(f"there is no folder for '{path}'")
    work = Path(arguments.work or f"{arguments.output}.work")
    with remove_if_nothing_is_finished(work):
        reference = open_reference(arguments.reference, work)
        calibration = read_calibration(arguments, reference)
        if not arguments.quiet:
            print(f"calibration: {calibration.count} samples of {calibration.name}", file=sys.stderr)
        options = Options(**{name: getattr(arguments, name) for name in (
            "epochs", "steps", "minutes", "codes", "positions", "precision", "recompute", "seed")})
        with bar("finetune", arguments.quiet) as progress:
            report = finetune(arguments.model, reference, arguments.output, options, calibration=calibration, work=work,
                              threads=arguments.threads, device=arguments.device, progress=progress)
    if arguments.report:
        Path(arguments.report).write_text(report.as_json(), encoding="utf-8")
    if not arguments.quiet:
        print(report, file=sys.stderr)
    return 0
