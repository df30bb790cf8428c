"""The options that say which inputs a model is calibrated on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..quantization import Calibration


def add_calibration(parser: argparse.ArgumentParser, model: str) -> None:
    """Adds them; `model` is what help calls the model that the inputs are for."""
    parser.add_argument("--calibration", metavar="SOURCE",
                        help="a UTF-8 text; TOKENS.npy, ids [windows, tokens]; INPUTS.npz, an array for each input of the graph, for "
                             "models that are no language models; or 'random', tokens drawn evenly. Default: a text that NumPy ships, "
                             "poorer than one of the kind that the model is for")
    parser.add_argument("--windows", type=int, default=64, metavar="N", help="samples of the calibration (default 64)")
    parser.add_argument("--window", type=int, default=1024, metavar="N", help="tokens of each (default 1024)")
    parser.add_argument("--bos", choices=("auto", "always", "never"), default="auto",
                        help="begin windows with what the tokenizer puts before a text (auto), with BOS, or with nothing")
    parser.add_argument("--tokenizer", metavar="PATH", help=f"tokenizer.json or its folder (default: beside {model})")


def read_calibration(arguments: argparse.Namespace, model: str) -> Calibration:
    """The inputs that the options name, for the model at this path; the parser has a `--seed` of its own."""
    from ..quantization import open_calibration

    return open_calibration(model, arguments.calibration, windows=arguments.windows, window=arguments.window, bos=arguments.bos,
                            tokenizer=arguments.tokenizer, seed=arguments.seed)
