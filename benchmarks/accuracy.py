"""Accuracy of quantization methods, side by side on the same windows of a text.

    accuracy.py --model DIR/model.onnx --work DIR [--text FILE] [--calibration FILE] [--windows 16] [--methods LIST] [--bits 2,3,4] [--ablation]
                [--quick] [--peers llama.cpp --llama DIR --gguf FILE] [--json FILE]

Makes each model with `elutq quantize` in a process of its own, measures it as `elutq evaluate` does, and prints a table. What is finished stays in
--work, window by window: after an interruption the same command goes on. README.md says what the rows hold.
"""
from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Iterator

import numpy as np

from common import BenchError, cpu_info, table_line

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "python"))

from elutq import __version__  # noqa: E402
from elutq.errors import ElutqError  # noqa: E402
from elutq.evaluation import Mean, compare, open_reference  # noqa: E402
from elutq.evaluation.scorers import open_scorer  # noqa: E402
from elutq.export.gguf_file import read_gguf  # noqa: E402
from elutq.hlq_onnx import HLQModel  # noqa: E402
from elutq.text import default_text, open_tokenizer, read_windows  # noqa: E402

METHODS = ("float", "data-free", "rtn", "gptq", "published", "hlq", "mixed", "finetuned", "head")
UNIFORM = ("rtn", "gptq", "uniform")
LLAMA_TYPES = ("Q3_K_M", "Q4_K_M")
MEASURES = ("nll", "reference_nll", "kl", "agree")


