"""Regenerates test/python/Inputs/genai: what onnxruntime-genai's model builder writes for tiny models, without the weights.

Needs the packages of requirements.txt beside this file. Each graph is the builder's model.onnx as ONNX text: its tensors are external,
in a file that the tests make (see genai_models.py). genai_config.json is kept as it is.

    python test/python/tools/genai_graphs.py [--keep DIR] [NAME]...
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from genai_models import GRAPHS, INPUTS, write_tokenizer  # noqa: E402
from tiny_models import random_weights, write_checkpoint  # noqa: E402

def build(name: str, folder: Path) -> Path:
    """Runs the builder on a checkpoint of pseudo-random weights; returns the folder of the model."""
    config, precision, options = GRAPHS[name]
    checkpoint, output = folder / "checkpoint", folder / "model"
    write_checkpoint(checkpoint, config, random_weights(config, seed=71))
    write_tokenizer(checkpoint)
    (checkpoint / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}')
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", checkpoint, "-o", output, "-p", precision, "-e", "cpu",
               "-c", folder / "cache"]
    if options:
        command += ["--extra_options", *options]
    subprocess.run(list(map(str, command)), check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL)
    return output


def strip(model: Path, target: Path) -> None:
    """Writes the graph as text, and the configuration beside it."""
    proto = onnx.load(model / "model.onnx", load_external_data=False)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                attribute.t.ClearField("name")  # which the parser does not read when it is quoted
    text = onnx.printer.to_text(proto)
    if onnx.printer.to_text(onnx.parser.parse_model(text)) != text:
        sys.exit(f"{model}: the text is not the model")
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnxtxt").write_text(text + "\n")
    shutil.copy(model / "genai_config.json", target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(GRAPHS)}; all by default")
    parser.add_argument("--keep", type=Path, help="leave the builder's whole output in this folder")
    arguments = parser.parse_args()
    for name in arguments.names or GRAPHS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep / name if arguments.keep else Path(temporary)
            strip(build(name, folder), INPUTS / name)


if __name__ == "__main__":
    main()
