"""Write a GGUF file of a shape of llama_shape.py with random blocks, to time llama.cpp where no real weights are to be had.

    llama_gguf.py TYPE FILE [--shape llama-7b] [--layers N]        TYPE: Q2_K, Q3_K, Q4_K, Q4_0, TQ2_0 or Q8_0

Speed does not depend on the values. As llama.cpp's own quantizer does it, the head is better than the rest: Q4_K; the embedding is Q4_0.
Tensors are written one at a time.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from llama_shape import SHAPES, tensor_shapes  # noqa: E402

# Where a block's half-precision scales are: random bits there could be NaN.
SCALES = {Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q4_0: [0], Type.TQ2_0: [64], Type.Q8_0: [0]}
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def gguf_name(name: str) -> str:
    """GGUF's name of a Hugging Face tensor."""
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    layer, _, kind = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
    return f"blk.{layer}.{NAMES[kind]}.weight"


def random_blocks(rng: np.random.Generator, kind: Type, shape: tuple[int, int]) -> np.ndarray:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (shape[0] * shape[1] // block, size), dtype=np.uint8)
    for at in SCALES[kind]:
        data[:, at:at + 2] = np.frombuffer(np.float16(0.002).tobytes(), np.uint8)
    return data.reshape(shape[0], -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("type", choices=[kind.name for kind in SCALES])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--layers", type=int)
    args = parser.parse_args()
    config = dict(SHAPES[args.shape])
    config["num_hidden_layers"] = args.layers or config["num_hidden_layers"]

    partial = args.file.with_name(args.file.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")

    special = {"model.embed_tokens.weight": Type.Q4_0, "lm_head.weight": Type.Q4_K}
    tensors = [(gguf_name(name), shape, special.get(name, Type[args.type])) for name, shape in tensor_shapes(config).items()]
    for name, shape, kind in tensors:
        if len(shape) == 1:
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * shape[0])
        else:
            block, size = gguf.GGML_QUANT_SIZES[kind]
            row = shape[1] // block * size
            writer.add_tensor_info(name, (shape[0], row), np.dtype(np.uint8), shape[0] * row, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(0)
    for _, shape, kind in tensors:
        writer.write_tensor_data(np.ones(shape, np.float32) if len(shape) == 1 else random_blocks(rng, kind, shape))
    writer.close()
    os.replace(partial, args.file)


if __name__ == "__main__":
    main()
