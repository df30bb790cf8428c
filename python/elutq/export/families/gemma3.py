"""Gemma 3 (text): norms before and after each block, normed q and k, scaled embeddings, and sliding layers with their own
rotary base between the global ones. Unlike Gemma 2, it does not cap the logits of attention: its reference implementation does not read
attn_logit_softcapping, which configurations may carry."""

from __future__ import annotations

from typing import Any, Mapping

from ..spec import Config, DecoderSpec, Rope, activation_of, base_spec, inverse_frequencies, layer_kinds, rope_of
from . import COMMON_TENSORS, QK_NORMS, Family

GEMMA3_27B_LAYERS = 62


def spec(config: Config) -> DecoderSpec:
    layers, head_dim = config.integer("num_hidden_layers"), config.integer("head_dim")
    period = config.integer("sliding_window_pattern", config.integer("_sliding_window_pattern", 6))
    kinds = layer_kinds(
        config, layers, ["full_attention" if (i + 1) % period == 0 else "sliding_attention" for i in range(layers)])
    window = config.integer("sliding_window")
    if config.section("rope_parameters"):
        full, local = (rope_of(config, head_dim, f"{kind}_attention") for kind in ("full", "sliding"))
    else:
        full = rope_of(config, head_dim)
        local = inverse_frequencies(head_dim, config.number("rope_local_base_freq"), {})
    bias = config.flag("attention_bias")
    return base_spec(
        config,
        activation=activation_of(config, "hidden_activation", "hidden_act"),
        ropes=(Rope("rotary_emb", full), Rope("rotary_emb_local", local)),
        layer_ropes=tuple(int(kind == "sliding_attention") for kind in kinds),
        layer_windows=tuple(window if kind == "sliding_attention" else 0 for kind in kinds),
        attention_scale=config.number("query_pre_attn_scalar") ** -0.5,
        qkv_bias=bias, output_bias=bias, qk_norm=True, sandwich_norms=True, norm_offset=1.0,
        embedding_scale=config.integer("hidden_size") ** 0.5,
        logit_softcap=config.number("final_logit_softcapping", 0.0))


def gguf_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """GGUF says nothing of the attention scale; only the 27B model's differs from the head's width."""
    result: dict[str, Any] = {"query_pre_attn_scalar": metadata["gemma3.attention.key_length"]}
    if metadata["gemma3.block_count"] == GEMMA3_27B_LAYERS:
        result["query_pre_attn_scalar"] = metadata["gemma3.embedding_length"] // metadata["gemma3.attention.head_count"]
    result["rope_local_base_freq"] = metadata.get("gemma3.rope.freq_base_swa", 10000.0)
    pattern = metadata.get("gemma3.attention.sliding_window_pattern", 6)
    if isinstance(pattern, list):
        result["layer_types"] = ["sliding_attention" if slides else "full_attention" for slides in pattern]
    else:
        result["sliding_window_pattern"] = pattern
    if "gemma3.final_logit_softcapping" in metadata:
        result["final_logit_softcapping"] = metadata["gemma3.final_logit_softcapping"]
    return result


FAMILY = Family(
    model_types=("gemma3_text", "gemma3"),
    spec=spec,
    defaults={
        "max_position_embeddings": 131072, "head_dim": 256, "sliding_window": 4096, "query_pre_attn_scalar": 256,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "tie_word_embeddings": True,
        "hidden_activation": "gelu_pytorch_tanh", "vocab_size": 262208,
    },
    gguf_architecture="gemma3",
    gguf_tensors={
        **COMMON_TENSORS, **QK_NORMS,
        "blk.{i}.post_attention_norm.weight": "model.layers.{i}.post_attention_layernorm.weight",
        "blk.{i}.ffn_norm.weight": "model.layers.{i}.pre_feedforward_layernorm.weight",
        "blk.{i}.post_ffw_norm.weight": "model.layers.{i}.post_feedforward_layernorm.weight",
    },
    gguf_config=gguf_config,
    gguf_norm_offset_folded=True,
)
