"""Speed of whole models, beside the peers and the bandwidth of memory, in one run on this machine.

    model.py --bin build/release/bin --work DIR [--shape LIST] [--gemma DIR --gguf FILE] [--tables 8,16] [--mcpu CPU]
             [--peers llama.cpp,ort-genai --llama DIR --peers-python FILE] [--threads 2] [--rounds 2] [--keep] [--json FILE]

Compiles the models of models.json into DIR, runs each with `--bench`, and the peers in turn, in rounds; of each the fastest round counts.
Prints a table and writes a list of rows; README.md says what they hold, and which large files DIR holds meanwhile.
"""
from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import pathlib
import shutil
import statistics
import subprocess
import sys
from typing import Any, Iterator

import llama_shape
from common import BenchError, cpu_info, goals_of

FOLDER = pathlib.Path(__file__).resolve().parent
PEERS = FOLDER / "peers"

from elutq.export import DecoderSpec, open_checkpoint  # noqa: E402  (llama_shape has put it into the path)


def run(*command: Any) -> str:
    """Standard output of a command; its standard error is shown."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    except OSError as error:
        raise BenchError(f"cannot run '{words[0]}': {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        raise BenchError(f"'{words[0]}' ended with {error.returncode}") from None


def say(text: str) -> None:
    print(f"model.py: {text}", file=sys.stderr, flush=True)


@dataclasses.dataclass
class Shape:
    """A model of models.json, and where its files are."""

    name: str
    facts: dict
    args: argparse.Namespace

    def __post_init__(self) -> None:
        random = self.facts.get("random")
        self.config = {**llama_shape.SHAPES[random], **self.facts.get("config", {})} if random else None
        checkpoint = llama_shape.RandomCheckpoint(self.config) if random else open_checkpoint(self.args.gguf)
        self.spec: DecoderSpec = checkpoint.spec()

    def source(self) -> pathlib.Path:
        """The folder of the ONNX model, made if it isn't there."""
        if not self.config:
            return pathlib.Path(self.args.gemma)
        folder = self.args.work / f"{self.name}-onnx"
        if not (folder / "model.onnx").exists():
            size = 2 * sum(math.prod(shape) for shape in llama_shape.tensor_shapes(self.config).values())
            self.require(size + (2 << 30))
            say(f"writing random weights to '{folder}', {size / 1e9:.1f} GB")
        llama_shape.write_model(folder, self.config)
        return folder

    def require(self, size: int) -> None:
        free = shutil.disk_usage(self.args.work).free
        if free < size:
            raise BenchError(f"'{self.args.work}' has {free >> 30} GiB left, but {self.name} needs {size >> 30}; name another folder with "
                             "--work, or leave the model out with --shape")

    def compiled(self, bits: int, tables: int) -> pathlib.Path:
        """The executable; one that is newer than the compiler is used again."""
        compiler = self.args.bin / "elutq-compile"
        path = self.args.work / f"{self.name}-w{bits}-t{tables}-{self.args.mcpu}"
        if not path.exists() or path.stat().st_mtime < compiler.stat().st_mtime:
            source = self.source()
            say(f"compiling {path.name}")
            group = self.facts["group"]
            context = [f"--max-context={self.facts['max_context']}"] if "max_context" in self.facts else []
            run(compiler, source / "model.onnx", "-q", "-o", path, f"--quantize=hlq:bits={bits},group={group},embedding=4,head=4",
                f"--tables={tables}", f"--mcpu={self.args.mcpu}", *context)
        return path

    def cache_bytes(self, context: float) -> int:
        """What one step of decode reads of an f16 cache, with `context` tokens before it."""
        keys = sum(min(context, window) if window else context for window in self.spec.layer_windows)
        return round(keys * 2 * self.spec.num_kv_heads * self.spec.head_dim * 2)


def measure_bandwidth(args: argparse.Namespace) -> float:
    return json.loads(run(args.bin / "elutq-bench-bandwidth", args.threads, 0.5))["bandwidth_gb_s"]


