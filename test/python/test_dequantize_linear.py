"""Weights as DequantizeLinear of constants: products and look-ups with them become hlq ops with the same codes, without loss."""

import subprocess

import ml_dtypes
import numpy as np
import onnx
import pytest
from genai_models import write_model
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_genai import compile_library, imported_constants, logits, read_hlq

import elutq

N, K = 80, 96
TYPES = {"int2": ml_dtypes.int2, "uint2": ml_dtypes.uint2, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4, "int8": np.int8, "uint8": np.uint8}
LEVELS = {"int2": (-2, 2), "uint2": (0, 4), "int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}


def value(name, element_type, shape):
    return helper.make_tensor_value_info(name, element_type, shape)


def write_product(folder, kind, opset, form, layout, has_zero_points, scale_type=np.float32):
    """Writes y = x times a quantized matrix; returns its floats [N, K], by ONNX's own reference.

    form: "MatMul" ([K, N]), "transposed" ([N, K], Transpose, MatMul), "Gemm" ([K, N]), "Gemm-transposed" or "Gather". layout: how scales lie,
    "tensor", "rows", or blocks of so many columns.
    """
    rng = np.random.default_rng(17)
    by_rows = form in ("transposed", "Gemm-transposed", "Gather")
    shape = (N, K) if by_rows else (K, N)
    column_axis = 1 if by_rows else 0
    attributes = {"axis": column_axis - 2}
    if layout == "tensor":
        scale_shape = ()
    elif layout == "rows":
        scale_shape, attributes["axis"] = (N,), 1 - column_axis
    else:
        groups = -(-K // layout)
        scale_shape, attributes["block_size"] = ((N, groups) if by_rows else (groups, N)), layout
    if scale_type != np.float32:
        attributes["output_dtype"] = TensorProto.FLOAT

    def integers(shape):
        return rng.integers(*LEVELS[kind], shape).astype(TYPES[kind])

    scales = (rng.uniform(0.01, 0.02, scale_shape) * rng.choice([-1, 1], scale_shape)).astype(scale_type)
    tensors = [numpy_helper.from_array(integers(shape), "q"), numpy_helper.from_array(scales, "s")]
    if has_zero_points:
        tensors.append(numpy_helper.from_array(integers(scale_shape), "z"))
    dequantize = helper.make_node("DequantizeLinear", ["q", "s", "z"][:2 + has_zero_points], ["w"], "dequantize", **attributes)
    x = value("x", TensorProto.FLOAT, [2, K])
    if form == "Gather":
        x = value("x", TensorProto.INT64, [2])
        nodes, width = [helper.make_node("Gather", ["w", "x"], ["y"], "product")], K
    elif form.startswith("Gemm"):
        tensors.append(numpy_helper.from_array(rng.standard_normal(N).astype(np.float32), "bias"))
        nodes, width = [helper.make_node("Gemm", ["x", "w", "bias"], ["y"], "product", transB=int(by_rows))], N
    else:
        nodes, width = [helper.make_node("MatMul", ["x", "t" if by_rows else "w"], ["y"], "product")], N
        if by_rows:
            nodes.insert(0, helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]))
    graph = helper.make_graph([dequantize, *nodes], "main", [x], [value("y", TensorProto.FLOAT, [2, width])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=13)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")
    single = helper.make_graph([dequantize], "one", [], [value("w", TensorProto.FLOAT, shape)], tensors[:2 + has_zero_points])
    # The reference begins with opset 19, which changed types only.
    floats = ReferenceEvaluator(helper.make_model(single, opset_imports=[helper.make_opsetid("", max(opset, 19))])).run(None, {})[0]
    return floats if by_rows else floats.T


@pytest.mark.parametrize("kind, opset, form, layout, has_zero_points", [
    ("int4", 21, "MatMul", 32, False), ("uint4", 21, "transposed", 32, True), ("uint4", 22, "Gemm", 16, True), ("int4", 23, "Gemm-transposed", "rows", True),
    ("uint4", 24, "transposed", 48, False), ("int4", 25, "Gather", 32, True), ("uint4", 25, "MatMul", "tensor", True), ("int8", 21, "MatMul", "rows", False),
    ("uint8", 23, "Gather", 32, True), ("int8", 24, "transposed", "tensor", True), ("uint8", 25, "Gemm", 64, False), ("int8", 13, "transposed", "rows", True),
    ("int2", 25, "transposed", 32, False), ("uint2", 25, "MatMul", 16, True), ("int2", 25, "Gather", "rows", True), ("uint2", 25, "Gemm-transposed", 128, False),
    ("int2", 25, "MatMul", "tensor", False)])
@pytest.mark.parametrize("scale_type", [np.float32, np.float16])
def test_import_is_lossless(kind, opset, form, layout, has_zero_points, scale_type, compiler, tmp_path):
    if scale_type == np.float16 and opset < 23:
        pytest.skip("there is no output_dtype before opset 23")
    expected = write_product(tmp_path, kind, opset, form, layout, has_zero_points, scale_type)
    (constants, group, zero_point), = imported_constants(compiler, tmp_path, dims=()).values()
    assert group == (96 if layout in ("tensor", "rows") else {48: 16}.get(layout, layout))
    if kind.endswith("8"):
        codes, scales, *zeros = constants
        wide = np.repeat(scales[..., 0].astype(np.float64), group, axis=1)[:, :K]
        points = np.rint(-np.repeat(zeros[0].astype(np.float64), group, axis=1)[:, :K] / wide) if zeros else zero_point
        codes = codes[:, :K].astype(np.int64)
    else:
        wide, points, codes = read_hlq(constants, group, zero_point, K)
        wide = wide.astype(np.float64)
        assert len(constants[0]) == int(kind[-1])
    np.testing.assert_array_equal(((codes - points) * wide).astype(np.float32), expected)


@pytest.mark.parametrize("kind, opset", [("int4", 21), ("uint4", 21), ("int2", 25), ("uint2", 25)])
@pytest.mark.parametrize("place", ["typed", "external"])
def test_where_codes_lie(kind, opset, place, compiler, tmp_path):
    expected = write_product(tmp_path, kind, opset, "transposed", 32, True)
    model = onnx.load(tmp_path / "model.onnx")
    if place == "external":
        onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    else:
        for tensor in model.graph.initializer:
            if tensor.name in "qz":
                tensor.int32_data.extend(tensor.raw_data)  # A number for each byte.
                tensor.ClearField("raw_data")
                np.testing.assert_array_equal(numpy_helper.to_array(tensor).shape, tuple(tensor.dims))
        onnx.save(model, tmp_path / "model.onnx")
    (constants, group, zero_point), = imported_constants(compiler, tmp_path, dims=()).values()
    scales, points, codes = read_hlq(constants, group, zero_point, K)
    np.testing.assert_array_equal(((codes - points) * scales).astype(np.float32), expected)


def test_codes_that_are_too_few(compiler, tmp_path):
    write_product(tmp_path, "int4", 21, "MatMul", 32, False)
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]
    onnx.save(model, tmp_path / "model.onnx")
    result = subprocess.run([compiler.with_name("elutq-translate"), "--import-onnx", tmp_path / "model.onnx"], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and f"'q': expected {N * K // 2} bytes of data for its shape, but got {N * K // 2 - 1}" in result.stderr


def to_dequantize_linear(folder, is_signed):
    """Puts DequantizeLinear, Transpose and MatMul in the place of each MatMulNBits, DequantizeLinear and Gather in that of an embedding."""
    model = onnx.load(folder / "model.onnx", load_external_data=True)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made, nodes = {}, []

    def dequantize(node, data, scales, zero_points, columns, block):
        groups = columns // block
        codes = np.stack([data & 15, data >> 4], axis=-1).reshape(-1, columns).astype(np.int64)
        kind, offset = (ml_dtypes.int4, 8) if is_signed else (ml_dtypes.uint4, 0)
        made[data_name := f"{node.name}.q"] = (codes - offset).astype(kind)
        made[scale_name := f"{node.name}.s"] = scales.reshape(-1, groups)
        inputs = [data_name, scale_name]
        points = None if is_signed else np.full((len(codes), groups), 8)
        if zero_points is not None:
            packed = zero_points.reshape(len(codes), -1)
            points = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(codes), -1)[:, :groups].astype(np.int64)
        if points is not None:
            made[point_name := f"{node.name}.z"] = (points - offset).astype(kind)
            inputs.append(point_name)
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{node.name}.w"], f"{node.name}.dequantize", axis=1, block_size=block))
        return f"{node.name}.w"

    flattened = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Reshape" and node.input[0] in tensors}
    for node in model.graph.node:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "MatMulNBits":
            points = tensors[node.input[3]] if len(node.input) > 3 and node.input[3] else None
            weights = dequantize(node, tensors[node.input[1]], tensors[node.input[2]], points, attributes["K"], attributes["block_size"])
            nodes.append(helper.make_node("Transpose", [weights], [f"{node.name}.t"], f"{node.name}.transpose", perm=[1, 0]))
            nodes.append(helper.make_node("MatMul", [node.input[0], f"{node.name}.t"], node.output, node.name))
        elif node.op_type == "GatherBlockQuantized":
            data = tensors[flattened[node.input[0]]]
            weights = dequantize(node, data, tensors[flattened.get(node.input[2], node.input[2])], None, data[0].size * 2, attributes["block_size"])
            nodes.append(helper.make_node("Gather", [weights, node.input[1]], node.output, node.name))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in made.items())
    onnx.save(model, folder / "model.onnx")


