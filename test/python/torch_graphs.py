"""Graphs of torch.onnx.export and of optimum-onnx in Inputs/torch, filled with pseudo-random weights. test/exporters/keep_graph.py made them."""

from pathlib import Path

import numpy as np
import onnx

INPUTS = Path(__file__).parent / "Inputs" / "torch"
GRAPHS = sorted(path.stem for path in INPUTS.glob("*.onnxtxt"))


def write_model(name: str, path: Path, seed: int = 5) -> None:
    """The tensors that the text leaves out, those of more than 64 elements, are weights of matrices and tables."""
    model = onnx.parser.parse_model((INPUTS / f"{name}.onnxtxt").read_text())
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        dims = tuple(tensor.dims)
        values = rng.standard_normal(dims) * (0.5 if tensor.name in tables else dims[0] ** -0.5)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    onnx.save(model, path)
