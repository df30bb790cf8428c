"""Write an ONNX model of a Llama's shape with pseudo-random weights, for measurements where no real weights are to be had.

    llama_shape.py DIR [--shape llama-7b|llama-8b] [--layers N]

DIR gets model.onnx, its weights as f16 in external data (13.5 GB for llama-7b), a tokenizer of single bytes and a configuration, as the
exporter writes them. Weights are made and written one matrix at a time. They are normal numbers of the scale that keeps activations near
1; a matrix's rows are parts of one pool of such numbers, each from a place of its own. A DIR that holds this very model already is kept.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import zlib

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))
from elutq.export import Checkpoint, export_checkpoint  # noqa: E402
from elutq.export.families import family_of_model_type  # noqa: E402

_COMMON = {"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "head_dim": 128, "num_hidden_layers": 32,
           "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
           "tie_word_embeddings": False}
SHAPES = {
    "llama-7b": {**_COMMON, "intermediate_size": 11008, "num_key_value_heads": 32},  # LLaMA 2 7B
    "llama-8b": {**_COMMON, "intermediate_size": 14336, "num_key_value_heads": 8},  # as Llama 3 8B, with the vocabulary of LLaMA 2
}
_POOL = (1 << 22) + 13


def tensor_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The tensors of an untied Llama of this configuration, linear layers as [out, in]."""
    hidden, ffn, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    q, kv = (config[key] * config["head_dim"] for key in ("num_attention_heads", "num_key_value_heads"))
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = {"self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
                 "self_attn.o_proj": (hidden, q), "mlp.gate_proj": (ffn, hidden), "mlp.up_proj": (ffn, hidden),
                 "mlp.down_proj": (hidden, ffn), "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
        shapes.update({f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()})
    return shapes


class RandomCheckpoint(Checkpoint):
    """Pseudo-random weights that depend on a tensor's name and on nothing else."""

    def __init__(self, config: dict):
        self.family, self.config = family_of_model_type(config["model_type"]), config
        self._shapes = tensor_shapes(config)
        self._pool = np.random.default_rng(11).standard_normal(_POOL, dtype=np.float32)

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def rows(self, name: str, begin: int, end: int) -> np.ndarray:
        shape = self._shapes[name]
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        if len(shape) == 1:
            return rng.normal(1.0, 0.1, shape[0]).astype(np.float32)[begin:end]
        scale = np.float32(1.0 if "embed" in name else shape[1] ** -0.5)
        starts = rng.integers(0, _POOL - shape[1], shape[0])[begin:end]
        values = np.empty((end - begin, shape[1]), np.float32)
        for row, start in zip(values, starts):
            np.multiply(self._pool[start:start + shape[1]], scale, out=row)
        return values

    def write_side_files(self, directory: pathlib.Path) -> list[str]:
        texts = {"config.json": json.dumps(self.config, indent=1), "tokenizer.json": json.dumps(_byte_tokenizer())}
        for name, text in texts.items():
            (directory / name).write_text(text + "\n", encoding="utf-8")
        return list(texts)


def _byte_tokenizer() -> dict:
    """One token per byte; ids from 256 on have no text."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    return {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True}}


def write_model(directory: pathlib.Path, config: dict, progress=iter) -> None:
    """Writes the model unless it is there: the configuration is written beside it."""
    stored = directory / "config.json"
    if (directory / "model.onnx").exists() and stored.exists() and json.loads(stored.read_text(encoding="utf-8")) == config:
        return
    export_checkpoint(RandomCheckpoint(config), directory, dtype="f16", progress=progress)


def _show(layers):
    for layer in layers:
        print(f"\rllama_shape.py: layer {layer + 1} of {len(layers)}", end="", file=sys.stderr, flush=True)
        yield layer
    print(file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--layers", type=int)
    args = parser.parse_args()
    config = dict(SHAPES[args.shape])
    if args.layers is not None:
        if args.layers < 1:
            parser.error(f"--layers is {args.layers}, expected at least 1")
        config["num_hidden_layers"] = args.layers
    write_model(args.directory, config, _show)


if __name__ == "__main__":
    main()
