"""The supported architectures, one file each: how their configuration reads and what GGUF calls their tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping

from ...errors import ExportError
from ..spec import Config, DecoderSpec

# GGUF's names of the tensors that every family has; {i} is the layer. Families add their own.
COMMON_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "blk.{i}.attn_norm.weight": "model.layers.{i}.input_layernorm.weight",
    "blk.{i}.attn_q.weight": "model.layers.{i}.self_attn.q_proj.weight",
    "blk.{i}.attn_k.weight": "model.layers.{i}.self_attn.k_proj.weight",
    "blk.{i}.attn_v.weight": "model.layers.{i}.self_attn.v_proj.weight",
    "blk.{i}.attn_output.weight": "model.layers.{i}.self_attn.o_proj.weight",
    "blk.{i}.attn_q.bias": "model.layers.{i}.self_attn.q_proj.bias",
    "blk.{i}.attn_k.bias": "model.layers.{i}.self_attn.k_proj.bias",
    "blk.{i}.attn_v.bias": "model.layers.{i}.self_attn.v_proj.bias",
    "blk.{i}.attn_output.bias": "model.layers.{i}.self_attn.o_proj.bias",
    "blk.{i}.ffn_gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
    "blk.{i}.ffn_up.weight": "model.layers.{i}.mlp.up_proj.weight",
    "blk.{i}.ffn_down.weight": "model.layers.{i}.mlp.down_proj.weight",
    "blk.{i}.ffn_gate.bias": "model.layers.{i}.mlp.gate_proj.bias",
    "blk.{i}.ffn_up.bias": "model.layers.{i}.mlp.up_proj.bias",
    "blk.{i}.ffn_down.bias": "model.layers.{i}.mlp.down_proj.bias",
}

FFN_NORM = {"blk.{i}.ffn_norm.weight": "model.layers.{i}.post_attention_layernorm.weight"}
QK_NORMS = {
    "blk.{i}.attn_q_norm.weight": "model.layers.{i}.self_attn.q_norm.weight",
    "blk.{i}.attn_k_norm.weight": "model.layers.{i}.self_attn.k_norm.weight",
}


@dataclass(frozen=True)
class Family:
    """An architecture. Configurations are in Hugging Face's words; GGUF metadata is translated to them."""

    model_types: tuple[str, ...]  # what config.json's model_type may be
    spec: Callable[[Config], DecoderSpec]
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of configuration keys that may be missing
    gguf_architecture: str | None = None  # general.architecture
    gguf_tensors: Mapping[str, str] = field(default_factory=dict)  # GGUF's name: Hugging Face's name
    gguf_config: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda metadata: {}  # what GGUF does not say itself
    gguf_interleaved_rope: bool = False  # GGUF stores q and k with pairs of rotated elements side by side
    gguf_norm_offset_folded: bool = False  # GGUF's norm weights contain norm_offset already


def all_families() -> tuple[Family, ...]:
    from . import gemma3, llama, mistral, qwen2, qwen3

    return tuple(module.FAMILY for module in (llama, mistral, qwen2, qwen3, gemma3))


def family_of_model_type(model_type: Any) -> Family:
    """The family of config.json's `model_type`."""
    for family in all_families():
        if model_type in family.model_types:
            return family
    known = sorted(name for family in all_families() for name in family.model_types)
    raise ExportError(f"the model type {model_type!r} is not supported; supported are {', '.join(known)}")


def family_of_gguf(architecture: Any) -> Family:
    """The family of GGUF's `general.architecture`."""
    for family in all_families():
        if family.gguf_architecture is not None and family.gguf_architecture == architecture:
            return family
    known = sorted(family.gguf_architecture for family in all_families() if family.gguf_architecture)
    raise ExportError(f"the GGUF architecture {architecture!r} is not supported; supported are {', '.join(known)}")
