"""Writes tiny GGUF files with the gguf package, laid out as llama.cpp's converter does."""

from pathlib import Path

import gguf
import numpy as np

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm",
}
GEMMA_NAMES = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
               "post_feedforward_layernorm": "post_ffw_norm"}

BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


def gguf_name(name: str, gemma: bool) -> str:
    base, _, kind = name.rpartition(".")
    names = {**NAMES, **GEMMA_NAMES} if gemma else NAMES
    if base.startswith("model.layers."):
        _, _, layer, rest = base.split(".", 3)
        return f"blk.{layer}.{names[rest]}.{kind}"
    return f"{names[base]}.{kind}"


def write_gguf(path: Path, config: dict, weights: dict[str, np.ndarray], *, quantization=gguf.GGMLQuantizationType.F32,
               quantize=gguf.quantize, rope_factors: np.ndarray | None = None, tokenizer: dict | None = None) -> None:
    """`weights` in Hugging Face's names. Matrices are stored as `quantization` where their rows are whole blocks, which `quantize` makes."""
    architecture = {"gemma3_text": "gemma3"}.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    if architecture == "gemma3":
        writer.add_sliding_window(config["sliding_window"])
    if config.get("rope_scaling", {}).get("type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config["rope_scaling"]["factor"])
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors.astype(np.float32))
    for key, value in (tokenizer or {}).items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_array(key, value)
    for name, value in weights.items():
        if architecture == "llama" and (".q_proj." in name or ".k_proj." in name):
            heads = config["num_attention_heads" if ".q_proj." in name else "num_key_value_heads"]
            halves = value.reshape(heads, 2, -1, *value.shape[1:])  # (head, half, pair) → (head, pair, half)
            value = np.stack([halves[:, 0], halves[:, 1]], axis=2).reshape(value.shape)
        if architecture == "gemma3" and "norm" in name:
            value = value + np.float32(1)
        block = gguf.GGML_QUANT_SIZES[quantization][0]
        if value.ndim == 2 and value.shape[1] % block == 0 and quantization != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(gguf_name(name, architecture == "gemma3"), quantize(value, quantization),
                              raw_dtype=quantization)
        else:
            writer.add_tensor(gguf_name(name, architecture == "gemma3"), np.ascontiguousarray(value, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
