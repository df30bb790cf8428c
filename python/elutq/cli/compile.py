"""`elutq compile`: runs elutq-compile."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser("compile", help="compile an ONNX model (runs elutq-compile)",
                                   description="Compile an ONNX model. Options not listed here go to elutq-compile, whose "
                                               "--help lists them: elutq compile MODEL --emit=lib -o DIR/NAME")
    parser.add_argument("model", metavar="MODEL", help="model.onnx")
    parser.add_argument("-o", "--output", metavar="FILE", help="what to write")
    parser.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    from ..compiler import run_compiler

    output = ["-o", arguments.output] if arguments.output else []
    status = run_compiler([arguments.model, *output, *arguments.options])
    return status if status >= 0 else 128 - status
