"""Keeps the graph of an exported model for test/python, which runs without exporters: as text, without tensors of more than 64 elements and
without what the exporter says of its own code.

    keep_graph.py EXPORTS/dynamo-18/llama3/model.onnx test/python/Inputs/torch/dynamo-18-llama3.onnxtxt
"""

import sys
from pathlib import Path

import onnx


def main() -> None:
    model = onnx.load(sys.argv[1])
    graph = model.graph
    for item in [model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer]:
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    graph.ClearField("value_info")
    for node in graph.node:
        for attribute in node.attribute:
            attribute.t.ClearField("name") if attribute.HasField("t") else None
    for tensor in graph.initializer:
        shape = list(tensor.dims)
        if onnx.numpy_helper.to_array(tensor).size <= 64:
            continue
        kept = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=shape, data_location=onnx.TensorProto.EXTERNAL)
        kept.external_data.add(key="location", value="left-out")
        tensor.CopyFrom(kept)
    text = onnx.printer.to_text(model)
    if onnx.printer.to_text(onnx.parser.parse_model(text)) != text:
        sys.exit("the text is not the model")
    Path(sys.argv[2]).write_text(text + "\n")


if __name__ == "__main__":
    main()
