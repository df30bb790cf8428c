"""Exported graphs compute what the architectures say."""

import dataclasses

import numpy as np
import onnx
import pytest

from elutq.errors import ExportError
from elutq.export import export_model
from onnx_session import OnnxSession
from tiny_models import (CONFIGS, LOGITS, TOKENS, TRANSFORMERS_CONFIGS, TRANSFORMERS_SEED, Reference, random_weights,
                         write_checkpoint)


@pytest.fixture(scope="module", params=CONFIGS)
def exported(request, tmp_path_factory):
    """(configuration, weights, folder of the export)"""
    config = CONFIGS[request.param]
    weights = random_weights(config, seed=len(request.param))
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(folder / "hf", config, weights, shards=2 if request.param == "qwen3" else 1)
    export_model(folder / "hf", folder / "onnx")
    return config, weights, folder / "onnx"


def test_model_is_valid(exported):
    config, _, folder = exported
    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 23)]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.graph.value_info}
    assert shapes["/model/layers.0/mlp/down_proj/MatMul_output_0"][1:] == ["sequence_length", config["hidden_size"]]
    names = [node.name for node in model.graph.node]
    assert len(names) == len(set(names)) and "/model/layers.2/self_attn/q_proj/MatMul" in names


def test_weights_are_external_and_aligned(exported):
    config, weights, folder = exported
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    tensors = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    assert set(weights) <= set(tensors)
    data = (folder / "model.onnx.data").read_bytes()
    for name, tensor in tensors.items():
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert entries["location"] == "model.onnx.data" and int(entries["offset"]) % 4096 == 0
        values = np.frombuffer(data, "<f4", int(entries["length"]) // 4, int(entries["offset"])).reshape(tensor.dims)
        if name.endswith("proj.weight") or name == "lm_head.weight":
            np.testing.assert_array_equal(values, weights[name].T)
        elif name == "model.embed_tokens.weight":
            np.testing.assert_array_equal(values, weights[name])


def test_logits_match_the_reference(exported):
    config, weights, folder = exported
    expected = Reference(config, weights).logits(TOKENS)
    assert np.abs(expected).max() > 0.5  # the comparison below says something
    np.testing.assert_allclose(OnnxSession(folder).feed(TOKENS), expected, rtol=2e-4, atol=2e-5)


def test_decoding_with_a_cache_equals_the_full_forward(exported):
    _, _, folder = exported
    full = OnnxSession(folder).feed(TOKENS)
    for cuts in ([5], list(range(1, len(TOKENS)))):
        session = OnnxSession(folder)
        parts = [session.feed(part) for part in np.split(np.array(TOKENS), cuts)]
        np.testing.assert_allclose(np.concatenate(parts), full, rtol=2e-5, atol=2e-6)


def test_masks_are_shared(exported):
    config, _, folder = exported
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    masks = {node.input[3] for node in model.graph.node if node.op_type == "Attention"}
    assert len(masks) <= 2
    assert sum(node.op_type == "LessOrEqual" for node in model.graph.node) == 1
    assert sum(node.op_type == "Greater" for node in model.graph.node) == sum("sliding" in mask for mask in masks)


@pytest.mark.parametrize("name", ["llama3", "qwen2"])
def test_f16_storage(name, tmp_path):
    config = CONFIGS[name]
    weights = random_weights(config, seed=1)
    write_checkpoint(tmp_path / "hf", config, weights)
    export_model(tmp_path / "hf", tmp_path / "onnx", dtype="f16")
    onnx.checker.check_model(str(tmp_path / "onnx" / "model.onnx"), full_check=True)
    rounded = {k: v.astype(np.float16).astype(np.float32) if v.ndim == 2 else v for k, v in weights.items()}
    logits = OnnxSession(tmp_path / "onnx").feed(TOKENS)
    np.testing.assert_allclose(logits, Reference(config, rounded).logits(TOKENS), rtol=2e-4, atol=2e-5)


def test_multimodal_names_and_nested_configuration(tmp_path):
    text = CONFIGS["gemma3"]
    weights = random_weights(text, seed=2)
    renamed = {f"language_model.{name}": value for name, value in weights.items()}
    write_checkpoint(tmp_path / "hf", {"model_type": "gemma3", "text_config": text}, renamed)
    export_model(tmp_path / "hf", tmp_path / "onnx")
    expected = Reference(text, weights).logits(TOKENS)
    np.testing.assert_allclose(OnnxSession(tmp_path / "onnx").feed(TOKENS), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_stored_types(dtype, tmp_path):
    import ml_dtypes

    config = CONFIGS["llama"]
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    weights = {name: value.astype(kind) for name, value in random_weights(config, seed=3).items()}
    write_checkpoint(tmp_path / "hf", config, weights)
    export_model(tmp_path / "hf", tmp_path / "onnx")
    expected = Reference(config, weights).logits(TOKENS)
    np.testing.assert_allclose(OnnxSession(tmp_path / "onnx").feed(TOKENS), expected, rtol=2e-4, atol=2e-5)


def test_max_layers(tmp_path):
    config = CONFIGS["llama"]
    weights = random_weights(config, seed=4)
    write_checkpoint(tmp_path / "hf", config, weights)
    spec = export_model(tmp_path / "hf", tmp_path / "onnx", max_layers=2)
    assert spec.num_layers == 2 and len(dataclasses.asdict(spec)["layer_windows"]) == 2
    expected = Reference({**config, "num_hidden_layers": 2}, weights).logits(TOKENS)
    np.testing.assert_allclose(OnnxSession(tmp_path / "onnx").feed(TOKENS), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", TRANSFORMERS_CONFIGS)
def test_logits_match_transformers(name, tmp_path):
    """transformers' own logits, computed once, of the same checkpoint."""
    write_checkpoint(tmp_path / "hf", CONFIGS[name], random_weights(CONFIGS[name], TRANSFORMERS_SEED))
    export_model(tmp_path / "hf", tmp_path / "onnx")
    with np.load(LOGITS) as stored:
        expected = stored[name]
    actual = OnnxSession(tmp_path / "onnx").feed(TOKENS)
    assert actual.shape == expected.shape and np.ptp(expected) > 0.5
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("change, message", [
    ({"model_type": "mamba"}, "the model type 'mamba' is not supported"),
    ({"hidden_size": None}, "the configuration lacks 'hidden_size'"),
    ({"num_key_value_heads": 3}, "expected a multiple of num_key_value_heads"),
    ({"head_dim": 9}, "expected an even number"),
    ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "rotary scaling of the kind 'yarn' is not supported"),
    ({"rope_scaling": {"type": "linear", "factor": 0}}, "expected a positive number"),
    ({"hidden_act": "relu"}, "the activation 'relu' is not supported"),
    ({"num_hidden_layers": 4}, "lacks the tensor 'model.layers.3.input_layernorm.weight'"),
    ({"vocab_size": 62}, r"'model.embed_tokens.weight' has the shape \[61, 24\], expected \[62, 24\]"),
    ({"vocab_size": True}, "expected an integer"),
    ({"quantization_config": {"quant_method": "fp8"}}, "'fp8' are not supported"),
])
def test_refused_configurations(change, message, tmp_path):
    config = CONFIGS["llama"]
    write_checkpoint(tmp_path / "hf", {**config, **change}, random_weights(config, seed=6))
    with pytest.raises(ExportError, match=message):
        export_model(tmp_path / "hf", tmp_path / "new" / "onnx")
    assert not (tmp_path / "new").exists()