def say(text: str) -> None:
    print(f"accuracy.py: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Case:
    """A model to make and measure. `arguments` are those of `elutq quantize` besides files and bits; None: elutq-compile's data-free fit."""

    label: str
    method: str
    bits: float | None = None
    arguments: tuple[str, ...] | None = ()
    calibration: str | None = "given"
    """"given": what --calibration names; None: the default text; or "random"."""
    embedding: int = 0
    source: Case | None = None
    """The model that this one is tuned from."""
    llama: str | None = None

    @property
    def key(self) -> str:
        """What the model depends on, whatever its row is called."""
        return repr((self.llama, self.bits, self.arguments, self.calibration, self.embedding, self.source and self.source.key))

    @property
    def bits_name(self) -> str:
        return self.llama or ("" if self.bits is None else f"W{self.bits:g}")


def layers(bits: int, method: str) -> Case:
    """The linear layers of the transformer with one of the methods; embedding and head stay float."""
    # Rounding needs no activations.
    arguments = {"data-free": None, "hlq": (), "rtn": ("--method", "rtn", "--correction", "0", "--windows", "1")}
    # As published, without the correction of activations.
    return Case(method, method, bits, arguments.get(method, ("--method", method, "--correction", "0")))


def heads(group: int) -> Iterator[Case]:
    """Embedding and head alone, with 4 and 8 bits, and with 4 bits together with the layers."""
    alone = ("--exclude", "layers")
    yield Case("embedding and head, by values alone", "head", 4, (*alone, "--tied", "inf"), embedding=4)
    yield Case("embedding and head", "head", 4, alone, embedding=4)
    if group > 64:
        yield Case("embedding and head, groups of 64", "head", 4, (*alone, "--table-group", "64"), embedding=4)
    yield Case("embedding and head", "head", 8, alone, embedding=8)
    yield Case("hlq, embedding and head, too", "head", 4, (), embedding=4)


def table_cases(methods: list, bits: list, group: int, mixed: float) -> Iterator[Case]:
    if "float" in methods:
        yield Case("float", "float")
    for count in bits:
        for method in ("data-free", "rtn", "gptq", "published", "hlq"):
            if method in methods:
                yield layers(count, method)
        if "finetuned" in methods:
            yield Case("hlq, finetuned", "finetuned", count, source=layers(count, "hlq"))
    if "mixed" in methods:
        yield Case("hlq, mixed bits", "mixed", mixed, ("--target-bpw", f"{mixed:g}"))
    if "head" in methods:
        yield from heads(group)


def ablation_cases(bits: list) -> Iterator[Case]:
    """Each step of the method by itself, and other calibrations of the whole."""
    for count in bits:
        for label, arguments in (("published", ("--method", "published", "--correction", "0")),
                                 ("+ codes in the column loop", ("--method", "loop", "--correction", "0")),
                                 ("+ weighted fit", ("--method", "weighted", "--correction", "0")),
                                 ("+ four starts", ("--rounds", "0", "--correction", "0")),
                                 ("+ refinement", ("--correction", "0")),
                                 ("+ correction", ())):
            yield Case(label, "hlq" if label == "+ correction" else "ablation", count, arguments)
        yield Case("calibrated with NumPy's descriptions", "ablation", count, (), calibration=None)
        yield Case("calibrated with random tokens", "ablation", count, (), calibration="random")


@dataclass
class Made:
    """How a model was made: wall and processor seconds and peak memory, and its size."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_rss_mb: int | None = None
    bpw: float | None = None
    group: int | None = None
    head_bytes: int | None = None
    own_ppl: float | None = None
    """What llama.cpp's own program measures."""


def digest(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Runner:
    """Makes and measures cases in the folder --work."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        tokenizer = open_tokenizer(args.model)
        text, self.text_name = default_text("evaluation") if args.text is None else (args.text, args.text.name)
        self.ids = read_windows(text, tokenizer, args.window, args.windows)
        if len(self.ids) < args.windows:
            say(f"the text has no more than {len(self.ids)} windows")
        self.reference = open_reference(args.model, args.work / "reference", threads=args.threads)

    @functools.cached_property
    def identity(self) -> str:
        """All that a model depends on besides its case."""
        args = self.args
        files = [path for path in sorted(args.model.parent.glob(args.model.name + "*")) if path.is_file()]
        return repr((__version__, [digest(path) for path in files], args.calibration and digest(args.calibration), args.calibration_windows,
                     args.window, args.group))

    def folder(self, case: Case) -> pathlib.Path:
        words = ["compiled"] if case.arguments is None else [word.lstrip("-") for word in case.arguments]
        name = "-".join([case.bits_name or "float", *words, *(["finetuned"] if case.source else [])])
        return self.args.work / f"{name}-{hashlib.sha256((self.identity + case.key).encode()).hexdigest()[:10]}"

    def row(self, case: Case, needed_later: bool) -> dict:
        folder = self.folder(case)
        folder.mkdir(parents=True, exist_ok=True)
        missing = [index for index in range(len(self.ids)) if not self.window_file(folder, index).exists()]
        if missing:
            self.measure(case, folder, missing)
        if not needed_later and not self.args.keep:
            shutil.rmtree(folder / "model", ignore_errors=True)
        made = Made() if case.method == "float" else Made(**json.loads((folder / "made.json").read_text()))
        return self.judge(case, made, folder)

    def window_file(self, folder: pathlib.Path, index: int) -> pathlib.Path:
        ids = hashlib.sha256(self.ids[index].tobytes()).hexdigest()[:12]
        return folder / f"window-{ids}.npz"

    def measure(self, case: Case, folder: pathlib.Path, missing: list) -> None:
        scorer = self.reference if case.method == "float" else open_scorer(self.make(case, folder), threads=self.args.threads)
        for index in missing:
            say(f"{case.label} {case.bits_name}: window {index + 1} of {len(self.ids)}")
            found = compare(scorer, self.reference, self.ids[index], index)
            partial = folder / "window.partial"
            with open(partial, "wb") as file:
                np.savez(file, **{name: getattr(found, name) for name in MEASURES})
            os.replace(partial, self.window_file(folder, index))

    def make(self, case: Case, folder: pathlib.Path) -> pathlib.Path:
        """The model of a case, made if it isn't there."""
        model = folder / "model" / "model.onnx"
        if model.exists() and (folder / "made.json").exists():
            return model
        say(f"making {case.label} {case.bits_name}")
        model.parent.mkdir(exist_ok=True)
        made = self.make_llama(case, model) if case.llama else self.make_ours(case, model)
        partial = folder / "made.partial"
        partial.write_text(json.dumps(vars(made)))
        os.replace(partial, folder / "made.json")
        return model

    def make_ours(self, case: Case, model: pathlib.Path) -> Made:
        args, resumed = self.args, model.with_name("model.onnx.work").exists()
        elutq = [sys.executable, "-m", "elutq"]
        calibration = {None: [], "random": ["--calibration", "random"]}.get(
            case.calibration, [] if args.calibration is None else ["--calibration", args.calibration])
        tokens = [*calibration, "--windows", args.calibration_windows, "--window", args.window]
        if case.source:
            source = self.make(case.source, self.make_folder(case.source))
            command = [*elutq, "finetune", source, "--reference", args.model, "-o", model, *calibration, "--window", args.window,
                       "--threads", args.threads, "-q"]
        elif case.arguments is None:
            command = [*elutq, "compile", args.model, "-o", model, "--emit=hlq-onnx", "-q",
                       f"--quantize=hlq:bits={case.bits:.0f},group={args.group},embedding=0,head=0"]
        else:
            bits = [] if case.method == "mixed" else ["--bits", f"{case.bits:.0f}"]
            command = [*elutq, "quantize", args.model, "-o", model, *bits, "--group", args.group, "--embedding", case.embedding,
                       "--head", case.embedding, "--threads", args.threads, "-q", *tokens, *case.arguments]
        made = run_measured(command)
        quantized = HLQModel(model)
        # Uniform parameters are one scale and one zero, although the file repeats the scale for each plane.
        shared = case.method in UNIFORM
        size = head_size = weights = 0
        for name, slot in quantized.slots.items():
            matrix = quantized.read(name)
            own = matrix.planes.nbytes + matrix.zeros.nbytes + matrix.scales.nbytes // (matrix.scales.shape[2] if shared else 1)
            size, weights = size + own, weights + slot.n * slot.k
            if slot.is_multiplied and (slot.is_gathered or "lm_head" in name):
                head_size += own
        made.bpw, made.head_bytes = 8 * size / weights, head_size or None
        # Groups of rows are as long as the row.
        made.group = max(slot.group_size for slot in quantized.slots.values()) if args.group else 0
        if resumed:  # The time of a part says nothing.
            made.seconds = made.cpu_seconds = None
        return made

    def make_folder(self, case: Case) -> pathlib.Path:
        folder = self.folder(case)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def make_llama(self, case: Case, model: pathlib.Path) -> Made:
        """llama.cpp's weights, as our exporter reads them; its own program measures them, too."""
        args, script = self.args, FOLDER / "peers" / "llama.sh"
        file = model.with_name(f"{case.llama}.gguf")
        made = run_measured([script, "quantize", args.llama, args.gguf, file, case.llama, args.threads or os.cpu_count()])
        made.bpw = gguf_bits(file)
        run_measured([sys.executable, "-m", "elutq", "export", file, "-o", model.parent, "-q"])
        if args.text is not None:
            output = run_output([script, "perplexity", args.llama, file, args.text, args.window, len(self.ids),
                                 args.threads or os.cpu_count()])
            found = re.search(r"Final estimate: PPL = ([\d.]+)", output)
            if not found:
                raise BenchError(f"llama-perplexity gives no estimate for '{file}'")
            made.own_ppl = float(found.group(1))
        return made

    def judge(self, case: Case, made: Made, folder: pathlib.Path) -> dict:
        """The row: means over the windows."""
        windows = []
        for index in range(len(self.ids)):
            with np.load(self.window_file(folder, index)) as file:
                windows.append({name: file[name].astype(float) for name in MEASURES})

        def mean(name: str, begin: int = 0) -> Mean:
            return Mean.over_windows(np.array([window[name][begin:].mean() for window in windows]))

        nll, kl, top1 = mean("nll"), mean("kl"), mean("agree")
        delta = Mean.over_windows(np.array([(window["nll"] - window["reference_nll"]).mean() for window in windows]))
        # What llama.cpp's perplexity tool counts: positions from the middle of the window on.
        half = mean("nll", self.args.window // 2).exp()
        return {"method": case.method, "label": case.label, "bits": case.llama or case.bits,
                "group": made.group, "bpw": rounded(made.bpw, 4), "ppl": finite(nll.exp().value),
                "delta": finite(delta.value), "delta_error": delta.error, "kl": finite(kl.value), "top1": top1.value,
                "seconds": rounded(made.seconds, 1), "cpu_seconds": rounded(made.cpu_seconds, 1), "peak_rss_mb": made.peak_rss_mb,
                "head_bytes": made.head_bytes, "half_ppl": finite(half.value), "own_ppl": made.own_ppl}


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no other numbers.


def rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def gguf_bits(path: pathlib.Path) -> float:
    """Bits per weight of the matrices in the layers: embedding and head stay as they are."""
    size = weights = 0
    for tensor in read_gguf(path)[1].values():
        if len(tensor.shape) == 2 and tensor.name.startswith("blk."):
            size, weights = size + tensor.data.nbytes, weights + math.prod(tensor.shape)
    return 8 * size / weights


def command_words(command: list) -> tuple[list, dict]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent / "python"), os.environ.get("PYTHONPATH", "")])}
    return [str(word) for word in command], environment


