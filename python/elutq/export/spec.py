"""What a decoder-only transformer looks like: the facts that the graph is built from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from ..errors import ExportError


@dataclass(frozen=True)
class Rope:
    """One rotary embedding: `angle[p, i] = p * inv_freq[i]`."""

    name: str
    inv_freq: np.ndarray  # f32 [head_dim / 2]


@dataclass(frozen=True)
class DecoderSpec:
    """A pre-norm decoder with grouped-query attention, rotary positions and a gated feed-forward network."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_positions: int
    norm_epsilon: float
    attention_scale: float
    activation: str  # "silu" or "gelu_tanh"
    tied_head: bool
    ropes: tuple[Rope, ...]
    layer_ropes: tuple[int, ...]  # index into ropes, per layer
    layer_windows: tuple[int, ...]  # keys a query sees, itself included; 0: all before it
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    sandwich_norms: bool = False  # norms after attention and feed-forward, too
    norm_offset: float = 0.0  # added to every norm weight of the checkpoint
    embedding_scale: float = 1.0
    logit_softcap: float = 0.0


class Config:
    """Checked access to a Hugging Face style configuration. A missing key takes the family's default."""

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any]):
        self.values, self.defaults = values, defaults

    def get(self, key: str, default: Any = None) -> Any:
        value = self.values.get(key)
        if value is None:
            value = self.defaults.get(key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None, minimum: int = 1) -> int:
        value = self.get(key, default)
        if value is None:
            raise ExportError(f"the configuration lacks '{key}'")
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < 2**31:
            raise ExportError(f"the configuration's '{key}' is {value!r}, expected an integer of at least {minimum}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key, default)
        if value is None:
            raise ExportError(f"the configuration lacks '{key}'")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ExportError(f"the configuration's '{key}' is {value!r}, expected a number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise ExportError(f"the configuration's '{key}' is {value!r}, expected true or false")
        return value

    def section(self, key: str) -> Mapping[str, Any]:
        value = self.get(key, {})
        if not isinstance(value, Mapping):
            raise ExportError(f"the configuration's '{key}' is {value!r}, expected an object")
        return value


_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}


def activation_of(config: Config, *keys: str) -> str:
    """The first of `keys` that the configuration has, as the spec's name of an activation."""
    value = next((config.get(key) for key in keys if config.get(key) is not None), "silu")
    if value not in _ACTIVATIONS:
        raise ExportError(f"the activation {value!r} is not supported; supported are {', '.join(sorted(_ACTIVATIONS))}")
    return _ACTIVATIONS[value]


def inverse_frequencies(head_dim: int, theta: float, scaling: Mapping[str, Any]) -> np.ndarray:
    """`theta^(-2i / head_dim)`, changed as `scaling` says. Returns f32 [head_dim / 2].

    Rotary scaling of the kinds default, linear and llama3 only changes these numbers; factors [head_dim / 2] (GGUF's
    `rope_freqs`) divide them. Kinds that depend on the length of the text at run time are refused.
    """
    if theta <= 0:
        raise ExportError(f"the rotary base is {theta}, expected a positive number")
    inv_freq = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    values = Config(scaling, {})
    kind = values.get("rope_type", values.get("type", "default"))
    if kind == "linear":
        inv_freq /= _positive(values, "factor")
    elif kind == "llama3":
        factor, low, high = (_positive(values, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
        context = _positive(values, "original_max_position_embeddings")
        if high <= low:
            raise ExportError(f"the rotary scaling has high_freq_factor {high}, expected more than low_freq_factor {low}")
        # Wavelengths beyond context / low are stretched by factor, those below context / high kept, others blended.
        turns = context * inv_freq / (2 * np.pi)
        blend = np.clip((turns - low) / (high - low), 0.0, 1.0)
        inv_freq = (1 - blend) * inv_freq / factor + blend * inv_freq
    elif kind == "factors":
        factors = np.asarray(values.get("factors"), dtype=np.float64)
        if factors.shape != inv_freq.shape or not np.all(factors > 0):
            raise ExportError(f"the rotary factors have the shape {list(factors.shape)}, expected [{head_dim // 2}] above 0")
        inv_freq /= factors
    elif kind != "default":
        raise ExportError(f"rotary scaling of the kind {kind!r} is not supported; supported are default, linear and llama3")
    return inv_freq.astype(np.float32)


def _positive(values: Config, key: str) -> float:
    value = values.number(key)
    if value <= 0:
        raise ExportError(f"the rotary scaling's '{key}' is {value}, expected a positive number")
    return value


def rope_of(config: Config, head_dim: int, section: str | None = None) -> np.ndarray:
    """Inverse frequencies of a model with one rotary base, or of one `section` of transformers 5's nested
    rope_parameters. Returns f32 [head_dim / 2]."""
    parameters = config.section("rope_parameters")
    if section is not None:
        parameters = Config(parameters, {}).section(section)
    if parameters:
        theta = Config(parameters, config.defaults).number("rope_theta", 10000.0)
        return inverse_frequencies(head_dim, theta, parameters)
    return inverse_frequencies(head_dim, config.number("rope_theta", 10000.0), config.section("rope_scaling"))


def layer_kinds(config: Config, num_layers: int, default: Sequence[str]) -> list[str]:
    """`full_attention` or `sliding_attention` per layer, from `layer_types` or else `default`."""
    kinds = config.get("layer_types", list(default))
    if not isinstance(kinds, list) or len(kinds) != num_layers:
        raise ExportError(f"the configuration's 'layer_types' must list {num_layers} layers")
    for kind in kinds:
        if kind not in ("full_attention", "sliding_attention"):
            raise ExportError(f"layers of the type {kind!r} are not supported")
    return kinds


def base_spec(config: Config, **overrides: Any) -> DecoderSpec:
    """The spec as most families spell it in their configuration; `overrides` are the family's own facts."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    kv_heads = config.integer("num_key_value_heads", heads)
    head_dim = config.integer("head_dim", hidden // heads)
    layers = config.integer("num_hidden_layers")
    if heads % kv_heads:
        raise ExportError(f"num_attention_heads is {heads}, expected a multiple of num_key_value_heads, {kv_heads}")
    if head_dim % 2:
        raise ExportError(f"head_dim is {head_dim}, expected an even number")
    facts: dict[str, Any] = dict(
        vocab_size=config.integer("vocab_size"), hidden_size=hidden,
        intermediate_size=config.integer("intermediate_size"), num_layers=layers, num_heads=heads,
        num_kv_heads=kv_heads, head_dim=head_dim, max_positions=config.integer("max_position_embeddings"),
        norm_epsilon=config.number("rms_norm_eps", 1e-6), attention_scale=head_dim**-0.5,
        tied_head=config.flag("tie_word_embeddings"), layer_ropes=(0,) * layers, layer_windows=(0,) * layers)
    if "activation" not in overrides:
        facts["activation"] = activation_of(config, "hidden_act")
    if "ropes" not in overrides:
        facts["ropes"] = (Rope("rotary_emb", rope_of(config, head_dim)),)
    return DecoderSpec(**{**facts, **overrides})
