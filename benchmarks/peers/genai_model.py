"""Write a Gemma 3 checkpoint as onnxruntime-genai's model builder does at int4, without torch.

    genai_model.py CHECKPOINT DIR [--context 4096] [--threads 2]

The graph is that of the builder's version 0.18 with `-p int4 -e cpu`: MatMulNBits of 4 bits in symmetric blocks of 32 with int8
accumulation, GroupQueryAttention with rotary embedding, one quantized table for embedding and head. CHECKPOINT is what `elutq export`
takes. The folder also gets genai_config.json; there is no tokenizer in it, which measurements do not need.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
from elutq.export import DecoderSpec, open_checkpoint  # noqa: E402
from elutq.export.checkpoint import Checkpoint  # noqa: E402

BLOCK = 32
MICROSOFT = "com.microsoft"


def quantize(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f32 [N, K] → codes [N, K / 32, 16], two to a byte, and scales f32 [N, K / 32]: the weight is (code - 8) * scale."""
    blocks = rows.reshape(rows.shape[0], -1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    scales = largest / np.float32(-8)
    codes = np.rint(np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)) + 8
    codes = codes.clip(0, 15).astype(np.uint8)
    return codes[..., 0::2] | codes[..., 1::2] << 4, scales[..., 0].astype(np.float32)


