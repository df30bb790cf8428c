"""Graphs of torch.onnx.export and of optimum-onnx compile as they are, and compute what ONNX Runtime computes."""

import pytest

from exported_model import error_of
from torch_graphs import GRAPHS, write_model


def test_there_are_graphs():
    assert "dynamo-18-llama3" in GRAPHS


@pytest.mark.parametrize("name", GRAPHS)
def test_float(name, compiler, tmp_path):
    write_model(name, tmp_path / "model.onnx")
    assert error_of(tmp_path / "model.onnx", tmp_path / "tiny", head_size=16) <= 1e-4


@pytest.mark.parametrize("name", ["dynamo-18-llama3"])
def test_quantized(name, compiler, tmp_path):
    """At 8 bits weights are nearly those of the model, so errors of another kind would show."""
    write_model(name, tmp_path / "model.onnx")
    assert 0 < error_of(tmp_path / "model.onnx", tmp_path / "tiny", head_size=16, quantize="hlq:bits=8,embedding=8,head=8") <= 0.03
