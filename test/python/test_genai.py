"""Graphs of onnxruntime-genai's model builder compile as they are, and compute what ONNX Runtime computes."""

import re
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest

import elutq
from genai_models import GRAPHS, WINDOW, GenAISession, write_model

FLOAT = [name for name, (_, precision, _) in GRAPHS.items() if precision == "fp32"]
INT4 = [name for name in GRAPHS if name not in FLOAT]
CHUNK = 8
TOKENS = np.random.default_rng(3).integers(3, 320, 3 * WINDOW)


def compile_library(compiler, model, target, *arguments, quantize="none"):
    elutq.compile(model / "model.onnx", target, emit="lib", quantize=quantize, arguments=[f"--chunk={CHUNK}", "--kv-cache=f32", *arguments])
    return elutq.Model(target.with_name(f"lib{target.name}.so"))


def logits(model):
    """f32 [tokens, vocabulary] by decode, and the last rows of the same by prefill and decode."""
    session = model.session()
    decoded = np.stack([session.decode(int(token)) for token in TOKENS])
    session.reset()
    split = 2 * WINDOW + 3  # Past the window, and no multiple of the chunk.
    prefilled = np.stack([session.prefill(TOKENS[:split]), *(session.decode(int(token)) for token in TOKENS[split:])])
    return decoded, prefilled, split


def reference(model):
    """By ONNX Runtime; the prompt and single tokens, so that its cache moves, too."""
    session = GenAISession(model)
    return np.concatenate([session.feed(TOKENS[:WINDOW]), *(session.feed([token]) for token in TOKENS[WINDOW:])])


@pytest.mark.parametrize("name", FLOAT)
def test_float_graphs(name, compiler, tmp_path):
    model = write_model(name, tmp_path / "model")
    expected = reference(model)
    decoded, prefilled, split = logits(compile_library(compiler, model, tmp_path / "tiny"))
    bound = 1e-4 * np.abs(expected).max()
    assert np.abs(decoded - expected).max() <= bound
    assert np.abs(prefilled - expected[split - 1:]).max() <= bound


@pytest.mark.parametrize("name", INT4)
def test_int4_graphs(name, compiler, tmp_path):
    """What differs are the 8-bit tables of activations."""
    model = write_model(name, tmp_path / "model")
    expected = reference(model)
    span = np.ptp(expected, axis=1)
    decoded, prefilled, split = logits(compile_library(compiler, model, tmp_path / "tiny"))
    for actual, rows in ((decoded, slice(None)), (prefilled, slice(split - 1, None))):
        error = np.abs(actual - expected[rows]).max(axis=1) / span[rows]
        print(f"{name}: error / range: max {error.max():.4f}, mean {error.mean():.4f}")
        assert error.max() <= 0.03 and error.mean() <= 0.015


@pytest.mark.parametrize("name, kinds", [
    ("gemma3-int4-128", {"4 128 symmetric f32"}),
    # This embedding is float in the model, so --quantize takes it.
    ("qwen2-int4-asymmetric", {"4 32 uniform f32", "4 64 hlq f16"})])
def test_quantize_leaves_integers_alone(name, kinds, compiler, tmp_path):
    model, report = write_model(name, tmp_path / "model"), tmp_path / "report"
    elutq.compile(model / "model.onnx", tmp_path / "tiny.o", emit="obj", quantize="hlq:bits=3,group=64,embedding=4",
                  arguments=[f"--report={report}"])
    rows = re.findall(r"^(?:decode|prefill)\s+(\S+)\s+\d+\s+\d+\s+(\d+)\s+(\d+)\s+(\w+ \w+)", report.read_text(), re.MULTILINE)
    assert {f"{bits} {group} {params}" for _, bits, group, params in rows} == kinds
    assert {node for node, _, _, params in rows if params == "hlq f16"} <= {"/model/embed_tokens/Gather"}


