"""The command line: `elutq export | quantize | finetune | compile | run | evaluate`, one module for each."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import Sequence

from .. import __version__
from ..errors import ElutqError
from . import compile, evaluate, export, finetune, quantize, run

# In the order in which --help lists them.
COMMANDS = (export, quantize, finetune, compile, run, evaluate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="elutq", description="Compile ONNX language models to CPU binaries.")
    parser.add_argument("--version", action="version", version=f"elutq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _exit_on_termination() -> None:
    """Makes SIGTERM an exception, so that what is half done is cleared away."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status. Errors of the user's making are one line on stderr."""
    parser = _parser()
    parsed, options = parser.parse_known_args(arguments)
    if options and parsed.command != "compile":
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    parsed.options = options
    _exit_on_termination()
    try:
        return parsed.function(parsed)
    except (ElutqError, OSError) as error:
        print("elutq: error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
