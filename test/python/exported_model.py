"""Compiles an exported model and compares it with ONNX Runtime."""

import json
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import elutq

CHUNK, PROMPT = 8, 21  # No multiple of the chunk, and past the window of those models that have one.
TOKENS = np.random.default_rng(3).integers(3, 64, 40)


def _names(path: Path) -> tuple[list, list, int]:
    """Inputs of the past, outputs of the present in the same order, and the slots of a cache of fixed size."""
    config = path.with_name("genai_config.json")
    slots = json.loads(config.read_text())["model"]["decoder"].get("sliding_window", {}).get("window_size", 0) if config.exists() else 0
    graph = onnx.load(path, load_external_data=False).graph
    return [value for value in graph.input if "past" in value.name], [value.name for value in graph.output[1:]], slots


def convert_floats(model: onnx.ModelProto, source: int, target: int) -> None:
    """Makes one float type of all of another one in a model with its tensors loaded: weights, inputs and outputs, and what Cast converts to."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(target)

    def convert(tensor: onnx.TensorProto) -> None:
        if tensor.data_type == source:
            with np.errstate(over="ignore"):  # What hides keys may become infinite.
                numbers = onnx.numpy_helper.to_array(tensor).astype(dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(numbers, tensor.name))

    graph = model.graph
    for tensor in graph.initializer:
        convert(tensor)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == source:
            value.type.tensor_type.elem_type = target
    for node in graph.node:
        for attribute in node.attribute:
            convert(attribute.t)
            if node.op_type == "Cast" and attribute.i == source:
                attribute.i = target


def _write_norms_out(graph: onnx.GraphProto) -> None:
    """Norms of queries and keys in GroupQueryAttention, which ONNX Runtime does on GPUs only, as operators in front of it."""
    nodes, sizes = [], {tensor.name: tensor.dims[0] for tensor in graph.initializer if len(tensor.dims) == 1}
    for node in graph.node:
        for operand, weight in ((0, 14), (1, 15)):
            if node.op_type != "GroupQueryAttention" or len(node.input) <= weight or not node.input[weight]:
                continue
            epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "qk_norm_epsilon"), 1e-6)
            name, scale = f"{node.name}.norm{operand}", node.input[weight]
            for part, shape in (("heads", [0, 0, -1, sizes[scale]]), ("row", [0, 0, -1])):
                graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape), f"{name}.{part}"))
            nodes += [onnx.helper.make_node("Reshape", [node.input[operand], f"{name}.heads"], [f"{name}.in"]),
                      onnx.helper.make_node("SimplifiedLayerNormalization", [f"{name}.in", scale], [f"{name}.out"], epsilon=epsilon),
                      onnx.helper.make_node("Reshape", [f"{name}.out", f"{name}.row"], [name])]
            node.input[operand], node.input[weight] = name, ""
        nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def reference_logits(path: Path, head_size: int) -> np.ndarray:
    """f32 [tokens, vocabulary] of TOKENS by ONNX Runtime: a few tokens at first, then one by one, so that its cache moves, too.

    Products with quantized matrices are computed in f32 (`accuracy_level` 0), and so is what a model computes in f16.
    """
    model = onnx.load(path, load_external_data=False)
    if any(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16 for value in model.graph.input):
        onnx.load_external_data_for_model(model, str(path.parent))
        convert_floats(model, onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    _write_norms_out(model.graph)
    copy = path.with_name("reference.onnx")
    onnx.save(model, copy)
    options = onnxruntime.SessionOptions()
    # DequantizeLinear and MatMul become MatMulNBits, too, whose activations have 8 bits by default.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    session = onnxruntime.InferenceSession(str(copy), options, providers=["CPUExecutionProvider"])
    pasts, presents, slots = _names(path)
    past = {}
    for value in pasts:
        heads, length = (value.type.tensor_type.shape.dim[axis] for axis in (1, 2))
        past[value.name] = np.zeros((1, heads.dim_value, slots if length.dim_param == "past_sliding_length" else 0, head_size), np.float32)
    position, logits = 0, []
    for part in (TOKENS[:7], *np.split(TOKENS[7:], len(TOKENS) - 7)):
        feeds = {"input_ids": part[None], "attention_mask": np.ones((1, position + len(part)), np.int64),
                 "position_ids": np.arange(position, position + len(part))[None], **past}
        result = session.run(["logits", *presents], {value.name: feeds[value.name] for value in session.get_inputs()})
        logits.append(result[0][0])
        past = dict(zip(past, result[1:]))
        position += len(part)
    return np.concatenate(logits)


def open_session(target: Path) -> elutq.Session:
    return elutq.Model(target.with_name(f"lib{target.name}.so")).session()


def compiled_logits(path: Path, target: Path, quantize: str) -> tuple[np.ndarray, np.ndarray]:
    """f32 [tokens, vocabulary] by decode; and from row PROMPT - 1 on by prefill of PROMPT tokens, then decode."""
    elutq.compile(path, target, emit="lib", quantize=quantize, arguments=[f"--chunk={CHUNK}", "--kv-cache=f32", "--max-context=64"])
    session = open_session(target)
    decoded = np.stack([session.decode(int(token)) for token in TOKENS])
    session.reset()
    prefilled = np.stack([session.prefill(TOKENS[:PROMPT]), *(session.decode(int(token)) for token in TOKENS[PROMPT:])])
    return decoded, prefilled


def error_of(path: Path, target: Path, head_size: int, quantize: str = "none") -> float:
    """The greatest difference of the compiled model's logits, as a part of the greatest logit's size."""
    decoded, prefilled = compiled_logits(path, target, quantize)
    expected = reference_logits(path, head_size)
    difference = max(np.abs(decoded - expected).max(), np.abs(prefilled - expected[PROMPT - 1:]).max())
    return float(difference / np.abs(expected).max())


def decode_speed(target: Path) -> float:
    """Tokens per second of the model that `error_of` compiled: the fastest step of decode among TOKENS."""
    session, fastest = open_session(target), float("inf")
    for token in TOKENS:
        begin = time.perf_counter()
        session.decode(int(token))
        fastest = min(fastest, time.perf_counter() - begin)
    return 1 / fastest
