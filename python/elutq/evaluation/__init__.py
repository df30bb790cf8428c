"""How well a model predicts a text, and how near it stays to another model.

    result = elutq.evaluate("w4.onnx", reference="float.onnx", text=Path("test.txt"))
    print(result.perplexity.value, result.kl.value)
"""

from __future__ import annotations

import math
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from .. import __version__
from ..errors import EvaluationError
from ..text import TextTokenizer, check_vocabulary, default_text, open_tokenizer, read_windows, window_prefix
from .cache import CachedScorer
from .metrics import Comparison, Mean
from .scorers import PATHS, Scorer, open_scorer

__all__ = ["Evaluation", "Mean", "PATHS", "compare", "evaluate", "open_reference"]


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on what. Measures with a reference are None without one."""

    model: str
    kind: str
    text: str
    tokenizer: str
    windows: int
    windows_wanted: int
    window: int
    prefix: tuple[int, ...]
    """The ids that begin each window before the text's tokens."""
    nll: Mean
    reference: str | None
    reference_nll: Mean | None
    delta: Mean | None
    """nll − reference_nll = ln(perplexity / the reference's), with the error of the difference."""
    kl: Mean | None
    top1: Mean | None
    window_nll: tuple[float, ...]
    seconds: float
    peak_rss_mb: int

    @property
    def perplexity(self) -> Mean:
        return self.nll.exp()

    @property
    def predicted_tokens(self) -> int:
        return self.windows * (self.window - 1)

    def to_json(self) -> dict[str, Any]:
        def finite(value: float | None) -> float | None:  # JSON has no other numbers.
            return value if value is not None and math.isfinite(value) else None

        def number(mean: Mean | None) -> dict[str, float | None] | None:
            return mean and {"value": finite(mean.value), "standard_error": finite(mean.error)}

        return {
            "elutq": __version__, "model": self.model, "kind": self.kind, "text": self.text, "tokenizer": self.tokenizer,
            "windows": self.windows, "window": self.window, "prefix": list(self.prefix), "predicted_tokens": self.predicted_tokens,
            "perplexity": number(self.perplexity), "nll": number(self.nll), "reference": self.reference,
            "reference_perplexity": number(self.reference_nll and self.reference_nll.exp()),
            "reference_nll": number(self.reference_nll), "delta": number(self.delta), "kl": number(self.kl),
            "top1": number(self.top1), "window_nll": list(self.window_nll), "seconds": self.seconds,
            "peak_rss_mb": self.peak_rss_mb,
        }

    def __str__(self) -> str:
        begin = f"{list(self.prefix)} (BOS) and {self.window - len(self.prefix)} of the text" if self.prefix else "all of the text"
        fewer = f" (of {self.windows_wanted}: the text has no more)" if self.windows < self.windows_wanted else ""
        lines = [f"model       {self.model} ({self.kind})",
                 f"text        {self.text}",
                 f"tokens      {self.windows} windows{fewer} of {self.window}: {begin}; {self.predicted_tokens} predicted",
                 f"tokenizer   {self.tokenizer}",
                 f"perplexity  {_format(self.perplexity)}"]
        if self.reference_nll and self.delta and self.kl and self.top1:
            percent = Mean(100 * self.top1.value, self.top1.error and 100 * self.top1.error)
            lines += [f"reference   {self.reference}: perplexity {_format(self.reference_nll.exp())}",
                      f"delta       {_format(self.delta)} = ln(perplexity / reference's)",
                      f"KL          {_format(self.kl)} nats a token, from the reference",
                      f"top-1       {_format(percent)} % the same"]
        return "\n".join([*lines, f"time        {self.seconds:.1f} s, at most {self.peak_rss_mb} MB of memory"])


