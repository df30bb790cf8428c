"""Finished work of a quantization, in a folder: whatever interrupts a run, the next one goes on from there.

Every file appears under its name only when it is complete and on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

import numpy as np

from ..errors import QuantizeError

IDENTITY = "run.json"


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(partial: Path, path: Path) -> None:
    os.replace(partial, path)
    _sync_folder(path.parent)


class Activations:
    """Values of a cut, for every window of the calibration."""

    def __init__(self, folder: Path):
        self.arrays = {name: np.load(folder / file, mmap_mode="r") for name, file in json.loads((folder / "index.json").read_text()).items()}

    def window(self, index: int) -> dict[str, np.ndarray]:
        return {name: array[index] for name, array in self.arrays.items()}


class Workspace:
    """A folder of a run. `identity` is all that its results depend on."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(identity, indent=1, sort_keys=True)
        known = folder / IDENTITY
        if not known.exists():
            self._write(known, text.encode())
        elif known.read_text() != text:
            raise QuantizeError(f"'{folder}' holds unfinished work of another model, other options or another calibration; remove "
                                "it, or name another folder with --work")
        for leftover in folder.glob("*.partial"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        partial = path.with_name(path.name + ".partial")
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _publish(partial, path)

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        path = self.folder / f"{name}.npz"
        partial = path.with_name(path.name + ".partial")
        with open(partial, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        _publish(partial, path)

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What `save` kept under this name."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path) as file:
            return {key: file[key] for key in file.files}

    def save_activations(self, name: str, windows: Iterable[Mapping[str, np.ndarray]], count: int) -> None:
        """Keeps the values of each window as it comes; all windows have values of the same names, types and shapes."""
        folder = self.folder / name
        partial = folder.with_name(folder.name + ".partial")
        partial.mkdir()
        arrays: dict[str, np.ndarray] = {}
        index: dict[str, str] = {}
        for position, values in enumerate(windows):
            for value, array in values.items():
                if position == 0:
                    index[value] = f"{len(index)}.npy"
                    arrays[value] = np.lib.format.open_memmap(partial / index[value], "w+", array.dtype, (count, *array.shape))
                if arrays[value].shape[1:] != array.shape:
                    raise QuantizeError(f"'{value}' has the shape {list(array.shape)} in a window of the calibration, but "
                                        f"{list(arrays[value].shape[1:])} in the first; windows must be of one length")
                arrays[value][position] = array
        for array in arrays.values():
            array.flush()
        self._write(partial / "index.json", json.dumps(index).encode())
        _publish(partial, folder)

    def activations(self, name: str) -> Activations | None:
        folder = self.folder / name
        return Activations(folder) if folder.exists() else None

    def remove(self, name: str) -> None:
        """Removes activations that nothing reads any more."""
        folder = self.folder / name
        if folder.exists():
            # Under another name first: half a folder must not look like a whole one.
            gone = folder.with_name(folder.name + ".partial")
            os.replace(folder, gone)
            shutil.rmtree(gone)

    def close(self) -> None:
        """Removes the folder, once its work is in the output."""
        shutil.rmtree(self.folder)


@contextmanager
def remove_if_nothing_is_finished(folder: Path, finished: str = "group-*.npz") -> Iterator[None]:
    """After an error, leaves a folder of work only if there is something in it, by names, that another run goes on from."""
    is_new = not folder.exists()
    try:
        yield
    except Exception:
        if is_new and folder.exists() and not any(folder.glob(finished)):
            shutil.rmtree(folder)
        raise
