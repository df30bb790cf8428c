"""Runs compiled models: `elutq.Model("libchat.so").generate("Hello")`."""

from __future__ import annotations

import ctypes
import json
import os
import weakref
from ctypes import byref
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np

from . import _abi
from .errors import RuntimeFailure


def _find_library(path: Path) -> Path:
    """libNAME.so for itself, for NAME.weights beside it, or for the folder that holds it."""
    if path.is_dir():
        found = sorted(path.glob("lib*.so"))
        if len(found) != 1:
            raise RuntimeFailure(_abi.ARGUMENT, f"'{path}' holds {len(found)} libraries, expected one lib*.so")
        return found[0].resolve()
    library = path.with_name(f"lib{path.stem}.so") if path.suffix == ".weights" else path
    if not library.is_file():
        raise RuntimeFailure(_abi.ARGUMENT, f"'{library}' does not exist; elutq compile --emit=lib makes it")
    return library.resolve()


def _ids(tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """Token ids as contiguous int64 [count]."""
    array = np.ascontiguousarray(tokens)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise RuntimeFailure(_abi.ARGUMENT, "tokens must be a flat sequence of integers")
    return array.astype(np.int64, copy=False)


def _pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))


class Model:
    """A model compiled with `--emit=lib`.

    path: libNAME.so, NAME.weights beside it, or the folder of both. threads: per session, 0 for one per core.
    verify: compare the checksum of the weights when the first token is read. copy_weights: read the weights into huge pages of this
    process in place of mapping them.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 0, verify: bool = True,
                 copy_weights: bool = False):
        library_path = _find_library(Path(path))
        self._library = _abi.Library(library_path)
        options = _abi.OpenOptions()
        self._library.c.elutq_open_options_init(byref(options))
        options.threads, options.verify, options.copy_weights = threads, int(verify), int(copy_weights)
        self._handle = ctypes.c_void_p()
        self._library.call("elutq_open", None, byref(options), byref(self._handle))
        self._close = weakref.finalize(self, self._library.c.elutq_close, self._handle)
        info = _abi.Info()
        self._library.call("elutq_model_info", self._handle, byref(info))
        self.info: dict[str, int] = {name: getattr(info, name) for name, _ in info._fields_ if name != "struct_size"}
        self.meta: dict[str, str] = json.loads(self._library.c.elutq_model_json(self._handle))
        self.vocab_size: int = info.vocab_size
        self.max_context: int = info.max_context

    def close(self) -> None:
        """Releases the model; its sessions stay usable. Also done when the object is collected."""
        self._close()
        self._handle = ctypes.c_void_p()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tokenize(self, text: str, *, bos: bool = True, eos: bool = False, plain_special: bool = False) -> list[int]:
        """Text to token ids. plain_special: special tokens written in the text are ordinary text."""
        data = text.encode("utf-8", errors="surrogatepass")
        flags = _abi.ADD_BOS * bos | _abi.ADD_EOS * eos | _abi.PLAIN_SPECIAL * plain_special
        ids, count = np.empty(len(data) + 8, np.int64), ctypes.c_size_t()
        while self._library.call("elutq_tokenize", self._handle, data, len(data), flags, _pointer(ids), ids.size,
                                 byref(count), allow=_abi.CAPACITY) == _abi.CAPACITY:
            ids = np.empty(count.value, np.int64)
        return ids[:count.value].tolist()

    def detokenize(self, tokens: Sequence[int] | np.ndarray, *, keep_special: bool = False) -> str:
        """Token ids to text. keep_special: print special tokens, too."""
        ids, count = _ids(tokens), ctypes.c_size_t()
        flags = _abi.KEEP_SPECIAL * keep_special
        buffer = ctypes.create_string_buffer(16 * ids.size + 16)
        while self._library.call("elutq_detokenize", self._handle, _pointer(ids), ids.size, flags, buffer, len(buffer),
                                 byref(count), allow=_abi.CAPACITY) == _abi.CAPACITY:
            buffer = ctypes.create_string_buffer(count.value)
        return buffer.raw[:count.value].decode("utf-8", errors="replace")

    def is_stop(self, token: int) -> bool:
        """Whether the token ends a text."""
        return bool(self._library.c.elutq_is_stop(self._handle, token))

    def session(self, *, threads: int = 0, prefill_chunk: int = 0) -> Session:
        """A new, empty text."""
        return Session(self, threads=threads, prefill_chunk=prefill_chunk)

    def stream(self, prompt: str | Sequence[int], max_new_tokens: int = 128, *, stop: bool = True, bos: bool = True,
               **sampling: Any) -> Iterator[str]:
        """Yields pieces of the continuation of `prompt` as they come; arguments as of `generate`."""
        library = self._library
        handle = ctypes.c_void_p()
        library.call("elutq_stream_create", self._handle, 0, byref(handle))
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        try:
            tokens = self.tokenize(prompt, bos=bos) if isinstance(prompt, str) else prompt
            for token in self.session().generate(tokens, max_new_tokens, stop=stop, **sampling):
                library.call("elutq_stream_push", handle, token, byref(text), byref(size))
                if size.value:
                    yield ctypes.string_at(text.value, size.value).decode("utf-8", errors="replace")
            library.call("elutq_stream_flush", handle, byref(text), byref(size))
            if size.value:
                yield ctypes.string_at(text.value, size.value).decode("utf-8", errors="replace")
        finally:
            library.c.elutq_stream_destroy(handle)

    def generate(self, prompt: str | Sequence[int], max_new_tokens: int = 128, *, stop: bool = True, bos: bool = True,
                 **sampling: Any) -> str:
        """The continuation of `prompt`, a text or token ids: at most max_new_tokens, up to a stop token if `stop`.

        sampling: temperature (0, the default: the likeliest token), top_k, top_p, min_p, repeat_penalty, repeat_last, seed.
        """
        return "".join(self.stream(prompt, max_new_tokens, stop=stop, bos=bos, **sampling))


class Session:
    """One text and its key-value cache. Not to be used from two threads at once."""

    def __init__(self, model: Model, *, threads: int = 0, prefill_chunk: int = 0):
        self.model, self._library = model, model._library
        options = _abi.SessionOptions()
        self._library.c.elutq_session_options_init(byref(options))
        options.threads, options.prefill_chunk = threads, prefill_chunk
        self._handle = ctypes.c_void_p()
        self._library.call("elutq_session_create", model._handle, byref(options), byref(self._handle))
        weakref.finalize(self, self._library.c.elutq_session_destroy, self._handle)

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._library.c.elutq_position(self._handle)

    @property
    def threads(self) -> int:
        """Threads this session uses, the caller's included."""
        return self._library.c.elutq_session_threads(self._handle)

    @property
    def logits(self) -> np.ndarray:
        """A copy of the logits after the last token, f32 [vocab_size]."""
        pointer = self._library.c.elutq_logits(self._handle)
        if not pointer:
            raise RuntimeFailure(_abi.STATE, "there are no logits before the first token")
        return np.ctypeslib.as_array(pointer, (self.model.vocab_size,)).copy()

    def prefill(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads tokens; returns the logits after the last one, f32 [vocab_size]."""
        ids = _ids(tokens)
        self._library.call("elutq_prefill", self._handle, _pointer(ids), ids.size)
        return self.logits

    def decode(self, token: int) -> np.ndarray:
        """Reads one token; returns the logits after it, f32 [vocab_size]."""
        self._library.call("elutq_decode", self._handle, int(token))
        return self.logits

    def generate(self, tokens: Sequence[int] | np.ndarray, max_new_tokens: int = 128, *, stop: bool = True,
                 **sampling: Any) -> Iterator[int]:
        """Reads `tokens` and yields the ids that follow; ends at a stop token (not yielded) or a full context."""
        library, params, sampler = self._library, _abi.SamplerParams(), ctypes.c_void_p()
        library.c.elutq_sampler_params_init(byref(params))
        known = {name for name, _ in params._fields_} - {"struct_size"}
        for name, value in sampling.items():
            if name not in known:
                raise TypeError(f"unknown sampling parameter '{name}'; known are {', '.join(sorted(known))}")
            setattr(params, name, value)
        library.call("elutq_sampler_create", byref(params), byref(sampler))
        try:
            ids, token = _ids(tokens), ctypes.c_int64()
            library.call("elutq_prefill", self._handle, _pointer(ids), ids.size)
            for read in ids.tolist():
                library.call("elutq_sampler_accept", sampler, read)
            for produced in range(max_new_tokens):
                if produced:
                    if self.position >= self.model.max_context:
                        return
                    library.call("elutq_decode", self._handle, token.value)
                logits = library.c.elutq_logits(self._handle)
                library.call("elutq_sample", sampler, logits, self.model.vocab_size, byref(token))
                library.call("elutq_sampler_accept", sampler, token.value)
                if stop and library.c.elutq_is_stop(self.model._handle, token.value):
                    return
                yield token.value
        finally:
            library.c.elutq_sampler_destroy(sampler)

    def reset(self) -> None:
        """Forgets all tokens."""
        self._library.c.elutq_reset(self._handle)

    def save_state(self) -> bytes:
        """Cache, position and logits."""
        buffer = ctypes.create_string_buffer(self._library.c.elutq_state_bytes(self._handle))
        self._library.call("elutq_state_save", self._handle, buffer, len(buffer))
        return buffer.raw

    def restore_state(self, state: bytes) -> None:
        """Continues from a state saved by any session of the same compiled model."""
        self._library.call("elutq_state_restore", self._handle, state, len(state))
