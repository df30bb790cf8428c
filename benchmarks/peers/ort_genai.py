"""Time ONNX Runtime GenAI on a model folder: prefill and greedy decode of tokens, without text.

    ort_genai.py DIR PREFILL DECODE [--repeats 3]

Prints one JSON object {peer, prefill_tok_s, decode_tok_s}: medians. The folder's genai_config.json says how many threads.
"""
import argparse
import json
import statistics
import time

import numpy as np
import onnxruntime_genai


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("prefill", type=int)
    parser.add_argument("decode", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    model = onnxruntime_genai.Model(args.model)
    prompt = np.random.default_rng(0).integers(5, 50000, args.prefill).astype(np.int32)
    prefill, decode = [], []
    for repeat in range(args.repeats + 1):
        params = onnxruntime_genai.GeneratorParams(model)
        params.set_search_options(min_length=args.prefill + args.decode + 2, max_length=args.prefill + args.decode + 2, do_sample=False)
        generator = onnxruntime_genai.Generator(model, params)
        start = time.perf_counter()
        generator.append_tokens(prompt)
        middle = time.perf_counter()
        generator.generate_next_token()  # chooses from the logits of the prompt
        begin = time.perf_counter()
        for _ in range(args.decode):
            generator.generate_next_token()
        end = time.perf_counter()
        if repeat:  # the first one touches all pages
            prefill.append(args.prefill / (middle - start))
            decode.append(args.decode / (end - begin))
    print(json.dumps({"peer": f"ONNX Runtime GenAI {onnxruntime_genai.__version__} int4", "prefill_tok_s": round(statistics.median(prefill), 1),
                      "decode_tok_s": round(statistics.median(decode), 1)}))


if __name__ == "__main__":
    main()
