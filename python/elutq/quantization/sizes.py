"""How many bytes matrices take, and sizes as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from ..errors import QuantizeError
from ..hlq_onnx import PARTS, HLQModel

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
# As elutq-compile --emit=hlq-onnx writes constants: small ones into the graph, others each to a page of the file beside it.
_PAGE, _LEAST_OUTSIDE = 4096, 1024


def parse_size(text: str) -> int:
    """The bytes that `2GB`, `1.5 GiB`, `700MB` or `123456` stand for: KB, MB and GB are powers of 1000, KiB, MiB and GiB of 1024.

    Raises QuantizeError for what is no such size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    if not match or match[2].upper() not in _UNITS or not float(match[1]):
        raise QuantizeError(f"'{text}' is no size, expected a number and bytes (B), KB, MB, GB, KiB, MiB or GiB, such as 2GB")
    return round(float(match[1]) * _UNITS[match[2].upper()])


def format_size(size: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if size >= unit:
            return f"{size / unit:.3f} {name}"
    return f"{size:.0f} bytes"


def _parts(n: int, k: int, bits: int, group: int, params: str) -> tuple[int, int, int]:
    """Bytes of planes, scales and zeros. A group of 0 stands for the row, rounded up to what a row of packed planes can hold."""
    group = group or -(-k // 32) * 32
    groups = -(-k // group)
    is_compact = params == "compact" and bits != 8
    scales, zero_bytes = (1, bits + 1) if is_compact else (1 if bits == 8 else bits, 2)
    return n * groups * group * bits // 8, 2 * n * groups * scales, zero_bytes * n * groups


def matrix_bytes(n: int, k: int, bits: int, group: int, params: str = "hlq") -> int:
    """The bytes of a matrix [n, k] in HLQ form with these parameters: planes, scales and zeros, the padding of the last group included."""
    return sum(_parts(n, k, bits, group, params))


def stored_bytes(count: int) -> int:
    """What a constant of so many bytes takes in the written model."""
    return count if count < _LEAST_OUTSIDE else -(-count // _PAGE) * _PAGE


def stored_matrix_bytes(n: int, k: int, bits: int, group: int, params: str = "hlq") -> int:
    """What a matrix in HLQ form takes in the written model."""
    return sum(stored_bytes(part) for part in _parts(n, k, bits, group, params))


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """The bytes of a constant's elements."""
    return int(np.prod(tensor.dims, dtype=np.int64)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


@dataclass(frozen=True)
class Storage:
    """Bytes of a model's constants: of its matrices in HLQ form planes, scales and zeros, of which `padding` are bits of planes beyond the
    matrices' columns; `rest` of everything else, in float for the most part. `weights`: elements of those matrices."""

    weights: int
    planes: int
    scales: int
    zeros: int
    padding: int
    rest: int

    @property
    def bits_per_weight(self) -> float:
        """Of the matrices in HLQ form: everything that is stored for them, by their elements."""
        return 8 * (self.planes + self.scales + self.zeros) / self.weights if self.weights else 0.0

    @property
    def size(self) -> int:
        return self.planes + self.scales + self.zeros + self.rest


def storage(model: HLQModel) -> Storage:
    """What the constants of a written model take."""
    sizes = {name: tensor_bytes(tensor) for name, tensor in model.tensors.initializers.items()}
    slots = model.slots.values()
    planes, scales, zeros = (sum(sizes[f"{slot.name}.{part}"] for slot in slots) for part in PARTS)
    padding = sum(slot.n * (-slot.k % slot.group_size) * slot.bits // 8 for slot in slots)
    return Storage(sum(slot.n * slot.k for slot in slots), planes, scales, zeros, padding, sum(sizes.values()) - planes - scales - zeros)
