"""Graphs of torch.onnx.export and of optimum-onnx compile as they are, and compute what ONNX Runtime computes."""

import numpy as np
import onnx
import pytest

import elutq
from exported_model import compiled_logits, convert_floats, error_of, reference_logits
from torch_graphs import GRAPHS, write_model


def test_there_are_graphs():
    assert "dynamo-18-llama3" in GRAPHS


@pytest.mark.parametrize("name", GRAPHS)
def test_float(name, compiler, tmp_path):
    write_model(name, tmp_path / "model.onnx")
    assert error_of(tmp_path / "model.onnx", tmp_path / "tiny", head_size=16) <= 1e-4


@pytest.mark.parametrize("name", ["dynamo-18-llama3", "dynamo-18-mixtral"])
def test_half(name, compiler, tmp_path):
    """In f16, the same graph is computed in f32 from the weights in f16."""
    write_model(name, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    convert_floats(model, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    onnx.save(model, tmp_path / "model.onnx")
    assert error_of(tmp_path / "model.onnx", tmp_path / "tiny", head_size=16) <= 1e-4


@pytest.mark.parametrize("name", ["dynamo-18-llama3", "dynamo-18-mixtral", "optimum-opt"])
def test_unknown_operators_are_named(name, compiler, tmp_path):
    """Whatever is recognized around them: here, the softmax of each attention."""
    write_model(name, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    names = []
    for node in model.graph.node:
        if node.op_type == "Softmax":
            node.op_type, node.domain = "Mystery", "com.example"
            names.append(node.name)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(elutq.CompileError, match="'com.example::Mystery'.* is not supported") as refusal:
        elutq.compile(tmp_path / "model.onnx", tmp_path / "tiny", emit="lib")
    assert len(names) >= 2 and all(f'"{name}"' in str(refusal.value) for name in names)
    assert not list(tmp_path.glob("*tiny*"))


@pytest.mark.parametrize("name", ["dynamo-18-llama3"])
def test_quantized(name, compiler, tmp_path):
    """At 8 bits weights are nearly those of the model, so errors of another kind would show."""
    write_model(name, tmp_path / "model.onnx")
    assert 0 < error_of(tmp_path / "model.onnx", tmp_path / "tiny", head_size=16, quantize="hlq:bits=8,embedding=8,head=8") <= 0.03


@pytest.mark.parametrize("name", ["dynamo-18-gpt2", "dynamo-18-phi3", "optimum-opt"])
def test_quantized_onnx(name, compiler, tmp_path):
    """Written as quantized ONNX and read again: shapes go on behind the quantized products, and ONNX Runtime multiplies by what the planes say,
    activations of 32 bits for 16."""
    write_model(name, tmp_path / "model.onnx")
    elutq.compile(tmp_path / "model.onnx", tmp_path / "hlq.onnx", emit="hlq-onnx", quantize="hlq:bits=4,group=32")
    assert error_of(tmp_path / "hlq.onnx", tmp_path / "tiny", head_size=16) <= 5e-3


def test_quantized_experts(compiler, tmp_path):
    """Where two experts are about as good, a small error chooses the other one: most tokens are near, but not all."""
    write_model("dynamo-18-mixtral", tmp_path / "model.onnx")
    decoded, _ = compiled_logits(tmp_path / "model.onnx", tmp_path / "tiny", "hlq:bits=8,embedding=8,head=8")
    expected = reference_logits(tmp_path / "model.onnx", head_size=16)
    errors = np.abs(decoded - expected).max(axis=1) / np.abs(expected).max()
    assert 0 < np.median(errors) <= 0.03


def test_experts_are_quantized(compiler, tmp_path):
    """Of a layer, the two matrices of each of four experts."""
    write_model("dynamo-18-mixtral", tmp_path / "model.onnx")
    report = tmp_path / "report.txt"
    elutq.compile(tmp_path / "model.onnx", tmp_path / "tiny", emit="lib", quantize="hlq:bits=3,group=32", arguments=[f"--report={report}"])
    rows = [line.split() for line in report.read_text().splitlines() if line.startswith("decode ") and ".expert" in line]
    assert {row[4] for row in rows} == {"3"}
    assert len({row[1] for row in rows}) == 2 * 2 * 4
