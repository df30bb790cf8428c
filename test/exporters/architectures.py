"""The architectures and the exporters that are tested with each other. No import of a framework: both environments read this."""

# torch.onnx.export with the opset, onnxruntime-genai's model builder with the precision and options (export_model.py), and optimum-onnx.
EXPORTERS = ("dynamo-18", "dynamo-20", "dynamo-21", "dynamo-23", "dynamo-24", "genai-fp32", "genai-fp16", "genai-fp16-cuda", "genai-int4",
             "genai-int4-b128", "genai-int4-asym", "genai-int4-cuda", "genai-int4-qdq", "optimum")

# Those whose weights are floats, which are quantized to each of these widths, too.
FLOAT_EXPORTERS = tuple(name for name in EXPORTERS if not name.startswith("genai-int4"))
BITS = (4, 3, 2)

_BASE = {"vocab_size": 80, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
         "tie_word_embeddings": False}
_GEMMA = {**_BASE, "tie_word_embeddings": True, "query_pre_attn_scalar": 12, "sliding_window": 8,
          "layer_types": ["sliding_attention", "full_attention"]}

# The class in transformers, and its configuration.
DECODERS = {
    "llama3": ("LlamaForCausalLM", {**_BASE, "model_type": "llama", "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}}),
    "qwen2": ("Qwen2ForCausalLM", {**_BASE, "model_type": "qwen2"}),
    "qwen3": ("Qwen3ForCausalLM", {**_BASE, "model_type": "qwen3", "tie_word_embeddings": True}),
    "mistral": ("MistralForCausalLM", {**_BASE, "model_type": "mistral", "sliding_window": 8}),
    "phi3": ("Phi3ForCausalLM", {**_BASE, "model_type": "phi3", "original_max_position_embeddings": 64, "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 500.0, "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 1.9, 2.0],
        "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], "original_max_position_embeddings": 64}}),
    "gemma2": ("Gemma2ForCausalLM", {**_GEMMA, "model_type": "gemma2", "attn_logit_softcapping": 5.0, "final_logit_softcapping": 4.0}),
    "gemma3": ("Gemma3ForCausalLM", {**_GEMMA, "model_type": "gemma3_text", "num_key_value_heads": 1, "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 9000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}}),
    "smollm3": ("SmolLM3ForCausalLM", {**_BASE, "model_type": "smollm3", "no_rope_layers": [1, 0], "layer_types": ["full_attention"] * 2}),
    "gpt2": ("GPT2LMHeadModel", {"model_type": "gpt2", "vocab_size": 80, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128,
                                 "bos_token_id": 1, "eos_token_id": 2}),
    "opt": ("OPTForCausalLM", {"model_type": "opt", "vocab_size": 80, "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2,
                               "num_attention_heads": 4, "max_position_embeddings": 128, "word_embed_proj_dim": 64, "bos_token_id": 1,
                               "eos_token_id": 2, "pad_token_id": 0}),
    "starcoder2": ("Starcoder2ForCausalLM", {**_BASE, "model_type": "starcoder2", "use_bias": True, "sliding_window": None}),
    "falcon": ("FalconForCausalLM", {"model_type": "falcon", "vocab_size": 80, "hidden_size": 64, "num_hidden_layers": 2,
                                     "num_attention_heads": 4, "num_kv_heads": 1, "multi_query": True, "parallel_attn": True,
                                     "new_decoder_architecture": False, "alibi": False, "bias": False, "bos_token_id": 1,
                                     "eos_token_id": 2}),
    "qwen3-moe": ("Qwen3MoeForCausalLM", {**_BASE, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
                                          "moe_intermediate_size": 32, "decoder_sparse_step": 1, "mlp_only_layers": []}),
    "mixtral": ("MixtralForCausalLM", {**_BASE, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2,
                                       "sliding_window": None}),
}
ARCHITECTURES = DECODERS

# What an exporter does not do, and what is not compiled; a pair in neither must work.
_GENAI = {"gemma3": "KeyError: 'rope_type' (a configuration of transformers 5)", "phi3": "KeyError: 'type' (a configuration of transformers 5)",
          "smollm3": "KeyError: 'position_ids'",
          **dict.fromkeys(("gpt2", "opt", "starcoder2", "falcon", "qwen3-moe", "mixtral"), "not supported by the builder")}
NOT_EXPORTED: dict[tuple[str, str], str] = {(exporter, name): reason for exporter in EXPORTERS if exporter.startswith("genai")
                                            for name, reason in _GENAI.items()}
# One KV head for four heads, which the translation to the operator Attention does not take.
NOT_EXPORTED |= {(exporter, "falcon"): "AssertionError: SDPA (MHA) requires as many heads of keys as of queries"
                 for exporter in ("dynamo-23", "dynamo-24")}
del NOT_EXPORTED["genai-fp16", "smollm3"]
NOT_EXPORTED |= {("genai-int4-qdq", name): "AssertionError: Gather only supports QOperator format currently" for name in ("qwen3", "gemma2")}
NOT_EXPORTED |= {("optimum", name): "not supported by the exporter" for name in ("starcoder2", "mixtral")}
# The message of the compiler has this in it.
NOT_COMPILED: dict[tuple[str, str], str] = {
    ("optimum", "qwen3-moe"): "onnx.NonZero",  # A loop over experts, each of which takes the rows that chose it.
}
# What ONNX Runtime refuses of what an exporter wrote, so that there is nothing to compare with. In the table as if there were no export.
NOT_VALID: dict[tuple[str, str], str] = {("genai-int4-asym", name): "does not match expected type" for name in ("qwen3", "gemma2")}
# Its cache of fixed size is a past that the mask of MultiHeadAttention does not go with.
NOT_VALID["genai-fp16", "gemma2"] = "invalid expand shape"
