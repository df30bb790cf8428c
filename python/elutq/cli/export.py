"""`elutq export`: writes a GGUF file or a Hugging Face directory as ONNX."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser("export", help="write a GGUF file or Hugging Face directory as ONNX",
                                   description="Write a language model as ONNX (opset 23, standard operators).")
    parser.add_argument("source", metavar="MODEL", help="a GGUF file, or a directory with config.json and safetensors")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="where model.onnx and its files go")
    parser.add_argument("--dtype", choices=("f32", "f16"), default="f32", help="how float matrices are stored (default f32)")
    parser.add_argument("--quantized", choices=("keep", "float"),
                        help="matrices that MODEL has quantized: keep their bits, without loss, or make them floats (default: keep those of GPTQ, "
                             "AWQ and EfficientQAT, float for GGUF)")
    parser.add_argument("--max-layers", type=int, metavar="N", help="keep only the first N layers, for experiments")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..export import export_model

    def progress(layers: Any) -> Any:
        return tqdm(layers, desc="layers", disable=arguments.quiet or not sys.stderr.isatty())

    spec = export_model(arguments.source, arguments.output, dtype=arguments.dtype, quantized=arguments.quantized,
                        max_layers=arguments.max_layers, progress=progress)
    if not arguments.quiet:
        print(f"{Path(arguments.output) / 'model.onnx'}: {spec.num_layers} layers, hidden size {spec.hidden_size}, "
              f"vocabulary {spec.vocab_size}")
    return 0
