"""Speed of a whole model, beside the peers, in one run on this machine.

    model.py --chat W4=demo/chat-w4 [--chat W2=…] [--gguf FILE --llama DIR] [--onnx DIR --ort-work DIR]
             [--prefill 512] [--decode 64] [--json FILE]

Each compiled model is run with `--bench P,N`; a peer that is not given is left out. Prints a table and writes JSON: a list of
{name, prefill_tok_s, decode_tok_s, weight_gb_s}. A ratio is this model's decode speed by that of the fastest peer of this run.
"""
import argparse
import json
import pathlib
import subprocess
import sys

PEERS = pathlib.Path(__file__).parent / "peers"


def run(*command: object) -> str:
    words = [str(word) for word in command]
    try:
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"model.py: error: cannot measure with {words[0]}: {error}")


def compiled(spec: str, args: argparse.Namespace) -> dict:
    name, _, path = spec.partition("=")
    result = json.loads(run(pathlib.Path(path).resolve(), "--bench", f"{args.prefill},{args.decode}", "--threads", args.threads, "--json"))
    return {"name": f"ELUTQ {name}", "prefill_tok_s": result["prefill_tok_s"], "decode_tok_s": result["decode_tok_s"],
            "weight_gb_s": result["decode_weight_gb_s"]}


def llama(args: argparse.Namespace) -> dict:
    rows = json.loads(run(PEERS / "llama.sh", "model", args.llama, args.gguf, args.prefill, args.decode))
    speed = {("prefill" if row["n_prompt"] else "decode"): row["avg_ts"] for row in rows}
    return {"name": f"llama.cpp {rows[0]['model_type']}", "prefill_tok_s": round(speed["prefill"], 1),
            "decode_tok_s": round(speed["decode"], 1), "weight_gb_s": None}


def onnx_runtime(args: argparse.Namespace) -> dict:
    lines = run(sys.executable, PEERS / "ort_model.py", args.onnx, args.ort_work, args.prefill, args.decode, "--threads", args.threads)
    result = json.loads(lines.splitlines()[-1])
    return {"name": result["peer"], "prefill_tok_s": result["prefill_tok_s"], "decode_tok_s": result["decode_tok_s"], "weight_gb_s": None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chat", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--gguf")
    parser.add_argument("--llama")
    parser.add_argument("--onnx")
    parser.add_argument("--ort-work")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    args = parser.parse_args()

    peers = []
    if args.llama:
        peers.append(llama(args))
    if args.onnx:
        peers.append(onnx_runtime(args))
    ours = [compiled(spec, args) for spec in args.chat]
    best = max((peer["decode_tok_s"] for peer in peers), default=None)
    print(f"{'':32} {'prefill tok/s':>14} {'decode tok/s':>13} {'GB/s':>7} {'ratio':>6}")
    for row in ours + peers:
        row["ratio"] = round(row["decode_tok_s"] / best, 2) if best and row in ours else None
        print(f"{row['name']:32} {row['prefill_tok_s']:14.1f} {row['decode_tok_s']:13.1f} "
              f"{row['weight_gb_s'] or '':>7} {row['ratio'] or '':>6}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(ours + peers, indent=1) + "\n")


if __name__ == "__main__":
    main()
