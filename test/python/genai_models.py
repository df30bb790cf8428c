"""Models of onnxruntime-genai's builder: its graphs in Inputs/genai, filled with pseudo-random weights, and ONNX Runtime for them."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tiny_models import BASE

INPUTS = Path(__file__).parent / "Inputs" / "genai"
SPECIAL = ["<pad>", "<eos>", "<bos>"]
WINDOW = 16

_COMMON = {**BASE, "vocab_size": 320, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
           "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "bos_token_id": 2,
           "eos_token_id": [1, 106], "pad_token_id": 0}
# The rotary bases both as transformers 5 nests them, and where the builder looks for them.
_GEMMA3 = {**_COMMON, "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh",
           "tie_word_embeddings": True, "num_key_value_heads": 1, "sliding_window": WINDOW, "query_pre_attn_scalar": 24,
           "rope_parameters": {"rope_type": "default", "rope_theta": 9000.0, "rope_local_base_freq": 100.0,
                               "full_attention": {"rope_type": "default", "rope_theta": 9000.0},
                               "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}},
           "layer_types": ["sliding_attention", "full_attention"]}
_LLAMA = {**_COMMON, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
_QWEN2 = {**_COMMON, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
_QWEN3 = {**_COMMON, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "tie_word_embeddings": True}

# name: (config.json, precision, the builder's extra options). The builder's own graph of an asymmetric tied embedding is malformed.
GRAPHS = {
    "gemma3-fp32": (_GEMMA3, "fp32", []),
    "gemma3-int4": (_GEMMA3, "int4", []),
    "gemma3-int4-128": (_GEMMA3, "int4", ["block_size=128"]),
    "gemma3-int4-128-asymmetric": (_GEMMA3, "int4", ["block_size=128", "is_symmetric=false", "shared_embeddings=false"]),
    "llama-fp32": (_LLAMA, "fp32", []),
    "qwen2-int4-asymmetric": (_QWEN2, "int4", ["is_symmetric=false"]),
    "qwen3-int4": (_QWEN3, "int4", []),
}


def write_tokenizer(directory: Path) -> None:
    """Three special tokens and bytes."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(directory / "tokenizer.json"))


def _values(name: str, dims: tuple[int, ...], data_type: int, columns: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    """What the initializer `name` is filled with. columns: those of the quantized matrices, by the names of their scales."""
    if name.endswith("zero_points"):  # Near the middle, as of weights whose mean is not far from 0.
        return (rng.integers(5, 12, dims) | rng.integers(5, 12, dims) << 4).astype(np.uint8)
    if data_type == onnx.TensorProto.UINT8:
        return rng.integers(0, 256, dims, dtype=np.uint8)
    if name.startswith(("cos_cache", "sin_cache")):
        base = 100.0 if name.endswith("local") else 9000.0
        angles = np.arange(dims[0])[:, None] * base ** (-np.arange(dims[1]) / dims[1])
        values = np.cos(angles) if name.startswith("cos") else np.sin(angles)
    elif name in columns:  # Of both signs: the builder's symmetric blocks have such. Uniform codes deviate by 4.6.
        values = rng.uniform(0.5, 1.5, dims) * rng.choice([-1, 1], dims) / (4.6 * np.sqrt(columns[name]))
    elif len(dims) == 2:
        values = rng.standard_normal(dims) / np.sqrt(96 if "embed" in name or "lm_head" in name else dims[0])
    else:
        values = rng.normal(1.0 if "norm" in name else 0.1, 0.3, dims)
    return values.astype(np.float32)


def write_model(name: str, folder: Path, seed: int = 5) -> Path:
    """Writes a model of Inputs/genai with pseudo-random weights, and what the builder puts beside it. Returns `folder`."""
    folder.mkdir(parents=True)
    model = onnx.parser.parse_model((INPUTS / name / "model.onnxtxt").read_text())
    columns = {node.input[2]: attribute.i for node in model.graph.node if node.op_type == "MatMulNBits"
               for attribute in node.attribute if attribute.name == "K"}
    rng = np.random.default_rng(seed)
    with open(folder / "model.onnx.data", "wb") as data:
        for tensor in model.graph.initializer:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            values = _values(tensor.name, tuple(tensor.dims), tensor.data_type, columns, rng)
            assert values.nbytes == int(entries["length"])
            data.seek(int(entries["offset"]))
            data.write(values.tobytes())
    onnx.save(model, folder / "model.onnx")
    shutil.copy(INPUTS / name / "genai_config.json", folder)
    write_tokenizer(folder)
    return folder


class GenAISession:
    """ONNX Runtime on the builder's graph. The products of quantized matrices are computed in f32 (`accuracy_level` 0 in place of 4)."""

    def __init__(self, directory: Path):
        model = onnx.load(directory / "model.onnx", load_external_data=False)
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == "accuracy_level":
                    attribute.i = 0
        onnx.save(model, directory / "reference.onnx")
        self.session = onnxruntime.InferenceSession(str(directory / "reference.onnx"), providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        decoder = json.loads((directory / "genai_config.json").read_text())["model"]["decoder"]
        self.position = 0
        self.past = {}
        for value in self.session.get_inputs():
            if value.name.startswith("past_key_values."):
                # Sliding layers keep a cache of a fixed size, which the operator moves along.
                slots = decoder["sliding_window"]["window_size"] if value.shape[2] == "past_sliding_length" else 0
                self.past[value.name] = np.zeros((1, value.shape[1], slots, decoder["head_size"]), np.float32)

    def feed(self, tokens) -> np.ndarray:
        """Reads tokens; returns f32 [len(tokens), vocabulary]."""
        self.position += len(tokens)
        result = dict(zip(self.outputs, self.session.run(None, {
            "input_ids": np.asarray(tokens, np.int64)[None], "attention_mask": np.ones((1, self.position), np.int64), **self.past})))
        self.past = {name: result[name.replace("past_key_values", "present")] for name in self.past}
        return result["logits"][0]
