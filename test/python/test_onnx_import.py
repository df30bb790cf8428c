"""The importer on files that Python makes: binary models, external data, and everything a hostile file may hold."""

import os
import pathlib
import random
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ELUTQ_BUILD_DIR", ROOT / "build" / "release"))
TRANSLATE = BUILD / "bin" / "elutq-translate"


def run_import(path, *arguments):
    return subprocess.run([TRANSLATE, "--import-onnx", path, *arguments], capture_output=True, text=True, timeout=60,
                          errors="replace", check=False)


def import_model(path, *arguments):
    result = run_import(path, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refuse(path, *parts):
    """The import ends with exactly one error, which has all `parts`."""
    result = run_import(path)
    assert result.returncode == 1, f"exit {result.returncode}: {result.stderr}"
    assert result.stderr.count("error:") == 1, result.stderr
    for part in parts:
        assert part in result.stderr, result.stderr


def make_model(nodes=None, initializers=(), inputs=None, outputs=None, opset=23, value_info=()):
    nodes = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], name="proj")]
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 32])]
    outputs = outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "main", inputs, outputs, list(initializers), value_info=list(value_info))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def weight(name="w", shape=(32, 64), dtype=np.float32):
    return numpy_helper.from_array(np.arange(np.prod(shape)).reshape(shape).astype(dtype), name)


def external_model(folder, location="weights.bin", offset=None, length=None, stored=8192, tensor=None):
    """A model whose weight (8192 bytes) lies in another file."""
    tensor = tensor or weight()
    (folder / "weights.bin").write_bytes(tensor.raw_data[:stored])
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in [("location", location), ("offset", offset), ("length", length)]:
        if value is not None:
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    path = folder / "model.onnx"
    path.write_bytes(make_model(initializers=[tensor]).SerializeToString())
    return path


def save(folder, model):
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


# What works


def resource_bytes(text, name):
    """The payload of a printed resource, behind its alignment."""
    start = text.index(f'{name}: "0x') + len(f'{name}: "0x')
    return bytes.fromhex(text[start:text.index('"', start)])[4:]


@pytest.mark.parametrize("is_external", [False, True])
def test_weights_keep_their_bytes(tmp_path, is_external):
    path = external_model(tmp_path) if is_external else save(tmp_path, make_model(initializers=[weight()]))
    text = import_model(path)
    assert "dense_resource<w> : tensor<32x64xf32>" in text
    assert resource_bytes(text, "w") == weight().raw_data


def test_unaligned_external_data(tmp_path):
    tensor = weight()
    data = tensor.raw_data
    path = external_model(tmp_path, offset=3, tensor=tensor)
    (tmp_path / "weights.bin").write_bytes(b"abc" + data)
    assert resource_bytes(import_model(path), "w") == data


@pytest.mark.parametrize("dtype, expected", [
    (np.float64, "f64"), (np.float16, "f16"), (np.int8, "i8"), (np.uint8, "ui8"), (np.int16, "i16"), (np.uint16, "ui16"),
    (np.int32, "i32"), (np.uint32, "ui32"), (np.int64, "i64"), (np.uint64, "ui64"), (np.bool_, "i1")])
def test_element_types(tmp_path, dtype, expected):
    tensor = numpy_helper.from_array(np.array([0, 1, 1], dtype), "c")
    node = helper.make_node("Identity", ["c"], ["y"])
    text = import_model(save(tmp_path, make_model([node], [tensor], outputs=[
        helper.make_tensor_value_info("y", tensor.data_type, [3])])))
    assert f"tensor<3x{expected}>" in text


def test_typed_fields(tmp_path):
    # A tensor may have its elements in a repeated field in place of raw data; halves are bit patterns there.
    half = helper.make_tensor("c", TensorProto.FLOAT16, [2], [1.5, -2.0])
    node = helper.make_node("Identity", ["c"], ["y"])
    text = import_model(save(tmp_path, make_model([node], [half], outputs=[
        helper.make_tensor_value_info("y", TensorProto.FLOAT16, None)])))
    assert "dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf16>" in text


def test_shape_from_external_data(tmp_path):
    shape = weight("shape", (2,), np.int64)
    shape.raw_data = np.array([8, 8], np.int64).tobytes()
    tensor = weight("x0", (64,))
    path = external_model(tmp_path, tensor=shape)
    model = make_model([helper.make_node("Reshape", ["x0", "w"], ["y"])], [tensor, onnx.load(path, load_external_data=False).graph.initializer[0]])
    model.graph.initializer[1].name = "w"
    assert "tensor<8x8xf32>" in import_model(save(tmp_path, model))


