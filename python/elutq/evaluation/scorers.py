"""Models as sources of logits: ONNX files run by ONNX Runtime, and compiled libraries."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Iterator, Protocol

import numpy as np

from ..errors import EvaluationError, FeedError, ModelError
from ..feeds import graph_inputs, make_feeds, model_dimensions
from ..hlq_onnx import HLQModel
from ..model import Model
from ..text import ModelTokenizer, TextTokenizer, open_tokenizer
from .expanded import available_memory, expand, expanded_bytes

PATHS = ("decode", "prefill")


class Scorer(Protocol):
    """A model that says what follows each token of a window."""

    name: str
    kind: str
    vocabulary: int | None
    """None before the first window where the file does not tell."""

    def blocks(self, ids: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """For ids [tokens]: pairs of a first position and logits [rows, vocabulary], from position 0 to that of the last token
        but one. The rows are overwritten by the next block."""

    def tokenizer(self) -> TextTokenizer | None:
        """The model's own tokenizer; None if there is none."""


def open_scorer(path: str | os.PathLike[str], *, threads: int = 0, feed: str = "decode") -> Scorer:
    """An ONNX model, or libNAME.so, NAME.weights or the folder of one of them. feed: how compiled models read, one of PATHS."""
    path = Path(path)
    if not path.exists():
        raise EvaluationError(f"'{path}' does not exist")
    if path.is_dir():
        onnx, libraries = path / "model.onnx", list(path.glob("lib*.so"))
        if onnx.is_file() and libraries:
            raise EvaluationError(f"'{path}' holds both model.onnx and {libraries[0].name}; name one of them")
        path = onnx if onnx.is_file() else path
    if path.suffix == ".onnx":
        return OnnxScorer(path, threads)
    if path.is_dir() or path.suffix == ".weights" or path.suffix == ".so":
        return ArtefactScorer(path, threads, feed)
    raise EvaluationError(f"'{path}' is neither an ONNX model, *.onnx, nor a compiled library, libNAME.so or NAME.weights; programs "
                          "cannot be measured: compile the model with --emit=lib")


class OnnxScorer:
    """Holds the logits of one window: rows x vocabulary x 4 bytes."""

    def __init__(self, path: Path, threads: int):
        try:
            import onnxruntime
        except ImportError as error:
            raise EvaluationError("running an ONNX model needs the package 'onnxruntime': pip install 'elutq[evaluate]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # Errors come as exceptions.
        # As the graph is written: constant folding would expand all weights of ai.elutq functions, and keep them.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Memory that one window needs only for a while is given back.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        self.name, self.kind = str(path), f"ONNX Runtime {onnxruntime.__version__}"
        self._path = path
        source = self._expand(options) or os.fspath(path)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # The package's exceptions have no common class but this.
            raise EvaluationError(f"ONNX Runtime does not load '{path}': {_first_line(error)}") from error
        self._inputs = graph_inputs(self._session.get_inputs())
        self._dimensions = model_dimensions(path)
        self._output = _logits_output(path, self._session.get_outputs())
        size = self._output.shape[-1]
        self.vocabulary = size if isinstance(size, int) else None
        self._logits: np.ndarray | None = None

    def _expand(self, options: Any) -> bytes | None:
        """An HLQ model with its weights in f32, which go to `options`; None where there is nothing to expand, or where the weights and the
        package's own form of them would take more than half of the memory that is free."""
        import onnxruntime

        try:
            model = HLQModel(self._path)
        except (ModelError, KeyError, IndexError):  # No HLQ that elutq writes: the package says what is wrong.
            return None
        if not model.slots or 2 * expanded_bytes(model) > available_memory() / 2:
            return None
        expanded, self._constants = expand(model)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._constants.values()]
        options.add_external_initializers(list(self._constants), values)
        self.kind += ", weights in f32"
        return expanded.SerializeToString()

    def blocks(self, ids: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        feeds = make_feeds(self._inputs, ids, self._dimensions)
        try:
            self._run(feeds, len(ids))
        except Exception as error:
            raise EvaluationError(f"ONNX Runtime does not run '{self._path}': {_first_line(error)}") from error
        assert self._logits is not None
        if self._logits.ndim != 3 or self._logits.shape[:2] != (1, len(ids)):
            raise EvaluationError(f"the output '{self._output.name}' of '{self._path}' has the shape {list(self._logits.shape)} for "
                                  f"{len(ids)} tokens, expected [1, {len(ids)}, vocabulary]: export the model with the logits of all "
                                  "positions")
        self.vocabulary = self._logits.shape[2]
        yield 0, self._logits[0, :-1]

    def tokenizer(self) -> TextTokenizer | None:
        return open_tokenizer(self._path) if self._path.with_name("tokenizer.json").is_file() else None

    def _run(self, feeds: dict[str, np.ndarray], length: int) -> None:
        """Into the memory of the window before, where its size is known: results of the package are copies."""
        shape = (1, length, self.vocabulary)
        if self.vocabulary is not None:
            with contextlib.suppress(Exception):  # Of another shape than foreseen: below it comes as it is, or with its error.
                return self._run_in_place(feeds, shape)
        (self._logits,) = self._session.run([self._output.name], feeds)

    def _run_in_place(self, feeds: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
        if self._logits is None or self._logits.shape != shape:
            self._logits = np.empty(shape, np.float16 if self._output.type == "tensor(float16)" else np.float32)
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        binding.bind_output(self._output.name, "cpu", 0, self._logits.dtype, shape, self._logits.ctypes.data)
        self._session.run_with_iobinding(binding)


class ArtefactScorer:
    """Reads token by token, as generation does: by the entry of decode, or by that of prefill, whose steps of one token give the
    same bits as whole chunks."""

    def __init__(self, path: Path, threads: int, feed: str):
        if feed not in PATHS:
            raise EvaluationError(f"the path is {feed!r}, expected {' or '.join(PATHS)}")
        self._model = Model(path, threads=threads)
        self.name, self.kind = str(path), f"compiled, {feed}"
        self.vocabulary: int | None = self._model.vocab_size
        self._session = self._model.session(prefill_chunk=1)
        self._reads_by_decode = feed == "decode"

    def blocks(self, ids: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        if len(ids) - 1 > self._model.max_context:
            raise EvaluationError(f"'{self.name}' has a context of {self._model.max_context} tokens, but a window of {len(ids)} needs "
                                  f"{len(ids) - 1}; choose smaller windows, or compile with a larger --max-context")
        self._session.reset()
        for position, token in enumerate(ids[:-1].tolist()):
            logits = self._session.decode(token) if self._reads_by_decode else self._session.prefill([token])
            yield position, logits[None]

    def tokenizer(self) -> TextTokenizer | None:
        return ModelTokenizer(self._model, self.name) if self._model.info["has_tokenizer"] else None


def _logits_output(path: Path, outputs: list[Any]) -> Any:
    """The output named logits, else the only one with a shape [batch, tokens, vocabulary]."""
    named = [value for value in outputs if value.name == "logits"]
    shaped = [value for value in outputs if len(value.shape or ()) == 3 and value.type in ("tensor(float)", "tensor(float16)")]
    found = named or shaped
    if len(found) != 1:
        raise FeedError(f"'{path}' has no output 'logits' [batch, tokens, vocabulary]; its outputs are "
                        + ", ".join(value.name for value in outputs))
    return found[0]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