class Ours:
    """One compiled model."""

    def __init__(self, shape: Shape, bits: int, tables: int):
        self.shape, self.bits, self.tables, self.path = shape, bits, tables, shape.compiled(bits, tables)
        self.meta = json.loads(run(self.path, "--info", "--json"))
        self.name = f"ELUTQ W{bits} g{shape.facts['group']}, tables of {tables} bits"
        self.speed = {"prefill": 0.0, "decode": 0.0}
        self.weight_bytes, self.huge_pages = 0, 0.0

    def measure(self) -> None:
        facts, args = self.shape.facts, self.shape.args
        bench = lambda prefill, decode, repeat: json.loads(run(  # noqa: E731
            self.path, "--bench", f"{prefill},{decode}", "--threads", args.threads, "--repeat", repeat, "--json"))
        decode = bench(facts["context"], facts["decode"], facts["repeat"])
        prefill = decode if facts["context"] == facts["prefill"] else bench(facts["prefill"], 0, facts["repeat"])
        self.weight_bytes = decode["decode_weight_bytes"]
        self.huge_pages = round(decode["huge_page_bytes"] / decode["weights_bytes"], 2)
        for kind, result in (("prefill", prefill), ("decode", decode)):
            self.speed[kind] = max(self.speed[kind], result[f"{kind}_tok_s"])


class Llama:
    """llama.cpp on a GGUF file: one that exists, or of random blocks."""

    def __init__(self, shape: Shape, kind: str):
        self.shape, self.kind, self.name = shape, kind, f"llama.cpp {kind}"
        self.speed = {"prefill": 0.0, "decode": 0.0}

    def file(self) -> pathlib.Path:
        if not self.shape.config:
            return pathlib.Path(self.shape.args.gguf)
        path = self.shape.args.work / f"{self.shape.name}-{self.kind}.gguf"
        if not path.exists():
            self.shape.require(5 << 30)
            say(f"writing random blocks to '{path}'")
            run(sys.executable, PEERS / "llama_gguf.py", self.kind, path, "--shape", self.shape.facts["random"])
        return path

    def measure(self) -> None:
        facts, args = self.shape.facts, self.shape.args
        runs = [(facts["prefill"], 0, 0), (0, facts["decode"], facts["context"])]
        for prefill, decode, depth in runs:
            rows = json.loads(run(PEERS / "llama.sh", "model", args.llama, self.file(), prefill, decode, depth, facts["repeat"], args.threads))
            kind = "prefill" if prefill else "decode"
            self.speed[kind] = max(self.speed[kind], *(row["avg_ts"] for row in rows))


class GenAI:
    """ONNX Runtime GenAI on the graph of its model builder."""

    def __init__(self, shape: Shape):
        self.shape, self.name = shape, "ONNX Runtime GenAI int4"
        self.speed = {"prefill": 0.0, "decode": 0.0}
        self.folder = shape.args.work / f"{shape.name}-genai-t{shape.args.threads}"
        if not (self.folder / "genai_config.json").exists():
            say(f"writing the model of the peer to '{self.folder}'")
            run(sys.executable, PEERS / "genai_model.py", shape.args.gguf, self.folder, "--threads", shape.args.threads)

    def measure(self) -> None:
        facts, args = self.shape.facts, self.shape.args
        lines = run(args.peers_python, PEERS / "ort_genai.py", self.folder, facts["prefill"], facts["decode"], "--repeats", facts["repeat"])
        result = json.loads(lines.splitlines()[-1])
        self.name = result["peer"]
        for kind in self.speed:
            self.speed[kind] = max(self.speed[kind], result[f"{kind}_tok_s"])


def find_peers(shape: Shape) -> list[Llama | GenAI]:
    peers: list[Llama | GenAI] = []
    for name in shape.args.peers:
        if name == "llama.cpp":
            peers += [Llama(shape, kind) for kind in shape.facts.get("llama.cpp", [])]
        elif "ort-genai" in shape.facts:
            peers.append(GenAI(shape))
    return peers


