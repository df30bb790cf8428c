"""Qwen2 and Qwen2.5: Llama with biases on q, k and v, and optionally a sliding window in the upper layers."""

from ..spec import Config, DecoderSpec, base_spec, layer_kinds
from . import COMMON_TENSORS, FFN_NORM, Family


def windows(config: Config) -> tuple[int, ...]:
    """The window per layer. Layers from max_window_layers on slide, if use_sliding_window is set."""
    layers = config.integer("num_hidden_layers")
    if not config.flag("use_sliding_window"):
        return (0,) * layers
    first = config.integer("max_window_layers", 28, minimum=0)
    default = ["sliding_attention" if i >= first else "full_attention" for i in range(layers)]
    window = config.integer("sliding_window", 4096)
    return tuple(window if kind == "sliding_attention" else 0 for kind in layer_kinds(config, layers, default))


def spec(config: Config) -> DecoderSpec:
    return base_spec(config, qkv_bias=True, layer_windows=windows(config))


FAMILY = Family(
    model_types=("qwen2",),
    spec=spec,
    defaults={"max_position_embeddings": 32768},
    gguf_architecture="qwen2",
    gguf_tensors={**COMMON_TENSORS, **FFN_NORM},
)