def evaluate(model: str | os.PathLike[str], *, text: str | os.PathLike[str] | None = None,
             reference: str | os.PathLike[str] | None = None, windows: int = 16, window: int = 1024, bos: str = "auto",
             tokenizer: str | os.PathLike[str] | None = None, path: str = "decode", threads: int = 0,
             reference_cache: str | os.PathLike[str] | None = None, progress: bool = False) -> Evaluation:
    """Measures a causal language model, an ONNX file or a compiled library, on `windows` windows of `window` tokens of a text.

    Every token of a window but its first is predicted from those before it in the window; with BOS, that includes the text's
    first token after it. perplexity = exp(mean negative log-likelihood). reference: another model on the same windows, the float
    one, for KL divergence, top-1 agreement and delta. Standard errors are over windows.
    text: a str is the text itself, a path a UTF-8 file or a .npy file of token ids (see `elutq.text.read_windows`, also for `bos`);
    None: the descriptions of ONNX's operators. tokenizer: tokenizer.json or its folder; None: the compiled model's own, or that beside
    the ONNX model or its reference. path: what compiled models read with, "decode" or "prefill". reference_cache: a folder where the
    reference's logits are kept for the next evaluation (f16: 0.5 GB a window of 1024 with 262144 tokens), so that it runs only once.
    progress: shows a bar on a terminal. Memory: the logits of one window for each ONNX model. Raises subclasses of ElutqError.
    """
    from tqdm import tqdm

    begin = time.monotonic()
    scorer = open_scorer(model, threads=threads, feed=path)
    other = None if reference is None else open_reference(reference, reference_cache, threads=threads, feed=path)
    _require_same_vocabulary(scorer, other)
    is_default = text is None
    source, text_name = default_text("evaluation") if text is None else (text, "given as a string")
    if not isinstance(source, str):
        text_name = os.fspath(source)
    cutter = _find_tokenizer(scorer, other, tokenizer, needed=isinstance(source, str) or Path(source).suffix != ".npy")
    ids = read_windows(source, cutter, window, windows, bos, scorer.vocabulary)
    with tqdm(total=ids[:, 1:].size, unit="token", desc="evaluating", disable=None if progress else True) as bar:
        compared = [compare(scorer, other, row, index, bar.update) for index, row in enumerate(ids)]

    def mean(name: str) -> Mean:
        return Mean.over_windows(np.array([getattr(comparison, name).mean() for comparison in compared]))

    differences = np.array([(comparison.nll - comparison.reference_nll).mean() for comparison in compared]) if other else None
    return Evaluation(
        model=os.fspath(model), kind=scorer.kind, text=text_name + (", the default text" if is_default else ""),
        tokenizer=cutter.name if cutter else "none: token ids", windows=len(ids), windows_wanted=windows, window=ids.shape[1],
        prefix=_prefix(ids, cutter, bos), nll=mean("nll"), reference=None if reference is None else os.fspath(reference),
        reference_nll=mean("reference_nll") if other else None,
        delta=None if differences is None else Mean.over_windows(differences),
        kl=mean("kl") if other else None, top1=mean("agree") if other else None,
        window_nll=tuple(float(comparison.nll.mean()) for comparison in compared), seconds=time.monotonic() - begin,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def open_reference(path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None, *, threads: int = 0,
                   feed: str = "decode") -> Scorer:
    """A model to compare with; `cache` is a folder for its logits."""
    if cache is None:
        return open_scorer(path, threads=threads, feed=feed)
    return CachedScorer(path, cache, lambda: open_scorer(path, threads=threads, feed=feed))


def compare(scorer: Scorer, other: Scorer | None, ids: np.ndarray, index: int = 0,
            done: Callable[[int], object] = lambda count: None) -> Comparison:
    """Measures one window of ids [tokens]; `done` is told how many tokens are. `index` is its number, for messages."""
    comparison = Comparison(ids[1:], other is not None, index)
    reference = _all_rows(other, ids) if other else None
    for start, rows in scorer.blocks(ids):
        _require_same_vocabulary(scorer, other)
        check_vocabulary(ids, rows.shape[1], "the text")
        comparison.add(start, rows, None if reference is None else reference[start:start + len(rows)])
        done(len(rows))
    return comparison


def _all_rows(scorer: Scorer, ids: np.ndarray) -> np.ndarray:
    """The logits of a window, f32 or f16 [positions, vocabulary]."""
    result = None
    for start, rows in scorer.blocks(ids):
        if len(rows) == len(ids) - 1:
            return rows
        if result is None:
            result = np.empty((len(ids) - 1, rows.shape[1]), rows.dtype)
        result[start:start + len(rows)] = rows
    assert result is not None
    return result


def _require_same_vocabulary(scorer: Scorer, other: Scorer | None) -> None:
    if other and None not in (scorer.vocabulary, other.vocabulary) and scorer.vocabulary != other.vocabulary:
        raise EvaluationError(f"'{scorer.name}' has a vocabulary of {scorer.vocabulary} tokens, but its reference '{other.name}' one of "
                              f"{other.vocabulary}")


def _find_tokenizer(scorer: Scorer, other: Scorer | None, given: str | os.PathLike[str] | None,
                    needed: bool) -> TextTokenizer | None:
    if given is not None:
        return open_tokenizer(given)
    if not needed:
        return None
    found = scorer.tokenizer() or (other.tokenizer() if other else None)
    if found is None:
        raise EvaluationError(f"there is no tokenizer.json beside '{scorer.name}', or in it; name that of the model by --tokenizer")
    return found


def _prefix(ids: np.ndarray, tokenizer: TextTokenizer | None, bos: str) -> tuple[int, ...]:
    """What the windows begin with, which files of whole windows need not."""
    prefix = window_prefix(tokenizer, bos) if tokenizer else ()
    return prefix if (ids[:, :len(prefix)] == prefix).all() else ()


def _format(mean: Mean) -> str:
    return f"{mean.value:.5g}" + ("" if mean.error is None else f" ± {mean.error:.2g}")