def test_stale_value_info_is_ignored(tmp_path):
    stale = helper.make_tensor_value_info("t", TensorProto.FLOAT, [99, 99])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Neg", ["t"], ["y"])]
    assert "tensor<2x64xf32>" in import_model(save(tmp_path, make_model(nodes, [weight()], value_info=[stale])))


# Files


def test_missing_file(tmp_path):
    result = run_import(tmp_path / "nothing.onnx")
    assert result.returncode == 1 and "nothing.onnx" in result.stderr


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x00" * 100, b"\xff" * 4096])
def test_not_a_model(tmp_path, data):
    refuse(save(tmp_path, data), "model.onnx")


def test_truncations(tmp_path):
    data = make_model(initializers=[weight()]).SerializeToString()
    for size in random.Random(1).sample(range(1, len(data)), 12):
        result = run_import(save(tmp_path, data[:size]))
        assert result.returncode in (0, 1) and result.stderr.count("error:") == (result.returncode == 1), result.stderr


def test_damaged_bytes(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"], name="proj"), helper.make_node("Softmax", ["t"], ["s"], axis=1),
             helper.make_node("Reshape", ["s", "shape"], ["y"])]
    shape = numpy_helper.from_array(np.array([4, -1], np.int64), "shape")
    data = make_model(nodes, [weight(shape=(32, 4)), shape]).SerializeToString()
    generator = random.Random(2)
    for _ in range(30):
        damaged = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            # The weights are most of the file, but any bytes will do there.
            position = generator.choice([generator.randrange(150), len(data) - 1 - generator.randrange(120)])
            damaged[position] = generator.randrange(256)
        result = run_import(save(tmp_path, bytes(damaged)))
        assert result.returncode in (0, 1), f"exit {result.returncode} on {damaged.hex()}: {result.stderr}"


def test_file_larger_than_protobuf(tmp_path):
    path = tmp_path / "model.onnx"
    with open(path, "wb") as file:
        file.truncate(1 << 31)
    result = run_import(path)
    assert result.returncode == 1 and "external data" in result.stderr


# External data


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "", "a/../../weights.bin"])
def test_external_data_outside(tmp_path, location):
    refuse(external_model(tmp_path, location), "initializer 'w'", "must be a path below the model's folder")


def test_external_data_behind_a_link(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"\0" * 8192)
    (folder / "link").symlink_to(tmp_path / "secret")
    refuse(external_model(folder, "link"), "initializer 'w'", "outside of the model's folder")


@pytest.mark.parametrize("fields, parts", [
    ({"location": "missing.bin"}, ["cannot open", "missing.bin"]),
    ({"stored": 8000}, ["end at byte 8000"]),
    ({"offset": 4096}, ["end at byte 8192", "bytes 4096 to 12288"]),
    ({"offset": 2**64 - 4}, ["end at byte 8192"]),
    ({"offset": "-8"}, ["expected offset", "-8"]),
    ({"offset": "1e3"}, ["expected offset", "1e3"]),
    ({"length": 100}, ["expected 8192 bytes", "100"]),
])
def test_external_data_that_is_wrong(tmp_path, fields, parts):
    refuse(external_model(tmp_path, **fields), "initializer 'w'", *parts)


def test_external_data_in_a_pipe(tmp_path):
    path = external_model(tmp_path, "pipe")
    os.mkfifo(tmp_path / "pipe")
    refuse(path, "not a regular file")


# Tensors


def test_data_of_another_size(tmp_path):
    tensor = weight()
    tensor.raw_data = tensor.raw_data[:-4]
    refuse(save(tmp_path, make_model(initializers=[tensor])), "initializer 'w'", "expected 8192 bytes", "8188")


@pytest.mark.parametrize("dims", [[2**40, 2**40], [2**62, 4], [2**32, 2**31]])
def test_dimensions_that_overflow(tmp_path, dims):
    tensor = weight()
    tensor.dims[:] = dims
    node = helper.make_node("Identity", ["w"], ["y"])
    refuse(save(tmp_path, make_model([node], [tensor])), "more elements than can be counted")


def test_vector_as_long_as_they_come(tmp_path):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2**61])]
    refuse(save(tmp_path, make_model([helper.make_node("Add", ["x", "x"], ["y"])], inputs=inputs)), "more elements")


def test_negative_dimension(tmp_path):
    tensor = weight()
    tensor.dims[:] = [-32, 64]
    refuse(save(tmp_path, make_model(initializers=[tensor])), "error")


@pytest.mark.parametrize("element_type, name", [
    (TensorProto.STRING, "STRING"), (TensorProto.COMPLEX64, "COMPLEX64"), (77, "77")])
def test_unsupported_element_type(tmp_path, element_type, name):
    tensor = weight()
    tensor.data_type = element_type
    node = helper.make_node("Shape", ["w"], ["y"])
    refuse(save(tmp_path, make_model([node], [tensor], outputs=[
        helper.make_tensor_value_info("y", TensorProto.INT64, [2])])), "initializer 'w'", name)


