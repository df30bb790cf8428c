"""Schemas of the operators outside the ONNX package that language models use.

The domain `com.microsoft` is described by ONNX Runtime's docs/ContribOperators.md; only what its CPU exporters write is listed.
`ai.elutq` is this project's own domain: its operators carry a function body of standard operators in the model.

One entry per operator: (domain, name, inputs, outputs, attributes, summary).
An input or output is "name:TYPES" with a trailing "?" (optional) or "*" (variadic); TYPES is a key of TYPES below.
An attribute is "name:kind", "name:kind=default" or "name:kind!" (required); kind is int, float, string or ints.
"""

TYPES = {
    "T": ("float16", "bfloat16", "float"),
    "U8": ("uint8",),
    "Q": ("uint8", "int8"),
    "ZP": ("uint8", "float16", "bfloat16", "float"),
    "I32": ("int32",),
    "I64": ("int64",),
    "I": ("int32", "int64"),
    "CACHE": ("float16", "bfloat16", "float", "int8", "uint8"),
    "F": ("float16", "float"),
    "FU8": ("float16", "float", "uint8"),
    "F32": ("float",),
}

MS = "com.microsoft"
ELUTQ = "ai.elutq"

SCHEMAS = [
    (MS, "MatMulNBits",
     ["A:T", "B:U8", "scales:T", "zero_points:ZP?", "g_idx:I32?", "bias:T?"], ["Y:T"],
     ["K:int!", "N:int!", "bits:int=4", "block_size:int!", "accuracy_level:int=0", "weight_prepacked:int=0"],
     "A times the transpose of a block-wise quantized matrix"),
    (MS, "GatherBlockQuantized",
     ["data:Q", "indices:I", "scales:T", "zero_points:Q?"], ["output:T"],
     ["bits:int=4", "block_size:int=128", "gather_axis:int=0", "quantize_axis:int=1"],
     "Gather from block-wise quantized data, as floats"),
    (MS, "GroupQueryAttention",
     ["query:T", "key:T?", "value:T?", "past_key:CACHE?", "past_value:CACHE?", "seqlens_k:I32", "total_sequence_length:I32",
      "cos_cache:T?", "sin_cache:T?", "position_ids:I64?", "attention_bias:T?", "head_sink:T?", "k_scale:F32?",
      "v_scale:F32?", "q_norm_weight:T?", "k_norm_weight:T?"],
     ["output:T", "present_key:CACHE?", "present_value:CACHE?", "output_qk:T?"],
     ["num_heads:int!", "kv_num_heads:int!", "scale:float=0.0", "softcap:float=0.0", "do_rotary:int=0",
      "rotary_interleaved:int=0", "local_window_size:int=-1", "smooth_softmax:int=-1", "causal:int=1", "qk_output:int=0",
      "k_quant_type:string=NONE", "v_quant_type:string=NONE", "kv_cache_bit_width:int=0", "sliding_window_cache:int=0",
      "qk_norm_epsilon:float=1e-06"],
     "Grouped-query attention with a key-value cache"),
    (MS, "MultiHeadAttention",
     ["query:T", "key:T?", "value:T?", "bias:T?", "key_padding_mask:I32?", "attention_bias:T?", "past_key:T?", "past_value:T?",
      "past_sequence_length:I32?", "cache_indirection:I32?"],
     ["output:T", "present_key:T?", "present_value:T?", "qk:T?"],
     ["num_heads:int!", "mask_filter_value:float=-10000.0", "scale:float=0.0", "unidirectional:int=0"],
     "Attention with as many heads of keys and values as of queries"),
    (MS, "SimplifiedLayerNormalization",
     ["X:T", "scale:T"], ["Y:T", "inv_std_var:F32?"],
     ["axis:int=-1", "epsilon:float=1e-05", "stash_type:int=1"],
     "Root-mean-square normalization; ONNX Runtime also writes it in the domain ai.onnx"),
    (MS, "SkipSimplifiedLayerNormalization",
     ["input:T", "skip:T", "gamma:T", "bias:T?"], ["output:T", "mean:F32?", "inv_std_var:F32?", "input_skip_bias_sum:T?"],
     ["epsilon:float=1e-12"],
     "Residual addition and root-mean-square normalization"),
    (MS, "SkipLayerNormalization",
     ["input:T", "skip:T", "gamma:T", "beta:T?", "bias:T?"],
     ["output:T", "mean:F32?", "inv_std_var:F32?", "input_skip_bias_sum:T?"],
     ["epsilon:float=1e-12"],
     "Residual addition and layer normalization"),
    (MS, "RotaryEmbedding",
     ["input:T", "position_ids:I64", "cos_cache:T", "sin_cache:T"], ["output:T"],
     ["interleaved:int=0", "num_heads:int=0", "rotary_embedding_dim:int=0", "scale:float=1.0", "is_packed_batching:int=0"],
     "Rotary position embedding; other operand order than the standard operator"),
    (MS, "Gelu", ["X:T"], ["Y:T"], [], "x * Phi(x), by erf"),
    (MS, "FastGelu", ["X:T", "bias:T?"], ["Y:T"], [], "Gelu of X + bias, by tanh"),
    (MS, "QuickGelu", ["X:T"], ["Y:T"], ["alpha:float=1.702"], "x * sigmoid(alpha * x)"),
    (MS, "BiasGelu", ["A:T", "B:T"], ["C:T"], [], "Gelu of A + B, by erf"),
    (ELUTQ, "HLQMatMul",
     ["A:T", "planes:U8", "scales:F", "zeros:FU8", "bias:T?"], ["Y:T"],
     ["K:int!", "N:int!", "bits:int!", "group_size:int!"],
     "A times the transpose of an HLQ matrix: planes [bits, N, G*g/8] or codes [1, N, G*g] of 8 bits, scales [N, G, bits], "
     "zeros [N, G]; compact: scales [N, G, 1], zeros uint8 [N, G, bits + 1], the ratios of the planes and 128 more than the zero in units of the scale"),
    (ELUTQ, "HLQGather",
     ["indices:I", "planes:U8", "scales:F", "zeros:FU8"], ["Y:F32"],
     ["K:int!", "N:int!", "bits:int!", "group_size:int!"],
     "Rows of an HLQ matrix by index, as floats"),
]
