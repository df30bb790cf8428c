"""HLQ as ONNX: the quantized model runs in ONNX Runtime, by its function bodies, and does what the planes say."""

import os
import pathlib
import subprocess

import dequantized_model
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from elutq.hlq_onnx import HLQMatrix, functions

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ELUTQ_BUILD_DIR", ROOT / "build" / "release"))
TRANSLATE = BUILD / "bin" / "elutq-translate"


def value(name, element_type, shape):
    return helper.make_tensor_value_info(name, element_type, shape)


def save(path, nodes, initializers, inputs, outputs, opset=23):
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    graph = helper.make_graph(nodes, "main", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)


def quantize(source, bits, group_size, target=None, params="hlq"):
    target = target or source.with_name("hlq.onnx")
    return target, subprocess.run([TRANSLATE, "--onnx-to-hlq-onnx", source, f"--hlq-onnx-output={target}",
                                   f"--hlq-onnx-bits={bits}", f"--hlq-onnx-group-size={group_size}", f"--hlq-onnx-params={params}"],
                                  capture_output=True, text=True, timeout=120, check=False)


def run(path, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def dequantize(model, name, columns, group_size):
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    parts = (tensors[f"{name}.{part}"] for part in ("planes", "scales", "zeros"))
    return dequantized_model.dequantize(*parts, columns, group_size)


@pytest.mark.parametrize("params", ["hlq", "compact"])
@pytest.mark.parametrize("bits, group_size, columns", [(1, 16, 48), (2, 32, 100), (3, 64, 64), (4, 128, 200), (8, 32, 100), (2, 256, 300), (3, 320, 300),
                                                       (1, 256, 256)])
def test_products_and_lookups(tmp_path, bits, group_size, columns, params):
    # A tied table, a layer with its own weights and one with a bias; K is not always a multiple of the group.
    rng = np.random.default_rng(bits)
    table = rng.standard_normal((40, columns), np.float32)
    weights = rng.standard_normal((columns, columns), np.float32)
    other = rng.standard_normal((24, 40), np.float32)
    bias = rng.standard_normal(24, np.float32)
    source = tmp_path / "float.onnx"
    save(source,
         [helper.make_node("Gather", ["table", "ids"], ["e"], name="embed"),
          helper.make_node("MatMul", ["e", "weights"], ["h"], name="proj"),
          helper.make_node("Transpose", ["table"], ["table_t"], perm=[1, 0]),
          helper.make_node("MatMul", ["h", "table_t"], ["logits"], name="head"),
          helper.make_node("Reshape", ["logits", "shape"], ["flat"]),
          helper.make_node("Gemm", ["flat", "other", "bias"], ["y"], name="gemm", transB=1)],
         {"table": table, "weights": weights, "other": other, "bias": bias, "shape": np.array([-1, 40], np.int64)},
         [value("ids", TensorProto.INT64, ["batch", "sequence"])],
         [value("e", TensorProto.FLOAT, ["batch", "sequence", columns]),
          value("logits", TensorProto.FLOAT, ["batch", "sequence", 40]), value("y", TensorProto.FLOAT, ["rows", 24])])
    target, result = quantize(source, bits, group_size, params=params)
    assert result.returncode == 0, result.stderr

    model = onnx.load(target)
    zeros = next(t for t in model.graph.initializer if t.name == "weights.zeros")
    assert (zeros.data_type == TensorProto.UINT8) == (len(zeros.dims) == 3) == (params == "compact" and bits != 8)
    assert [node.op_type for node in model.graph.node] == ["HLQGather", "HLQMatMul", "HLQMatMul", "Reshape", "HLQMatMul", "Add"]
    assert not {"table", "weights", "other"} & {t.name for t in model.graph.initializer}
    onnx.checker.check_model(str(target), full_check=True)

    ids = np.array([[3, 1, 39], [0, 7, 7]], np.int64)
    embedded, logits, y = run(target, {"ids": ids})
    q_table, q_weights, q_other = (dequantize(model, "table", columns, group_size),
                                   dequantize(model, "weights", columns, group_size),
                                   dequantize(model, "other", 40, group_size))
    expected_logits = q_table[ids] @ q_weights.T @ q_table.T
    np.testing.assert_allclose(embedded, q_table[ids], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(y, expected_logits.reshape(-1, 40) @ q_other.T + bias, rtol=1e-4, atol=1e-2)
    # The planes stand for these weights, not for others: the error is that of so many bits.
    error = np.linalg.norm(q_table - table) / np.linalg.norm(table)
    assert error < {1: 0.7, 2: 0.4, 3: 0.25, 4: 0.13, 8: 0.008}[bits]


def test_import_reads_it_back(tmp_path):
    source = tmp_path / "float.onnx"
    save(source, [helper.make_node("MatMul", ["x", "w"], ["y"], name="proj")],
         {"w": np.random.default_rng(0).standard_normal((64, 32), np.float32)},
         [value("x", TensorProto.FLOAT, ["batch", 64])], [value("y", TensorProto.FLOAT, ["batch", 32])])
    target, result = quantize(source, 2, 32)
    assert result.returncode == 0, result.stderr
    imported = subprocess.run([TRANSLATE, "--import-onnx", target], capture_output=True, text=True, timeout=60, check=True)
    assert "onnx.elutq.HLQMatMul" in imported.stdout
    assert "{K = 64 : i64, N = 32 : i64, bits = 2 : i64, group_size = 32 : i64}" in imported.stdout


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_one_scale_for_all_planes(bits, dtype, tmp_path):
    """Each plane counts twice as much as the one below. Rows looked up have the very values of the definition, as one rounding gives them."""
    rng = np.random.default_rng(bits)
    n, k, group = 24, 80, 32
    codes = rng.integers(0, 1 << bits, (n, k), np.uint8)
    padded = np.pad(codes, ((0, 0), (0, 16)))
    planes = np.stack([np.packbits(padded >> j & 1, axis=1, bitorder="little") for j in range(bits)])
    scales, zeros = rng.standard_normal((n, 3, 1)).astype(dtype), rng.standard_normal((n, 3)).astype(dtype)
    nodes = [helper.make_node("HLQGather", ["ids", "w.planes", "w.scales", "w.zeros"], ["e"], domain="ai.elutq", K=k, N=n, bits=bits, group_size=group),
             helper.make_node("HLQMatMul", ["e", "w.planes", "w.scales", "w.zeros"], ["y"], domain="ai.elutq", K=k, N=n, bits=bits, group_size=group)]
    tensors = [numpy_helper.from_array(array, f"w.{name}") for name, array in (("planes", planes), ("scales", scales), ("zeros", zeros))]
    graph = helper.make_graph(nodes, "main", [value("ids", TensorProto.INT64, [n])],
                              [value("e", TensorProto.FLOAT, [n, k]), value("y", TensorProto.FLOAT, [n, n])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid("ai.elutq", 1)], ir_version=10,
                              functions=functions(23))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "model.onnx")
    columns = np.arange(k) // group
    wide, zero = scales[:, columns, 0].astype(np.float64), zeros[:, columns].astype(np.float64)
    expected = ((wide * codes).astype(np.float32).astype(np.float64) + zero).astype(np.float32)
    looked_up, y = run(tmp_path / "model.onnx", {"ids": np.arange(n)})
    if dtype == np.float16:  # Products with the bits are exact then.
        np.testing.assert_array_equal(looked_up, expected)
        np.testing.assert_array_equal(HLQMatrix(planes, scales, zeros, bits, k, group).dequantize(), expected)
    np.testing.assert_allclose(looked_up, wide * codes + zero, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(y, expected @ expected.T, rtol=1e-4, atol=1e-3)


def test_half_activations(tmp_path):
    rng = np.random.default_rng(5)
    source = tmp_path / "float.onnx"
    save(source, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": rng.standard_normal((64, 32)).astype(np.float16)},
         [value("x", TensorProto.FLOAT16, [2, 64])], [value("y", TensorProto.FLOAT16, [2, 32])])
    target, result = quantize(source, 4, 32)
    assert result.returncode == 0, result.stderr
    x = rng.standard_normal((2, 64)).astype(np.float16)
    (y,) = run(target, {"x": x})
    expected = x.astype(np.float32) @ dequantize(onnx.load(target), "w", 64, 32).T
    np.testing.assert_allclose(y, expected, rtol=2e-3, atol=2e-2)


def test_what_stays_float(tmp_path):
    # Used in two orders, by another operator, or as an output: such matrices are left alone.
    rng = np.random.default_rng(6)
    square = {name: rng.standard_normal((32, 32), np.float32) for name in ("both", "added", "shown")}
    source = tmp_path / "float.onnx"
    save(source,
         [helper.make_node("MatMul", ["x", "both"], ["a"]), helper.make_node("Gemm", ["a", "both"], ["b"], transB=1),
          helper.make_node("MatMul", ["b", "added"], ["c"]), helper.make_node("Add", ["c", "added"], ["d"]),
          helper.make_node("MatMul", ["d", "shown"], ["y"])],
         square, [value("x", TensorProto.FLOAT, [32, 32])],
         [value("y", TensorProto.FLOAT, [32, 32]), value("shown", TensorProto.FLOAT, [32, 32])])
    target, result = quantize(source, 4, 32)
    assert result.returncode == 0, result.stderr
    assert {t.name for t in onnx.load(target).graph.initializer} == set(square)
    x = rng.standard_normal((32, 32), np.float32)
    np.testing.assert_allclose(run(target, {"x": x})[0], run(source, {"x": x})[0], rtol=1e-5)


def test_errors(tmp_path):
    source = tmp_path / "float.onnx"
    weights = np.ones((32, 32), np.float32)
    for opset, array, part in [(17, weights, "opset 17"), (23, weights * np.nan, "'w'")]:
        save(source, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": array},
             [value("x", TensorProto.FLOAT, [2, 32])], [value("y", TensorProto.FLOAT, [2, 32])], opset)
        _, result = quantize(source, 4, 32)
        assert result.returncode == 1 and part in result.stderr, result.stderr
    _, result = quantize(source, 4, 32, target=source)
    assert result.returncode == 1 and "is the model that is read" in result.stderr
