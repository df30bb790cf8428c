"""Runs operators that convert-onnx-to-linalg lowers, and compares with ONNX Runtime or a formula."""

import ctypes
import os
import pathlib
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ELUTQ_BUILD_DIR", ROOT / "build" / "release")) / "bin"
LLVM = pathlib.Path(os.environ.get("ELUTQ_LLVM_BIN", "/usr/lib/llvm-22/bin"))
pytestmark = pytest.mark.skipif(not (BIN / "elutq-opt").exists() or not (BIN / "elutq-translate").exists() or not shutil.which("clang-22"),
                                reason="needs a build of the compiler and clang")

TO_LLVM = ("convert-onnx-to-linalg,canonicalize,cse,one-shot-bufferize{bufferize-function-boundaries "
           "function-boundary-type-conversion=identity-layout-map},buffer-results-to-out-params{modify-public-functions},"
           "func.func(convert-linalg-to-loops),expand-strided-metadata,lower-affine,convert-scf-to-cf,convert-math-to-llvm,convert-math-to-libm,"
           "finalize-memref-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,convert-func-to-llvm{use-bare-ptr-memref-call-conv},"
           "convert-cf-to-llvm,reconcile-unrealized-casts")


def random(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed + sum(shape)).uniform(low, high, shape).astype(np.float32)


def make_model(nodes, inputs, outputs, initializers=(), opset=23):
    def info(name, array_or_shape):
        if isinstance(array_or_shape, np.ndarray):
            return h.make_tensor_value_info(name, h.np_dtype_to_tensor_dtype(array_or_shape.dtype), array_or_shape.shape)
        return h.make_tensor_value_info(name, T.FLOAT, array_or_shape)
    graph = h.make_graph(nodes, "g", [info(k, v) for k, v in inputs.items()], [info(k, v) for k, v in outputs.items()],
                         [nh.from_array(v, k) for k, v in dict(initializers).items()])
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset), h.make_opsetid("com.microsoft", 1)], ir_version=10)


def run(command, **kwargs):
    result = subprocess.run([str(part) for part in command], capture_output=True, **kwargs)
    assert result.returncode == 0, result.stderr.decode()[-3000:]
    return result.stdout


def compile_and_run(model, inputs, shapes, path):
    """Float results of the model by this compiler's loops."""
    onnx.save(model, path / "m.onnx")
    mlir = run([BIN / "elutq-translate", "--import-onnx", path / "m.onnx"])
    lowered = run([BIN / "elutq-opt", f"--pass-pipeline=builtin.module({TO_LLVM})"], input=mlir)
    (path / "m.ll").write_bytes(run([LLVM / "mlir-translate", "--mlir-to-llvmir"], input=lowered))
    run(["clang-22", "-O1", "-shared", "-fPIC", "-Wno-override-module", path / "m.ll", "-o", path / "m.so", "-lm",
         f"-L{LLVM.parent / 'lib'}", f"-Wl,-rpath,{LLVM.parent / 'lib'}", "-lmlir_c_runner_utils"])
    function = ctypes.CDLL(str(path / "m.so")).main_graph
    results = [np.full(shape, np.nan, np.float32) for shape in shapes]
    arrays = [np.ascontiguousarray(a) for a in inputs.values()] + results
    function(*[a.ctypes.data_as(ctypes.c_void_p) for a in arrays])
    return results


def check(nodes, inputs, shapes, tmp_path, initializers=(), opset=23, tolerance=2e-5):
    outputs = {f"y{i}": shape for i, shape in enumerate(shapes)}
    model = make_model(nodes, inputs, outputs, initializers, opset)
    expected = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)
    for got, want in zip(compile_and_run(model, inputs, shapes, tmp_path), expected):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name, positive", [("Neg", 0), ("Abs", 0), ("Sqrt", 1), ("Exp", 0), ("Log", 1), ("Sin", 0), ("Cos", 0), ("Tanh", 0),
                                            ("Erf", 0), ("Sigmoid", 0), ("Relu", 0), ("Reciprocal", 1), ("Floor", 0), ("Round", 0)])