@pytest.mark.parametrize("name, quantization", [
    *((name, "hlq:bits=4,group=32") for name in FLOAT),
    *(("gemma3-fp32", f"hlq:bits={bits},group={group},params={params},embedding={bits},head={bits}") for bits, group, params in
      [(1, 32, "hlq"), (1, 64, "compact"), (2, 128, "hlq"), (2, 16, "compact"), (3, 0, "hlq"), (3, 128, "compact"), (4, 256, "hlq"), (4, 64, "compact")])])
def test_quantized_model_as_onnx(name, quantization, compiler, tmp_path):
    """It compiles to the same bits as the float model does with the same quantization, and ONNX Runtime runs it."""
    model = write_model(name, tmp_path / "model")
    quantized = shutil.copytree(model, tmp_path / "quantized", ignore=shutil.ignore_patterns("model.onnx*"))
    elutq.compile(model / "model.onnx", quantized / "model.onnx", emit="hlq-onnx", quantize=quantization)
    operators = {node.op_type for node in onnx.load(quantized / "model.onnx", load_external_data=False).graph.node}
    assert {"HLQMatMul", "HLQGather"} <= operators and not {"MatMul", "Transpose"} & operators
    direct = logits(compile_library(compiler, model, tmp_path / "direct", quantize=quantization))[0]
    np.testing.assert_array_equal(logits(compile_library(compiler, quantized, tmp_path / "twostep"))[0], direct)
    expected = reference(quantized)
    assert np.all(np.abs(direct - expected).max(axis=1) <= 0.04 * np.ptp(expected, axis=1))


def test_files_beside_the_model(compiler, tmp_path):
    """genai_config.json and the tokenizer are in the artefact."""
    model = write_model("gemma3-fp32", tmp_path / "model")
    compiled = compile_library(compiler, model, tmp_path / "tiny")
    assert compiled.meta["model_type"] == "gemma3_text" and compiled.max_context == 128
    assert (compiled.meta["bos_ids"], compiled.meta["eos_ids"]) == ("2", "1,106")
    assert compiled.is_stop(1) and compiled.is_stop(106) and not compiled.is_stop(2)
    assert compiled.detokenize(compiled.tokenize("Hé", bos=False)) == "Hé"


def test_malformed_embedding(compiler, tmp_path):
    """What the builder writes for a tied embedding that is quantized asymmetrically; ONNX Runtime refuses it, too."""
    model = write_model("gemma3-int4", tmp_path / "model")
    proto = onnx.load(model / "model.onnx", load_external_data=False)
    gather = next(node for node in proto.graph.node if node.op_type == "GatherBlockQuantized")
    del gather.input[2]
    onnx.save(proto, model / "model.onnx")
    with pytest.raises(elutq.CompileError, match="'/model/embed_tokens/GatherBlockQuantized'.* has input size 2"):
        elutq.compile(model / "model.onnx", tmp_path / "tiny", emit="lib")


# Losslessness: the constants of hlq.linear and hlq.gather against what ONNX Runtime's kernels make of the codes.

def imported_constants(compiler, model, dims=("batch_size=1", "sequence_length=1")):
    """By node: the constant operands, the group size and the zero point of each hlq op, from the printed module."""
    bindings = [f"--bind-dim={name}" for name in dims]
    imported = subprocess.run([compiler.with_name("elutq-translate"), "--import-onnx", "-mlir-print-debuginfo", *bindings, model / "model.onnx"], check=True,
                              capture_output=True).stdout
    text = subprocess.run([compiler.with_name("elutq-opt"), "-recognize-onnx", "-convert-onnx-to-hlq", "-mlir-print-debuginfo", "-mlir-print-op-generic"],
                          input=imported, check=True, capture_output=True).stdout.decode()
    blobs = {key.strip('"'): bytes.fromhex(data)[4:] for key, data in re.findall(r'("[^"]+"|[\w.]+): "0x([0-9A-Fa-f]*)"', text)}
    names = dict(re.findall(r'^(#loc\d*) = loc\("([^"]*)"', text, re.M))
    constants = {}
    for value, key, shape, kind in re.findall(r'(%\S+) = "arith.constant"\(\) <\{value = dense_resource<("[^"]+"|[^>]+)> : '
                                              r'tensor<([\dx]*)x(\w+)>', text):
        dtype = {"i8": np.uint8, "ui8": np.uint8, "f32": np.float32, "i32": np.int32, "i64": np.int64}[kind]
        constants[value] = np.frombuffer(blobs[key.strip('"')], dtype).reshape([int(size) for size in shape.split("x")])
    # One number for all elements.
    for value, number, shape in re.findall(r'(%\S+) = "arith.constant"\(\) <\{value = dense<([-+.\de]+)> : tensor<([\dx]+)xf32>', text):
        constants[value] = np.full([int(size) for size in shape.split("x")], np.float32(number))
    found = {}
    for operands, attributes, location in re.findall(r'"hlq\.(?:linear|gather)"\(([^)]*)\) <\{([^}]*)\}>.*loc\((#loc\d*)\)', text):
        integers = dict(re.findall(r"(group_size|zero_point) = (\d+)", attributes))
        found[names[location]] = ([constants[value] for value in operands.split(", ") if value in constants], int(integers["group_size"]),
                                  int(integers["zero_point"]) if "zero_point" in integers else None)
    return found


