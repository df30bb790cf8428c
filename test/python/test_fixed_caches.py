"""Caches of fixed size, written by TensorScatter and read by Attention up to nonpad_kv_seqlen (opset 24), become the cache in place."""

import numpy as np
import onnx
import pytest
import tiny_models
from onnx.reference import ReferenceEvaluator
from onnx_session import OnnxSession

import elutq
from elutq.export import export_model

SLOTS = 48
TOKENS = tiny_models.TOKENS


def fix_caches(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each Attention with a past that grows, as one with caches of SLOTS positions; masks go, as all layers are causal without a window."""
    graph = model.graph
    nodes = []
    for node in graph.node:
        if node.op_type == "Attention":
            for operand, past, present in ((1, node.input[4], node.output[1]), (2, node.input[5], node.output[2])):
                nodes.append(onnx.helper.make_node("TensorScatter", [past, node.input[operand], "write_indices"], [present], axis=-2))
            scale = [attribute for attribute in node.attribute if attribute.name == "scale"]
            node = onnx.helper.make_node("Attention", [node.input[0], node.output[1], node.output[2], "", "", "", "lengths"], [node.output[0]],
                                         name=node.name, is_causal=1)
            node.attribute.extend(scale)
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    needed, kept = {value.name for value in graph.output}, []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.insert(0, node)
    del graph.node[:]
    graph.node.extend(kept)
    for value in [*graph.input, *graph.output]:
        if value.name.startswith(("past", "present")):
            value.type.tensor_type.shape.dim[2].dim_value = SLOTS
    for name in ("write_indices", "lengths"):
        graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch_size"]))
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", 24))
    model.ir_version = 11
    return model


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def folder(request, tmp_path_factory):
    """An export of ours in model.onnx, and with caches of fixed size in fixed.onnx."""
    folder = tmp_path_factory.mktemp(request.param)
    config = tiny_models.CONFIGS[request.param]
    tiny_models.write_checkpoint(folder / "hf", config, tiny_models.random_weights(config, seed=1))
    export_model(folder / "hf", folder / "onnx")
    onnx.save(fix_caches(onnx.load(folder / "onnx" / "model.onnx")), folder / "onnx" / "fixed.onnx")
    return folder / "onnx"


def expected_logits(folder) -> np.ndarray:
    """By ONNX Runtime, with the past that grows."""
    session = OnnxSession(folder)
    return np.concatenate([session.feed(TOKENS[:5]), *(session.feed([token]) for token in TOKENS[5:])])


def test_the_graphs_are_the_same_model(folder):
    """ONNX's own implementation of the graph with caches of fixed size, what is behind the valid positions made up."""
    graph = ReferenceEvaluator(str(folder / "fixed.onnx"))
    model = onnx.load(folder / "fixed.onnx", load_external_data=False)
    past = {value.name: np.full([1] + [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:], 7.0, np.float32)
            for value in model.graph.input if value.name.startswith("past")}
    logits, position = [], 0
    for part in (TOKENS[:5], *([token] for token in TOKENS[5:])):
        positions = np.arange(position, position + len(part))
        position += len(part)
        result = graph.run(None, {"input_ids": np.array([part]), "position_ids": positions[None], "write_indices": positions[:1],
                                  "lengths": np.array([position]), **past})
        outputs = dict(zip([value.name for value in model.graph.output], result))
        logits.append(outputs["logits"][0])
        past = {name: outputs[name.replace("past_key_values", "present")] for name in past}
    expected = expected_logits(folder)
    assert np.abs(np.concatenate(logits) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_compiled(folder, compiler, tmp_path):
    elutq.compile(folder / "fixed.onnx", tmp_path / "fixed", emit="lib", quantize="none", arguments=["--chunk=4", "--kv-cache=f32", "--max-context=32"])
    session, expected = elutq.Model(tmp_path / "libfixed.so").session(), expected_logits(folder)
    decoded = np.stack([session.decode(token) for token in TOKENS])
    assert np.abs(decoded - expected).max() <= 1e-4 * np.abs(expected).max()
    session.reset()
    assert np.abs(session.prefill(np.array(TOKENS)) - expected[-1]).max() <= 1e-4 * np.abs(expected).max()
