"""Floats of 8 and 4 bits and integers of 4 and 2, as libraries of graphs convert them; the reference is ml_dtypes, and for integers NumPy."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

FLOATS = {"FLOAT8E4M3FN": ml_dtypes.float8_e4m3fn, "FLOAT8E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "FLOAT8E5M2": ml_dtypes.float8_e5m2,
          "FLOAT8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz, "FLOAT8E8M0": ml_dtypes.float8_e8m0fnu, "FLOAT4E2M1": ml_dtypes.float4_e2m1fn}
INTEGERS = {"INT4": (ml_dtypes.int4, -8, 7), "UINT4": (ml_dtypes.uint4, 0, 15), "INT2": (ml_dtypes.int2, -2, 1), "UINT2": (ml_dtypes.uint2, 0, 3)}


def run(compiler, nodes, inputs, outputs, initializers=()):
    from elutq.backend import Backend

    def info(name, value):
        return helper.make_tensor_value_info(name, *value)
    graph = helper.make_graph(nodes, "g", [info(name, (helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)) for name, array in inputs.items()],
                              [info(*value) for value in outputs.items()], [numpy_helper.from_array(array, name) for name, array in initializers])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
    return Backend.run_model(model, list(inputs.values()))


def cast(compiler, array, to, **attributes):
    element = TensorProto.DataType.Value(to)
    return run(compiler, [helper.make_node("Cast", ["x"], ["y"], to=element, **attributes)], {"x": array}, {"y": (element, array.shape)})[0]


def codes(dtype):
    """Every value of a type."""
    return np.arange(1 << ml_dtypes.finfo(dtype).bits, dtype=np.uint8).view(dtype)


@pytest.mark.parametrize("name", FLOATS)
def test_every_code(name, compiler):
    array = codes(FLOATS[name])
    np.testing.assert_array_equal(cast(compiler, array, "FLOAT"), array.astype(np.float32))


@pytest.mark.parametrize("saturate", [1, 0])
@pytest.mark.parametrize("name", [name for name in FLOATS if name != "FLOAT8E8M0"])
def test_rounding(name, saturate, compiler):
    """Random numbers of all magnitudes; all that are half between two codes, and their neighbours; what is beyond the range."""
    dtype = FLOATS[name]
    finite = np.unique(codes(dtype).astype(np.float32))
    finite = finite[np.isfinite(finite)]
    ties = (finite[1:] + finite[:-1]) / 2
    largest = finite[-1]
    rng = np.random.default_rng(7)
    numbers = np.concatenate([finite, ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf)),
                              rng.standard_normal(200) * np.exp2(rng.uniform(-20, 17, 200)), largest * np.array([1.01, 1.03, 1.06, 1.124, 1.13, 2, 1e9]),
                              [0.0, -0.0, np.inf, -np.inf, np.nan]]).astype(np.float32)
    if saturate:
        expected = np.clip(numbers, -largest, largest).astype(dtype)
    else:
        expected = numbers.astype(dtype)
    actual = cast(compiler, numbers, name, saturate=saturate)
    isnan = np.isnan(expected.astype(np.float32))
    np.testing.assert_array_equal(np.isnan(actual.astype(np.float32)), isnan)
    np.testing.assert_array_equal(actual[~isnan].view(np.uint8), expected[~isnan].view(np.uint8))


@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
def test_powers_of_two(mode, compiler):
    rng = np.random.default_rng(9)
    numbers = np.concatenate([np.exp2(rng.uniform(-120, 126, 300)), [1, 1.5, 1.4999, 3, 4, 6, 0]]).astype(np.float32)
    exponents, fractions = np.floor(np.log2(np.maximum(numbers, 1e-38))), numbers / np.exp2(np.floor(np.log2(np.maximum(numbers, 1e-38))))
    more = {"up": fractions > 1, "down": fractions > 2, "nearest": fractions >= 1.5}[mode]
    expected = np.where(numbers == 0, 2.0**-127, np.exp2(exponents + more))
    actual = cast(compiler, numbers, "FLOAT8E8M0", round_mode=mode)
    np.testing.assert_array_equal(actual.astype(np.float64), expected)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name, compiler):
    """Numbers out of range wrap; what is quantized is clamped, with a zero point that is a constant of packed elements."""
    dtype, low, high = INTEGERS[name]
    numbers = np.random.default_rng(4).integers(-100, 100, (3, 37)).astype(np.int32)
    wrapped = (numbers - low) % (high - low + 1) + low
    narrow = cast(compiler, numbers, name)
    np.testing.assert_array_equal(narrow.astype(np.int32), wrapped)
    np.testing.assert_array_equal(cast(compiler, narrow, "INT8"), wrapped)
    np.testing.assert_array_equal(cast(compiler, numbers.astype(np.float16), name).astype(np.int32), wrapped)
    scale = np.array([0.5, 2, 0.25], np.float32)
    zero = np.array([1, low, high]).astype(dtype)
    x = np.random.default_rng(5).standard_normal((3, 37)).astype(np.float32)
    element = TensorProto.DataType.Value(name)
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], axis=0), helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=0)]
    q, y = run(compiler, nodes, {"x": x}, {"q": (element, x.shape), "y": (TensorProto.FLOAT, x.shape)}, [("scale", scale), ("zero", zero)])
    expected = np.clip(np.round(x / scale[:, None]) + zero.astype(np.int32)[:, None], low, high)
    np.testing.assert_array_equal(q.astype(np.int32), expected)
    np.testing.assert_array_equal(y, (expected - zero.astype(np.int32)[:, None]).astype(np.float32) * scale[:, None])