class GemmaBuilder:
    """Collects the nodes and initializers of one model."""

    def __init__(self, checkpoint: Checkpoint, spec: DecoderSpec, context: int):
        self.checkpoint, self.spec, self.context = checkpoint, spec, context
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def tensor(self, name: str, values: np.ndarray) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def node(self, op: str, inputs: list[str], name: str, outputs: int | list[str] = 1, domain: str = "", **attributes) -> str:
        names = outputs if isinstance(outputs, list) else [f"{name}/output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, domain=domain, **attributes))
        return names[0]

    def matmul(self, x: str, name: str, weights: list[str], output: str | None = None) -> str:
        """The product with the rows of all `weights`, one below the other."""
        if f"{name}.weight_Q4" not in self.initializers:
            parts = [[quantize(piece) for piece in self.checkpoint.pieces(weight)] for weight in weights]
            for kind, index in (("weight_Q4", 0), ("weight_scales", 1)):
                self.tensor(f"{name}.{kind}", np.concatenate([piece[index] for part in parts for piece in part]))
        n, blocks, _ = self.initializers[f"{name}.weight_Q4"].dims
        return self.node("MatMulNBits", [x, f"{name}.weight_Q4", f"{name}.weight_scales"], f"/{name.replace('.', '/')}_Q4",
                         [output] if output else 1, MICROSOFT, K=blocks * BLOCK, N=n, bits=4, block_size=BLOCK, accuracy_level=4)

    def scale(self, name: str) -> str:
        offset = 0.0 if self.checkpoint.norms_are_folded else self.spec.norm_offset
        return self.tensor(name, self.checkpoint.whole(name) + np.float32(offset))

    def norm(self, x: str, name: str) -> str:
        return self.node("SimplifiedLayerNormalization", [x, self.scale(f"{name}.weight")], f"/{name}/LayerNorm", axis=-1, stash_type=1,
                         epsilon=self.spec.norm_epsilon)

    def skip_norm(self, x: str, skip: str, name: str) -> tuple[str, str]:
        """The norm of x + skip, and the sum."""
        outputs = [f"/{name}/output_0", "", "", f"/{name}/output_3"]
        self.node("SkipSimplifiedLayerNormalization", [x, skip, self.scale(f"{name}.weight")], f"/{name}/SkipLayerNorm", outputs, MICROSOFT,
                  epsilon=self.spec.norm_epsilon)
        return outputs[0], outputs[3]

    def lengths(self) -> tuple[str, str]:
        """Keys before the last one and keys in all, from the attention mask."""
        base, one = "/model/attn_mask", self.tensor("one", np.array([1], np.int64))
        count = self.node("ReduceSum", ["attention_mask", one], f"{base}/ReduceSum", keepdims=0)
        last = self.node("Cast", [self.node("Sub", [count, one], f"{base}/Sub")], f"{base}/Sub/Cast", to=TensorProto.INT32)
        total = self.node("Gather", [self.node("Shape", ["attention_mask"], f"{base}/Shape"), self.tensor("index", np.array(1, np.int64))],
                          f"{base}/Gather", axis=0)
        return last, self.node("Cast", [total], f"{base}/Gather/Cast", to=TensorProto.INT32)

    def attention(self, x: str, i: int, lengths: tuple[str, str]) -> str:
        spec, source, base = self.spec, f"model.layers.{i}.self_attn", f"/model/layers.{i}/attn"
        widths = [heads * spec.head_dim for heads in (spec.num_heads, spec.num_kv_heads, spec.num_kv_heads)]
        qkv = self.matmul(x, f"model.layers.{i}.attn.qkv_proj", [f"{source}.{kind}_proj.weight" for kind in "qkv"])
        self.node("Split", [qkv, self.tensor("qkv_widths", np.array(widths, np.int64))], f"{base}/Split", 3, axis=-1)
        states = [f"{base}/Split/output_{part}" for part in range(3)]
        for part, kind in ((0, "q"), (1, "k")):
            heads = self.tensor("by_head", np.array([0, -1, spec.head_dim], np.int64))
            rows = self.node("Reshape", [states[part], heads], f"{base}/{kind}/Reshape_1")
            rows = self.norm(rows, f"{source}.{kind}_norm")
            flat = self.tensor(f"by_row_{widths[part]}", np.array([0, -1, widths[part]], np.int64))
            states[part] = self.node("Reshape", [rows, flat], f"{base}/{kind}/Reshape_2")
        rope = spec.layer_ropes[i]
        angles = np.arange(self.context, dtype=np.float32)[:, None] * spec.ropes[rope].inv_freq
        caches = [self.tensor(f"cos_{rope}", np.cos(angles)), self.tensor(f"sin_{rope}", np.sin(angles))]
        past = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
        window = spec.layer_windows[i]
        return self.node("GroupQueryAttention", [*states, *past, *lengths, *caches], f"{base}/GroupQueryAttention",
                         [f"{base}/output_0", f"present.{i}.key", f"present.{i}.value"], MICROSOFT, num_heads=spec.num_heads,
                         kv_num_heads=spec.num_kv_heads, scale=spec.attention_scale, local_window_size=window or -1, do_rotary=1,
                         rotary_interleaved=0)

    def build(self) -> onnx.ModelProto:
        spec, table = self.spec, "lm_head.MatMul"
        codes, scales = zip(*(quantize(piece) for piece in self.checkpoint.pieces("model.embed_tokens.weight")))
        self.tensor(f"{table}.weight_Q4", np.concatenate(codes))
        self.tensor(f"{table}.weight_scales", np.concatenate(scales))
        shape = self.tensor("table_shape", np.array([spec.vocab_size, spec.hidden_size // 2], np.int64))
        rows = self.node("Reshape", [f"{table}.weight_Q4", shape], "/model/embed_tokens/Reshape")
        x = self.node("GatherBlockQuantized", [rows, "input_ids", f"{table}.weight_scales"], "/model/embed_tokens/Gather", 1, MICROSOFT,
                      bits=4, block_size=BLOCK, gather_axis=0, quantize_axis=1)
        residual = self.node("Mul", [x, self.tensor("embed_scale", np.array(spec.embedding_scale, np.float32))], "/model/embed_tokens/Mul")
        lengths = self.lengths()
        x = self.norm(residual, "model.layers.0.input_layernorm")
        for i in range(spec.num_layers):
            base = f"model.layers.{i}"
            x = self.matmul(self.attention(x, i, lengths), f"{base}.attn.o_proj", [f"{base}.self_attn.o_proj.weight"])
            x, residual = self.skip_norm(residual, self.norm(x, f"{base}.post_attention_layernorm"), f"{base}.pre_feedforward_layernorm")
            gate, up = (self.matmul(x, f"{base}.mlp.{kind}", [f"{base}.mlp.{kind}.weight"]) for kind in ("gate_proj", "up_proj"))
            gate = self.node("Gelu", [gate], f"/{base}/mlp/Gelu", approximate="tanh")
            x = self.matmul(self.node("Mul", [gate, up], f"/{base}/mlp/Mul"), f"{base}.mlp.down_proj", [f"{base}.mlp.down_proj.weight"])
            last = i + 1 == spec.num_layers
            x, residual = self.skip_norm(residual, self.norm(x, f"{base}.post_feedforward_layernorm"),
                                         "model.norm" if last else f"model.layers.{i + 1}.input_layernorm")
        self.matmul(x, table, [], "logits")
        return self.model()

    def model(self) -> onnx.ModelProto:
        spec = self.spec
        info = helper.make_tensor_value_info
        inputs = [info("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"]),
                  info("attention_mask", TensorProto.INT64, ["batch_size", "total_sequence_length"])]
        outputs = [info("logits", TensorProto.FLOAT, ["batch_size", "sequence_length", spec.vocab_size])]
        for values, name, length in ((inputs, "past_key_values", "past_sequence_length"), (outputs, "present", "total_sequence_length")):
            values += [info(f"{name}.{i}.{kind}", TensorProto.FLOAT, ["batch_size", spec.num_kv_heads, length, spec.head_dim])
                       for i in range(spec.num_layers) for kind in ("key", "value")]
        graph = helper.make_graph(self.nodes, "main_graph", inputs, outputs, list(self.initializers.values()))
        return helper.make_model(graph, ir_version=10, producer_name="genai_model.py",
                                 opset_imports=[helper.make_opsetid("", 22), helper.make_opsetid(MICROSOFT, 1)])


def config(spec: DecoderSpec, context: int, threads: int) -> dict:
    decoder = {"session_options": {"intra_op_num_threads": threads, "provider_options": []}, "filename": "model.onnx",
               "head_size": spec.head_dim, "hidden_size": spec.hidden_size, "num_attention_heads": spec.num_heads,
               "num_hidden_layers": spec.num_layers, "num_key_value_heads": spec.num_kv_heads,
               "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask", "past_key_names": "past_key_values.%d.key",
                          "past_value_names": "past_key_values.%d.value"},
               "outputs": {"logits": "logits", "present_key_names": "present.%d.key", "present_value_names": "present.%d.value"}}
    return {"model": {"type": "gemma3_text", "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "context_length": context,
                      "vocab_size": spec.vocab_size, "decoder": decoder},
            "search": {"do_sample": False, "max_length": context, "past_present_share_buffer": True}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    checkpoint = open_checkpoint(args.checkpoint)
    spec = checkpoint.spec()
    if not (spec.tied_head and spec.sandwich_norms and spec.qk_norm and spec.activation == "gelu_tanh"):
        parser.error(f"'{args.checkpoint}' is no Gemma 3")
    args.directory.mkdir(parents=True, exist_ok=True)
    # The configuration goes last: where it is, the model is whole.
    onnx.save(GemmaBuilder(checkpoint, spec, args.context).build(), args.directory / "model.onnx")
    (args.directory / "genai_config.json").write_text(json.dumps(config(spec, args.context, args.threads), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
