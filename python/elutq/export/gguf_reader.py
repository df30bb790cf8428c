"""GGUF files, seen as Hugging Face checkpoints: names, layouts, configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExportError
from . import gguf_tokenizer
from .checkpoint import Checkpoint
from .families import family_of_gguf
from .gguf_codes import read_codes
from .gguf_file import GGUFError, GGUFTensor, read_gguf
from .quantized import UniformMatrix

# Configuration keys that are spelt alike for all architectures: ours, GGUF's behind the architecture's name.
_CONFIG_KEYS = {
    "hidden_size": "embedding_length", "intermediate_size": "feed_forward_length", "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length", "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "max_position_embeddings": "context_length", "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
}
_REQUIRED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


class GGUFCheckpoint(Checkpoint):
    """A GGUF file. `rows` dequantizes to f32."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise ExportError(f"'{path}' does not exist")
        try:
            metadata, self._tensors = read_gguf(path)
        except GGUFError as error:
            raise ExportError(f"'{path}' is not a readable GGUF file: {error}") from error
        if metadata.get("split.count", 0) not in (0, 1):
            raise ExportError(f"'{path}' is one part of a split GGUF file; merge the parts first (llama-gguf-split --merge)")
        self.metadata = metadata
        self.family = family_of_gguf(metadata.get("general.architecture"))
        self.norms_are_folded = self.family.gguf_norm_offset_folded
        self._names = self._map_names()
        self.config = self._make_config()

    def _map_names(self) -> dict[str, str]:
        """Hugging Face's names of the tensors in the file, with GGUF's."""
        layers = self.metadata.get(f"{self.family.gguf_architecture}.block_count")
        if not isinstance(layers, int) or not 0 < layers < 2**16:
            raise ExportError(f"the GGUF metadata has {layers!r} layers, expected a number from 1 to 65535")
        names = {}
        for ours, theirs in self.family.gguf_tensors.items():
            for i in range(layers) if "{i}" in ours else (0,):
                if ours.format(i=i) in self._tensors:
                    names[theirs.format(i=i)] = ours.format(i=i)
        return names

    def _make_config(self) -> dict[str, Any]:
        metadata, architecture = self.metadata, self.family.gguf_architecture
        config: dict[str, Any] = {"model_type": self.family.model_types[0]}
        for key, theirs in _CONFIG_KEYS.items():
            if (value := metadata.get(f"{architecture}.{theirs}")) is not None:
                config[key] = value
            elif key in _REQUIRED:
                raise ExportError(f"the GGUF metadata lacks '{architecture}.{theirs}'")
        for key in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
            if isinstance(config.get(key), list):
                if len(set(config[key])) != 1:
                    raise ExportError(f"layers of different sizes ('{architecture}.{_CONFIG_KEYS[key]}') are not supported")
                config[key] = config[key][0]
        if "token_embd.weight" not in self._tensors:
            raise ExportError("the checkpoint lacks the tensor 'token_embd.weight'")
        config["vocab_size"] = self.shape("model.embed_tokens.weight")[0]
        config["tie_word_embeddings"] = "output.weight" not in self._tensors
        config["attention_bias"] = "blk.0.attn_q.bias" in self._tensors
        config["mlp_bias"] = "blk.0.ffn_up.bias" in self._tensors
        if (scaling := self._rope_scaling()) is not None:
            config["rope_scaling"] = scaling
        if metadata.get(f"{architecture}.attention.value_length", config.get("head_dim")) != config.get("head_dim"):
            raise ExportError("values and keys of different widths are not supported")
        try:
            config.update(self.family.gguf_config(metadata))
        except KeyError as error:
            raise ExportError(f"the GGUF metadata lacks {error}") from error
        except (TypeError, ZeroDivisionError) as error:
            raise ExportError(f"the GGUF metadata is damaged: {error}") from error
        config.update(gguf_tokenizer.special_ids(metadata))
        return config

    def _rope_scaling(self) -> dict[str, Any] | None:
        architecture = self.family.gguf_architecture
        dimensions = self.metadata.get(f"{architecture}.rope.dimension_count")
        width = self.metadata.get(f"{architecture}.attention.key_length")
        if dimensions is not None and width is not None and dimensions != width:
            raise ExportError(f"rotary embedding of {dimensions} of {width} elements is not supported")
        kind = self.metadata.get(f"{architecture}.rope.scaling.type", "none")
        if "rope_freqs.weight" in self._tensors:
            factors = self._tensors["rope_freqs.weight"]
            return {"rope_type": "factors", "factors": _dequantize(factors, 0, factors.shape[0]).tolist()}
        if kind == "none":
            return None
        return {"rope_type": kind, "factor": self.metadata.get(f"{architecture}.rope.scaling.factor")}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[self._names[name]].shape

    def rows(self, name: str, begin: int, end: int) -> np.ndarray:
        tensor, order = self._tensors[self._names[name]], self._row_order(name)
        if order is None:
            return _dequantize(tensor, begin, end)
        return np.ascontiguousarray(_dequantize(tensor, 0, tensor.shape[0])[order[begin:end]])

    def quantized(self, name: str) -> UniformMatrix | None:
        matrix, order = read_codes(self._tensors[self._names[name]]), self._row_order(name)
        return matrix if matrix is None or order is None else matrix.rows(order)

    def _row_order(self, name: str) -> np.ndarray | None:
        """GGUF's row of each row, where they differ: it has (head, pair, half) where Hugging Face has (head, half, pair)."""
        rotated = ".q_proj." in name or ".k_proj." in name
        if not (rotated and self.family.gguf_interleaved_rope):
            return None
        heads = self.config["num_attention_heads"]
        if ".k_proj." in name:
            heads = self.config.get("num_key_value_heads", heads)
        count = self.shape(name)[0]
        if count % (2 * heads):
            raise ExportError(f"the tensor '{name}' has {count} rows, expected a multiple of {2 * heads}")
        return np.arange(count).reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)

    def write_side_files(self, directory: Path) -> list[str]:
        names = ["config.json"]
        config = dict(self.config)
        if config.get("rope_scaling", {}).get("rope_type") == "factors":
            del config["rope_scaling"]  # no such kind in Hugging Face's words; the frequencies are in the graph
        config["architectures"] = [_architecture_class(config["model_type"])]
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        tokenizer = gguf_tokenizer.tokenizer_json(self.metadata)
        if tokenizer is not None:
            text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
            (directory / "tokenizer.json").write_text(text, encoding="utf-8")
            names.append("tokenizer.json")
        template = self.metadata.get("tokenizer.chat_template")
        if isinstance(template, str) and template:
            (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
            names.append("chat_template.jinja")
        return names


def _architecture_class(model_type: str) -> str:
    return {"gemma3_text": "Gemma3ForCausalLM"}.get(model_type, model_type.capitalize() + "ForCausalLM")


def _dequantize(tensor: GGUFTensor, begin: int, end: int) -> np.ndarray:
    """Elements [begin, end) of the first axis as f32 [end - begin, ...]."""
    try:
        return tensor.dequantize(begin, end)
    except NotImplementedError as error:
        raise ExportError(f"the tensor '{tensor.name}' is of the type {tensor.type.name}, which cannot be read") from error