def test_unary(name, positive, tmp_path):
    check([h.make_node(name, ["x"], ["y0"])], {"x": random(1, 3, 5, low=0.1 if positive else -2.0)}, [(1, 3, 5)], tmp_path)


@pytest.mark.parametrize("name", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (5,), (1, 3, 1), (3, 1), (1,)])
def test_binary_broadcasts(name, shape, tmp_path):
    check([h.make_node(name, ["a", "b"], ["y0"])], {"a": random(1, 3, 5), "b": random(*shape, seed=7, low=0.5)}, [(1, 3, 5)], tmp_path)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0, -1.5])
def test_power(exponent, tmp_path):
    check([h.make_node("Pow", ["x", "e"], ["y0"])], {"x": random(2, 6, low=0.1)}, [(2, 6)], tmp_path, {"e": np.array(exponent, np.float32)})


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate, tmp_path):
    check([h.make_node("Gelu", ["x"], ["y0"], approximate=approximate)], {"x": random(1, 3, 8)}, [(1, 3, 8)], tmp_path)


def test_comparison_and_select(tmp_path):
    nodes = [h.make_node("LessOrEqual", ["a", "b"], ["c"]), h.make_node("Where", ["c", "a", "z"], ["y0"])]
    check(nodes, {"a": random(3, 4), "b": random(3, 4, seed=3)}, [(3, 4)], tmp_path, {"z": np.zeros((1,), np.float32)})


def test_matmul_constant_and_transposed(tmp_path):
    weights = {"w": random(7, 5), "e": random(9, 5, seed=2)}
    nodes = [h.make_node("MatMul", ["x", "w"], ["a"]), h.make_node("Transpose", ["e"], ["t"], perm=[1, 0]), h.make_node("MatMul", ["a", "t"], ["y0"])]
    check(nodes, {"x": random(1, 3, 7)}, [(1, 3, 9)], tmp_path, weights)


def test_matmul_batched_broadcasts(tmp_path):
    check([h.make_node("MatMul", ["a", "b"], ["y0"])], {"a": random(2, 3, 4, 5), "b": random(3, 5, 6)}, [(2, 3, 4, 6)], tmp_path)


@pytest.mark.parametrize("trans_a, trans_b", [(0, 0), (0, 1), (1, 1)])
def test_gemm(trans_a, trans_b, tmp_path):
    a, b = random(4, 6), random(6, 5, seed=4)
    node = h.make_node("Gemm", ["a", "b", "c"], ["y0"], transA=trans_a, transB=trans_b, alpha=0.5, beta=2.0)
    check([node], {"a": a.T.copy() if trans_a else a}, [(4, 5)], tmp_path, {"b": b.T.copy() if trans_b else b, "c": random(5)})


def test_rms_normalization(tmp_path):
    x, scale = random(1, 3, 16), random(16)
    model = make_model([h.make_node("RMSNormalization", ["x", "s"], ["y0"], epsilon=1e-6)], {"x": x}, {"y0": (1, 3, 16)}, {"s": scale})
    want = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * scale
    np.testing.assert_allclose(compile_and_run(model, {"x": x}, [(1, 3, 16)], tmp_path)[0], want, rtol=2e-5, atol=2e-6)


def test_skip_simplified_layer_normalization(tmp_path):
    node = h.make_node("SkipSimplifiedLayerNormalization", ["x", "r", "s"], ["y0", "", "", "y1"], domain="com.microsoft", epsilon=1e-6)
    check([node], {"x": random(1, 3, 16), "r": random(1, 3, 16, seed=5)}, [(1, 3, 16), (1, 3, 16)], tmp_path, {"s": random(16)})


def test_layer_normalization(tmp_path):
    node = h.make_node("LayerNormalization", ["x", "s", "b"], ["y0"])
    check([node], {"x": random(1, 3, 16)}, [(1, 3, 16)], tmp_path, {"s": random(16), "b": random(16, seed=3)})