# Runs the command behind the file's name, and writes its processor seconds and peak memory there. Linux counts the memory of the process that
# starts a program as the program's own, so a small one has to start it.
MEASURE = """import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump([usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024], file)
sys.exit(os.waitstatus_to_exitcode(status) % 256)"""


def run_measured(command: list) -> Made:
    """Runs a command; its time, and memory at most, with that of the processes it starts."""
    words, environment = command_words(command)
    with tempfile.NamedTemporaryFile("r") as usage:
        begin = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", MEASURE, usage.name, *words], stdout=sys.stderr, stderr=subprocess.PIPE, text=True,
                                   env=environment, start_new_session=True)
        try:
            _, message = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        seconds = time.monotonic() - begin
        if process.returncode:
            last = (message.strip().splitlines() or [f"ended with {process.returncode}"])[-1]
            raise BenchError(f"'{' '.join(words[:4])} …': {re.sub(r'^[a-z-]+: error: ', '', last)}")
        return Made(seconds, *json.load(usage))


def run_output(command: list) -> str:
    words, environment = command_words(command)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False)
    if done.returncode:
        raise BenchError(f"'{words[0]} {words[1]}' ended with {done.returncode}: {(done.stdout.strip().splitlines() or [''])[-1]}")
    return done.stdout


