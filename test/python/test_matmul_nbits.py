"""MatMulNBits and GatherBlockQuantized, each form by itself: the imported codes against ONNX Runtime and against the definition in NumPy."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_genai import imported_constants, read_hlq

N, K = 72, 160
RNG = np.random.default_rng(23)


def pack(codes, bits):
    """u8 [..., ceil(C * bits / 8)] of codes [..., C], from the low bits on."""
    per_byte = 8 // bits
    padded = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % per_byte)]).reshape(*codes.shape[:-1], -1, per_byte)
    return (padded.astype(np.int64) << (np.arange(per_byte) * bits)).sum(-1).astype(np.uint8)


def save(folder, node, tensors, inputs, output):
    graph = helper.make_graph([node], "main", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
                              [numpy_helper.from_array(array, name) for name, array in tensors.items()])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "model.onnx")


def write_product(folder, bits, block, zero_points, g_idx=None, bias=False):
    """The floats [N, K] of the definition."""
    groups = -(-K // block)
    codes = RNG.integers(0, 1 << bits, (N, groups * block))
    scales = (RNG.uniform(0.01, 0.02, (N, groups)) * RNG.choice([-1, 1], (N, groups))).astype(np.float32)
    points = np.full((N, groups), 1 << (bits - 1), np.float64)
    tensors = {"b": pack(codes.reshape(N, groups, block), bits), "s": scales.reshape(-1)}
    inputs = ["x", "b", "s", "", "", ""]
    if zero_points == "packed":
        points = RNG.integers(0, 1 << bits, (N, groups))
        tensors["z"], inputs[3] = pack(points, bits).reshape(-1), "z"
    elif zero_points == "float":
        points = RNG.integers(0, 4 << bits, (N, groups)) / 4  # Between the levels, too.
        tensors["z"], inputs[3] = points.astype(np.float32), "z"
    if g_idx is not None:
        tensors["g"], inputs[4] = g_idx.astype(np.int32), "g"
    if bias:
        tensors["bias"], inputs[5] = RNG.standard_normal(N).astype(np.float32), "bias"
    node = helper.make_node("MatMulNBits", inputs, ["y"], "the_product", domain="com.microsoft", K=K, N=N, bits=bits, block_size=block)
    save(folder, node, tensors, [helper.make_tensor_value_info("x", TensorProto.FLOAT, [K, K])], [K, N])
    wide = (np.repeat(array.astype(np.float64), block, axis=1)[:, :K] for array in (points, scales))
    return ((codes[:, :K] - next(wide)) * next(wide)).astype(np.float32)


def run(folder, x):
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def imported(compiler, folder, bits):
    """The floats of the one hlq op in float64, and the greatest number that is added up to one."""
    (constants, group, zero_point), = imported_constants(compiler, folder, dims=()).values()
    if bits == 8:
        codes, scales, *zeros = constants
        codes = codes[:, :K].astype(np.int64)
        wide = np.repeat(scales[..., 0].astype(np.float64), group, axis=1)[:, :K]
    else:
        scales, zeros = constants[1], constants[2:]
        wide, _, codes = read_hlq(constants[:2], group, zero_point or 0, K)
        wide = wide.astype(np.float64)
    added = np.repeat(zeros[0].astype(np.float64), group, axis=1)[:, :K] if zeros else -zero_point * wide
    return wide * codes + added, np.maximum(np.abs(wide * codes), np.abs(added))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("block", [16, 32, 128])
@pytest.mark.parametrize("zero_points", ["none", "packed", "float"])
def test_products(bits, block, zero_points, compiler, tmp_path):
    expected = write_product(tmp_path, bits, block, zero_points)
    actual, terms = imported(compiler, tmp_path, bits)
    # Zeros are rounded to f32 once: half a unit in the last place of what is added up.
    assert np.all(np.abs(actual - expected) <= np.spacing(terms.astype(np.float32)))
    np.testing.assert_array_equal(expected, run(tmp_path, np.eye(K, dtype=np.float32)).T)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bias_and_g_idx_that_says_nothing(bits, compiler, tmp_path):
    expected = write_product(tmp_path, bits, 32, "packed", g_idx=np.arange(K) // 32, bias=True)
    actual, terms = imported(compiler, tmp_path, bits)
    assert np.all(np.abs(actual - expected) <= np.spacing(terms.astype(np.float32)))


@pytest.mark.parametrize("g_idx", [np.arange(K)[::-1] // 32, np.arange(K) % 5, np.minimum(np.arange(K) // 31, 4)])
def test_g_idx_in_another_order(g_idx, compiler, tmp_path):
    write_product(tmp_path, 4, 32, "none", g_idx=g_idx)
    text = subprocess.run([compiler.with_name("elutq-translate"), "--import-onnx", "-mlir-print-debuginfo", tmp_path / "model.onnx"], check=True,
                          capture_output=True).stdout
    result = subprocess.run([compiler.with_name("elutq-opt"), "-convert-onnx-to-hlq"], input=text, capture_output=True, check=False)
    assert result.returncode == 1
    assert '(node "the_product"): columns in another order (g_idx) are not supported' in result.stderr.decode()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("has_zero_points", [False, True])
def test_look_ups(bits, has_zero_points, compiler, tmp_path):
    block = 32
    codes, scales = RNG.integers(0, 1 << bits, (N, K)), RNG.uniform(-0.02, 0.02, (N, K // block)).astype(np.float32)
    points = np.full(scales.shape, 1 << (bits - 1))
    tensors = {"b": pack(codes, bits), "s": scales}
    if has_zero_points:
        points = RNG.integers(0, 1 << bits, scales.shape)
        tensors["z"] = pack(points, bits)
    node = helper.make_node("GatherBlockQuantized", ["b", "x", "s", "z"][:3 + has_zero_points], ["y"], "the_table", domain="com.microsoft", bits=bits,
                            block_size=block, gather_axis=0, quantize_axis=1)
    save(tmp_path, node, tensors, [helper.make_tensor_value_info("x", TensorProto.INT64, [N])], [N, K])
    expected = ((codes - np.repeat(points, block, axis=1)) * np.repeat(scales.astype(np.float64), block, axis=1)).astype(np.float32)
    actual, terms = imported(compiler, tmp_path, bits)
    assert np.all(np.abs(actual - expected) <= np.spacing(terms.astype(np.float32)))
    np.testing.assert_array_equal(expected, run(tmp_path, np.arange(N)))
