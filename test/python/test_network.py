"""Encoders by elutq-compile --emit=graph: networks on several threads, with quantized products, for any batch and length."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest

import elutq
from elutq.errors import CompileError, GraphError
from tiny_encoder import HIDDEN, LAYERS, Builder, sentences, write_encoder

SHAPES = ["--shape=batch=1,sequence=16", "--shape=batch=4,sequence=24"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "model.onnx"
    write_encoder(path)
    return path


@pytest.fixture(scope="module")
def library(model, compiler):
    path = model.with_name("encoder.so")
    elutq.compile(model, path, emit="graph", arguments=SHAPES)
    return path


def expected(model, batch):
    return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, batch)[0]


def error(result, reference, mask=None):
    if mask is not None:
        result, reference = result[mask == 1], reference[mask == 1]
    return np.abs(result - reference).max() / np.abs(reference).max()


@pytest.mark.parametrize("rows, width", [(1, 16), (4, 24), (3, 19), (1, 1), (2, 24), (11, 7)])
def test_any_batch_and_length(rows, width, model, library):
    """Shapes that the library was compiled for, smaller ones, and more rows than it was compiled for."""
    batch = sentences([width] * rows, width, seed=rows)
    result, = elutq.Graph(library).run(batch)
    assert result.shape == (rows, width, HIDDEN)
    assert error(result, expected(model, batch)) <= 1e-5


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_padding_changes_nothing(left, model, library):
    lengths = [20, 3, 13, 1]
    batch = sentences(lengths, 20, left)
    graph = elutq.Graph(library)
    result, = graph.run(batch)
    assert error(result, expected(model, batch), batch["attention_mask"]) <= 1e-5
    for row, length in enumerate(lengths):
        part = slice(20 - length, 20) if left else slice(0, length)
        if left:
            # Positions of the alone sentence begin at 0, those behind the padding do not: compare within its own row.
            alone = {name: array[row:row + 1] for name, array in batch.items()}
        else:
            alone = {name: array[row:row + 1, part] for name, array in batch.items()}
        single, = graph.run(alone)
        single = single[0, part] if left else single[0]
        assert error(single, result[row, part]) <= 1e-6


def test_masked_tokens_do_not_matter(library):
    batch = sentences([20, 3, 13, 1], 20)
    other = {**batch, "input_ids": np.where(batch["attention_mask"] == 1, batch["input_ids"], 7)}
    graph = elutq.Graph(library)
    mask = batch["attention_mask"] == 1
    assert np.array_equal(graph.run(batch)[0][mask], graph.run(other)[0][mask])
    assert not np.array_equal(graph.run(batch)[0], graph.run(other)[0])


def test_threads_change_no_bit(library):
    batch = sentences([24] * 4, 24)
    results = [elutq.Graph(library, threads=threads).run(batch)[0] for threads in (1, 2, 3)]
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


@pytest.mark.parametrize("bits, bound", [(8, 0.01), (4, 0.2), (3, 0.4), (2, 0.9), (1, 2.0)])
def test_quantized(bits, bound, model, compiler, tmp_path):
    """Every linear layer becomes an HLQ product; the result is that of ONNX Runtime with the same planes, dequantized."""
    report = tmp_path / "report.txt"
    quantize = f"hlq:bits={bits},group=32,embedding={bits if bits != 1 else 4},head=8"
    elutq.compile(model, tmp_path / "q.so", emit="graph", quantize=quantize, arguments=[*SHAPES, f"--report={report}"])
    for shape in ("shape0", "shape1"):
        rows = [line for line in report.read_text().splitlines() if line.startswith(shape)]
        products = [line for line in rows if re.search(r"(query|key|value|output|up|down) ", line)]
        assert len(products) == 6 * LAYERS and all(f" {bits} " in line and "gather" not in line for line in products)
        assert any("gather" in line for line in rows)
    assert "scalar" not in report.read_text()

    elutq.compile(model, tmp_path / "q.onnx", emit="hlq-onnx", quantize=quantize)
    batch = sentences([20, 3, 13, 1], 20)
    mask = batch["attention_mask"]
    result, = elutq.Graph(tmp_path / "q.so").run(batch)
    same = expected(tmp_path / "q.onnx", batch)
    assert error(result, same, mask) <= 2e-3
    assert 0 < error(result, expected(model, batch), mask) <= bound
    # The quantized model compiles as it is, to the same planes.
    elutq.compile(tmp_path / "q.onnx", tmp_path / "again.so", emit="graph", arguments=SHAPES)
    assert error(elutq.Graph(tmp_path / "again.so").run(batch)[0], result, mask) <= 1e-6


def test_signature(library):
    graph = elutq.Graph(library)
    assert [(value.name, str(value.dtype), value.shape) for value in graph.inputs + graph.outputs] == [
        ("input_ids", "int64", ("batch", "sequence")), ("attention_mask", "int64", ("batch", "sequence")),
        ("hidden", "float32", ("batch", "sequence", HIDDEN))]


def test_inputs_that_do_not_fit(library):
    graph = elutq.Graph(library)
    batch = sentences([25], 25)
    with pytest.raises(GraphError, match=r"holds batch=1,sequence=25: it was compiled with --shape=batch=1,sequence=16 --shape=batch=4,sequence=24"):
        graph.run(batch)
    with pytest.raises(GraphError, match=r"'attention_mask' must be int64\[batch, sequence\], batch is 1, sequence is 25, but got int64\[1, 24\]"):
        graph.run({**batch, "attention_mask": batch["attention_mask"][:, 1:]})
    with pytest.raises(GraphError, match="'input_ids' must be int64"):
        graph.run({**batch, "input_ids": batch["input_ids"].astype(np.int32)})


def test_without_a_mask_lengths_are_not_padded(compiler, tmp_path):
    """A mean over the words would count the padding."""
    onnx.save(onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> main (float[batch,length,4] x) => (float[batch,1,3] y) '
        "<float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, int64[1] axis = {1}> { p = MatMul(x, w) y = ReduceMean(p, axis) }"),
        tmp_path / "mean.onnx")
    elutq.compile(tmp_path / "mean.onnx", tmp_path / "mean.so", emit="graph", arguments=["--shape=batch=2,length=5"])
    x = np.random.default_rng(2).normal(size=(5, 5, 4)).astype(np.float32)
    weights = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    graph = elutq.Graph(tmp_path / "mean.so")
    np.testing.assert_allclose(graph.run([x])[0], (x @ weights).mean(1, keepdims=True), rtol=1e-5, atol=1e-5)
    with pytest.raises(GraphError, match="length cannot be padded"):
        graph.run([x[:, :4]])


def test_first_dimensions_that_are_no_batch_are_not_padded(compiler, tmp_path):
    """A softmax over the words of one text would count the padding, though they come first in all inputs and outputs."""
    onnx.save(onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> main (float[words,4] x) => (float[words,3] y) '
        "<float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}> { p = MatMul(x, w) y = Softmax<axis = 0>(p) }"), tmp_path / "words.onnx")
    elutq.compile(tmp_path / "words.onnx", tmp_path / "words.so", emit="graph", arguments=["--shape=words=5"])
    x = np.random.default_rng(3).normal(size=(10, 4)).astype(np.float32)
    graph = elutq.Graph(tmp_path / "words.so")
    np.testing.assert_allclose(graph.run([x[:5]])[0], expected(tmp_path / "words.onnx", {"x": x[:5]}), rtol=1e-4, atol=1e-6)
    for count in (4, 10):
        with pytest.raises(GraphError, match="words cannot be padded"):
            graph.run([x[:count]])


def convolutions(path):
    """Patches of an image, windows over a row of them, a projection: what vision and speech encoders begin with."""
    b = Builder(9)
    matrix = {name: b.weight(name, (b.random.normal(0.02, 1, size) / np.sqrt(np.prod(size[1:]))).astype(np.float32))
              for name, size in (("patches", (48, 3, 8, 4)), ("windows", (32, 48, 3)), ("projection", (32, 20)))}
    bias = b.weight("bias", b.random.normal(size=48).astype(np.float32))
    x = b.op("Conv", "image", matrix["patches"], bias, strides=[8, 4], node="patches")
    x = b.op("Relu", b.op("Reshape", x, b.ints(0, 48, -1)))
    x = b.op("Conv", x, matrix["windows"], strides=[2], pads=[1, 1], node="windows")
    b.nodes.append(onnx.helper.make_node("MatMul", [b.op("Transpose", x, perm=[0, 2, 1]), matrix["projection"]], ["result"], name="projection"))
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(b.nodes, "vision", [value("image", onnx.TensorProto.FLOAT, ["batch", 3, 24, 16])],
                                   [value("result", onnx.TensorProto.FLOAT, ["batch", 6, 20])], b.weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)
    return {"image": np.random.default_rng(8).normal(0.1, 1, (3, 3, 24, 16)).astype(np.float32)}


@pytest.mark.parametrize("quantize, least, most", [("none", 0, 1e-5), ("hlq:bits=8,group=32", 1e-5, 0.02), ("hlq:bits=4,group=32", 1e-3, 0.3)])
def test_convolutions_are_products(quantize, least, most, compiler, tmp_path):
    image = convolutions(tmp_path / "vision.onnx")
    report = tmp_path / "report.txt"
    elutq.compile(tmp_path / "vision.onnx", tmp_path / "vision.so", emit="graph", quantize=quantize,
                  arguments=["--shape=batch=2", f"--report={report}"])
    result, = elutq.Graph(tmp_path / "vision.so").run(image)
    assert least <= error(result, expected(tmp_path / "vision.onnx", image)) <= most
    sizes = {tuple(line.split()[1:4]) for line in report.read_text().splitlines() if line.startswith("shape0")}
    assert sizes == (set() if quantize == "none" else {("patches", "48", "96"), ("windows", "32", "144"), ("projection", "20", "32")})


def test_missing_processor_feature(library, monkeypatch):
    monkeypatch.setenv("ELUTQ_DISABLE_CPU_FEATURES", "sse2")
    with pytest.raises(GraphError, match="cannot be opened: .*sse2"):
        elutq.Graph(library)


def test_damaged_weights(library, tmp_path):
    data = bytearray(library.read_bytes())
    data[-20000] ^= 1
    (tmp_path / "damaged.so").write_bytes(data)
    with pytest.raises(GraphError, match="cannot be opened: .*damaged"):
        elutq.Graph(tmp_path / "damaged.so")


@pytest.mark.parametrize("arguments, message", [
    (["--shape=batch=1"], r"shapes that are known: input 'input_ids' of type tensor<1x\?xi64>.*; --shape=name=n,... gives symbolic dimensions numbers"),
    (["--shape=rows=1,sequence=4"], "no input has a dimension named 'rows'; the inputs' dimensions are 'batch', 'sequence'"),
    (["--shape=batch=0"], "--shape: expected NAME=NUMBER,... with positive numbers, but got 'batch=0'"),
    (["--shape=batch=1,batch=2"], "--shape: 'batch' has two numbers"),
])
def test_bad_shapes(arguments, message, model, compiler, tmp_path):
    with pytest.raises(CompileError, match=message):
        elutq.compile(model, tmp_path / "bad.so", emit="graph", arguments=arguments)
    assert not (tmp_path / "bad.so").exists()