COLUMNS = (("method", 38, "<"), ("bits", 6, ">"), ("group", 5, ">"), ("bpw", 6, ">"), ("ppl", 9, ">"), ("delta", 8, ">"), ("±", 6, ">"), ("KL", 7, ">"),
           ("top-1 %", 7, ">"), ("s", 6, ">"), ("cpu s", 6, ">"), ("MB", 6, ">"))


def cells(row: dict) -> list:
    def text(key: str, how: str, scale: int = 1) -> str:
        return "" if row[key] is None else format(row[key] * scale, how)

    bits = row["bits"] if isinstance(row["bits"], str) else text("bits", "g")
    return [row["label"], bits, text("group", "d"), text("bpw", ".3f"), text("ppl", ".5g"), text("delta", ".4f"), text("delta_error", ".2g"),
            text("kl", ".4f"), text("top1", ".2f", 100), text("seconds", ".0f"), text("cpu_seconds", ".0f"), text("peak_rss_mb", "d")]


def parse_list(parser: argparse.ArgumentParser, option: str, text: str, allowed: tuple) -> list:
    words = text.split(",")
    for word in words:
        if word not in allowed:
            parser.error(f"{option}: unknown '{word}', expected {', '.join(allowed)}")
    return words


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True, help="the float model, model.onnx with tokenizer.json beside it")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="where everything is made and kept")
    parser.add_argument("--text", type=pathlib.Path, help="UTF-8 text to measure on; default: the descriptions of ONNX's operators")
    parser.add_argument("--calibration", type=pathlib.Path, help="UTF-8 text to calibrate with; default: the descriptions of NumPy's functions")
    parser.add_argument("--windows", type=int, default=16, metavar="N", help="of the text (default 16)")
    parser.add_argument("--calibration-windows", type=int, default=16, metavar="N", help="default 16")
    parser.add_argument("--window", type=int, default=1024, metavar="TOKENS", help="of both texts (default 1024)")
    parser.add_argument("--methods", default=",".join(METHODS), metavar="LIST", help="default: all, " + ",".join(METHODS))
    parser.add_argument("--bits", default="2,3,4", metavar="LIST", help="default 2,3,4 (with --ablation: 2)")
    parser.add_argument("--group", type=int, default=128, metavar="N", help="default 128")
    parser.add_argument("--target-bpw", type=float, default=3.0, metavar="X", help="of the model with mixed bits (default 3)")
    parser.add_argument("--ablation", action="store_true", help="what each step of the method gives, and each calibration, in place of the table")
    parser.add_argument("--quick", action="store_true", help="two windows, and only float, data-free and hlq at 2 and 4 bits, without finetuning")
    parser.add_argument("--peers", default="", metavar="LIST", help="llama.cpp")
    parser.add_argument("--llama", type=pathlib.Path, metavar="DIR", help="where peers/llama.sh builds it")
    parser.add_argument("--gguf", type=pathlib.Path, metavar="FILE", help="the same model, for llama.cpp")
    parser.add_argument("--keep", action="store_true", help="do not remove models that are measured")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the rows there, too, after each one")
    args = parser.parse_args()
    given = {word.split("=")[0] for word in sys.argv[1:]}
    if args.quick:
        args.windows = 2 if "--windows" not in given else args.windows
        args.calibration_windows = 4 if "--calibration-windows" not in given else args.calibration_windows
        args.methods = "float,data-free,hlq" if "--methods" not in given else args.methods
        args.bits = "2,4" if "--bits" not in given else args.bits
    if args.ablation and "--bits" not in given:
        args.bits = "2"
    args.methods = parse_list(parser, "--methods", args.methods, METHODS)
    args.bits = [int(bits) for bits in parse_list(parser, "--bits", args.bits, ("1", "2", "3", "4"))]
    args.peers = parse_list(parser, "--peers", args.peers, ("llama.cpp",)) if args.peers else []
    if args.peers and not (args.llama and args.gguf):
        parser.error("--peers llama.cpp needs --llama and --gguf")
    for name, least in (("windows", 1), ("calibration_windows", 1), ("window", 2)):
        if getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}")
    return args


