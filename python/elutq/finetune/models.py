"""The float model and the quantized one, as one graph with two sets of constants."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import FinetuneError
from ..hlq_onnx import HLQMatrix, HLQModel
from ..tensors import Tensors
from .blocks import Block, find_blocks
from .interpreter import Interpreter
from .matrices import TunedMatrix

# Of more bits nothing is to be gained, and codes of 8 bits have one scale.
_TUNED_BITS = 4


class ModelPair:
    """The graph of the float model `reference`, and the matrices that `quantized`, made from it, has in HLQ form.

    blocks: as of `find_blocks`, each with the matrices that can be tuned: those of 1 to 4 bits that one kind of activations is
    multiplied by. All others keep their bits. `output` is what the model is for: its logits, or else its first output.
    """

    def __init__(self, quantized: Path, reference: Path, *, parts: int, precision: torch.dtype,
                 device: torch.device):
        self.quantized, self.reference, self.device, self.precision = HLQModel(quantized), Tensors(reference), device, precision
        self.interpreter = Interpreter(self.reference.model, precision, device)
        graph = self.interpreter.graph
        outputs = [value.name for value in graph.model.graph.output]
        self.output = "logits" if "logits" in outputs else outputs[0]
        self._check_form()
        products = graph.products(self.quantized.slots)
        tunable = {name for name, slot in self.quantized.slots.items() if slot.bits <= _TUNED_BITS}
        groups, _ = graph.groups({name: uses for name, uses in products.items() if name in tunable})
        self.interpreter.check([self.output])
        blocks = find_blocks(graph, groups, self.output, parts)
        # Logits of whole windows are too large to be kept for all of them; a head that is worth tuning is left to its own fit.
        self.blocks = [block for block in blocks if block.output != "logits"]
        if not self.blocks:
            raise FinetuneError(f"'{quantized}' has no matrix to tune but its head")
        if self.output != "logits":
            self.blocks[-1] = replace(self.blocks[-1], output=self.output)
        self.is_transposed = {name: uses[0].is_transposed for name, uses in products.items()}
        self.is_table = {name: any(use.is_lookup for use in uses) for name, uses in products.items()}
        self.tuned: dict[str, TunedMatrix] = {}

    def float_constants(self, tail: bool = False) -> Constants:
        return Constants(self, False, tail)

    def quantized_constants(self, tail: bool = False) -> Constants:
        return Constants(self, True, tail)

    def float_matrix(self, name: str) -> np.ndarray:
        """f32 [N, K]"""
        array = self.reference.read(name)
        return np.ascontiguousarray(array.T if self.is_transposed[name] else array, np.float32)

    def tune(self, block: Block, codes: bool, start: Mapping[str, HLQMatrix] | None = None) -> list[TunedMatrix]:
        """Makes the matrices of a block tunable, from what they are in `start` or in the file."""
        for name in block.matrices:
            matrix = (start or {}).get(name) or self.quantized.read(name)
            self.tuned[name] = TunedMatrix(matrix, self.float_matrix(name) if codes else None, self.device)
        return [self.tuned[name] for name in block.matrices]

    def _check_form(self) -> None:
        """The quantized model has to be one of this float model."""
        slots, name = self.quantized.slots, self.reference.path
        if not slots:
            raise FinetuneError(f"'{self.quantized.path}' has no quantized matrices: elutq quantize makes them")
        initializers = self.interpreter.graph.initializers
        for slot in slots.values():
            if self.quantized.is_compact(slot.name):
                raise FinetuneError(f"'{slot.name}' has compact parameters, which cannot be tuned: quantize the model with --params hlq")
            if self.quantized.has_one_scale(slot.name):
                raise FinetuneError(f"'{slot.name}' has one scale for all planes of a group, which cannot be tuned: quantize the float model")
            dims = list(initializers[slot.name].dims) if slot.name in initializers else None
            if dims is None or sorted(dims) != sorted((slot.n, slot.k)):
                raise FinetuneError(f"'{self.quantized.path}' was not made from '{name}': its matrix '{slot.name}' is {slot.n} x {slot.k}, "
                                    + ("which the reference has not" if dims is None else f"the reference's {' x '.join(map(str, dims))}"))
        for tensor in self.quantized.tensors.model.graph.initializer:
            known = initializers.get(tensor.name)
            if known is not None and list(known.dims) != list(tensor.dims):
                raise FinetuneError(f"'{self.quantized.path}' was not made from '{name}': its constant '{tensor.name}' has the shape "
                                    f"{list(tensor.dims)}, the reference's {list(known.dims)}")


class Constants:
    """What the graph's constants are, for the float or for the quantized model; they stay in memory until `clear`.

    tail: what follows the blocks is computed, so that tables are only multiplied by and can be kept in the precision of products.
    """

    def __init__(self, pair: ModelPair, quantized: bool, tail: bool):
        self._pair, self._quantized, self._tail = pair, quantized, tail
        self._kept: dict[str, Tensor] = {}

    def __call__(self, name: str) -> Tensor:
        if self._quantized and name in self._pair.tuned:
            weights = self._pair.tuned[name](self._pair.precision)
            return weights.T if self._pair.is_transposed[name] else weights
        if name not in self._kept:
            self._kept[name] = self._read(name)
        return self._kept[name]

    def clear(self) -> None:
        self._kept.clear()

    def _read(self, name: str) -> Tensor:
        pair = self._pair
        array = pair.reference.read(name)
        if self._quantized and name in pair.quantized.slots:
            weights = pair.quantized.read(name).dequantize()
            array = (weights.T if pair.is_transposed.get(name) else weights).astype(array.dtype)
        tensor = as_tensor(array)
        # Products are computed in that precision in any case: converted once.
        if name in pair.is_table and (self._tail or not pair.is_table[name]) and tensor.dtype == torch.float32:
            tensor = tensor.to(pair.precision)
        return tensor.to(pair.device)


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor that shares an array's memory, which may be a file's; only to be read."""
    if array.dtype.name == "bfloat16":
        return as_tensor(array.view(np.int16)).view(torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # That it is not to be written to.
        return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
