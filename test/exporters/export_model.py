"""Exports tiny, randomly initialised Hugging Face models. Runs in the environments of scripts/setup --exporters: optimum in exporters-optimum, with
transformers 4, and everything else in exporters.

    export_model.py FOLDER EXPORTER/ARCHITECTURE... | all    all of the environment

writes FOLDER/EXPORTER/ARCHITECTURE/model.onnx as the exporter leaves it, and what it puts beside that file. Where an exporter fails,
its error is in error.txt there.
"""

import os
import runpy
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tokenizers
import torch
import transformers

from architectures import ARCHITECTURES, EXPORTERS
from command_line import export_pairs


IS_OPTIMUM = transformers.__version__.startswith("4.")


def as_transformers_4(settings: dict) -> dict:
    """Rotary embeddings are told otherwise there."""
    result = dict(settings)
    rotary = result.pop("rope_parameters", {})
    if "sliding_attention" in rotary:
        return {**result, "rope_theta": rotary["full_attention"]["rope_theta"], "rope_local_base_freq": rotary["sliding_attention"]["rope_theta"]}
    if rotary:
        scaling = {key: value for key, value in rotary.items() if key != "rope_theta"}
        if rotary["rope_type"] == "longrope":  # Its original length is a setting of the model, and more than three fields are refused.
            scaling = {"type": "longrope", "short_factor": rotary["short_factor"], "long_factor": rotary["long_factor"]}
        result |= {"rope_theta": rotary["rope_theta"], "rope_scaling": scaling}
    return result


def make_model(name: str) -> transformers.PreTrainedModel:
    """In evaluation mode, all parameters pseudo-random: norms near 1, biases near 0, neither symmetric."""
    class_name, settings = ARCHITECTURES[name]
    config = transformers.AutoConfig.for_model(**as_transformers_4(settings) if IS_OPTIMUM else settings)
    torch.manual_seed(7)
    kind = getattr(transformers, class_name)
    attention = "sdpa" if getattr(kind, "_supports_sdpa", True) else "eager"
    # The default for experts is an operator of transformers' own, of which there is no ONNX function.
    experts = {"experts_implementation": "batched_mm"} if "num_experts_per_tok" in settings and not IS_OPTIMUM else {}
    model = kind._from_config(config, attn_implementation=attention, dtype=torch.float32, **experts).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            spread = torch.randn_like(value)
            if value.ndim > 1:
                value.copy_(spread * value.shape[-1] ** -0.5 if "embed" not in key and "wte" not in key else spread * 0.5)
            elif key.endswith("bias"):
                value.copy_(0.1 * spread + 0.05)
            else:  # A norm's weight; those of Gemma are counted from 1.
                value.copy_(0.2 * spread + (0.05 if settings["model_type"].startswith("gemma") else 1.05))
    return model


class WithCache(torch.nn.Module):
    """The cache as a flat list of tensors, key and value of each layer in turn."""

    def __init__(self, model: transformers.PreTrainedModel):
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, input_ids, attention_mask, position_ids, past):
        cache = transformers.DynamicCache()
        for i in range(0, len(past), 2):
            cache.update(past[i], past[i + 1], i // 2)
        result = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache,
                            use_cache=True)
        presents = []
        for layer in result.past_key_values.layers:
            presents += [layer.keys, layer.values]
        return result.logits, presents


def export_with_torch(model: transformers.PreTrainedModel, folder: Path, opset: int) -> None:
    """torch.onnx.export of a step with a cache. Shapes and names are as torch's documentation has them for such a module."""
    config = model.config
    layers, rows, past = config.num_hidden_layers, 3, 5
    heads = 1 if getattr(config, "multi_query", False) else getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inputs = {"input_ids": torch.randint(3, 60, (2, rows)), "attention_mask": torch.ones(2, rows + past, dtype=torch.int64),
              "position_ids": torch.arange(past, past + rows)[None].expand(2, rows).contiguous(),
              "past": [torch.randn(2, heads, past, size) for _ in range(2 * layers)]}
    batch, sequence, cached = (torch.export.Dim(name) for name in ("batch", "sequence", "past"))
    shapes = {"input_ids": {0: batch, 1: sequence}, "attention_mask": {0: batch, 1: torch.export.Dim.DYNAMIC},
              "position_ids": {0: batch, 1: sequence}, "past": [{0: batch, 2: cached} for _ in range(2 * layers)]}
    torch.onnx.export(WithCache(model), (), kwargs=inputs, dynamic_shapes=shapes, dynamo=True, opset_version=opset,
                      f=str(folder / "model.onnx"), external_data=False, verbose=False,
                      input_names=["input_ids", "attention_mask", "position_ids"], output_names=["logits"])


# Precision, execution provider and extra options of the builder, by what is behind "genai-".
GENAI_VARIANTS = {
    "fp32": ("fp32", "cpu"),
    "fp16": ("fp16", "cpu"),
    "fp16-cuda": ("fp16", "cuda"),
    "int4": ("int4", "cpu"),
    "int4-b128": ("int4", "cpu", "block_size=128"),
    "int4-asym": ("int4", "cpu", "is_symmetric=false"),
    "int4-cuda": ("int4", "cuda"),
    "int4-qdq": ("int4", "cpu", "use_qdq=true"),
}


def export_with_genai(model: transformers.PreTrainedModel, folder: Path, variant: str) -> None:
    """By the builder's command line, in this process: loading PyTorch takes longer than the builder does."""
    checkpoint = folder / "hf"
    model.save_pretrained(checkpoint)
    write_tokenizer(checkpoint)
    precision, provider, *options = GENAI_VARIANTS[variant]
    arguments = ["-i", checkpoint, "-o", folder, "-p", precision, "-e", provider, "-c", folder / "cache"]
    arguments += ["--extra_options", *options] if options else []
    before, sys.argv = sys.argv, ["builder", *map(str, arguments)]
    try:
        runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")
    finally:
        sys.argv = before


def export_with_optimum(model: transformers.PreTrainedModel, folder: Path) -> None:
    """A step with a cache, without the comparison with ONNX Runtime that optimum does."""
    from optimum.exporters.onnx import onnx_export_from_model

    onnx_export_from_model(model, folder, task="text-generation-with-past", do_validation=False)


def write_tokenizer(checkpoint: Path) -> None:
    """Bytes, of which the tests use none; the builder wants to copy a tokenizer."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<bos>", "<eos>", *(chr(i + 33) for i in range(77))])}
    tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[])).save(str(checkpoint / "tokenizer.json"))
    (checkpoint / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}')


def export(exporter: str, architecture: str, folder: Path) -> None:
    model = make_model(architecture)
    kind, _, variant = exporter.partition("-")
    if kind == "dynamo":
        export_with_torch(model, folder, int(variant))
    elif kind == "optimum":
        export_with_optimum(model, folder)
    else:
        export_with_genai(model, folder, variant)


def main() -> None:
    export_pairs(__doc__, [f"{exporter}/{architecture}" for exporter in EXPORTERS if (exporter == "optimum") == IS_OPTIMUM
                           for architecture in ARCHITECTURES], export)


if __name__ == "__main__":
    main()
