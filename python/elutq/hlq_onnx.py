"""HLQ matrices in ONNX models, as `elutq-compile --emit=hlq-onnx` writes them: planes, scales and zeros beside each other."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from .solver import dequantize
from .tensors import Tensors

DOMAIN = "ai.elutq"
FUNCTIONS = Path(__file__).with_name("hlq_functions.txt")
PARTS = ("planes", "scales", "zeros")


@dataclass(frozen=True)
class HLQMatrix:
    """`w[n, k] = sum_j scales[n, g, j] * bit_j(n, k) + zeros[n, g]` with `g = k // group_size`.

    planes: u8 [bits, N, G * group_size / 8], the lowest bit first; with 8 bits the codes themselves, [1, N, G * group_size].
    scales: [N, G, planes], zeros: [N, G], f16 or f32. One scale [N, G, 1] is that of the lowest plane; those
    above have twice as much each. With compact parameters scales [N, G, 1] and zeros u8 [N, G, bits + 1]: the scale of each
    plane in units of the only one, and 128 more than the zero.
    """

    planes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    bits: int
    columns: int
    group_size: int

    def dequantize(self) -> np.ndarray:
        """The weights, f32 [N, columns]."""
        return dequantize(self.planes, self.scales, self.zeros, bits=self.bits, columns=self.columns)

    @property
    def num_bytes(self) -> int:
        """Planes and parameters, padding of the last group included."""
        return self.planes.nbytes + self.scales.nbytes + self.zeros.nbytes


def functions(opset: int) -> list[onnx.FunctionProto]:
    """What HLQMatMul and HLQGather mean, in operators of this opset of ai.onnx."""
    _, *bodies = FUNCTIONS.read_text(encoding="ascii").split("\n\n")
    return [onnx.parser.parse_function(body.replace("OPSET", str(opset), 1)) for body in bodies]


@dataclass(frozen=True)
class Slot:
    """A matrix that a model has in HLQ form."""

    name: str
    bits: int
    group_size: int
    n: int
    k: int
    is_multiplied: bool
    is_gathered: bool


class HLQModel:
    """A model with HLQ matrices on disk, whose matrices can be read and replaced one by one."""

    def __init__(self, path: str | os.PathLike[str], model: onnx.ModelProto | None = None):
        """Opens the model at `path`; `model` is its contents where they are known."""
        self.path = Path(path)
        self.tensors = Tensors(self.path, model)
        self.slots: dict[str, Slot] = {}
        for node in self.tensors.model.graph.node:
            if node.domain != DOMAIN or node.op_type not in ("HLQMatMul", "HLQGather"):
                continue
            name = node.input[1].removesuffix(".planes")
            values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            known = self.slots.get(name)
            self.slots[name] = Slot(name, values["bits"], values["group_size"], values["N"], values["K"],
                                    node.op_type == "HLQMatMul" or (known is not None and known.is_multiplied),
                                    node.op_type == "HLQGather" or (known is not None and known.is_gathered))

    def read(self, name: str) -> HLQMatrix:
        slot = self.slots[name]
        return HLQMatrix(*(self.tensors.read(f"{name}.{part}") for part in PARTS), slot.bits, slot.k, slot.group_size)

    def is_compact(self, name: str) -> bool:
        return len(self.tensors.initializers[f"{name}.zeros"].dims) == 3

    def has_one_scale(self, name: str) -> bool:
        """Whether the planes of a group have one scale, of which theirs are multiples."""
        return self.tensors.initializers[f"{name}.scales"].dims[2] < self.slots[name].bits < 8

    def write(self, name: str, matrix: HLQMatrix) -> None:
        """Puts `matrix` in the place of the one of this name, which has the same form."""
        for part in PARTS:
            self.tensors.overwrite(f"{name}.{part}", getattr(matrix, part))

    def copy(self, path: Path) -> HLQModel:
        """A copy at `path`, in a folder of its own, whose model file does not exist before `save`."""
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        data = self.path.with_name(self.path.name + ".data")
        if data.exists():
            shutil.copyfile(data, path.with_name(path.name + ".data"))
        model = onnx.ModelProto()
        model.CopyFrom(self.tensors.model)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = path.name + ".data"
        return HLQModel(path, model)

    def save(self) -> None:
        """Writes the model's file."""
        onnx.save_model(self.tensors.model, os.fspath(self.path))
