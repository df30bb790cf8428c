"""Weights of 8 bits end to end: quantized, as ONNX, and imported from graphs whose codes are bytes, against ONNX Runtime."""

import re
import shutil

import numpy as np
import onnx
import pytest
from genai_models import write_model
from onnx import numpy_helper
from test_genai import compile_library, dequantized_by_onnx_runtime, imported_constants, logits, reference

import elutq


def check(model, expected, limit):
    """By decode and by prefill: the largest error of a row is within `limit` of its range."""
    span = np.ptp(expected, axis=1)
    decoded, prefilled, split = logits(model)
    for actual, rows in ((decoded, slice(None)), (prefilled, slice(split - 1, None))):
        error = np.abs(actual - expected[rows]).max(axis=1) / span[rows]
        print(f"error / range: max {error.max():.5f}, mean {error.mean():.5f}")
        assert error.max() <= limit
    return decoded


@pytest.mark.parametrize("quantization, loss", [("hlq:bits=4,group=32,embedding=8,head=8", 0.3), ("hlq:bits=8,group=32", 0.02)])
def test_quantized(quantization, loss, compiler, tmp_path):
    """The same bits from the float model and from its quantized form in ONNX, which ONNX Runtime runs unmodified."""
    model = write_model("gemma3-fp32", tmp_path / "model")
    quantized = shutil.copytree(model, tmp_path / "quantized", ignore=shutil.ignore_patterns("model.onnx*"))
    elutq.compile(model / "model.onnx", quantized / "model.onnx", emit="hlq-onnx", quantize=quantization)
    report = tmp_path / "report"
    direct = compile_library(compiler, model, tmp_path / "direct", f"--report={report}", quantize=quantization)
    expected = reference(quantized)
    decoded = check(direct, expected, 0.001)
    np.testing.assert_array_equal(logits(compile_library(compiler, quantized, tmp_path / "twostep"))[0], decoded)

    # What 8 bits cost is far below what 4 bits do.
    exact = reference(model)
    assert np.abs(expected - exact).max() <= loss * np.ptp(exact)
    kernels = dict(re.findall(r"^decode\s+(\S+)\s.*\s(8\s.*dot|4\s.*lut|8\s.*gather) ", report.read_text(), re.M))
    assert kernels["/lm_head/MatMul"].endswith("dot") and kernels["/model/embed_tokens/Gather"].endswith("gather")
    assert kernels["/model/layers.0/mlp/down_proj/MatMul"].endswith("lut" if "bits=4" in quantization else "dot")


def to_eight_bits(folder):
    """Makes the codes of a model of the builder bytes, with zero points where it has them, and the scales as much smaller."""
    model = onnx.load(folder / "model.onnx", load_external_data=True)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    rng = np.random.default_rng(11)
    widened = set()

    def replace(name, values):
        if name not in widened:
            tensors[name].CopyFrom(numpy_helper.from_array(values, name))
        widened.add(name)

    for node in model.graph.node:
        if node.op_type not in ("MatMulNBits", "GatherBlockQuantized"):
            continue
        for attribute in node.attribute:
            attribute.i = 8 if attribute.name == "bits" else attribute.i
        if node.op_type == "MatMulNBits":
            rows, groups, half = tensors[node.input[1]].dims
            replace(node.input[1], rng.integers(0, 256, (rows, groups, 2 * half), np.uint8))
            replace(node.input[2], numpy_helper.to_array(tensors[node.input[2]]) / np.float32(16))
            if len(node.input) > 3 and node.input[3]:
                replace(node.input[3], rng.integers(90, 160, rows * groups).astype(np.uint8))
    # The embedding reads the head's codes through a Reshape, to [N, bytes of a row].
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0].endswith("[320, 48]"):
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([320, 96], np.int64)))
    onnx.save(model, folder / "model.onnx")


@pytest.fixture(params=["gemma3-int4", "qwen2-int4-asymmetric"])
def byte_model(request, tmp_path):
    folder = write_model(request.param, tmp_path / "model")
    to_eight_bits(folder)
    return folder


def test_imported(byte_model, compiler, tmp_path):
    check(compile_library(compiler, byte_model, tmp_path / "tiny"), reference(byte_model), 0.001)


def test_import_is_lossless(byte_model, compiler):
    imported, expected = imported_constants(compiler, byte_model), dequantized_by_onnx_runtime(byte_model)
    assert len(expected) > 8 and imported.keys() == expected.keys()
    for node, ((codes, scales, *zeros), group, zero_point) in imported.items():
        columns = 96 if "embed_tokens" in node else expected[node].shape[1]
        assert codes.ndim == 2 and not codes[:, columns:].any()
        wide = np.repeat(scales[..., 0].astype(np.float64), group, axis=1)
        points = np.rint(-np.repeat(zeros[0].astype(np.float64), group, axis=1) / wide) if zeros else zero_point
        np.testing.assert_array_equal(((codes.astype(np.int64) - points) * wide).astype(np.float32)[:, :columns], expected[node][:, :columns], err_msg=node)
