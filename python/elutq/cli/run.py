"""`elutq run`: continues a text with a compiled model."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add(commands: Any) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser("run", help="continue a text with a compiled model",
                                   description="Continue a text with a model compiled by `elutq compile --emit=lib`.")
    parser.add_argument("model", metavar="MODEL", help="libNAME.so, NAME.weights beside it, or their folder")
    parser.add_argument("-p", "--prompt", required=True, help="the text to continue")
    parser.add_argument("-n", "--max-new-tokens", type=int, default=128, metavar="N", help="tokens to make (default 128)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    parser.add_argument("--temperature", type=float, help="0 (default): always the likeliest token")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest with this probability together")
    parser.add_argument("--min-p", type=float, help="leave out tokens less likely than this share of the likeliest")
    parser.add_argument("--repeat-penalty", type=float, help="make recent tokens less likely")
    parser.add_argument("--seed", type=int, help="same seed, same text")
    parser.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    from ..model import Model

    sampling = {name: value for name in ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
                if (value := getattr(arguments, name)) is not None}
    if sys.stdout is None:
        raise OSError("standard output is closed")
    with Model(arguments.model, threads=arguments.threads) as model:
        for piece in model.stream(arguments.prompt, arguments.max_new_tokens, **sampling):
            print(piece, end="", flush=True)
        print()
    return 0