def judge(ours: Ours, kind: str, peers: list[Llama | GenAI], bandwidth: float, wide_host: bool) -> dict:
    """The row of one model's prefill or decode. bandwidth: of memory, in GB/s."""
    shape, speed = ours.shape, ours.speed[kind]
    facts, isa = shape.facts, ours.meta["isa"]
    decode = kind == "decode"
    tokens = ours.weight_bytes + shape.cache_bytes(facts["context"] + facts["decode"] / 2) if decode else None
    named = [peer for peer in peers if peer.name.endswith(facts["peer"])] if "peer" in facts else peers
    best = max(named, key=lambda peer: peer.speed[kind], default=None)
    # Code for AVX2 beside a peer with AVX-512 says nothing about either.
    fair = not (isa == "avx2" and wide_host)
    goal = goals_of(facts["goals"], isa).get(kind, {}) if ours.bits == facts["goal_bits"] else {}
    limits, parts, whole = [], [], True
    if "bandwidth" in goal:
        limits.append(goal["bandwidth"] * bandwidth * 1e9 / tokens)
        parts.append(f"{goal['bandwidth']} of bandwidth")
    if "peer" in goal and fair:
        parts.append(f"{goal['peer']}x {facts.get('peer', 'the best peer')}")
        if best:
            limits.append(goal["peer"] * best.speed[kind])
        else:
            whole = False
    choose = {"either": min, "both": max}[goal.get("need", "both")]
    limit = choose(limits, default=None)
    # Without the peer, a goal that either part fulfils may be fulfilled all the same, and one of both parts may be missed.
    if limit is None:
        verdict = "not judged" if goal else "no goal"
    elif speed >= limit:
        verdict = "PASS" if whole or goal.get("need") == "either" else "not judged"
    else:
        verdict = "FALLS SHORT" if whole or goal.get("need", "both") == "both" else "not judged"
    return {"work": f"{facts['title']} {kind}", "name": ours.name, "bits": ours.bits, "group": facts["group"], "tables": ours.tables,
            "threads": shape.args.threads, "isa": isa, "tokens": facts["decode"] if decode else facts["prefill"],
            "context": facts["context"] if decode else 0, "tok_s": round(speed, 2), "prefill_tok_s": round(ours.speed["prefill"], 2),
            "decode_tok_s": round(ours.speed["decode"], 2), "bytes_per_token": tokens, "bandwidth_gb_s": bandwidth,
            "of_bandwidth": round(speed * tokens / bandwidth / 1e9, 3) if decode else None, "peer": best.name if best else None,
            "peer_tok_s": round(best.speed[kind], 2) if best else None, "ratio": round(speed / best.speed[kind], 2) if best else None,
            "huge_pages": ours.huge_pages,
            "goal_tok_s": round(limit, 1) if limit else None, "goal": (" or " if choose is min else " and ").join(parts) or None,
            "verdict": verdict}


def peer_row(peer: Llama | GenAI, kind: str) -> dict:
    facts = peer.shape.facts
    return {"work": f"{facts['title']} {kind}", "name": peer.name, "threads": peer.shape.args.threads,
            "tokens": facts["decode"] if kind == "decode" else facts["prefill"], "context": facts["context"] if kind == "decode" else 0,
            "tok_s": round(peer.speed[kind], 2), "verdict": "peer"}


COLUMNS = (("work", 23, "<"), ("name", 33, "<"), ("tok/s", 8, ">"), ("MB/token", 9, ">"), ("of bw", 6, ">"), ("ratio", 6, ">"),
           ("huge", 5, ">"), ("goal", 7, ">"), ("verdict", 12, "<"), ("", 0, "<"))


def line(values: list) -> str:
    return " ".join(f"{value:{align}{width}}" for value, (_, width, align) in zip(values, COLUMNS)).rstrip()


def table_line(row: dict) -> str:
    def text(key: str, how: str, scale: float = 1.0) -> str:
        return format(row[key] * scale, how) if row.get(key) is not None else ""

    return line([row["work"], row["name"], text("tok_s", ".1f"), text("bytes_per_token", ".0f", 1e-6), text("of_bandwidth", ".2f"),
                 text("ratio", ".2f"), text("huge_pages", ".2f"), text("goal_tok_s", ".1f"), row["verdict"], row.get("goal") or ""])


