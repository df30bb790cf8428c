"""`elutq quantize`: fits HLQ weights to a calibration text."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import QuantizeError
from .calibration import add_calibration, read_calibration
from .progress import bar


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser(
        "quantize", help="write an ONNX model with 1- to 4-bit weights, fitted to a calibration text",
        description="Write an ONNX model whose linear layers have HLQ weights, fitted to the activations that a calibration text leads "
                    "to. The result runs in ONNX Runtime and compiles with elutq compile. After an interruption, the same command goes "
                    "on from where it was.")
    parser.add_argument("model", metavar="MODEL", help="model.onnx; any model with linear layers")
    parser.add_argument("-o", "--output", metavar="FILE", help="the model to write; tensors go to FILE.data beside it")
    parser.add_argument("--bits", type=int, default=4, help="of linear layers, 1 to 4 or 8 (default 4)")
    targets = parser.add_mutually_exclusive_group()
    targets.add_argument("--target-bpw", type=float, metavar="X",
                         help="choose bits and group for every linear layer, X bits per weight on average with scales, zeros and padding, "
                              "by what the model's outputs lose; --bits then counts for nothing else than the defaults of --embedding "
                              "and --head")
    targets.add_argument("--target-size", metavar="SIZE",
                         help="likewise, so that all constants of the written model, FILE.data with embedding, head and what stays float, "
                              "have at most SIZE: bytes, or a number with KB, MB, GB, KiB, MiB or GiB; embedding and head are chosen for, "
                              "too, unless --embedding and --head name their bits")
    parser.add_argument("--group", type=int, metavar="N",
                        help="weights with common parameters: 16, 32, 64, 128, 256, or 0 for a row (default 128; with a target: 32 to 256, "
                             "chosen for each matrix)")
    parser.add_argument("--embedding", type=int, metavar="BITS", help="of the embedding, 0: float (default: the larger of 4 and --bits)")
    parser.add_argument("--head", type=int, metavar="BITS", help="of the output projection, likewise")
    parser.add_argument("--exclude", default="", metavar="REGEX", help="matrices whose node's name this matches stay float")
    add_calibration(parser, "the model")
    parser.add_argument("--seed", type=int, default=0, help="of --calibration random (default 0)")
    parser.add_argument("--damping", type=float, default=0.01, metavar="X",
                          help="added to the diagonal of the second moments, as a share of its mean (default 0.01)")
    parser.add_argument("--correction", type=float, default=0.5, metavar="X",
                          help="share of the difference between the float and the quantized model's activations that the weights of "
                               "each layer make good (default 0.5); 0 takes half the time")
    parser.add_argument("--method", choices=("hlq", "uniform", "published", "loop", "weighted", "gptq", "rtn"), default="hlq",
                        help="hlq (default), or one to compare with: uniform (one scale per group), gptq and rtn (the same, on the grid "
                             "from min to max), published (arXiv 2510.19482), loop and weighted (what comes between it and hlq)")
    parser.add_argument("--params", choices=("hlq", "compact"), default="hlq",
                        help="what groups of 1 to 4 bits store: an f16 scale for each plane and an f16 zero (hlq, default), or one f16 scale, "
                             "8-bit ratios and an 8-bit zero (compact)")
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="at most, of refinement (default 8)")
    parser.add_argument("--table-group", type=int, metavar="N",
                        help="as --group, of the embedding, and of a head that is tied to it (default: as --group); with 64 in place of "
                             "128, 4 bits of Gemma 3 270M's lose 40 %% less, as KL")
    parser.add_argument("--tied", type=float, default=0.5, metavar="X",
                        help="how much a matrix that is embedding and head counts as embedding (default 0.5); inf: fit it by its "
                             "values alone")
    parser.add_argument("--work", metavar="DIR", help="where unfinished work is kept (default: FILE.work)")
    parser.add_argument("--report", metavar="FILE", help="loss and size of each matrix: FILE.html with a picture, else JSON")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, with time and memory, and end")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    parser.add_argument("--engine", choices=("local", "dask"), default="local",
                        help="where matrices are solved: in this process (default), or as tasks of a Dask cluster, with the same bits; "
                             "needs the package distributed")
    parser.add_argument("--scheduler", metavar="ADDRESS",
                        help="of --engine dask: the cluster's scheduler, such as tcp://host:8786; by default worker processes are started "
                             "on this machine")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="of --engine dask: processes to start (default: one per core)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    from ..quantization import Options, choose_once, estimate, open_engine, parse_size, quantize
    from ..quantization.choose import CHOICE_SAMPLES, GROUPS
    from ..quantization.sizes import format_size

    size = None if arguments.target_size is None else parse_size(arguments.target_size)
    say = (lambda text: None) if arguments.quiet else (lambda text: print(text, file=sys.stderr))
    calibration = read_calibration(arguments, arguments.model)
    say(f"calibration: {calibration.count} samples of {calibration.name}")
    if calibration.tokens is not None and len(calibration.tokens) < arguments.windows:
        say(f"calibration: the text has no more than these, {arguments.windows} were asked for")
    options = Options(**{name: getattr(arguments, name) for name in (
        "bits", "embedding", "head", "exclude", "method", "params", "damping", "correction", "rounds", "tied", "table_group")})
    if arguments.group is not None:
        options = replace(options, group=arguments.group)
    if arguments.dry_run:
        print(estimate(arguments.model, options, calibration))
        return 0
    if arguments.output is None:
        raise QuantizeError("no output, name one with -o")
    # Found now, not after minutes of computing.
    if arguments.report and not Path(arguments.report).resolve().parent.is_dir():
        raise QuantizeError(f"there is no folder for '{arguments.report}'")

    choices = []
    work = Path(arguments.work or f"{arguments.output}.work")
    if arguments.target_bpw is not None or size is not None:
        with bar("choose bits", arguments.quiet) as progress:
            choices = choose_once(work, arguments.model, calibration.shortened(*CHOICE_SAMPLES), options,
                                  bits_per_weight=arguments.target_bpw, size=size,
                                  groups=GROUPS if arguments.group is None else (arguments.group,), threads=arguments.threads,
                                  progress=progress)
        options = replace(options, plan={choice.name: (choice.chosen.bits, choice.chosen.group) for choice in choices})
    engine = open_engine(arguments.engine, threads=arguments.threads, scheduler=arguments.scheduler, workers=arguments.workers)
    with engine, bar("quantize", arguments.quiet) as progress:
        report = quantize(arguments.model, arguments.output, options, calibration=calibration, work=work,
                          threads=arguments.threads, engine=engine, progress=progress)
    report = replace(report, choices=choices)
    if arguments.report:
        text = report.as_html() if Path(arguments.report).suffix == ".html" else report.as_json()
        try:
            Path(arguments.report).write_text(text, encoding="utf-8")
        except OSError as error:
            raise QuantizeError(f"'{arguments.report}' cannot be written: {error.strerror}; the model itself is") from error
    say(f"{arguments.output}: {report.bits_per_weight:.3f} bits per weight, {format_size(report.storage.size)}")
    return 0
