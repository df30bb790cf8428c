"""GPTQ, AWQ and EfficientQAT checkpoints: their codes become HLQ without loss, and the models compute what their floats say."""

import json

import dequantized_model
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

import elutq
from elutq.errors import ExportError
from elutq.export import export_model
from onnx_session import OnnxSession
from packed_checkpoints import write_packed
from tiny_models import BASE, TOKENS, Reference

LLAMA = {**BASE, "model_type": "llama", "vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "head_dim": 16}
QWEN = {**LLAMA, "model_type": "qwen2", "use_sliding_window": False, "sliding_window": 3}

# method, bits, group, whether columns are out of order
FORMS = [("gptq", 2, 32, False), ("gptq", 3, 32, False), ("gptq", 4, 32, False), ("gptq", 8, 32, False), ("gptq_v2", 4, 64, False),
         ("gptq", 4, 32, True), ("gptq", 3, 16, True), ("awq", 4, 32, False), ("efficientqat", 2, 32, False),
         ("efficientqat", 3, 32, False), ("efficientqat", 4, 64, False)]


def exported_weights(directory):
    """By name: the floats of every HLQ matrix in the model, columns in the order of inputs."""
    model = onnx.load(directory / "model.onnx")
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type != "HLQMatMul":
            continue
        name = node.input[1].removesuffix(".planes")
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        weights = dequantized_model.dequantize(*(tensors[f"{name}.{part}"] for part in ("planes", "scales", "zeros")), attributes["K"],
                                               attributes["group_size"])
        found[name] = np.empty_like(weights)
        found[name][:, tensors.get(f"{name}.order", np.arange(attributes["K"]))] = weights
    return found


@pytest.mark.parametrize("method, bits, group, shuffle", FORMS)
def test_weights_are_the_same(method, bits, group, shuffle, tmp_path):
    weights = write_packed(tmp_path / "hf", LLAMA, method, bits, group, shuffle=shuffle)
    export_model(tmp_path / "hf", tmp_path / "onnx")
    found = exported_weights(tmp_path / "onnx")
    assert found.keys() == {name for name in weights if name.endswith("_proj.weight")}
    for name, values in found.items():
        np.testing.assert_array_equal(values, weights[name], err_msg=name)
    assert "quantization_config" not in json.loads((tmp_path / "onnx" / "config.json").read_text())
    onnx.checker.check_model(str(tmp_path / "onnx" / "model.onnx"), full_check=True)
    np.testing.assert_allclose(OnnxSession(tmp_path / "onnx").feed(TOKENS), Reference(LLAMA, weights).logits(TOKENS), rtol=3e-4, atol=3e-5)


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_floats_on_demand(method, tmp_path):
    weights = write_packed(tmp_path / "hf", LLAMA, method, 4, 32, shuffle=method == "gptq")
    export_model(tmp_path / "hf", tmp_path / "onnx", quantized="float")
    model = onnx.load(tmp_path / "onnx" / "model.onnx")
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert not model.functions
    for name in weights:
        if name.endswith("_proj.weight"):
            np.testing.assert_array_equal(tensors[name].T, weights[name], err_msg=name)


@pytest.mark.parametrize("config, method, bits, group, shuffle", [
    (LLAMA, "gptq", 4, 32, True), (QWEN, "gptq", 3, 32, False), (LLAMA, "gptq", 8, 32, False), (QWEN, "awq", 4, 32, False),
    (LLAMA, "efficientqat", 2, 32, False)])
def test_compiled(config, method, bits, group, shuffle, tmp_path):
    """What differs are the 8-bit tables of activations."""
    weights = write_packed(tmp_path / "hf", config, method, bits, group, shuffle=shuffle)
    export_model(tmp_path / "hf", tmp_path / "onnx")
    elutq.compile(tmp_path / "onnx" / "model.onnx", tmp_path / "tiny", emit="lib", arguments=["--kv-cache=f32", "--chunk=4"])
    expected = Reference(config, weights).logits(TOKENS)
    session = elutq.Model(tmp_path / "libtiny.so").session()
    decoded = np.stack([session.decode(token) for token in TOKENS])
    assert np.abs(decoded - expected).max() <= 0.02 * np.ptp(expected)
    session.reset()
    assert np.abs(session.prefill(TOKENS) - expected[-1]).max() <= 0.02 * np.ptp(expected)


def test_configuration_beside_the_model(tmp_path):
    weights = write_packed(tmp_path / "hf", LLAMA, "gptq", 4, 32, file="quantize_config.json")
    export_model(tmp_path / "hf", tmp_path / "onnx")
    name = "model.layers.1.mlp.up_proj.weight"
    np.testing.assert_array_equal(exported_weights(tmp_path / "onnx")[name], weights[name])


def test_a_bias_that_only_the_packer_has(tmp_path):
    weights = write_packed(tmp_path / "hf", LLAMA, "gptq", 4, 32)
    tensors = load_file(tmp_path / "hf" / "model.safetensors")
    layer = "model.layers.0.mlp.down_proj"
    tensors[f"{layer}.bias"] = weights[f"{layer}.bias"] = np.linspace(-1, 2, 64).astype(np.float32)
    tensors["model.layers.1.mlp.down_proj.bias"] = np.zeros(64, np.float32)
    save_file(tensors, tmp_path / "hf" / "model.safetensors")
    export_model(tmp_path / "hf", tmp_path / "onnx")
    adds = [node.input[1] for node in onnx.load(tmp_path / "onnx" / "model.onnx").graph.node if node.op_type == "Add"]
    assert f"{layer}.bias" in adds and "model.layers.1.mlp.down_proj.bias" not in adds
    np.testing.assert_allclose(OnnxSession(tmp_path / "onnx").feed(TOKENS), Reference(LLAMA, weights).logits(TOKENS), rtol=3e-4, atol=3e-5)


def changed(section):
    def change(directory):
        config = json.loads((directory / "config.json").read_text())
        config["quantization_config"] |= section
        (directory / "config.json").write_text(json.dumps(config))
    return change


def without(*names):
    def change(directory):
        tensors = load_file(directory / "model.safetensors")
        save_file({name: value for name, value in tensors.items() if not name.endswith(names)}, directory / "model.safetensors")
    return change


def with_tensor(name, make):
    def change(directory):
        tensors = load_file(directory / "model.safetensors")
        tensors[name] = make(tensors[name])
        save_file(tensors, directory / "model.safetensors")
    return change


LAYER = "model.layers.1.self_attn.o_proj"


@pytest.mark.parametrize("change, message", [
    (changed({"quant_method": "bitsandbytes"}), "'bitsandbytes' are not supported; supported are gptq, awq and efficientqat"),
    (changed({"bits": 5}), "gptq of 5 bits is not supported"),
    (changed({"group_size": 0}), "group size is 0"),
    (changed({"checkpoint_format": "marlin"}), "format 'marlin' is not supported"),
    (changed({"dynamic": {"x": {"bits": 8}}}), "'dynamic'"),
    (changed({"bits": 2}), "has 8 words for 64 codes of 2 bits"),
    (without(".qzeros"), "lacks the matrix 'model.layers.0.self_attn.q_proj.qzeros'"),
    (without("q_proj.scales"), "'model.layers.0.self_attn.q_proj' lacks one of the matrices"),
    (with_tensor(f"{LAYER}.g_idx", lambda g: np.where(g == 1, 0, g).astype(np.int32)), f"{LAYER}.g_idx' does not give each group 32 columns"),
    (with_tensor(f"{LAYER}.scales", lambda s: s[:-1]), f"{LAYER}.scales' has the shape"),
    (with_tensor(f"{LAYER}.scales", lambda s: s * np.float16(np.nan)), f"{LAYER}.weight' has scales or zeros that are not finite"),
    (with_tensor(f"{LAYER}.qweight", lambda q: q.astype(np.int64)), f"{LAYER}.qweight' is of the type int64"),
])
def test_refused(change, message, tmp_path):
    write_packed(tmp_path / "hf", LLAMA, "gptq", 4, 32)
    change(tmp_path / "hf")
    with pytest.raises(ExportError) as raised:
        export_model(tmp_path / "hf", tmp_path / "onnx")
    assert message in str(raised.value)
    assert not (tmp_path / "onnx").exists()
