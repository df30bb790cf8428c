"""Graphs with constant weights, compiled for one or more choices of their symbolic dimensions: `elutq.Graph` runs them through this."""

from __future__ import annotations

import ctypes
import math
import threading
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from .errors import GraphError

if TYPE_CHECKING:
    from .graph import GraphValue


def pointers(arrays: Sequence[np.ndarray]) -> Any:
    """What elutq/graph.h calls `inputs` and `outputs`."""
    return (ctypes.c_void_p * max(1, len(arrays)))(*[array.ctypes.data for array in arrays])


class Network:
    """A network of a library, version 2 of elutq/graph.h, with memory and threads of its own.

    Sizes that it was not compiled for are padded with zeros to the next choice, and the results are cut, where that changes no result:
    - a dimension with `batch` in its name that is the first one of all inputs and outputs that have it: rows are independent. More rows
      than any choice has are computed in several runs.
    - dimensions that an input whose name ends with `attention_mask` or `input_mask` shares with what it masks: zeros are masked.

    Any other dimension has to have a size that the network was compiled for.
    """

    def __init__(self, library: Any, signature: dict[str, Any], path: str, threads: int):
        self._shapes = signature["shapes"]
        self._lock = threading.Lock()
        self._compute = library.elutq_graph_compute
        self._compute.restype = None
        self._compute.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._close = library.elutq_graph_close
        self._close.restype = None
        self._close.argtypes = [ctypes.c_void_p]
        library.elutq_graph_open.restype = ctypes.c_void_p
        library.elutq_graph_open.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
        message = ctypes.c_char_p()
        self._graph = library.elutq_graph_open(threads, ctypes.byref(message))
        if not self._graph:
            raise GraphError(f"'{path}' cannot be opened: {(message.value or b'').decode(errors='replace')}")

    def __del__(self) -> None:
        if getattr(self, "_graph", None):
            self._close(self._graph)

    def run(self, arrays: Sequence[np.ndarray], inputs: Sequence[GraphValue], outputs: Sequence[GraphValue]) -> list[np.ndarray]:
        """The outputs for one array per input. Raises GraphError, which names what does not fit."""
        sizes = self._sizes(arrays, inputs)
        paddable = {name for name in sizes if self._is_rows(name, inputs, outputs) or self._is_masked(name, inputs)}
        rows = next((name for name in sizes if self._is_rows(name, inputs, outputs, everywhere=True)), None)
        most = max((shape["dims"].get(rows, 0) for shape in self._shapes), default=0)
        if rows is None or sizes[rows] <= most:
            return self._run(arrays, sizes, paddable, inputs, outputs)
        parts = []
        for start in range(0, sizes[rows], most):
            part = [array[start:start + most] for array in arrays]
            parts.append(self._run(part, {**sizes, rows: len(part[0])}, paddable, inputs, outputs))
        return [np.concatenate(results) for results in zip(*parts)]

    @staticmethod
    def _is_rows(name: str, inputs: Sequence[GraphValue], outputs: Sequence[GraphValue], everywhere: bool = False) -> bool:
        """Whether `name` is a batch, the first dimension wherever it stands, and stands in all outputs (`everywhere`: and inputs)."""
        values = [*inputs, *outputs]
        return ("batch" in name.lower() and all(name not in value.shape[1:] for value in values) and all(value.shape[:1] == (name,) for value in outputs)
                and (not everywhere or all(value.shape[:1] == (name,) for value in inputs)))

    @staticmethod
    def _is_masked(name: str, inputs: Sequence[GraphValue]) -> bool:
        # The length of a past and its new tokens together is a mask's alone: more of it would be positions in front of them.
        holders = {value.name.endswith(("attention_mask", "input_mask")) for value in inputs if name in value.shape}
        return holders == {True, False}

    @staticmethod
    def _sizes(arrays: Sequence[np.ndarray], inputs: Sequence[GraphValue]) -> dict[str, int]:
        """What each symbolic dimension is in `arrays`."""
        sizes: dict[str, int] = {}
        for value, array in zip(inputs, arrays):
            fits = array.dtype == value.dtype and array.ndim == len(value.shape) and all(
                sizes.setdefault(dim, size) == size and size > 0 if isinstance(dim, str) else dim == size
                for dim, size in zip(value.shape, array.shape))
            if not fits:
                known = "".join(f", {name} is {size}" for name, size in sizes.items() if name in value.shape)
                raise GraphError(f"the input '{value.name}' must be {value.dtype}[{', '.join(map(str, value.shape))}]{known}, "
                                 f"but got {array.dtype}{list(array.shape)}")
        return sizes

    def _choose(self, sizes: dict[str, int], paddable: set[str]) -> int:
        """The number of the choice with the least work that holds `sizes`."""
        def holds(dims: dict[str, int]) -> bool:
            return all(size == sizes[name] or (size > sizes[name] and name in paddable) for name, size in dims.items())

        fitting = [(math.prod(shape["dims"].values()), i) for i, shape in enumerate(self._shapes) if holds(shape["dims"])]
        if not fitting:
            def written(dims: dict[str, int]) -> str:
                return ",".join(f"{name}={size}" for name, size in dims.items())

            fixed = "".join(f"; {name} cannot be padded" for name in sizes if name not in paddable)
            raise GraphError(f"no shape that the graph was compiled for holds {written(sizes)}: it was compiled with "
                             f"{' '.join('--shape=' + written(shape['dims']) for shape in self._shapes)}{fixed}")
        return min(fitting)[1]

    def _run(self, arrays: Sequence[np.ndarray], sizes: dict[str, int], paddable: set[str], inputs: Sequence[GraphValue],
             outputs: Sequence[GraphValue]) -> list[np.ndarray]:
        number = self._choose(sizes, paddable)
        shape = self._shapes[number]
        arguments = []
        for array, whole in zip(arrays, map(tuple, shape["inputs"])):
            if array.shape != whole:
                padded = np.zeros(whole, array.dtype)
                padded[tuple(map(slice, array.shape))] = array
                array = padded
            arguments.append(np.ascontiguousarray(array))
        results = [np.empty(whole, value.dtype) for value, whole in zip(outputs, shape["outputs"])]
        with self._lock:
            self._compute(self._graph, number, pointers(arguments), pointers(results))
        return [result[tuple(slice(sizes.get(dim)) if isinstance(dim, str) else slice(None) for dim in value.shape)]
                for value, result in zip(outputs, results)]
