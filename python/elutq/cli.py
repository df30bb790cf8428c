"""The command line: `elutq export | compile | run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Sequence

from . import __version__
from .errors import ElutqError


def _export(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .export import export_model

    def progress(layers: Any) -> Any:
        return tqdm(layers, desc="layers", disable=arguments.quiet or not sys.stderr.isatty())

    spec = export_model(arguments.source, arguments.output, dtype=arguments.dtype, max_layers=arguments.max_layers,
                        progress=progress)
    if not arguments.quiet:
        print(f"{Path(arguments.output) / 'model.onnx'}: {spec.num_layers} layers, hidden size {spec.hidden_size}, "
              f"vocabulary {spec.vocab_size}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="elutq", description="Compile ONNX language models to CPU binaries.")
    parser.add_argument("--version", action="version", version=f"elutq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write a GGUF file or Hugging Face directory as ONNX",
                                 description="Write a language model as ONNX (opset 23, standard operators).")
    export.add_argument("source", metavar="MODEL", help="a GGUF file, or a directory with config.json and safetensors")
    export.add_argument("-o", "--output", required=True, metavar="DIR", help="where model.onnx and its files go")
    export.add_argument("--dtype", choices=("f32", "f16"), default="f32", help="how matrices are stored (default f32)")
    export.add_argument("--max-layers", type=int, metavar="N", help="keep only the first N layers, for experiments")
    export.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    export.set_defaults(function=_export)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status. Errors of the user's making are one line on stderr."""
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.function(parsed)
    except (ElutqError, OSError) as error:
        print("elutq: error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
