"""Llama 1 to 3 and what is built like them. GGUF files of Mistral models are of this architecture, too."""

from ..spec import Config, DecoderSpec, base_spec
from . import COMMON_TENSORS, FFN_NORM, Family


def spec(config: Config) -> DecoderSpec:
    bias = config.flag("attention_bias")
    return base_spec(config, qkv_bias=bias, output_bias=bias, mlp_bias=config.flag("mlp_bias"))


FAMILY = Family(
    model_types=("llama",),
    spec=spec,
    defaults={"max_position_embeddings": 2048},
    gguf_architecture="llama",
    gguf_tensors={**COMMON_TENSORS, **FFN_NORM},
    gguf_interleaved_rope=True,
)
