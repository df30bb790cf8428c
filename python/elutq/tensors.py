"""The constants of an ONNX model, read one by one from where they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .errors import ModelError


class Tensors:
    """An ONNX model and its constants; those in files beside it stay there until they are read."""

    def __init__(self, path: str | os.PathLike[str], model: onnx.ModelProto | None = None):
        """Opens the model at `path`; `model` is its contents where they are known."""
        self.path = Path(path)
        self.model = _load(self.path) if model is None else model
        self.initializers = {tensor.name: tensor for tensor in self.model.graph.initializer}

    def identity(self) -> dict[str, Any]:
        """What changes when the model does: a hash of its file, size and time of those beside it."""
        data = {}
        for name in sorted({entry.value for tensor in self.initializers.values() for entry in tensor.external_data if entry.key == "location"}):
            status = (self.path.parent / name).stat()
            data[name] = [status.st_size, status.st_mtime_ns]
        return {"model": hashlib.sha256(self.path.read_bytes()).hexdigest(), "data": data}

    def __contains__(self, name: str) -> bool:
        return name in self.initializers

    def read(self, name: str) -> np.ndarray:
        """The constant; a view of the file where it lies in one of its own."""
        tensor = self.initializers[name]
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
        path, offset, length = self._place(tensor)
        dtype, shape = helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
        if length == 0:
            return np.empty(shape, dtype)
        try:
            data = np.memmap(path, np.uint8, "r", offset, (length,))
        except (OSError, ValueError) as error:
            raise ModelError(f"'{path}' does not hold '{name}': {error}") from None
        return data.view(dtype).reshape(shape)

    def overwrite(self, name: str, array: np.ndarray) -> None:
        """Puts an array of the same type and shape in the constant's place, in its file where it has one."""
        tensor = self.initializers[name]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if array.dtype != dtype or array.shape != tuple(tensor.dims):
            raise ModelError(f"'{name}': expected {dtype} {list(tensor.dims)}, but got {array.dtype} {list(array.shape)}")
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(array, name))
            return
        path, offset, _ = self._place(tensor)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(np.ascontiguousarray(array).data)

    def _place(self, tensor: onnx.TensorProto) -> tuple[Path, int, int]:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        length = int(np.prod(tensor.dims, dtype=np.int64)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        return self.path.parent / entries["location"], int(entries.get("offset", 0)), length


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"'{path}': {error.strerror or error}") from None
    except Exception:  # Protobuf's errors have no common class of their own.
        raise ModelError(f"'{path}' is no ONNX model") from None
