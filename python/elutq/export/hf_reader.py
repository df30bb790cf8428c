"""Hugging Face directories: config.json and safetensors files, mapped, without torch."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ..errors import ExportError
from .checkpoint import Checkpoint
from .families import family_of_model_type
from .packed import SUFFIX, PackedFormat, packed_format
from .quantized import UniformMatrix

_DTYPES = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)}
_INTEGERS = {"I32": np.dtype("<i4"), "I64": np.dtype("<i8")}
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors package
_SIDE_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
# Multimodal checkpoints keep their language model under these names.
_PREFIXES = (("model.language_model.", "model."), ("language_model.model.", "model."), ("language_model.lm_head.", "lm_head."))


@dataclass(frozen=True)
class _Entry:
    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int  # in the file


class HFCheckpoint(Checkpoint):
    """A directory with config.json and model.safetensors, or shards and their index. Linear layers may be packed integers (packed.py)."""

    packing: PackedFormat | None

    def __init__(self, directory: Path):
        self.directory = directory
        config = _read_json(directory / "config.json")
        self.packing = _packing(directory, config)
        self.family = family_of_model_type(config.get("model_type"))
        text_config = config.get("text_config")
        self.config = {**config, **text_config} if isinstance(text_config, dict) else config
        self._entries: dict[str, _Entry] = {}
        for path in _weight_files(directory):
            for name, entry in _read_header(path).items():
                for theirs, ours in _PREFIXES:
                    if name.startswith(theirs):
                        name = ours + name[len(theirs):]
                        break
                self._entries[name] = entry
        if self.packing is None and any(name.endswith(SUFFIX) for name in self._entries):
            # EfficientQAT writes no configuration of its own: bits and groups are in the shapes.
            self.packing = PackedFormat("efficientqat", bits=0, group_size=0, zero_offset=0)

    def __contains__(self, name: str) -> bool:
        return name in self._entries or self._packing_of(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        if packing := self._packing_of(name):
            return packing.layer_shape(name.removesuffix(".weight"), self._shape)
        return self._entries[name].shape

    def _packing_of(self, name: str) -> PackedFormat | None:
        is_packed = name.endswith(".weight") and name.removesuffix(".weight") + SUFFIX in self._entries
        return self.packing if is_packed else None

    def _shape(self, name: str) -> tuple[int, ...] | None:
        entry = self._entries.get(name)
        return entry.shape if entry else None

    def _stored(self, name: str) -> np.ndarray:
        """A tensor of any type, mapped."""
        entry = self._entries[name]
        types = _DTYPES | _INTEGERS
        if entry.dtype not in types:
            raise ExportError(f"the tensor '{name}' is of the type {entry.dtype}, expected one of {', '.join(types)}")
        return np.memmap(entry.path, types[entry.dtype], "r", entry.offset, entry.shape)

    def quantized(self, name: str) -> UniformMatrix | None:
        packing = self._packing_of(name)
        return packing.read(name.removesuffix(".weight"), self._shape, self._stored) if packing else None

    def rows(self, name: str, begin: int, end: int) -> np.ndarray:
        if (packed := self.quantized(name)) is not None:
            return packed.rows(np.arange(begin, end)).dequantize()
        entry = self._entries[name]
        if entry.dtype not in _DTYPES:
            raise ExportError(f"the tensor '{name}' is of the type {entry.dtype}, expected one of {', '.join(_DTYPES)}")
        values = np.memmap(entry.path, _DTYPES[entry.dtype], "r", entry.offset, entry.shape)
        return np.ascontiguousarray(values[begin:end], dtype=np.float32)

    def write_side_files(self, directory: Path) -> list[str]:
        names = [name for name in _SIDE_FILES if (self.directory / name).is_file()]
        for name in names:
            shutil.copyfile(self.directory / name, directory / name)
        if self.packing:  # The weights are no longer packed so.
            config = _read_json(directory / "config.json")
            config.pop("quantization_config", None)
            (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        if "tokenizer_config.json" in names and "chat_template.jinja" not in names:
            template = _read_json(self.directory / "tokenizer_config.json").get("chat_template")
            if isinstance(template, str):
                (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
                names.append("chat_template.jinja")
        return names


def _packing(directory: Path, config: dict[str, Any]) -> PackedFormat | None:
    """What config.json or, of older GPTQ checkpoints, quantize_config.json says of packed weights."""
    beside = directory / "quantize_config.json"
    section = config.get("quantization_config")
    if section is None and beside.is_file():
        section = _read_json(beside)
    if section is None:
        return None
    if not isinstance(section, dict):
        raise ExportError(f"'{directory}': 'quantization_config' is no JSON object")
    return packed_format(section, f"'{directory}'")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"'{path}' does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ExportError(f"'{path}' does not hold a JSON object")
    return value


def _weight_files(directory: Path) -> list[Path]:
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return [directory / "model.safetensors"]
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ExportError(f"'{index}' has no 'weight_map' of file names")
    names = sorted(set(weight_map.values()))
    for name in names:
        if Path(name).name != name:
            raise ExportError(f"'{index}' names the file '{name}', expected one in the same directory")
    return [directory / name for name in names]


def _read_header(path: Path) -> dict[str, _Entry]:
    """The tensors of a safetensors file: u64 header size, JSON header, data. Everything in it is checked here."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if size < 8 or header_bytes > min(size - 8, _MAX_HEADER_BYTES):
                raise ValueError(f"the header is said to have {header_bytes} bytes, the file has {size}")
            header = json.loads(file.read(header_bytes))
        if not isinstance(header, dict):
            raise ValueError("the header is no JSON object")
        entries = {}
        for name, info in header.items():
            if name == "__metadata__":
                continue
            shape, (begin, end) = tuple(info["shape"]), info["data_offsets"]
            if any(type(n) is not int or n < 0 for n in (*shape, begin, end)) or end > size - 8 - header_bytes:
                raise ValueError(f"the tensor '{name}' lies outside the file")
            known = (_DTYPES | _INTEGERS).get(info["dtype"])
            if known and end - begin != math.prod(shape) * known.itemsize:
                raise ValueError(f"the tensor '{name}' has {end - begin} bytes, which its shape and type do not make")
            entries[name] = _Entry(path, info["dtype"], shape, 8 + header_bytes + begin)
        return entries
    except FileNotFoundError:
        raise ExportError(f"'{path}' does not exist") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportError(f"'{path}' is not a readable safetensors file: {error}") from error
