"""Texts as windows of token ids, for measuring and for calibration.

    tokenizer = open_tokenizer("model.onnx")
    windows = read_windows(Path("text.txt"), tokenizer, window=1024, count=16)   # int64 [16, 1024]
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import TextError
from .model import Model

BOS_CHOICES = ("auto", "always", "never")


class TextTokenizer(Protocol):
    """What cuts a text into token ids."""

    name: str
    """Where it comes from, for messages."""
    prefix: tuple[int, ...]
    """The ids that its template puts before a text."""
    bos: int | None
    """The id that begins a text, whether the template puts it there or not."""

    def encode(self, text: str) -> np.ndarray:
        """int64 ids of the text alone. Special tokens written in the text are found as such."""


class FileTokenizer:
    """tokenizer.json, read by the package `tokenizers`; config.json beside it names the BOS token that no template puts."""

    def __init__(self, path: Path):
        try:
            import tokenizers
        except ImportError as error:
            raise TextError("reading a tokenizer needs the package 'tokenizers': pip install 'elutq[evaluate]'") from error
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(os.fspath(path))
        except Exception as error:  # The package raises plain exceptions.
            raise TextError(f"'{path}' is no tokenizer that the package 'tokenizers' reads: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.name = str(path)
        self.prefix = self._template_prefix()
        self.bos = self.prefix[0] if self.prefix else _configured_bos(path.parent)

    def encode(self, text: str) -> np.ndarray:
        return np.asarray(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    def _template_prefix(self) -> tuple[int, ...]:
        encoding = self._tokenizer.encode("a")
        special = encoding.special_tokens_mask
        count = special.index(0) if 0 in special else 0
        return tuple(encoding.ids[:count])


class ModelTokenizer:
    """The tokenizer inside a compiled model."""

    def __init__(self, model: Model, name: str):
        self._model, self.name = model, f"the tokenizer in '{name}'"
        self.prefix = tuple(model.tokenize("", bos=True))
        self.bos = self.prefix[0] if self.prefix else None

    def encode(self, text: str) -> np.ndarray:
        return np.asarray(self._model.tokenize(text, bos=False), np.int64)


def open_tokenizer(path: str | os.PathLike[str]) -> FileTokenizer:
    """The file `path`, or the tokenizer.json in the folder `path` or beside the model `path`, *.onnx."""
    path = Path(path)
    file = path / "tokenizer.json" if path.is_dir() else path.with_name("tokenizer.json") if path.suffix == ".onnx" else path
    if not file.is_file():
        raise TextError(f"there is no '{file}'; name the tokenizer of the model, tokenizer.json or its folder")
    return FileTokenizer(file)


def read_windows(source: str | os.PathLike[str], tokenizer: TextTokenizer | None, window: int = 1024, count: int = 16,
                 bos: str = "auto", vocabulary: int | None = None) -> np.ndarray:
    """The first `count` windows of a text's tokens, int64 [count, window]; fewer if the text has fewer, but at least one.

    source: a str is the text itself, a path names a UTF-8 file, or a .npy file of token ids: a flat array stands for a text's
    tokens and needs no tokenizer, an array [windows, tokens] is taken as it is.
    bos: what begins a text: what the tokenizer's template puts there ("auto"), in any case at least the BOS token ("always"), or
    nothing ("never"). It and the text's tokens are cut every `window` tokens, the last that fill no window are left out, and it takes
    the place of the first token of each window, as llama.cpp's perplexity tool does it. vocabulary: ids must be below.
    """
    if window < 2:
        raise TextError(f"a window of {window} tokens predicts nothing, expected at least 2")
    if count < 1:
        raise TextError(f"the number of windows is {count}, expected at least 1")
    if bos not in BOS_CHOICES:
        raise TextError(f"bos is {bos!r}, expected {', '.join(BOS_CHOICES)}")
    is_tokens = not isinstance(source, str) and Path(source).suffix == ".npy"
    name = "the text" if isinstance(source, str) else f"'{os.fspath(source)}'"
    tokens = _load_tokens(Path(source)) if is_tokens else None
    if tokens is not None and tokens.ndim == 2:
        windows = tokens[:count]
        if windows.shape[0] == 0 or windows.shape[1] < 2:
            raise TextError(f"{name} has the shape {list(tokens.shape)}, expected windows of at least 2 tokens")
    else:
        prefix = window_prefix(tokenizer, bos)
        if window <= len(prefix):
            raise TextError(f"a window of {window} tokens has no room behind the {len(prefix)} that begin a text")
        if tokens is None:
            assert tokenizer is not None, "a text needs a tokenizer"
            text = source if isinstance(source, str) else read_text(source)
            tokens = _encode(text, tokenizer, window * count)
        if tokens.size + len(prefix) < window:
            raise TextError(f"{name} has {tokens.size} tokens, but a window needs {window - len(prefix)}; give a longer text or a "
                            "smaller window")
        if tuple(tokens[:len(prefix)]) != prefix:
            tokens = np.concatenate([np.array(prefix, np.int64), tokens])
        windows = tokens[:min(count, tokens.size // window) * window].reshape(-1, window).copy()
        windows[:, :len(prefix)] = prefix
    if vocabulary is not None:
        check_vocabulary(windows, vocabulary, name if tokenizer is None else tokenizer.name)
    return np.ascontiguousarray(windows)


def window_prefix(tokenizer: TextTokenizer | None, bos: str) -> tuple[int, ...]:
    """The ids that begin each window."""
    if bos == "never" or (tokenizer is None and bos == "auto"):
        return ()
    if tokenizer is not None and tokenizer.prefix:
        return tokenizer.prefix
    if bos == "auto":
        return ()
    if tokenizer is None or tokenizer.bos is None:
        source = tokenizer.name if tokenizer else "a file of tokens"
        raise TextError(f"{source} does not tell the BOS token: put config.json with 'bos_token_id' beside tokenizer.json, or "
                        "choose 'never'")
    return (tokenizer.bos,)


def check_vocabulary(ids: np.ndarray, vocabulary: int, name: str) -> None:
    """Raises TextError unless all ids are within the model's vocabulary."""
    largest, smallest = int(ids.max()), int(ids.min())
    if largest >= vocabulary or smallest < 0:
        raise TextError(f"{name} gives the token id {largest if largest >= vocabulary else smallest}, but the model's vocabulary "
                        f"has {vocabulary} tokens: it is the tokenizer of another model")


