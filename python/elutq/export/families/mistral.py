"""Mistral: Llama with a sliding window in all layers."""

from ..spec import Config, DecoderSpec, base_spec
from . import Family


def spec(config: Config) -> DecoderSpec:
    window = config.integer("sliding_window", 0, minimum=0)
    return base_spec(config, layer_windows=(window,) * config.integer("num_hidden_layers"))


FAMILY = Family(
    model_types=("mistral",),
    spec=spec,
    defaults={"max_position_embeddings": 131072},
)
