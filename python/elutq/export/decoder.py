"""Builds the ONNX graph of a decoder: standard operators of opset 23, one key-value cache per layer.

B, S, P, T = batch, new tokens, tokens in the cache, P + S; H, G, D = heads, key-value heads, width of a head; E = hidden size.
"""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

import numpy as np
from onnx import TensorProto

from .checkpoint import Checkpoint
from .graph import GraphBuilder
from .spec import DecoderSpec

BATCH, SEQUENCE, PAST, TOTAL = "batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"
F32 = np.dtype(np.float32)


class DecoderBuilder:
    """Writes one model into a GraphBuilder."""

    def __init__(self, graph: GraphBuilder, spec: DecoderSpec, checkpoint: Checkpoint, dtype: np.dtype, keep_quantized: bool = False):
        """keep_quantized: matrices that the checkpoint stores quantized become HLQ operators."""
        self.graph, self.spec, self.checkpoint, self.dtype, self.keep_quantized = graph, spec, checkpoint, dtype, keep_quantized
        self._masks: dict[int, str] = {}
        self._rotations: list[tuple[str, str]] = []

    def build(self, progress: Callable[[Iterator[int]], Iterator[int]] = iter) -> None:
        graph, spec = self.graph, self.spec
        tokens = graph.input("input_ids", TensorProto.INT64, [BATCH, SEQUENCE])
        graph.input("position_ids", TensorProto.INT64, [BATCH, SEQUENCE])
        for i in range(spec.num_layers):
            for kind in ("key", "value"):
                graph.input(f"past_key_values.{i}.{kind}", TensorProto.FLOAT, [BATCH, spec.num_kv_heads, PAST, spec.head_dim])
        graph.output("logits", TensorProto.FLOAT, [BATCH, SEQUENCE, spec.vocab_size])
        for i in range(spec.num_layers):
            for kind in ("key", "value"):
                graph.output(f"present.{i}.{kind}", TensorProto.FLOAT, [BATCH, spec.num_kv_heads, TOTAL, spec.head_dim])

        hidden = self._embedding(tokens)
        self._rotary()
        for i in progress(range(spec.num_layers)):
            hidden = self._layer(hidden, i)
        hidden = self._norm(hidden, "model.norm", spec.hidden_size)
        self._head(hidden)

    # Pieces shared by all layers.

    def _embedding(self, tokens: str) -> str:
        """[B, S] → [B, S, E]"""
        name, shape = "model.embed_tokens.weight", (self.spec.vocab_size, self.spec.hidden_size)
        if self._hlq_matrix(name, *shape[::-1]) is not None:
            hidden = self.graph.hlq_node("HLQGather", tokens, name, "/model/embed_tokens/Gather")
        else:
            self.checkpoint.check(name, shape)
            self.graph.weight(name, shape, self.checkpoint.pieces(name), self.dtype)
            hidden = self._to_float(self.graph.node("Gather", [name, tokens], "/model/embed_tokens/Gather"), "/model/embed_tokens")
        if self.spec.embedding_scale != 1.0:
            scale = self._float_constant("model.embed_tokens.embed_scale", np.array(self.spec.embedding_scale))
            hidden = self.graph.node("Mul", [hidden, scale], "/model/embed_tokens/Mul")
        return hidden

    def _rotary(self) -> None:
        """cos, sin [B, S, D / 2] per rotary base."""
        graph = self.graph
        positions = graph.node("Cast", ["position_ids"], "/model/rotary_emb/Cast", to=TensorProto.FLOAT)
        positions = graph.node("Unsqueeze", [positions, graph.constant("axes_2", [2])], "/model/rotary_emb/Unsqueeze")
        for index, rope in enumerate(self.spec.ropes):
            if index not in self.spec.layer_ropes:
                self._rotations.append(("", ""))
                continue
            frequencies = self._float_constant(f"model.{rope.name}.inv_freq", rope.inv_freq)
            angles = graph.node("Mul", [positions, frequencies], f"/model/{rope.name}/Mul")
            cos, sin = (graph.node(op, [angles], f"/model/{rope.name}/{op}") for op in ("Cos", "Sin"))
            self._rotations.append((cos, sin))

    def _mask(self, window: int) -> str:
        """bool [B, 1, S, T]: key k is seen by query q if k <= q and, with a window, k > q - window."""
        if window in self._masks:
            return self._masks[window]
        graph, base = self.graph, "/model/attention_mask"
        if not self._masks:
            past = graph.node("Shape", ["past_key_values.0.key"], f"{base}/past/Shape", start=2, end=3)
            new = graph.node("Shape", ["input_ids"], f"{base}/new/Shape", start=1, end=2)
            total = graph.node("Add", [past, new], f"{base}/Add")
            total = graph.node("Squeeze", [total, graph.constant("axes_0", [0])], f"{base}/Squeeze")
            keys = graph.node("Range", [graph.constant("zero", 0), total, graph.constant("one", 1)], f"{base}/Range")
            graph.node("Unsqueeze", [keys, graph.constant("axes_0_1_2", [0, 1, 2])], f"{base}/keys/Unsqueeze")
            graph.node("Unsqueeze", ["position_ids", graph.constant("axes_1_3", [1, 3])], f"{base}/queries/Unsqueeze")
        keys, queries, causal = (f"{base}/{name}_output_0" for name in ("keys/Unsqueeze", "queries/Unsqueeze", "LessOrEqual"))
        if 0 not in self._masks:
            self._masks[0] = graph.node("LessOrEqual", [keys, queries], f"{base}/LessOrEqual")
        if window:
            base = f"{base}/sliding_{window}"
            first = graph.node("Sub", [queries, graph.constant(f"window_{window}", window)], f"{base}/Sub")
            recent = graph.node("Greater", [keys, first], f"{base}/Greater")
            self._masks[window] = graph.node("And", [causal, recent], f"{base}/And")
        return self._masks[window]

    def _head(self, hidden: str) -> None:
        """[B, S, E] → logits [B, S, vocabulary]"""
        graph, spec = self.graph, self.spec
        last = ["logits"]
        outputs = None if spec.logit_softcap else last
        if spec.tied_head and not graph.has_hlq_matrix("model.embed_tokens.weight"):
            table = graph.node("Transpose", ["model.embed_tokens.weight"], "/lm_head/Transpose", perm=[1, 0])
            logits = graph.node("MatMul", [hidden, self._to_float(table, "/lm_head")], "/lm_head/MatMul", outputs)
        else:
            name = "model.embed_tokens.weight" if spec.tied_head else "lm_head.weight"
            logits = self._product(hidden, name, spec.hidden_size, spec.vocab_size, "/lm_head", outputs)
        if spec.logit_softcap:
            cap = self._float_constant("lm_head.softcap", np.array(spec.logit_softcap))
            logits = graph.node("Div", [logits, cap], "/lm_head/Div")
            logits = graph.node("Tanh", [logits], "/lm_head/Tanh")
            graph.node("Mul", [logits, cap], "/lm_head/Mul", last)

    # One layer.

    def _layer(self, hidden: str, i: int) -> str:
        """[B, S, E] → [B, S, E]"""
        spec, base = self.spec, f"model.layers.{i}"
        path, size = _path(base), spec.hidden_size
        block = self._attention(self._norm(hidden, f"{base}.input_layernorm", size), i)
        before_mlp = "post_attention_layernorm"
        if spec.sandwich_norms:
            block = self._norm(block, f"{base}.post_attention_layernorm", size)
            before_mlp = "pre_feedforward_layernorm"
        hidden = self.graph.node("Add", [hidden, block], f"{path}/Add")
        block = self._mlp(self._norm(hidden, f"{base}.{before_mlp}", size), f"{base}.mlp")
        if spec.sandwich_norms:
            block = self._norm(block, f"{base}.post_feedforward_layernorm", size)
        return self.graph.node("Add", [hidden, block], f"{path}/Add_1")

    def _attention(self, hidden: str, i: int) -> str:
        """[B, S, E] → [B, S, E]; queries [B, H, S, D], keys and values [B, G, S, D]"""
        graph, spec, base = self.graph, self.spec, f"model.layers.{i}.self_attn"
        path = _path(base)
        cos, sin = self._rotations[spec.layer_ropes[i]]
        states = {}
        for kind, heads in (("q", spec.num_heads), ("k", spec.num_kv_heads), ("v", spec.num_kv_heads)):
            x = self._linear(hidden, f"{base}.{kind}_proj", spec.hidden_size, heads * spec.head_dim, spec.qkv_bias)
            shape = graph.constant(f"shape_heads_{heads}", [0, 0, heads, spec.head_dim])
            x = graph.node("Reshape", [x, shape], f"{path}/{kind}/Reshape")
            if spec.qk_norm and kind != "v":
                x = self._norm(x, f"{base}.{kind}_norm", spec.head_dim)
            x = graph.node("Transpose", [x], f"{path}/{kind}/Transpose", perm=[0, 2, 1, 3])
            if kind != "v":
                x = graph.node("RotaryEmbedding", [x, cos, sin], f"{path}/{kind}/RotaryEmbedding")
            states[kind] = x
        context = graph.node(
            "Attention", [states["q"], states["k"], states["v"], self._mask(spec.layer_windows[i]),
                          f"past_key_values.{i}.key", f"past_key_values.{i}.value"],
            f"{path}/Attention", [f"{path}/Attention_output_0", f"present.{i}.key", f"present.{i}.value"],
            is_causal=0, scale=spec.attention_scale)
        context = graph.node("Transpose", [context], f"{path}/Transpose", perm=[0, 2, 1, 3])
        width = spec.num_heads * spec.head_dim
        context = graph.node("Reshape", [context, graph.constant("shape_context", [0, 0, width])], f"{path}/Reshape")
        return self._linear(context, f"{base}.o_proj", width, spec.hidden_size, spec.output_bias)

    def _mlp(self, hidden: str, base: str) -> str:
        """[B, S, E] → [B, S, E]: down(activation(gate(x)) * up(x))"""
        graph, spec, path = self.graph, self.spec, _path(base)
        sizes = (spec.hidden_size, spec.intermediate_size)
        gate = self._linear(hidden, f"{base}.gate_proj", *sizes, spec.mlp_bias)
        up = self._linear(hidden, f"{base}.up_proj", *sizes, spec.mlp_bias)
        if spec.activation == "silu":
            sigmoid = graph.node("Sigmoid", [gate], f"{path}/act_fn/Sigmoid")
            gate = graph.node("Mul", [gate, sigmoid], f"{path}/act_fn/Mul")
        else:
            gate = graph.node("Gelu", [gate], f"{path}/act_fn/Gelu", approximate="tanh")
        product = graph.node("Mul", [gate, up], f"{path}/Mul")
        return self._linear(product, f"{base}.down_proj", spec.intermediate_size, spec.hidden_size, spec.mlp_bias)

    # Building blocks.

    def _linear(self, x: str, base: str, inputs: int, outputs: int, bias: bool) -> str:
        """[..., inputs] → [..., outputs]"""
        path = _path(base)
        x = self._product(x, f"{base}.weight", inputs, outputs, path)
        if bias or self._has_packed_bias(base):
            x = self.graph.node("Add", [x, self._vector(f"{base}.bias", outputs, 0.0)], f"{path}/Add")
        return x

    def _has_packed_bias(self, base: str) -> bool:
        """Packers may give a layer a bias that its architecture does not have; mostly zeros."""
        name = f"{base}.bias"
        return self.graph.has_hlq_matrix(f"{base}.weight") and name in self.checkpoint and bool(self.checkpoint.whole(name).any())

    def _product(self, x: str, name: str, inputs: int, outputs: int, path: str, results: Sequence[str] | None = None) -> str:
        """x times the transpose of the checkpoint's matrix [outputs, inputs]."""
        order = self._hlq_matrix(name, inputs, outputs)
        if order is None:
            return self.graph.node("MatMul", [x, self._to_float(self._matrix(name, inputs, outputs), path)], f"{path}/MatMul", results)
        if order.size:
            # Columns are stored in the order of their groups.
            indices = self.graph.weight(f"{name}.order", order.shape, [order], order.dtype)
            x = self.graph.node("Gather", [x, indices], f"{path}/Gather", axis=2)
        return self.graph.hlq_node("HLQMatMul", x, name, f"{path}/MatMul", results)

    def _hlq_matrix(self, name: str, inputs: int, outputs: int) -> np.ndarray | None:
        """Stores a matrix that is quantized in the checkpoint; returns the order of its columns, empty where it is theirs. None: it is not."""
        if self.graph.has_hlq_matrix(name):
            return np.empty(0, np.int64)
        if not self.keep_quantized or name not in self.checkpoint:
            return None
        self.checkpoint.check(name, (outputs, inputs))
        matrix = self.checkpoint.quantized(name)
        if matrix is None:
            return None
        self.graph.hlq_matrix(name, matrix.hlq(name))
        return np.empty(0, np.int64) if matrix.order is None else matrix.order

    def _matrix(self, name: str, inputs: int, outputs: int) -> str:
        """A linear layer's weight [outputs, inputs] of the checkpoint as an initializer [inputs, outputs]."""
        self.checkpoint.check(name, (outputs, inputs))
        return self.graph.weight(name, (inputs, outputs), [self.checkpoint.whole(name).T], self.dtype)

    def _vector(self, name: str, size: int, offset: float) -> str:
        self.checkpoint.check(name, (size,))
        values = self.checkpoint.whole(name)
        return self.graph.weight(name, (size,), [values + np.float32(offset) if offset else values], F32)

    def _norm(self, x: str, base: str, size: int) -> str:
        """RMS norm of the last axis, of `size` elements."""
        offset = 0.0 if self.checkpoint.norms_are_folded else self.spec.norm_offset
        scale = self._vector(f"{base}.weight", size, offset)
        return self.graph.node("RMSNormalization", [x, scale], f"{_path(base)}/RMSNormalization", axis=-1,
                               epsilon=self.spec.norm_epsilon)

    def _to_float(self, x: str, path: str) -> str:
        """Computation is in f32 whatever type the weights are stored in."""
        if self.dtype == F32:
            return x
        return self.graph.node("Cast", [x], f"{path}/Cast", to=TensorProto.FLOAT)

    def _float_constant(self, name: str, values: np.ndarray) -> str:
        return self.graph.weight(name, values.shape, [values], F32)


def _path(base: str) -> str:
    """`model.layers.0.mlp` → `/model/layers.0/mlp`, the node names that PyTorch's exporter makes of module names."""
    parts: list[str] = []
    for part in base.split("."):
        if part.isdigit() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return "/" + "/".join(parts)