@pytest.mark.parametrize("element_type", [TensorProto.INT4, TensorProto.UINT2])
def test_small_integers_are_for_conversions_only(tmp_path, element_type):
    tensor = helper.make_tensor("w", element_type, [4], [0, 1, 1, 0])
    node = helper.make_node("Transpose", ["w"], ["y"], name="the_turn")
    refuse(save(tmp_path, make_model([node], [tensor], outputs=[helper.make_tensor_value_info("y", element_type, [4])], opset=25)),
           "node 'the_turn'", "'onnx.Transpose' op operand #0 must be tensor of")


# Graphs


def test_cycle(tmp_path):
    nodes = [helper.make_node("Neg", ["b"], ["a"], name="first"), helper.make_node("Neg", ["a"], ["b"], name="second")]
    output = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    refuse(save(tmp_path, make_model(nodes, outputs=[output])), "node 'first' (Neg) uses 'b'")


@pytest.mark.parametrize("model, parts", [
    (lambda: make_model(), ["node 'proj' (MatMul) uses 'w'"]),
    (lambda: make_model(initializers=[weight(), weight()]), ["two initializers have the name 'w'"]),
    (lambda: make_model([helper.make_node("Neg", ["x"], ["x"], name="n")]), ["node 'n' (Neg) defines 'x'"]),
    (lambda: make_model([helper.make_node("Neg", ["x"], ["z"])]), ["output 'y'"]),
    (lambda: make_model([helper.make_node("Neg", ["x", "x"], ["y"], name="n")]), ["'n'"]),
    (lambda: make_model([helper.make_node("Neg", ["x"], ["y"], name="n", alpha=1)]), ["'n'", "alpha"]),
    (lambda: make_model([helper.make_node("Concat", ["x"], ["y"], name="n")]), ["'n'", "axis"]),
    (lambda: make_model([helper.make_node("Concat", ["x"], ["y"], name="n", axis="0")]), ["'n'", "axis"]),
    (lambda: make_model([helper.make_node("Concat", ["x", "x"], ["y"], name="n", axis=7)]), ["Concat", "axis"]),
    (lambda: make_model([helper.make_node("Split", ["x"], ["y"], name="n", num_outputs=2**62)]), ["'n'", "num_outputs"]),
    (lambda: make_model(initializers=[weight(shape=(31, 64))]), ["proj", "imension"]),
    (lambda: make_model(initializers=[weight(dtype=np.float64)]), ["proj", "type"]),
    (lambda: make_model(initializers=[weight()], opset=1000), ["opset 1000"]),
    (lambda: make_model(initializers=[weight()], opset=1), ["opset 1 "]),
    (lambda: make_model([helper.make_node("If", ["x"], ["y"], name="n")]), ["unsupported operators: If (node 'n')"]),
])
def test_malformed_graph(tmp_path, model, parts):
    refuse(save(tmp_path, model()), *parts)


def test_recursive_function(tmp_path):
    model = make_model([helper.make_node("F", ["x"], ["y"], domain="local")])
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.functions.append(helper.make_function("local", "F", ["a"], ["b"], [helper.make_node("F", ["a"], ["b"], domain="local")],
                                                [helper.make_opsetid("local", 1)]))
    refuse(save(tmp_path, model), "function")


def test_functions_that_explode(tmp_path):
    model = make_model([helper.make_node("F0", ["x"], ["y"], domain="local")])
    model.opset_import.append(helper.make_opsetid("local", 1))
    for level in range(40):
        callee, domain = (f"F{level + 1}", "local") if level < 39 else ("Neg", "")
        nodes = [helper.make_node(callee, ["a"], ["t"], domain=domain), helper.make_node(callee, ["t"], ["b"], domain=domain)]
        model.functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], nodes,
                                                    [helper.make_opsetid("local", 1), helper.make_opsetid("", 23)]))
    refuse(save(tmp_path, model), "nodes once its functions are inlined")


# Text and configuration


@pytest.mark.parametrize("text", ["", "<", "nonsense", "<ir_version: 10> g (" + "(" * 10000, "<ir_version: 99999999999999999999>"])
def test_malformed_text(tmp_path, text):
    path = tmp_path / "model.onnxtxt"
    path.write_text(text)
    refuse(path, "model.onnxtxt")


@pytest.mark.parametrize("config", ["", "[]", "{", '{"model": 3}', "[" * 100000])
def test_malformed_config(tmp_path, config):
    (tmp_path / "genai_config.json").write_text(config)
    refuse(save(tmp_path, make_model(initializers=[weight()])), "genai_config.json")