@pytest.mark.parametrize("axes, keep", [([-1], 1), ([1], 0), ([0, 2], 1)])
@pytest.mark.parametrize("name", ["ReduceSum", "ReduceMean", "ReduceMax"])
def test_reductions(name, axes, keep, tmp_path):
    x = random(2, 3, 4)
    shape = x.sum(tuple(axes), keepdims=bool(keep)).shape
    check([h.make_node(name, ["x", "a"], ["y0"], keepdims=keep)], {"x": x}, [shape], tmp_path, {"a": np.array(axes, np.int64)}, opset=18)


def test_softmax(tmp_path):
    check([h.make_node("Softmax", ["x"], ["y0"])], {"x": random(2, 3, 8)}, [(2, 3, 8)], tmp_path)


def rotate(x, cos, sin, interleaved):
    """The formula of rotary embeddings on [B, H, S, D] with tables [B, S, R/2]."""
    half, out = cos.shape[-1], x.copy()
    low, high = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(0, half), slice(half, 2 * half))
    a, b, c, s = x[..., low], x[..., high], cos[:, None], sin[:, None]
    out[..., low], out[..., high] = a * c - b * s, b * c + a * s
    return out


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("half", [4, 2])
@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("standard", [True, False])
def test_rotary(standard, rank, half, interleaved, tmp_path):
    heads, rows, size = 2, 3, 8
    x, cos, sin, positions = random(1, heads, rows, size), random(9, half), random(9, half, seed=8), np.array([[4, 5, 6]], np.int64)
    want = rotate(x, cos[positions], sin[positions], interleaved)
    if rank == 3:
        x, want = (v.transpose(0, 2, 1, 3).reshape(1, rows, heads * size) for v in (x, want))
    inputs = ["x", "cos", "sin", "p"] if standard else ["x", "p", "cos", "sin"]
    node = h.make_node("RotaryEmbedding", inputs, ["y0"], domain="" if standard else "com.microsoft", interleaved=interleaved, num_heads=heads,
                       rotary_embedding_dim=0 if 2 * half == size else 2 * half)
    model = make_model([node], {"x": x, "p": positions}, {"y0": x.shape}, {"cos": cos, "sin": sin})
    np.testing.assert_allclose(compile_and_run(model, {"x": x, "p": positions}, [x.shape], tmp_path)[0], want, rtol=1e-5, atol=1e-6)


def test_moving_data(tmp_path):
    nodes = [h.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1, 3]), h.make_node("Split", ["t"], ["a", "b"], axis=3, num_outputs=2),
             h.make_node("Concat", ["b", "a"], ["c"], axis=-1), h.make_node("Slice", ["c", "st", "en", "ax", "sp"], ["s"]),
             h.make_node("Reshape", ["s", "sh"], ["r"]), h.make_node("Expand", ["r", "ex"], ["y0"])]
    numbers = {"st": [1], "en": [2 ** 40], "ax": [3], "sp": [2], "sh": [4, -1], "ex": [2, 4, 9]}
    check(nodes, {"x": random(1, 3, 4, 6)}, [(2, 4, 9)], tmp_path, {k: np.array(v, np.int64) for k, v in numbers.items()})


@pytest.mark.parametrize("axis", [0, 1])
def test_gather(axis, tmp_path):
    index = np.array([[2, 0], [-1, 1]], np.int64)
    x = random(4, 3, 5)
    check([h.make_node("Gather", ["x", "i"], ["y0"], axis=axis)], {"x": x, "i": index}, [np.take(x, index, axis).shape], tmp_path)


def test_arithmetic_of_shapes_is_folded(tmp_path):
    nodes = [h.make_node("Shape", ["x"], ["s"]), h.make_node("Gather", ["s", "one"], ["n"]), h.make_node("Mul", ["n", "two"], ["m"]),
             h.make_node("Concat", ["m", "minus"], ["sh"], axis=0), h.make_node("Reshape", ["x", "sh"], ["y0"])]
    numbers = {"one": [1], "two": [2], "minus": [-1]}
    check(nodes, {"x": random(1, 3, 4)}, [(6, 2)], tmp_path, {k: np.array(v, np.int64) for k, v in numbers.items()})