def read_hlq(constants, group, zero_point, columns):
    """Scales, zero points and codes, each [N, K], from planes [bits, N, G * g / 8], scales [N, G, 1] and zeros [N, G]."""
    planes, scales, *zeros = constants
    bits = np.unpackbits(planes, axis=-1, bitorder="little").astype(np.int64)
    assert not bits[..., columns:].any()
    codes = sum(bits[j] << j for j in range(len(bits)))[:, :columns]
    scales = scales[..., 0]
    if zeros:  # z = -zero_point * s, rounded to f32: the integer comes back exactly.
        points = np.rint(-zeros[0].astype(np.float64) / scales)
        np.testing.assert_array_equal(zeros[0], (-points * scales.astype(np.float64)).astype(np.float32))
    else:
        points = np.full(scales.shape, zero_point, np.float64)
    return np.repeat(scales, group, axis=1)[:, :columns], np.repeat(points, group, axis=1)[:, :columns], codes


def dequantized_by_onnx_runtime(model):
    """By node: f32 [N, K], from the product with the unit matrix, or the gather of all rows."""
    proto = onnx.load(model / "model.onnx", load_external_data=True)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "MatMulNBits":
            name, feed = node.input[0], np.eye(attributes["K"], dtype=np.float32)
        elif node.op_type == "GatherBlockQuantized":
            name, feed = node.input[1], np.arange(320)
        else:
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for attribute in copy.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
        needed = [tensors[value] for value in copy.input if value in tensors]
        nodes = [copy]
        if node.op_type == "GatherBlockQuantized":
            reshape = next(other for other in proto.graph.node if node.input[0] in other.output)
            shape = next(other for other in proto.graph.node if reshape.input[1] in other.output)
            nodes, needed = [shape, reshape, copy], [*needed, tensors[reshape.input[0]]]
        kind = onnx.helper.np_dtype_to_tensor_dtype(feed.dtype)
        graph = onnx.helper.make_graph(nodes, "one", [onnx.helper.make_tensor_value_info(name, kind, feed.shape)],
                                       [onnx.helper.make_tensor_value_info(copy.output[0], onnx.TensorProto.FLOAT, None)], needed)
        single = onnx.helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
        session = onnxruntime.InferenceSession(single.SerializeToString(), providers=["CPUExecutionProvider"])
        result = session.run(None, {name: feed})[0]
        found[node.name] = result.T if node.op_type == "MatMulNBits" else result
    return found


@pytest.mark.parametrize("name", INT4)
def test_import_is_lossless(name, compiler, tmp_path):
    model = write_model(name, tmp_path / "model")
    imported, expected = imported_constants(compiler, model), dequantized_by_onnx_runtime(model)
    assert len(expected) > 8 and imported.keys() == expected.keys()
    for node, (constants, group, zero_point) in imported.items():
        columns = 96 if "embed_tokens" in node else expected[node].shape[1]
        scales, points, codes = read_hlq(constants, group, zero_point, columns)
        np.testing.assert_array_equal(((codes - points) * scales).astype(np.float32), expected[node][:, :columns], err_msg=node)
