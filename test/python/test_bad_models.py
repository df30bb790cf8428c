"""Models that cannot be compiled, through elutq-compile and `elutq export`: one line that names the thing, and no file.

test_onnx_import.py has many more malformed files; these here go through the whole compiler.
"""

import json
import os
import shutil
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from elutq.cli import main
from tiny_gguf import write_gguf
from tiny_models import CONFIGS, random_weights, write_checkpoint

Q = "model.q_proj.weight"


def initializer(model, name=Q):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def node(model, name="/model/residual"):
    return next(value for value in model.graph.node if value.name == name)


def externalize(model, location) -> bytes:
    tensor = initializer(model)
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return data


def short_data(model, folder):
    (folder / "data").write_bytes(externalize(model, "data")[:-1])


def linked_data(model, folder):
    (folder.parent / "secret").write_bytes(externalize(model, "data"))
    (folder / "data").symlink_to(folder.parent / "secret")


def double(model, folder):
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE


def unresolved_shape(model, folder):
    """The number of positions that are not zero becomes a shape: only the data could tell."""
    extra = [helper.make_node("NonZero", ["position_ids"], ["nz"], name="/nz"), helper.make_node("Cast", ["nz"], ["nzf"], name="/cast", to=1),
             helper.make_node("ReduceMax", ["nzf"], ["nzm"], name="/max", keepdims=0)]
    residual = node(model)
    place = list(model.graph.node).index(residual)
    last = residual.output[0]
    residual.output[0] = "before"
    for value in reversed([*extra, helper.make_node("Add", ["before", "nzm"], [last], name="/add")]):
        model.graph.node.insert(place + 1, value)


def edit(function):
    """An edit that needs no folder."""
    return lambda model, folder: function(model)


def set_dims(*dims):
    return edit(lambda model: initializer(model).dims.__setitem__(slice(None), dims))


def nest(model, folder) -> bytes:
    """Types of types of types, deeper than protobuf reads: Graph.input.type.sequence_type.elem_type…"""

    def field(number, payload):
        size, encoded = len(payload), b""
        while size > 127:
            encoded, size = encoded + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + encoded + bytes([size]) + payload

    payload = b""
    for _ in range(3000):
        payload = field(4, field(1, payload))
    return model.SerializeToString() + field(7, field(11, field(2, payload)))


CASES = {
    "truncated": (lambda model, folder: model.SerializeToString()[:-1000], ["model.onnx' is not an ONNX model, or is truncated"]),
    "no protobuf": (lambda model, folder: b"GGUF" * 300, ["model.onnx' is not an ONNX model"]),
    "empty": (lambda model, folder: b"", ["model.onnx"]),
    "deep nesting": (nest, ["model.onnx' is not an ONNX model"]),
    "huge length": (lambda model, folder: b"\x3a\xff\xff\xff\x7f" + bytes(100), ["model.onnx' is not an ONNX model"]),
    "negative dimension": (set_dims(-64, 64), [Q, "negative dimension -64"]),
    "countless elements": (set_dims(2**40, 2**40), [Q, "more elements than can be counted"]),
    "other size": (set_dims(64, 65), [Q]),
    "missing data": (edit(lambda model: externalize(model, "nothing") and None), [Q, "'nothing': No such file"]),
    "short data": (short_data, [Q, "end at byte 16383"]),
    "absolute path": (edit(lambda model: externalize(model, "/etc/passwd") and None), [Q, "below the model's folder", "/etc/passwd"]),
    "path outside": (edit(lambda model: externalize(model, "../data") and None), [Q, "below the model's folder", "../data"]),
    "link outside": (linked_data, [Q, "outside of the model's folder"]),
    "unknown operator": (edit(lambda model: setattr(node(model), "op_type", "Frobnicate")), ["'Frobnicate' (node \"/model/residual\")"]),
    "unsupported operator": (edit(lambda model: setattr(node(model), "op_type", "PRelu")), ["'onnx.PRelu' (node \"/model/residual\")"]),
    "element type": (edit(lambda model: setattr(initializer(model), "data_type", TensorProto.STRING)), [Q, "STRING"]),
    "double": (double, ["f32 logits"]),
    "new opset": (edit(lambda model: setattr(model.opset_import[0], "version", 99)), ["opset 99"]),
    "old opset": (edit(lambda model: setattr(model.opset_import[0], "version", 1)), ["opset 1 "]),
    "fixed sequence": (edit(lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 4)),
                       ["dimension 1 of input_ids"]),
    "unresolved shape": (unresolved_shape, ["'onnx.NonZero' (node \"/nz\")"]),
    "missing cache": (edit(lambda model: model.graph.input.__delitem__(2)), ["past_key_values.0.key"]),
}