def measure(shape: Shape, wide_host: bool) -> Iterator[dict]:
    """The rows of a model: each product of the compiler, then the peers."""
    args = shape.args
    models = [Ours(shape, bits, tables) for bits in shape.facts["bits"] for tables in args.tables]
    if shape.config and not args.keep:
        shutil.rmtree(args.work / f"{shape.name}-onnx", ignore_errors=True)
    found = find_peers(shape)
    peers, bandwidths = list(found), []
    for turn in range(args.rounds):
        for model in [*models, *peers]:
            say(f"{shape.name}, round {turn + 1} of {args.rounds}: {model.name}")
            bandwidths.append(measure_bandwidth(args))
            try:
                model.measure()
            except BenchError as error:
                # A peer that this machine cannot run is no peer.
                if model not in peers:
                    raise
                say(f"{model.name} is left out: {error}")
                peers.remove(model)
    bandwidth = round(statistics.median(bandwidths), 2)
    if shape.config and not args.keep:
        for peer in found:
            if isinstance(peer, Llama):
                peer.file().unlink(missing_ok=True)
    for kind in ("decode", "prefill"):
        for model in models:
            yield judge(model, kind, peers, bandwidth, wide_host)
        for peer in peers:
            yield peer_row(peer, kind)


def parse_arguments(shapes: dict) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of elutq-compile and elutq-bench-bandwidth")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for models")
    parser.add_argument("--shape", default=",".join(shapes), metavar="LIST", help=f"{', '.join(shapes)}, with commas; default all")
    parser.add_argument("--gemma", help="folder of Gemma 3 270M as ONNX")
    parser.add_argument("--gguf", help="Gemma 3 270M as GGUF")
    parser.add_argument("--tables", default="8,16", metavar="LIST", help="widths of table entries; default 8,16")
    parser.add_argument("--mcpu", default="native", help="processor to compile for")
    parser.add_argument("--peers", default="", metavar="LIST", help="llama.cpp, ort-genai, with commas")
    parser.add_argument("--llama", help="folder that peers/llama.sh built llama.cpp in")
    parser.add_argument("--peers-python", help="Python with the packages of peers/requirements.txt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the random weights of large models")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()

    def choose(option: str, known: list) -> list:
        chosen = [name for name in getattr(args, option).split(",") if name]
        for name in chosen:
            if name not in known:
                parser.error(f"--{option}: expected {', '.join(known)}, but got '{name}'")
        return chosen

    args.shape, args.peers = choose("shape", list(shapes)), choose("peers", ["llama.cpp", "ort-genai"])
    args.tables = [int(width) for width in choose("tables", ["8", "16"])]
    if not args.shape or not args.tables or args.rounds < 1 or args.threads < 1:
        parser.error("expected at least one shape, width of tables, round and thread")
    needs = [("gguf", "gemma" in args.shape), ("gemma", "gemma" in args.shape), ("llama", "llama.cpp" in args.peers),
             ("peers_python", "ort-genai" in args.peers)]
    for option, needed in needs:
        if needed and not getattr(args, option):
            parser.error(f"--{option.replace('_', '-')} is missing")
    return args


def main() -> None:
    shapes = json.loads((FOLDER / "models.json").read_text(encoding="utf-8"))
    args = parse_arguments(shapes)
    args.work.mkdir(parents=True, exist_ok=True)
    machine, flags = cpu_info()
    stamp = {"machine": machine, "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}
    print(f"{machine}, {stamp['date']}, --mcpu {args.mcpu}, {args.threads} threads\n{line([name for name, _, _ in COLUMNS])}", flush=True)
    rows = []
    for name in args.shape:
        for row in measure(Shape(name, shapes[name], args), "avx512f" in flags):
            rows.append({**row, **stamp})
            print(table_line(row), flush=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"model.py: error: {error}")
