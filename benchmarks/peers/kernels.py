"""Times low-bit products of ONNX Runtime or OpenVINO, one per request.

    kernels.py ort|ort-lut|openvino --threads 2

A request is a line of JSON on standard input: {"bits", "group", "M", "N", "K", "bytes", "seconds"}; the answer on standard output
is {"us", "copies"} or {"error"}. y[M, N] = x[M, K] * W[N, K]^T, with W in the peer's own format of that width and group. A model
has as many products, each with weights of its own, as exceed "bytes", so that weights come from memory; "us" is the median per
product over "seconds". The last model is kept, for requests that differ in M alone.
"""
import argparse
import json
import os
import sys
import time
from typing import Callable

import numpy as np

# A model with more products than this says more about the graph than about the products.
MAX_COPIES = 512
MIN_RUNS = 3

Run = Callable[[np.ndarray], object]


def onnx_runtime(request: dict, copies: int, threads: int, lut: bool) -> Run:
    """MatMulNBits with one f32 scale per group, activations rounded to 8 bits."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper
    n, k, g, bits = (request[key] for key in ("N", "K", "group", "bits"))
    rng, groups = np.random.default_rng(0), -(-k // g)
    weights, nodes, outputs = [], [], []
    for i in range(copies):
        weights += [onnx.numpy_helper.from_array(rng.integers(0, 256, (n, groups, g * bits // 8), dtype=np.uint8), f"b{i}"),
                    onnx.numpy_helper.from_array(rng.random((n, groups), dtype=np.float32) * 0.01, f"s{i}")]
        nodes.append(helper.make_node("MatMulNBits", ["x", f"b{i}", f"s{i}"], [f"y{i}"], domain="com.microsoft", K=k, N=n,
                                      bits=bits, block_size=g, accuracy_level=4))
        outputs.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["M", n]))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["M", k])], outputs, weights)
    model = helper.make_model(graph, ir_version=10,
                              opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    if lut:
        options.add_session_config_entry("mlas.use_lut_gemm", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})


def openvino(request: dict, copies: int, threads: int) -> Run:
    """Compressed weights with f16 scales and zeros, activations rounded to 8 bits per group."""
    import openvino as ov
    from openvino import Type, opset13 as op
    n, k, g, bits = (request[key] for key in ("N", "K", "group", "bits"))
    kind = {2: Type.u2, 4: Type.u4}[bits]
    if k % g:
        raise ValueError("K is no multiple of the group")
    rng = np.random.default_rng(0)
    x, results, kept = op.parameter([-1, k], Type.f32, name="x"), [], []
    for _ in range(copies):
        raw = rng.integers(0, 256, n * k * bits // 8, dtype=np.uint8)
        kept.append(raw)
        w = op.constant(ov.Tensor(raw, ov.Shape([n, k // g, g]), kind))
        zero = op.constant(np.full((n, k // g, 1), 2 ** (bits - 1), np.float16))
        scale = op.constant((rng.random((n, k // g, 1)) * 0.01).astype(np.float16))
        w = op.multiply(op.subtract(op.convert(w, Type.f16), zero), scale)
        w = op.convert(op.reshape(w, op.constant(np.array([n, k], np.int64)), False), Type.f32)
        results.append(op.result(op.matmul(x, w, False, True)))
    compiled = ov.Core().compile_model(ov.Model(results, [x], "m"), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(g)})
    infer = compiled.create_infer_request()

    def run(values: np.ndarray) -> object:
        return infer.infer([values]), kept
    return run


PEERS = {
    "ort": lambda request, copies, threads: onnx_runtime(request, copies, threads, lut=False),
    "ort-lut": lambda request, copies, threads: onnx_runtime(request, copies, threads, lut=True),
    "openvino": openvino,
}


def median_seconds(run: Callable[[], object], seconds: float) -> float:
    run()
    samples, begin = [], time.perf_counter()
    while len(samples) < MIN_RUNS or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        samples.append(time.perf_counter() - start)
    return float(np.median(samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    # The libraries may write to standard output, which belongs to the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    key, model = None, None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            copies = min(MAX_COPIES, -(-request["bytes"] * 8 // (request["N"] * request["K"] * request["bits"])))
            wanted = (copies, *(request[name] for name in ("bits", "group", "N", "K")))
            if wanted != key:
                # Not both in memory at once.
                key = model = None
                model, key = PEERS[args.peer](request, copies, args.threads), wanted
            x = np.random.default_rng(1).standard_normal((request["M"], request["K"]), dtype=np.float32)
            seconds = median_seconds(lambda: model(x), request["seconds"])
            answer = {"us": seconds * 1e6 / copies, "copies": copies}
        except Exception as error:  # Whatever a peer raises, it cannot do this product.
            answer = {"error": str(error).splitlines()[0] if str(error) else type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