@pytest.mark.parametrize("name", CASES)
def test_models(name, compiler, tiny_model, tmp_path):
    change, parts = CASES[name]
    folder = tmp_path / "model"
    shutil.copytree(tiny_model.parent, folder)
    model = onnx.load(folder / "model.onnx")
    data = change(model, folder)
    (folder / "model.onnx").write_bytes(model.SerializeToString() if data is None else data)
    before = sorted(os.listdir(folder))
    result = subprocess.run([str(compiler), str(folder / "model.onnx"), "-q", "-o", str(folder / "chat")], capture_output=True, text=True,
                            timeout=60, check=False)
    assert result.returncode == 1 and result.stdout == "", result
    assert result.stderr.startswith("elutq-compile: error: ") and result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr, result.stderr
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("has_unknown_shapes", [False, True])
def test_all_unsupported_nodes_are_named(has_unknown_shapes, compiler, tiny_model, tmp_path):
    """At once, whichever stage refuses them: the importer for its operator or for its type, the entry point, the planes of weights, linalg."""
    model = onnx.load(tiny_model)
    random = np.random.default_rng(3)
    for name, value in (("b", random.integers(0, 256, (64, 2, 16), np.uint8)), ("s", random.random(128, np.float32)),
                        ("order", np.arange(64, dtype=np.int32)[::-1] // 32), ("yes", np.array(True))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    planes = {"domain": "com.microsoft", "K": 64, "N": 64, "bits": 4, "block_size": 32}
    extra = [helper.make_node("RandomNormalLike", ["before"], ["t0"], name="/random"),
             helper.make_node("Cast", ["before"], ["text"], name="/text", to=TensorProto.STRING),
             helper.make_node("Cast", ["text"], ["t1"], name="/number", to=TensorProto.FLOAT),
             helper.make_node("MatMulNBits", ["before", "b", "s", "", "order"], ["t2"], name="/columns", **planes),
             helper.make_node("Dropout", ["before", "", "yes"], ["t3"], name="/drop"),
             helper.make_node("Sum", ["t0", "t1", "t2", "t3"], ["sum"], name="/sum")]
    parts = ["'RandomNormalLike' (node \"/random\"): this operator is not supported", "'Cast' (node \"/text\"): value 'text' has element type STRING",
             "'onnx.contrib.MatMulNBits' (node \"/columns\"): columns in another order", "'onnx.Dropout' (node \"/drop\"): training is not supported",
             "'onnx.Attention' (node \"/model/attention\"): expected a positive scale and a softcap that is not negative"]
    if has_unknown_shapes:
        # All behind it have unknown shapes; to be told so would help nobody.
        extra.append(helper.make_node("Frobnicate", ["sum"], ["shapeless"], name="/own", domain="com.example"))
        model.opset_import.append(helper.make_opsetid("com.example", 1))
        parts.append("'com.example::Frobnicate' (node \"/own\"): this operator is not supported")
    residual = node(model)
    place, last = list(model.graph.node).index(residual), residual.output[0]
    residual.output[0] = "before"
    extra.append(helper.make_node("Neg", [extra[-1].output[0]], [last], name="/neg"))
    for value in reversed(extra):
        model.graph.node.insert(place + 1, value)
    node(model, "/model/attention").attribute.append(helper.make_attribute("softcap", -1.0))
    onnx.save(model, tmp_path / "model.onnx")
    command = [str(compiler), str(tmp_path / "model.onnx"), "-q", "-o", str(tmp_path / "chat")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and result.stdout == "" and result.stderr.count("\n") == 1, result
    for part in [f"elutq-compile: error: cannot convert {len(parts)} operations of the model: ", *parts, "; docs/Operators.md lists what is supported"]:
        assert part in result.stderr, result.stderr
    assert os.listdir(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("options, message", [
    (["--quantize=hlq:bits=5"], "expected bits to be 1 to 4 or 8, but got 5"),
    (["--quantize=hlq:group=48"], "expected group to be 16, 32, 64, 128, 256 or 0 (the row), but got 48"),
    (["--mcpu=abacus"], "unknown processor 'abacus'"), (["--target=pdp11-unknown-linux"], "unsupported target 'pdp11-unknown-linux'"),
    (["--colour"], "Unknown command line argument '--colour'"), (["--max-context=100000"], "the model knows 128 positions"),
])
def test_options(options, message, compiler, tiny_model, tmp_path):
    command = [str(compiler), str(tiny_model), "-q", "-o", str(tmp_path / "chat"), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert os.listdir(tmp_path) == []


def export_fails(capsys, source, target) -> str:
    assert main(["export", str(source), "-o", str(target), "-q"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("elutq: error: ") and error.count("\n") == 1 and not target.exists(), error
    return error


def test_export_of_a_truncated_gguf(tmp_path, capsys):
    config = CONFIGS["llama"]
    write_gguf(tmp_path / "whole.gguf", config, random_weights(config, seed=4))
    data = (tmp_path / "whole.gguf").read_bytes()
    for size in (3, 20, len(data) // 2, len(data) - 1):
        (tmp_path / "part.gguf").write_bytes(data[:size])
        assert "part.gguf" in export_fails(capsys, tmp_path / "part.gguf", tmp_path / "out")


def test_export_without_a_shard(tmp_path, capsys):
    config = CONFIGS["llama"]
    write_checkpoint(tmp_path / "hf", config, random_weights(config, seed=5), shards=2)
    shard = sorted((tmp_path / "hf").glob("*.safetensors"))[1]
    data = shard.read_bytes()
    shard.write_bytes(data[:-7])
    assert shard.name in export_fails(capsys, tmp_path / "hf", tmp_path / "out")
    shard.unlink()
    assert f"{shard.name}' does not exist" in export_fails(capsys, tmp_path / "hf", tmp_path / "out")


def test_export_of_an_unknown_architecture(tmp_path, capsys):
    config = {**CONFIGS["llama"], "model_type": "rwkv7", "architectures": ["RwkvForCausalLM"]}
    write_checkpoint(tmp_path / "hf", CONFIGS["llama"], random_weights(CONFIGS["llama"], seed=6))
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    error = export_fails(capsys, tmp_path / "hf", tmp_path / "out")
    assert "the model type 'rwkv7' is not supported; supported are gemma3, " in error
