"""Tiny random checkpoints of each family, and a NumPy implementation of them that shares no code with the exporter.

The implementation follows the published description of each architecture, in float64, without a cache.
"""

import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

BASE = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 10, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 500.0,
    "hidden_act": "silu", "tie_word_embeddings": False,
}
CONFIGS = {
    "llama": {**BASE, "model_type": "llama"},
    "llama-linear": {**BASE, "model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.5}, "attention_bias": True,
                     "mlp_bias": True},
    "llama3": {**BASE, "model_type": "llama", "tie_word_embeddings": True, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}},
    "mistral": {**BASE, "model_type": "mistral", "sliding_window": 4},
    "qwen2": {**BASE, "model_type": "qwen2", "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
    "qwen2-global": {**BASE, "model_type": "qwen2", "use_sliding_window": False, "sliding_window": 3},
    "qwen3": {**BASE, "model_type": "qwen3", "num_key_value_heads": 1},
    "gemma3": {**BASE, "model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
               "sliding_window": 4, "sliding_window_pattern": 3, "query_pre_attn_scalar": 7, "rope_theta": 9000.0,
               "rope_local_base_freq": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    "gemma3-nested": {**BASE, "model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh",
                      "tie_word_embeddings": True, "sliding_window": 4, "query_pre_attn_scalar": 7,
                      "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                      # transformers does not read the latter.
                      "final_logit_softcapping": 2.0, "attn_logit_softcapping": 1.5, "rope_parameters": {
                          "full_attention": {"rope_type": "default", "rope_theta": 9000.0},
                          "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}},
}
TOKENS = [3, 60, 0, 17, 17, 5, 44, 9, 30, 31, 2]

# What transformers computes for TOKENS with random_weights of a seed; tools/transformers_logits.py makes the file.
LOGITS = Path(__file__).parent / "Inputs" / "transformers_logits.npz"
TRANSFORMERS_CONFIGS = ("llama3", "mistral", "qwen2", "qwen3", "gemma3-nested")
TRANSFORMERS_SEED = 5


def tensor_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """All tensors of a checkpoint of this configuration."""
    kind, hidden, wide = config["model_type"], config["hidden_size"], config["intermediate_size"]
    q, kv = (config[key] * config["head_dim"] for key in ("num_attention_heads", "num_key_value_heads"))
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        base = f"model.layers.{i}."
        linear = {"self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
                  "self_attn.o_proj": (hidden, q), "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden),
                  "mlp.down_proj": (hidden, wide)}
        biased = [name for name in linear
                  if (config.get("attention_bias") and "self_attn" in name) or (config.get("mlp_bias") and "mlp" in name)
                  or (kind == "qwen2" and "self_attn" in name and "o_proj" not in name)]
        norms = ["input_layernorm", "post_attention_layernorm"]
        if kind == "gemma3_text":
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        shapes |= {f"{base}{name}.weight": shape for name, shape in linear.items()}
        shapes |= {f"{base}{name}.bias": linear[name][:1] for name in biased}
        shapes |= {f"{base}{name}.weight": (hidden,) for name in norms}
        if kind in ("qwen3", "gemma3_text"):
            shapes |= {f"{base}self_attn.{name}_norm.weight": (config["head_dim"],) for name in "qk"}
    return shapes


def random_weights(config: dict, seed: int) -> dict[str, np.ndarray]:
    """f32 tensors, none symmetric about zero."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in tensor_shapes(config).items():
        values = rng.normal(0.05, 0.3, shape) + 0.1 * rng.random(shape) ** 3
        if name.endswith("norm.weight") and config["model_type"] != "gemma3_text":
            values = values + 1.0
        weights[name] = values.astype(np.float32)
    return weights


def write_checkpoint(directory: Path, config: dict, weights: dict[str, np.ndarray], shards: int = 1) -> None:
    """A Hugging Face directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(weights, directory / "model.safetensors")
        return
    weight_map, names = {}, sorted(weights)
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        save_file(part, directory / file)
        weight_map |= dict.fromkeys(part, file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


class Reference:
    """Computes logits of a whole text, position by position of the definition."""

    def __init__(self, config: dict, weights: dict[str, np.ndarray]):
        self.c = config
        self.w = {name: value.astype(np.float64) for name, value in weights.items()}
        self.gemma = config["model_type"] == "gemma3_text"

    def linear(self, x, name):
        y = np.einsum("sk,nk->sn", x, self.w[f"{name}.weight"])
        return y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y

    def rms(self, x, name):
        weight = self.w[f"{name}.weight"] + (1.0 if self.gemma else 0.0)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.c["rms_norm_eps"]) * weight

    def slides(self, i):
        c, kind = self.c, self.c["model_type"]
        if "layer_types" in c:
            return c["layer_types"][i] == "sliding_attention"
        if kind == "mistral":
            return True
        if kind == "qwen2":
            return c["use_sliding_window"] and i >= c["max_window_layers"]
        return self.gemma and (i + 1) % c["sliding_window_pattern"] != 0

    def frequency(self, i, pair):
        c = self.c
        nested = c.get("rope_parameters")
        if nested:
            theta = nested["sliding_attention" if self.slides(i) else "full_attention"]["rope_theta"]
        elif self.gemma and self.slides(i):
            theta = c["rope_local_base_freq"]
        else:
            theta = c["rope_theta"]
        f = 1.0 / theta ** (2 * pair / c["head_dim"])
        scaling = c.get("rope_scaling")
        if not scaling or (self.gemma and self.slides(i)):
            return f
        if scaling.get("type") == "linear" or scaling.get("rope_type") == "linear":
            return f / scaling["factor"]
        wavelength, original = 2 * math.pi / f, scaling["original_max_position_embeddings"]
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        if wavelength < original / high:
            return f
        if wavelength > original / low:
            return f / scaling["factor"]
        smooth = (original / wavelength - low) / (high - low)
        return (1 - smooth) * f / scaling["factor"] + smooth * f

    def rotate(self, x, position, i):
        half, result = self.c["head_dim"] // 2, x.copy()
        for pair in range(half):
            angle = position * self.frequency(i, pair)
            a, b = x[pair], x[pair + half]
            result[pair] = a * math.cos(angle) - b * math.sin(angle)
            result[pair + half] = b * math.cos(angle) + a * math.sin(angle)
        return result

    def attention(self, x, i):
        c, base = self.c, f"model.layers.{i}.self_attn."
        heads, groups, dim, length = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], len(x)
        q, k, v = (self.linear(x, f"{base}{name}_proj").reshape(length, -1, dim) for name in "qkv")
        if f"{base}q_norm.weight" in self.w:
            q, k = self.rms(q, f"{base}q_norm"), self.rms(k, f"{base}k_norm")
        for position in range(length):
            for states in (q, k):
                for head in range(states.shape[1]):
                    states[position, head] = self.rotate(states[position, head], position, i)
        scale = 1 / math.sqrt(c["query_pre_attn_scalar"] if self.gemma else dim)
        out = np.zeros((length, heads, dim))
        for position in range(length):
            first = max(0, position - c["sliding_window"] + 1) if self.slides(i) else 0
            for head in range(heads):
                group = head // (heads // groups)
                scores = np.array([q[position, head] @ k[j, group] * scale for j in range(first, position + 1)])
                p = np.exp(scores - scores.max())
                out[position, head] = (p / p.sum()) @ v[first:position + 1, group]
        return self.linear(out.reshape(length, -1), f"{base}o_proj")

    def mlp(self, x, i):
        base = f"model.layers.{i}.mlp."
        gate = self.linear(x, f"{base}gate_proj")
        if self.gemma:
            gate = 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
        else:
            gate = gate / (1 + np.exp(-gate))
        return self.linear(gate * self.linear(x, f"{base}up_proj"), f"{base}down_proj")

    def logits(self, tokens):
        """int [S] → float64 [S, vocabulary]"""
        c = self.c
        x = self.w["model.embed_tokens.weight"][tokens]
        if self.gemma:
            x = x * math.sqrt(c["hidden_size"])
        for i in range(c["num_hidden_layers"]):
            base = f"model.layers.{i}."
            y = self.attention(self.rms(x, f"{base}input_layernorm"), i)
            if self.gemma:
                x = x + self.rms(y, f"{base}post_attention_layernorm")
                y = self.mlp(self.rms(x, f"{base}pre_feedforward_layernorm"), i)
                x = x + self.rms(y, f"{base}post_feedforward_layernorm")
            else:
                x = x + y
                x = x + self.mlp(self.rms(x, f"{base}post_attention_layernorm"), i)
        head = self.w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"]
        y = self.rms(x, "model.norm") @ head.T
        cap = c.get("final_logit_softcapping")
        return np.tanh(y / cap) * cap if cap else y
