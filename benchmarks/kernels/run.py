"""Speed of single products, beside the bandwidth of memory and the peers, in one run on this machine.

    run.py --program build/release/bin/elutq-bench-kernels [--quick] [--only REGEX] [--mcpu CPU] [--json FILE]
           [--peers ort,openvino,ggml --peers-python FILE --ggml FILE] [--seconds 0.5] [--rounds 2]

The products are in shapes.json; --quick takes those with a goal and their 16-bit companions. ELUTQ and the peers are timed in turn,
where there is a goal in rounds, and of each the fastest one counts. Prints a table and writes a list of rows; README.md says what
they hold.
"""
import argparse
import contextlib
import datetime
import itertools
import json
import pathlib
import re
import subprocess
import sys
from typing import Iterator, Optional

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import common  # noqa: E402

PEERS = FOLDER.parent / "peers"

# Weights of a peer's products together: beyond all caches where memory counts, few where arithmetic does.
STREAM_BYTES, COMPUTE_BYTES, COMPUTE_ROWS = 256 << 20, 16 << 20, 32
# What a peer is asked for at each width. ONNX Runtime has no 3 bits and is compared with its 4, and so is OpenVINO, whose 3 are
# slower and take long to load.
WIDTHS = {"ort": {2: (2,), 3: (4,), 4: (4,)}, "ort-lut": {2: (2,), 3: (4,), 4: (4,)}, "openvino": {2: (2,), 3: (4,), 4: (4,)},
          "ggml": {2: ("q2_K", "tq2_0"), 3: ("q3_K",), 4: ("q4_K", "q4_0")}}
# How long each measurement takes where --seconds does not say it.
SECONDS = 0.5
# Timed in every round; the others, which are not in a goal, once.
ROUNDED = ("ort", "ort-lut")


class Peer:
    """A process that times a peer's products, one request after the other."""

    def __init__(self, name: str, command: list) -> None:
        self.name = name
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)

    def ask(self, line: str) -> str:
        """The answer; empty where the process has ended."""
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.process.stdout.readline().strip()

    def time(self, row: dict, width, seconds: float) -> Optional[float]:
        """Microseconds of one product, none where the peer cannot do it."""
        limit = STREAM_BYTES if row["M"] < COMPUTE_ROWS else COMPUTE_BYTES
        if self.name == "ggml":
            answer = self.ask(f"{width} {row['M']} {row['N']} {row['K']} {limit} {seconds}")
            return float(answer) if re.fullmatch(r"[0-9.]+", answer) else None
        request = {"bits": width, "group": row["group"], "M": row["M"], "N": row["N"], "K": row["K"], "bytes": limit,
                   "seconds": seconds}
        answer = self.ask(json.dumps(request))
        return json.loads(answer).get("us") if answer else None

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


