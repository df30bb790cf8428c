"""The C interface of compiled models, elutq/runtime.h, in ctypes' words."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path

from .errors import RuntimeFailure

ABI_VERSION = 1
OK, ARGUMENT, CAPACITY, STATE = 0, 1, 7, 9
ADD_BOS, ADD_EOS, PLAIN_SPECIAL, KEEP_SPECIAL = 1, 2, 4, 8


class _Struct(ctypes.Structure):
    """A struct that begins with its size."""

    def __init__(self) -> None:
        super().__init__(ctypes.sizeof(type(self)))


class OpenOptions(_Struct):
    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("verify", c_int32), ("copy_weights", c_int32)]


class Info(_Struct):
    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("vocab_size", c_int64), ("max_context", c_int64),
                ("chunk", c_int64), ("layers", c_int64), ("weights_bytes", c_uint64), ("arena_bytes", c_uint64),
                ("cache_bytes", c_uint64), ("decode_weight_bytes", c_uint64), ("build_id", c_uint64),
                ("has_tokenizer", c_int32)]


class SessionOptions(_Struct):
    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("prefill_chunk", c_int64)]


class SamplerParams(_Struct):
    _fields_ = [("struct_size", c_uint32), ("temperature", c_float), ("top_k", c_int32), ("top_p", c_float),
                ("min_p", c_float), ("repeat_penalty", c_float), ("repeat_last", c_int32), ("seed", c_uint64)]


_IDS, _SIZE = POINTER(c_int64), POINTER(c_size_t)
_HANDLE = POINTER(c_void_p)
# Name: result, arguments.
_FUNCTIONS = {
    "elutq_abi_version": (c_uint32, []),
    "elutq_last_error": (c_char_p, []),
    "elutq_open_options_init": (None, [POINTER(OpenOptions)]),
    "elutq_open": (c_int, [c_char_p, POINTER(OpenOptions), _HANDLE]),
    "elutq_close": (None, [c_void_p]),
    "elutq_model_info": (c_int, [c_void_p, POINTER(Info)]),
    "elutq_model_json": (c_char_p, [c_void_p]),
    "elutq_is_stop": (c_int, [c_void_p, c_int64]),
    "elutq_tokenize": (c_int, [c_void_p, c_char_p, c_size_t, c_uint32, _IDS, c_size_t, _SIZE]),
    "elutq_detokenize": (c_int, [c_void_p, _IDS, c_size_t, c_uint32, c_void_p, c_size_t, _SIZE]),
    "elutq_stream_create": (c_int, [c_void_p, c_uint32, _HANDLE]),
    "elutq_stream_destroy": (None, [c_void_p]),
    "elutq_stream_push": (c_int, [c_void_p, c_int64, POINTER(c_void_p), _SIZE]),
    "elutq_stream_flush": (c_int, [c_void_p, POINTER(c_void_p), _SIZE]),
    "elutq_session_options_init": (None, [POINTER(SessionOptions)]),
    "elutq_session_create": (c_int, [c_void_p, POINTER(SessionOptions), _HANDLE]),
    "elutq_session_destroy": (None, [c_void_p]),
    "elutq_prefill": (c_int, [c_void_p, _IDS, c_size_t]),
    "elutq_decode": (c_int, [c_void_p, c_int64]),
    "elutq_logits": (POINTER(c_float), [c_void_p]),
    "elutq_position": (c_int64, [c_void_p]),
    "elutq_session_threads": (c_int32, [c_void_p]),
    "elutq_reset": (None, [c_void_p]),
    "elutq_state_bytes": (c_uint64, [c_void_p]),
    "elutq_state_save": (c_int, [c_void_p, c_void_p, c_uint64]),
    "elutq_state_restore": (c_int, [c_void_p, c_char_p, c_uint64]),
    "elutq_sampler_params_init": (None, [POINTER(SamplerParams)]),
    "elutq_sampler_create": (c_int, [POINTER(SamplerParams), _HANDLE]),
    "elutq_sampler_destroy": (None, [c_void_p]),
    "elutq_sample": (c_int, [c_void_p, POINTER(c_float), c_size_t, POINTER(c_int64)]),
    "elutq_sampler_accept": (c_int, [c_void_p, c_int64]),
}


class Library:
    """A loaded libNAME.so. `call` raises RuntimeFailure; the other functions are attributes of `c`."""

    def __init__(self, path: Path):
        try:
            self.c = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
        except OSError as error:
            raise RuntimeFailure(ARGUMENT, f"'{path}' cannot be loaded: {error}") from error
        for name, (result, arguments) in _FUNCTIONS.items():
            try:
                function = getattr(self.c, name)
            except AttributeError:
                raise RuntimeFailure(ARGUMENT, f"'{path}' is no compiled model: it lacks {name}") from None
            function.restype, function.argtypes = result, arguments
        version = self.c.elutq_abi_version()
        if version != ABI_VERSION:
            raise RuntimeFailure(ARGUMENT, f"'{path}' has version {version} of the C interface, expected {ABI_VERSION}")

    def call(self, name: str, *arguments: object, allow: int = OK) -> int:
        """Calls a function that returns a status; returns it if it is OK or `allow`."""
        status = getattr(self.c, name)(*arguments)
        if status not in (OK, allow):
            raise RuntimeFailure(status, self.c.elutq_last_error().decode("utf-8", errors="replace"))
        return status
