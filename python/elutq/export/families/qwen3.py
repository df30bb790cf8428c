"""Qwen3 (dense): Qwen2 with norms on the heads of q and k in place of biases."""

from ..spec import Config, DecoderSpec, base_spec
from . import COMMON_TENSORS, FFN_NORM, QK_NORMS, Family
from .qwen2 import windows


def spec(config: Config) -> DecoderSpec:
    bias = config.flag("attention_bias")
    return base_spec(config, qkv_bias=bias, output_bias=bias, qk_norm=True, layer_windows=windows(config))


FAMILY = Family(
    model_types=("qwen3",),
    spec=spec,
    defaults={"max_position_embeddings": 32768, "head_dim": 128},
    gguf_architecture="qwen3",
    gguf_tensors={**COMMON_TENSORS, **FFN_NORM, **QK_NORMS},
)