def measure(args: argparse.Namespace) -> list:
    for path in (args.model, args.text, args.calibration, args.gguf if args.peers else None):
        if path is not None and not path.is_file():
            raise BenchError(f"there is no file '{path}'")
    if args.json and not args.json.resolve().parent.is_dir():
        raise BenchError(f"there is no folder for '{args.json}'")
    args.work.mkdir(parents=True, exist_ok=True)
    cases = list(ablation_cases(args.bits) if args.ablation else table_cases(args.methods, args.bits, args.group, args.target_bpw))
    if any(case.source for case in cases) and importlib.util.find_spec("torch") is None:
        say("torch is not there: no finetuned rows")
        cases = [case for case in cases if not case.source]
    if args.peers and not args.ablation:
        cases += [Case(f"llama.cpp {kind}", "llama.cpp", llama=kind) for kind in LLAMA_TYPES]
    runner = Runner(args)
    common = {"text": runner.text_name, "calibration": args.calibration.name if args.calibration else "the descriptions of NumPy's functions",
              "windows": len(runner.ids), "window": args.window, "calibration_windows": args.calibration_windows,
              "machine": f"{cpu_info()[0]}, {os.cpu_count()} cores", "date": datetime.date.today().isoformat(),
              "command": "scripts/bench accuracy" + (" --ablation" if args.ablation else "")}
    print(table_line([name for name, *_ in COLUMNS], COLUMNS))
    rows = []
    for position, case in enumerate(cases):
        row = {**runner.row(case, any(later.source and later.source.key == case.key for later in cases[position + 1:])), **common}
        rows.append(row)
        print(table_line(cells(row), COLUMNS), flush=True)
        if args.json:
            partial = args.json.with_name(args.json.name + ".partial")
            partial.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(partial, args.json)
    return rows


def main() -> None:
    # An exception, so that the process that makes a model ends, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    measure(parse_arguments())


if __name__ == "__main__":
    try:
        main()
    except (BenchError, ElutqError, OSError) as error:
        sys.exit("accuracy.py: error: " + " ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(130)