def read_text(path: str | os.PathLike[str]) -> str:
    """The contents of a UTF-8 file that is not empty; a byte order mark is left out."""
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"'{os.fspath(path)}' is not UTF-8: the byte {data[error.start]:#04x} at offset {error.start} does not "
                        "belong there") from error
    if not text.strip():
        raise TextError(f"'{os.fspath(path)}' is empty")
    return text


def default_text(purpose: str) -> tuple[str, str]:
    """A text that needs no download, the same for the same versions of the packages, and its name: for "evaluation" the
    descriptions of ONNX's operators, for "calibration" those of NumPy's functions."""
    if purpose == "evaluation":
        import onnx

        schemas = sorted(onnx.defs.get_all_schemas(), key=lambda schema: (schema.domain, schema.name))
        parts = [inspect.cleandoc(schema.doc) for schema in schemas if schema.doc]
        name = f"the descriptions of ONNX {onnx.__version__}'s operators"
    elif purpose == "calibration":
        # Functions alone: the descriptions of types name the platform.
        members = [getattr(module, name) for module in (np, np.linalg, np.fft) for name in sorted(dir(module))
                   if not name.startswith("_")]
        parts = [inspect.getdoc(member) or "" for member in members if inspect.isroutine(member) or isinstance(member, np.ufunc)]
        name = f"the descriptions of NumPy {np.__version__}'s functions"
    else:
        raise ValueError(f"unknown purpose {purpose!r}")
    return "\n\n".join(part for part in dict.fromkeys(parts) if part), name


def _encode(text: str, tokenizer: TextTokenizer, needed: int) -> np.ndarray:
    """At least the first `needed` ids of a text, or all: does not encode the whole of a long text for a few windows.

    A cut at the end of a line changes no ids but the last few, which are dropped.
    """
    spare = 64
    end = 16 * (needed + spare)
    while (cut := text.rfind("\n", 0, end)) > 0 and end < len(text):
        ids = tokenizer.encode(text[:cut])
        if ids.size >= needed + spare:
            return ids[:needed]
        end *= 2
    return tokenizer.encode(text)


def _load_tokens(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise TextError(f"'{path}' is no NumPy array: {error}") from error
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.integer) or array.ndim not in (1, 2):
        raise TextError(f"'{path}' is not an array of token ids, expected integers [tokens] or [windows, tokens]")
    return array.astype(np.int64)


def _configured_bos(folder: Path) -> int | None:
    try:
        configuration = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    value = configuration.get("bos_token_id") if isinstance(configuration, dict) else None
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, int) and not isinstance(value, bool) else None
