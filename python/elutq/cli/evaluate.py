"""`elutq evaluate`: measures how well a model predicts a text."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser(
        "evaluate", help="measure how well a model predicts a text",
        description="Perplexity of an ONNX model or a compiled library on windows of a text and, with --reference, KL divergence "
                    "from that model, top-1 agreement and ln(perplexity / reference's). docs/Accuracy.md tells how.")
    parser.add_argument("model", metavar="MODEL", help="a causal model: model.onnx, libNAME.so, NAME.weights, or their folder")
    parser.add_argument("--text", metavar="FILE", help="UTF-8 text, or .npy of token ids; default: the descriptions of ONNX's operators")
    parser.add_argument("--reference", metavar="MODEL", help="compare with this model, the float one")
    parser.add_argument("--reference-cache", metavar="DIR",
                        help="keep the reference's logits there, 2 bytes each, and read them where they are there already")
    parser.add_argument("--windows", type=int, default=16, metavar="N", help="the first N windows of the text (default 16)")
    parser.add_argument("--window", type=int, default=1024, metavar="TOKENS", help="tokens of a window, with BOS (default 1024)")
    parser.add_argument("--bos", choices=("auto", "always", "never"), default="auto",
                          help="begin windows with the BOS token: auto (default): where the tokenizer's template does")
    parser.add_argument("--tokenizer", metavar="PATH", help="tokenizer.json or its folder; default: the compiled model's own, else "
                                                            "beside MODEL, else beside the reference")
    parser.add_argument("--path", choices=("decode", "prefill"), default="decode",
                          help="how compiled models read the text: by their decode entry (default), or by the slower prefill")
    parser.add_argument("--json", metavar="FILE", help="write the result there, too")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    from ..evaluation import evaluate

    # Found now, not after minutes of computing.
    if arguments.json and not Path(arguments.json).resolve().parent.is_dir():
        raise FileNotFoundError(f"there is no folder for '{arguments.json}'")
    result = evaluate(arguments.model, text=Path(arguments.text) if arguments.text else None, reference=arguments.reference,
                      windows=arguments.windows, window=arguments.window, bos=arguments.bos, tokenizer=arguments.tokenizer,
                      path=arguments.path, threads=arguments.threads, reference_cache=arguments.reference_cache,
                      progress=not arguments.quiet)
    print(result)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result.to_json(), indent=2) + "\n", encoding="utf-8")
    return 0