@pytest.mark.parametrize("name, is_signed", [("gemma3-int4", True), ("gemma3-int4", False), ("qwen2-int4-asymmetric", True),
                                             ("qwen2-int4-asymmetric", False)])
def test_models(name, is_signed, compiler, tmp_path):
    """The same bits as from MatMulNBits and GatherBlockQuantized."""
    for folder in ("contrib", "standard"):
        write_model(name, tmp_path / folder)
    to_dequantize_linear(tmp_path / "standard", is_signed)
    expected = logits(compile_library(compiler, tmp_path / "contrib", tmp_path / "one"))
    actual = logits(compile_library(compiler, tmp_path / "standard", tmp_path / "two"))
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


@pytest.mark.parametrize("kind, layout", [("int4", 32), ("uint2", "rows")])
def test_plain_graphs_take_the_floats(kind, layout, compiler, tmp_path):
    weights = write_product(tmp_path, kind, 25, "transposed", layout, True)
    elutq.compile(tmp_path / "model.onnx", tmp_path / "libproduct.so", emit="graph")
    x = np.random.default_rng(2).standard_normal((2, K)).astype(np.float32)
    (y,) = elutq.Graph(tmp_path / "libproduct.so").run([x])
    np.testing.assert_allclose(y, x @ weights.T, rtol=1e-5, atol=1e-4)


def test_integers_of_4_bits_as_inputs(compiler, tmp_path):
    graph = helper.make_graph([helper.make_node("DequantizeLinear", ["q", "s"], ["y"])], "main",
                              [value("q", TensorProto.INT4, [2, 8]), value("s", TensorProto.FLOAT, [])], [value("y", TensorProto.FLOAT, [2, 8])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "model.onnx")
    elutq.compile(tmp_path / "model.onnx", tmp_path / "libproduct.so", emit="graph")
    q = np.random.default_rng(6).integers(-8, 8, (2, 8)).astype(ml_dtypes.int4)
    (y,) = elutq.Graph(tmp_path / "libproduct.so").run([q, np.array(0.3, np.float32)])
    np.testing.assert_array_equal(y, q.astype(np.float32) * np.float32(0.3))
