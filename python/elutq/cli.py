"""The command line: `elutq export | quantize | finetune | compile | run | evaluate`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

from . import __version__
from .errors import ElutqError, QuantizeError


def _export(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .export import export_model

    def progress(layers: Any) -> Any:
        return tqdm(layers, desc="layers", disable=arguments.quiet or not sys.stderr.isatty())

    spec = export_model(arguments.source, arguments.output, dtype=arguments.dtype, max_layers=arguments.max_layers,
                        progress=progress)
    if not arguments.quiet:
        print(f"{Path(arguments.output) / 'model.onnx'}: {spec.num_layers} layers, hidden size {spec.hidden_size}, "
              f"vocabulary {spec.vocab_size}")
    return 0


def _quantize(arguments: argparse.Namespace) -> int:
    from .quantization import Options, choose, estimate, open_calibration, quantize

    say = (lambda text: None) if arguments.quiet else (lambda text: print(text, file=sys.stderr))
    calibration = open_calibration(arguments.model, arguments.calibration, windows=arguments.windows, window=arguments.window,
                                   bos=arguments.bos, tokenizer=arguments.tokenizer, seed=arguments.seed)
    say(f"calibration: {calibration.count} samples of {calibration.name}")
    if calibration.tokens is not None and len(calibration.tokens) < arguments.windows:
        say(f"calibration: the text has no more than these, {arguments.windows} were asked for")
    options = Options(**{name: getattr(arguments, name) for name in (
        "bits", "group", "embedding", "head", "exclude", "method", "damping", "correction", "rounds")})
    if arguments.dry_run:
        print(estimate(arguments.model, options, calibration))
        return 0
    if arguments.output is None:
        raise QuantizeError("no output, name one with -o")

    choices = []
    if arguments.target_bpw is not None:
        with _bar("choose bits", arguments.quiet) as progress:
            choices = choose(arguments.model, calibration.shortened(4, 256), bits_per_weight=arguments.target_bpw, group=options.group,
                             exclude=options.exclude, damping=options.damping, threads=arguments.threads, progress=progress)
        options = replace(options, plan={choice.name: (choice.chosen.bits, options.group) for choice in choices})
    with _bar("quantize", arguments.quiet) as progress:
        report = quantize(arguments.model, arguments.output, options, calibration=calibration, work=arguments.work,
                          threads=arguments.threads, progress=progress)
    report = replace(report, choices=choices)
    if arguments.report:
        text = report.as_html() if Path(arguments.report).suffix == ".html" else report.as_json()
        Path(arguments.report).write_text(text, encoding="utf-8")
    say(f"{arguments.output}: {report.bits_per_weight:.3f} bits per weight")
    return 0


@contextmanager
def _bar(name: str, quiet: bool) -> Iterator[Callable[[float, float], None]]:
    """A bar with the time left, on a terminal."""
    from tqdm import tqdm

    with tqdm(total=1.0, desc=name, bar_format="{l_bar}{bar}| {elapsed}<{remaining}", disable=quiet or not sys.stderr.isatty()) as shown:
        yield lambda done, whole: shown.update(done / whole - shown.n)


def _finetune(arguments: argparse.Namespace) -> int:
    from .finetune import Options, finetune, open_reference, require_torch
    from .quantization import open_calibration
    from .quantization.workspace import remove_if_nothing_is_finished

    require_torch()
    for path in (arguments.output, arguments.report):
        if path and not Path(path).resolve().parent.is_dir():
            raise FileNotFoundError(f"there is no folder for '{path}'")
    work = Path(arguments.work or f"{arguments.output}.work")
    with remove_if_nothing_is_finished(work, "block-*.npz"):
        reference = open_reference(arguments.reference, work)
        calibration = open_calibration(reference, arguments.calibration, windows=arguments.windows, window=arguments.window,
                                       bos=arguments.bos, tokenizer=arguments.tokenizer, seed=arguments.seed)
        if not arguments.quiet:
            print(f"calibration: {calibration.count} samples of {calibration.name}", file=sys.stderr)
        options = Options(**{name: getattr(arguments, name) for name in (
            "epochs", "steps", "minutes", "codes", "positions", "precision", "recompute", "seed")})
        with _bar("finetune", arguments.quiet) as progress:
            report = finetune(arguments.model, reference, arguments.output, options, calibration=calibration, work=work,
                              threads=arguments.threads, device=arguments.device, progress=progress)
    if arguments.report:
        Path(arguments.report).write_text(report.as_json(), encoding="utf-8")
    if not arguments.quiet:
        print(report, file=sys.stderr)
    return 0


def _compile(arguments: argparse.Namespace) -> int:
    from .compiler import run_compiler

    output = ["-o", arguments.output] if arguments.output else []
    status = run_compiler([arguments.model, *output, *arguments.options])
    return status if status >= 0 else 128 - status


def _run(arguments: argparse.Namespace) -> int:
    from .model import Model

    sampling = {name: value for name in ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
                if (value := getattr(arguments, name)) is not None}
    if sys.stdout is None:
        raise OSError("standard output is closed")
    with Model(arguments.model, threads=arguments.threads) as model:
        for piece in model.stream(arguments.prompt, arguments.max_new_tokens, **sampling):
            print(piece, end="", flush=True)
        print()
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from .evaluation import evaluate

    # Found now, not after minutes of computing.
    if arguments.json and not Path(arguments.json).resolve().parent.is_dir():
        raise FileNotFoundError(f"there is no folder for '{arguments.json}'")
    result = evaluate(arguments.model, text=Path(arguments.text) if arguments.text else None, reference=arguments.reference,
                      windows=arguments.windows, window=arguments.window, bos=arguments.bos, tokenizer=arguments.tokenizer,
                      path=arguments.path, threads=arguments.threads, progress=not arguments.quiet)
    print(result)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result.to_json(), indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="elutq", description="Compile ONNX language models to CPU binaries.")
    parser.add_argument("--version", action="version", version=f"elutq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write a GGUF file or Hugging Face directory as ONNX",
                                 description="Write a language model as ONNX (opset 23, standard operators).")
    export.add_argument("source", metavar="MODEL", help="a GGUF file, or a directory with config.json and safetensors")
    export.add_argument("-o", "--output", required=True, metavar="DIR", help="where model.onnx and its files go")
    export.add_argument("--dtype", choices=("f32", "f16"), default="f32", help="how matrices are stored (default f32)")
    export.add_argument("--max-layers", type=int, metavar="N", help="keep only the first N layers, for experiments")
    export.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    export.set_defaults(function=_export)

    quantize = commands.add_parser(
        "quantize", help="write an ONNX model with 1- to 4-bit weights, fitted to a calibration text",
        description="Write an ONNX model whose linear layers have HLQ weights, fitted to the activations that a calibration text leads "
                    "to. The result runs in ONNX Runtime and compiles with elutq compile. After an interruption, the same command goes "
                    "on from where it was.")
    quantize.add_argument("model", metavar="MODEL", help="model.onnx; any model with linear layers")
    quantize.add_argument("-o", "--output", metavar="FILE", help="the model to write; tensors go to FILE.data beside it")
    quantize.add_argument("--bits", type=int, default=4, help="of linear layers, 1 to 4 or 8 (default 4)")
    quantize.add_argument("--target-bpw", type=float, metavar="X",
                          help="choose bits for every linear layer, X per weight on average with scales and zeros, by what the model's "
                               "outputs lose; --bits then counts for nothing else than the defaults of --embedding and --head")
    quantize.add_argument("--group", type=int, default=128, metavar="N",
                          help="weights with common parameters: 16, 32, 64, 128, 256, or 0 for a row (default 128)")
    quantize.add_argument("--embedding", type=int, metavar="BITS", help="of the embedding, 0: float (default: the larger of 4 and --bits)")
    quantize.add_argument("--head", type=int, metavar="BITS", help="of the output projection, likewise")
    quantize.add_argument("--exclude", default="", metavar="REGEX", help="matrices whose node's name this matches stay float")
    quantize.add_argument("--calibration", metavar="SOURCE",
                          help="a UTF-8 text; TOKENS.npy, ids [windows, tokens]; INPUTS.npz, an array for each input of the graph, for "
                               "models that are no language models; or 'random', tokens drawn evenly. Default: a text that NumPy ships, "
                               "poorer than one of the kind that the model is for")
    quantize.add_argument("--windows", type=int, default=64, metavar="N", help="samples of the calibration (default 64)")
    quantize.add_argument("--window", type=int, default=1024, metavar="N", help="tokens of each (default 1024)")
    quantize.add_argument("--bos", choices=("auto", "always", "never"), default="auto",
                          help="begin windows with what the tokenizer puts before a text (auto), with BOS, or with nothing")
    quantize.add_argument("--tokenizer", metavar="PATH", help="tokenizer.json or its folder (default: beside the model)")
    quantize.add_argument("--seed", type=int, default=0, help="of --calibration random (default 0)")
    quantize.add_argument("--damping", type=float, default=0.01, metavar="X",
                          help="added to the diagonal of the second moments, as a share of its mean (default 0.01)")
    quantize.add_argument("--correction", type=float, default=0.5, metavar="X",
                          help="share of the difference between the float and the quantized model's activations that the weights of "
                               "each layer make good (default 0.5); 0 takes half the time")
    quantize.add_argument("--method", choices=("hlq", "uniform", "published", "gptq"), default="hlq",
                          help="hlq (default), or one to compare with: uniform (one scale per group), published (arXiv 2510.19482), gptq")
    quantize.add_argument("--rounds", type=int, default=8, metavar="N", help="at most, of refinement (default 8)")
    quantize.add_argument("--work", metavar="DIR", help="where unfinished work is kept (default: FILE.work)")
    quantize.add_argument("--report", metavar="FILE", help="loss and size of each matrix: FILE.html with a picture, else JSON")
    quantize.add_argument("--dry-run", action="store_true", help="say what would be done, with time and memory, and end")
    quantize.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    quantize.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    quantize.set_defaults(function=_quantize)

    _add_finetune(commands)

    compile_ = commands.add_parser("compile", help="compile an ONNX model (runs elutq-compile)",
                                   description="Compile an ONNX model. Options not listed here go to elutq-compile, whose "
                                               "--help lists them: elutq compile MODEL --emit=lib -o DIR/NAME")
    compile_.add_argument("model", metavar="MODEL", help="model.onnx")
    compile_.add_argument("-o", "--output", metavar="FILE", help="what to write")
    compile_.set_defaults(function=_compile)

    run = commands.add_parser("run", help="continue a text with a compiled model",
                              description="Continue a text with a model compiled by `elutq compile --emit=lib`.")
    run.add_argument("model", metavar="MODEL", help="libNAME.so, NAME.weights beside it, or their folder")
    run.add_argument("-p", "--prompt", required=True, help="the text to continue")
    run.add_argument("-n", "--max-new-tokens", type=int, default=128, metavar="N", help="tokens to make (default 128)")
    run.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    run.add_argument("--temperature", type=float, help="0 (default): always the likeliest token")
    run.add_argument("--top-k", type=int, help="choose among the K likeliest")
    run.add_argument("--top-p", type=float, help="choose among the likeliest with this probability together")
    run.add_argument("--min-p", type=float, help="leave out tokens less likely than this share of the likeliest")
    run.add_argument("--repeat-penalty", type=float, help="make recent tokens less likely")
    run.add_argument("--seed", type=int, help="same seed, same text")
    run.set_defaults(function=_run)

    _add_evaluate(commands)
    return parser


def _add_finetune(commands: Any) -> None:
    finetune = commands.add_parser(
        "finetune", help="tune a quantized ONNX model by its float model",
        description="Tune scales, zeros and codes of a model that elutq quantize wrote: first each block by the float block's output, then "
                    "all together by the float model's predictions. Needs torch. The result has the same form. After an interruption, the "
                    "same command goes on from where it was. docs/Finetuning.md tells more.")
    finetune.add_argument("model", metavar="MODEL", help="the quantized model.onnx")
    finetune.add_argument("--reference", required=True, metavar="MODEL",
                          help="the float model that it was made from: model.onnx, or a GGUF file or Hugging Face directory, exported first")
    finetune.add_argument("-o", "--output", required=True, metavar="FILE", help="the model to write; tensors go to FILE.data beside it")
    finetune.add_argument("--calibration", metavar="SOURCE", help="as of elutq quantize: a UTF-8 text, TOKENS.npy, INPUTS.npz, or 'random'")
    finetune.add_argument("--windows", type=int, default=64, metavar="N", help="samples of the calibration (default 64)")
    finetune.add_argument("--window", type=int, default=1024, metavar="N", help="tokens of each (default 1024)")
    finetune.add_argument("--bos", choices=("auto", "always", "never"), default="auto", help="as of elutq quantize")
    finetune.add_argument("--tokenizer", metavar="PATH", help="tokenizer.json or its folder (default: beside the reference)")
    finetune.add_argument("--epochs", type=int, default=1, metavar="N",
                          help="how often each block sees the calibration in the first step (default 1; 0: no first step)")
    finetune.add_argument("--steps", type=int, default=160, metavar="N", help="windows of the second step (default 160; 0: no second step)")
    finetune.add_argument("--minutes", type=float, metavar="X",
                          help="time for the second step instead of --steps: as many as fit by the time that the first ones take")
    finetune.add_argument("--codes", choices=("none", "blocks", "both"), default="none",
                          help="in which steps codes are tuned, too: in none (default), in the first (blocks), or in both")
    finetune.add_argument("--positions", type=int, default=128, metavar="N",
                          help="of a window, whose predictions are compared in the second step (default 128)")
    finetune.add_argument("--precision", choices=("auto", "f32", "bf16"), default="auto",
                          help="of products: auto (default) is bf16 where the processor multiplies it")
    finetune.add_argument("--recompute", action="store_true", help="less memory, a third more time in the second step")
    finetune.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto (default): a GPU if torch finds one")
    finetune.add_argument("--seed", type=int, default=0, help="of the order of windows, and of positions (default 0)")
    finetune.add_argument("--work", metavar="DIR", help="where unfinished work is kept (default: FILE.work)")
    finetune.add_argument("--report", metavar="FILE", help="JSON: the loss of each block before and after, and of each step")
    finetune.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    finetune.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    finetune.set_defaults(function=_finetune)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate", help="measure how well a model predicts a text",
        description="Perplexity of an ONNX model or a compiled library on windows of a text and, with --reference, KL divergence "
                    "from that model, top-1 agreement and ln(perplexity / reference's). docs/Accuracy.md tells how.")
    evaluate.add_argument("model", metavar="MODEL", help="a causal model: model.onnx, libNAME.so, NAME.weights, or their folder")
    evaluate.add_argument("--text", metavar="FILE", help="UTF-8 text, or .npy of token ids; default: the descriptions of ONNX's operators")
    evaluate.add_argument("--reference", metavar="MODEL", help="compare with this model, the float one")
    evaluate.add_argument("--windows", type=int, default=16, metavar="N", help="the first N windows of the text (default 16)")
    evaluate.add_argument("--window", type=int, default=1024, metavar="TOKENS", help="tokens of a window, with BOS (default 1024)")
    evaluate.add_argument("--bos", choices=("auto", "always", "never"), default="auto",
                          help="begin windows with the BOS token: auto (default): where the tokenizer's template does")
    evaluate.add_argument("--tokenizer", metavar="PATH", help="tokenizer.json or its folder; default: the compiled model's own, else "
                                                              "beside MODEL, else beside the reference")
    evaluate.add_argument("--path", choices=("decode", "prefill"), default="decode",
                          help="how compiled models read the text: by their decode entry (default), or by the slower prefill")
    evaluate.add_argument("--json", metavar="FILE", help="write the result there, too")
    evaluate.add_argument("--threads", type=int, default=0, metavar="N", help="default: one per core")
    evaluate.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    evaluate.set_defaults(function=_evaluate)


def _exit_on_termination() -> None:
    """Makes SIGTERM an exception, so that what is half done is cleared away."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status. Errors of the user's making are one line on stderr."""
    parser = _parser()
    parsed, options = parser.parse_known_args(arguments)
    if options and parsed.command != "compile":
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    parsed.options = options
    _exit_on_termination()
    try:
        return parsed.function(parsed)
    except (ElutqError, OSError) as error:
        print("elutq: error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
