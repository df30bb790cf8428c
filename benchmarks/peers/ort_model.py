"""Time ONNX Runtime on an exported model with its own 4-bit weights (MatMulNBits, blocks of 32, int8 accumulation).

    ort_model.py MODEL_DIR WORK_DIR PREFILL DECODE [--threads 2]

Quantizes MODEL_DIR/model.onnx into WORK_DIR once, with the head's weights 4-bit too, then prefills PREFILL tokens in one call and
decodes DECODE tokens greedily. Prints one JSON object: tokens per second of each.
"""
import argparse
import json
import pathlib
import time

import numpy as np
import onnx
import onnxruntime


def quantize(source: pathlib.Path, target: pathlib.Path) -> None:
    from onnx import helper, numpy_helper
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    model = onnx.load(source)
    # The tied head is MatMul(x, Transpose(embedding)), which the quantizer passes over: give it a matrix of its own.
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type == "Transpose" and node.input[0] in tensors:
            table = numpy_helper.to_array(tensors[node.input[0]])
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(table.T), node.output[0]))
            model.graph.node.remove(node)
    quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), use_external_data_format=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("prefill", type=int)
    parser.add_argument("decode", type=int)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    args.work.mkdir(parents=True, exist_ok=True)
    quantized = args.work / "model.int4.onnx"
    if not quantized.exists():
        quantize(args.model / "model.onnx", quantized)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(str(quantized), options, providers=["CPUExecutionProvider"])

    past = {value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
            for value in session.get_inputs() if value.name.startswith("past_key_values")}
    outputs = [value.name for value in session.get_outputs()]

    def step(ids: np.ndarray, position: int) -> int:
        feeds = {"input_ids": ids, "position_ids": np.arange(position, position + ids.shape[1], dtype=np.int64)[None], **past}
        values = dict(zip(outputs, session.run(None, feeds)))
        for name in past:
            past[name] = values[name.replace("past_key_values", "present")]
        return int(values["logits"][0, -1].argmax())

    rng = np.random.default_rng(0)
    prompt = rng.integers(5, 50000, (1, args.prefill), dtype=np.int64)
    empty = dict(past)
    step(prompt, 0)
    past.update(empty)
    start = time.perf_counter()
    token = step(prompt, 0)
    prefill = time.perf_counter() - start
    start = time.perf_counter()
    for index in range(args.decode):
        token = step(np.array([[token]], dtype=np.int64), args.prefill + index)
    decode = time.perf_counter() - start
    print(json.dumps({"peer": f"ONNX Runtime {onnxruntime.__version__} int4", "prefill_tok_s": round(args.prefill / prefill, 1),
                      "decode_tok_s": round(args.decode / decode, 1)}))


if __name__ == "__main__":
    main()