class Peers:
    """The processes of the peers that were asked for, one for each number of threads."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.names = [name for family in args.peers for name in ((family, "ort-lut") if family == "ort" else (family,))]
        self.args, self.running = args, {}

    def get(self, name: str, threads: int) -> Peer:
        for key in [key for key in self.running if key[1] != threads]:
            self.running.pop(key).close()
        if (name, threads) not in self.running:
            command = ([self.args.ggml, threads] if name == "ggml" else
                       [self.args.peers_python, PEERS / "kernels.py", name, "--threads", threads])
            self.running[name, threads] = Peer(name, command)
        return self.running[name, threads]

    def close(self) -> None:
        for peer in self.running.values():
            peer.close()


def quick_rows(shapes: dict) -> Iterator[dict]:
    yield from shapes["goals"]


def all_rows(shapes: dict) -> Iterator[dict]:
    yield from shapes["goals"]
    grid = shapes["grid"]
    for threads, (n, k), group, bits, m in itertools.product(grid["threads"], grid["shapes"], grid["group"], grid["bits"], grid["M"]):
        yield {"work": f"{n}x{k} M{m} W{bits} g{group} t{threads}", "bits": bits, "group": group, "M": m, "N": n, "K": k,
               "threads": threads}


def run_program(row: dict, args: argparse.Namespace, check: bool) -> dict:
    command = [args.program, "-mcpu", args.mcpu, "-bits", row["bits"], "-group", row["group"], "-m", row["M"], "-n", row["N"],
               "-k", row["K"], "-threads", row["threads"], "-tables", row["tables"], "-params", row["params"],
               "-seconds", args.seconds]
    command += ["-cache"] * (row["memory"] == "cache") + ["-check"] * check
    return common.run_program(row["work"], command)


def measure(row: dict, args: argparse.Namespace, peers: Peers, bounds: dict) -> dict:
    row = {"params": "hlq", "tables": 8, "memory": "file", **row}
    ours, times = None, {}
    # What answers to another precision has no counterpart among the peers.
    names = peers.names if row["tables"] == 8 and row["memory"] == "file" else []
    for turn in range(args.rounds if "goals" in row else 1):
        result = run_program(row, args, check=turn == 0)
        if result.get("error", 0) > bounds[str(row["tables"])]:
            raise common.BenchError(f"{row['work']}: {result['kernel']} is wrong: a result differs from that of floats by {result['error']:.3g} "
                             f"of the mean, expected at most {bounds[str(row['tables'])]}")
        error = result.get("error", ours and ours["error"])
        if ours is None or result["us"] < ours["us"]:
            ours = result
        ours["error"] = error
        for name in names:
            for width in WIDTHS[name][row["bits"]] if turn == 0 or name in ROUNDED else ():
                time = peers.get(name, row["threads"]).time(row, width, args.seconds)
                label = f"{name} {width}" if name == "ggml" else f"{name} W{width}"
                if time:
                    times[label] = min(times.get(label, time), round(time, 2))
    return {**row, **ours, "params": row["params"], "peers": times}


def judge(row: dict, done: dict, wide_host: bool) -> None:
    """Adds the peer, the ratios, the goal and the verdict to a measured row."""
    row["gweights_s"] = round(row["N"] * row["K"] / row["us"] / 1e3, 1)
    fastest = min(row["peers"], key=row["peers"].get, default=None)
    row["peer"], row["peer_us"] = fastest, row["peers"].get(fastest)
    row["ratio"] = round(row["peer_us"] / row["us"], 2) if fastest else None
    goals, parts, missed, open_parts = common.goals_of(row.pop("goals", {}), row["isa"]), [], False, False
    for what, limit in goals.items():
        if what in done:
            parts.append(f"<= {limit}x {what}")
            missed |= row["us"] > limit * done[what]["us"]
        elif what == "ort":
            # Code for AVX2 beside a peer with AVX-512 says nothing about either.
            times = [time for label, time in row["peers"].items() if label.startswith("ort")]
            if row["isa"] == "avx2" and wide_host:
                continue
            parts.append(f">= {limit}x ort")
            if times:
                missed |= min(times) < limit * row["us"]
            else:
                parts[-1] += " (no peer)"
                open_parts = True
        elif what in ("bandwidth", "gweights", "gops"):
            value, unit = {"bandwidth": (row["of_bandwidth"], "of bandwidth"), "gweights": (row["gweights_s"], "Gweights/s"),
                           "gops": (row["gops"], "GOPS")}[what]
            parts.append(f">= {limit} {unit}")
            missed |= value < limit
        else:
            # The row that this one is a multiple of was left out.
            parts.append(f"<= {limit}x {what} (not run)")
            open_parts = True
    row["goal"] = ", ".join(parts) or None
    row["verdict"] = "no goal" if not parts else "FALLS SHORT" if missed else "not judged" if open_parts else "PASS"


COLUMNS = (("work", 34, "<"), ("kernel", 17, "<"), ("us", 10, ">"), ("GOPS", 7, ">"), ("GB/s", 6, ">"), ("of bw", 6, ">"),
           ("huge", 5, ">"), ("peer", 16, "<"), ("peer us", 10, ">"), ("ratio", 6, ">"), ("verdict", 12, "<"), ("goal", 0, "<"))


def short_kernel(text: str) -> str:
    fields = dict(re.findall(r'(\w+) = "?(\w+)"?', text))
    return f"{fields['algorithm']} {fields['m_tile']}x{fields['n_tile']} {fields.get('table_bits', '8')} bits"


def line(values: list) -> str:
    return common.table_line(values, COLUMNS)


def table_line(row: dict) -> str:
    return line([row["work"], short_kernel(row["kernel"]), f"{row['us']:.1f}", f"{row['gops']:.0f}", f"{row['gb_s']:.1f}",
                 f"{row['of_bandwidth']:.2f}", f"{row['huge_pages']:.2f}",
                 row["peer"] or "no peer", f"{row['peer_us']:.1f}" if row["peer"] else "",
                 f"{row['ratio']:.2f}" if row["peer"] else "", row["verdict"], row["goal"] or ""])


def command_of(args: argparse.Namespace) -> str:
    words = ["scripts/bench kernels"] + ["--quick"] * args.quick
    for name, value, default in (("peers", ",".join(args.peers), ""), ("only", args.only.pattern, ""), ("mcpu", args.mcpu, "native"),
                                 ("seconds", args.seconds, SECONDS)):
        words += [f"--{name} '{value}'" if set("| $") & set(str(value)) else f"--{name} {value}"] * (value != default)
    return " ".join(words)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--shapes", type=pathlib.Path, default=FOLDER / "shapes.json")
    parser.add_argument("--quick", action="store_true", help="only the products with a goal")
    parser.add_argument("--only", default="", metavar="REGEX", help="only the products whose name this matches")
    parser.add_argument("--mcpu", default="native", help="processor to compile for")
    parser.add_argument("--peers", default="", metavar="LIST", help="ort, openvino, ggml, with commas")
    parser.add_argument("--peers-python", help="Python with the packages of peers/requirements.txt")
    parser.add_argument("--ggml", help="the program that peers/llama.sh kernels builds")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    args.peers = [name for name in args.peers.split(",") if name]
    for name in args.peers:
        if name not in ("ort", "openvino", "ggml"):
            parser.error(f"--peers: expected ort, openvino or ggml, but got '{name}'")
    if "ggml" in args.peers and not args.ggml:
        parser.error("--peers ggml needs --ggml")
    if {"ort", "openvino"} & set(args.peers) and not args.peers_python:
        parser.error("--peers ort and openvino need --peers-python")
    if args.rounds < 1 or not args.seconds > 0:
        parser.error("expected --rounds and --seconds to be positive")
    args.only = common.parse_only(parser, args.only)
    return args


def main() -> None:
    args = parse_arguments()
    shapes = json.loads(args.shapes.read_text())
    rows = common.named((quick_rows if args.quick else all_rows)(shapes), args.only)
    machine, flags = common.cpu_info()
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    print(f"{machine}, {date}, --mcpu {args.mcpu}\n{line([name for name, _, _ in COLUMNS])}", flush=True)
    peers, done = Peers(args), {}
    try:
        for row in rows:
            result = measure(row, args, peers, shapes["error_bounds"])
            judge(result, done, "avx512f" in flags)
            done[row["work"]] = {**result, "machine": machine, "date": date, "command": command_of(args)}
            print(table_line(result), flush=True)
            if args.json:
                args.json.write_text(json.dumps(list(done.values()), indent=1) + "\n")
    finally:
        peers.close()


if __name__ == "__main__":
    try:
        main()
    except common.BenchError as error:
        sys.exit(f"run.py: error: {error}")
