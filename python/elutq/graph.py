"""Runs plain graphs that `elutq-compile --emit=graph` compiled: `elutq.Graph("./encoder.so").run({"x": array})`."""

from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from .errors import GraphError
from .network import Network, pointers

_ALIGNMENT = 64


def _dtype(name: str) -> np.dtype[Any]:
    """The numpy type of an element type of elutq/graph.h."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))


@dataclass(frozen=True)
class GraphValue:
    """An input or output: its name, element type and shape, with names for symbolic dimensions."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]


def _aligned(value: GraphValue, array: np.ndarray | None = None) -> np.ndarray:
    """Memory for `value`, aligned as elutq/graph.h asks for, with the elements of `array`."""
    shape = tuple(map(int, value.shape))
    size = int(np.prod(shape, dtype=np.int64)) * value.dtype.itemsize
    memory = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    result = memory[start:start + size].view(value.dtype).reshape(shape)
    if array is not None:
        result[...] = array
    return result


class Graph:
    """A library written by `elutq-compile --emit=graph`.

    `inputs` and `outputs` tell names, element types and shapes. A network with constant weights runs on `threads` threads (0: one per
    core) and takes any sizes of symbolic dimensions that one of the choices of `--shape` can hold, any number of rows among them where
    rows are independent; `Network` says what is padded. Raises GraphError where the file is no such library, or has code that
    this processor lacks features for.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 0):
        file = Path(path).resolve()
        if not file.is_file():
            raise GraphError(f"'{path}' does not exist; elutq-compile --emit=graph makes it")
        try:
            library = ctypes.CDLL(str(file), mode=ctypes.RTLD_LOCAL)
            signature = json.loads(ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "elutq_graph_signature"))))
            self._network = Network(library, signature, os.fspath(path), threads) if signature.get("version") == 2 else None
            self._run = None if self._network else library.elutq_graph_run
        except OSError as error:
            raise GraphError(f"'{path}' cannot be loaded: {error}") from error
        except (AttributeError, ValueError):
            raise GraphError(f"'{path}' was not written by elutq-compile --emit=graph") from None
        if signature.get("version") not in (1, 2):
            raise GraphError(f"'{path}' has version {signature.get('version')} of elutq/graph.h, expected 1 or 2")
        if self._run:
            check = library.elutq_graph_check
            self._run.restype = check.restype = ctypes.c_char_p
            if problem := check():
                raise GraphError(f"'{path}': {problem.decode()}")
        self.cpu: str = signature["cpu"]
        self.inputs, self.outputs = ([GraphValue(value["name"], _dtype(value["type"]), tuple(value["shape"])) for value in signature[kind]]
                                     for kind in ("inputs", "outputs"))

    def run(self, inputs: Sequence[Any] | Mapping[str, Any]) -> list[np.ndarray]:
        """The outputs for `inputs`: arrays in the graph's order or by name, of exactly the element types of the graph, and of shapes that
        it takes.

        Raises GraphError, which names the input that is missing or has another type or shape.
        """
        if isinstance(inputs, Mapping):
            missing = [value.name for value in self.inputs if value.name not in inputs]
            unknown = sorted(set(inputs) - {value.name for value in self.inputs})
            if missing or unknown:
                raise GraphError("; ".join(filter(None, [missing and f"no value for the inputs {', '.join(missing)}",
                                                         unknown and f"the graph has no inputs {', '.join(unknown)}"])))
            inputs = [inputs[value.name] for value in self.inputs]
        if len(inputs) != len(self.inputs):
            raise GraphError(f"the graph has {len(self.inputs)} inputs, but got {len(inputs)}")
        if self._network:
            return self._network.run([np.asarray(array) for array in inputs], self.inputs, self.outputs)
        arguments = [self._check(value, np.asarray(array)) for value, array in zip(self.inputs, inputs)]
        results = [_aligned(value) for value in self.outputs]
        self._run(pointers(arguments), pointers(results))
        return results

    @staticmethod
    def _check(value: GraphValue, array: np.ndarray) -> np.ndarray:
        if array.shape != value.shape or array.dtype != value.dtype:
            raise GraphError(f"the input '{value.name}' must be {value.dtype}{list(value.shape)}, but got {array.dtype}{list(array.shape)}")
        return _aligned(value, array)
