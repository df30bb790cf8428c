"""Finished work of a quantization, in a folder: whatever interrupts a run, the next one goes on from there.

Every file appears under its name only when it is complete and on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Iterable, Iterator, Mapping

import numpy as np

from ..errors import QuantizeError
from ..hlq_onnx import HLQMatrix, HLQModel

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


@contextmanager
def _partial(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which appears under its name when it is complete and on the disk. An error names the file and leaves nothing."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise unwritten(path, error) from error


def unwritten(path: Path, error: OSError) -> QuantizeError:
    """The error of a file that cannot be written, for want of space mostly."""
    return QuantizeError(f"'{path}' cannot be written: {error.strerror or error}; what is finished is kept, and the same command goes on from "
                         "there")


def write_file(path: Path, data: bytes) -> None:
    """Writes a file that appears under its name when it is complete."""
    with _partial(path) as file:
        file.write(data)


def foreign_work(folder: Path) -> QuantizeError:
    """The error of a folder that holds the work of another run."""
    return QuantizeError(f"'{folder}' holds unfinished work of another model, other options or another calibration; remove it, or name "
                         "another folder with --work")


@dataclass(frozen=True)
class Activations:
    """Values of a cut by name, for every window of the calibration."""

    arrays: Mapping[str, np.ndarray]

    @staticmethod
    def open(folder: Path) -> Activations:
        """Those that `Workspace.save_activations` wrote, as views of their files."""
        files = json.loads((folder / "index.json").read_text())
        return Activations({name: np.load(folder / file, mmap_mode="r") for name, file in files.items()})

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
            write_file(known, text.encode())
        elif known.read_text() != text:
            raise foreign_work(folder)
        for leftover in folder.glob("*.partial"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        with _partial(self.folder / f"{name}.npz") as file:
            np.savez(file, **arrays)

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
        try:
            with ExitStack() as opened:
                self._write_windows(partial, windows, count, opened)
            _publish(partial, folder)
        except OSError as error:
            shutil.rmtree(partial)
            raise unwritten(folder, error) from error

    @staticmethod
    def _write_windows(folder: Path, windows: Iterable[Mapping[str, np.ndarray]], count: int, opened: ExitStack) -> None:
        # Plain writes: where a mapped file finds no space, the process dies by a signal.
        files: dict[str, BinaryIO] = {}
        first: dict[str, np.ndarray] = {}
        for values in windows:
            for value, array in values.items():
                if value not in files:
                    files[value], first[value] = opened.enter_context(open(folder / f"{len(files)}.npy", "wb")), array
                    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": (count, *array.shape)}
                    np.lib.format.write_array_header_1_0(files[value], header)
                if first[value].shape != array.shape:
                    raise QuantizeError(f"'{value}' has the shape {list(array.shape)} in a window of the calibration, but "
                                        f"{list(first[value].shape)} in the first; windows must be of one length")
                files[value].write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
        write_file(folder / "index.json", json.dumps({value: f"{index}.npy" for index, value in enumerate(files)}).encode())

    def activations(self, name: str) -> Activations | None:
        folder = self.folder / name
        return Activations.open(folder) if folder.exists() else None

    def remove(self, name: str) -> None:
        """Removes activations that nothing reads any more."""
        folder = self.folder / name
        if folder.exists():
            # Under another name first: half a folder must not look like a whole one.
            gone = folder.with_name(folder.name + ".partial")
            os.replace(folder, gone)
            shutil.rmtree(gone)

    def write_output(self, base: HLQModel, matrices: Iterable[tuple[str, HLQMatrix]], output: Path) -> HLQModel:
        """Writes `base` with other matrices to `output` and `output`.data, each of which appears when it is complete, and removes the
        folder, whose work is in it then."""
        folder = self.folder / "output"
        moved = [path.with_name(path.name + ".partial") for path in (output.with_name(output.name + ".data"), output)]
        try:
            made = base.copy(folder / output.name)
            for name, matrix in matrices:
                made.write(name, matrix)
            made.save()
            output.parent.mkdir(parents=True, exist_ok=True)
            # The folder of the work may be on another disk.
            for partial in moved:
                if (file := folder / partial.stem).exists():
                    shutil.move(file, partial)
                    os.replace(partial, partial.with_suffix(""))
        except OSError as error:
            for path in moved:
                path.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise unwritten(output, error) from error
        self.close()
        return made

    def close(self) -> None:
        """Removes the folder, once its work is in the output."""
        shutil.rmtree(self.folder)


@contextmanager
def remove_if_nothing_is_finished(folder: Path) -> Iterator[None]:
    """After an error, leaves a folder of work only if there is something in it that another run goes on from."""
    is_new = not folder.exists()
    try:
        yield
    except Exception:
        if is_new and folder.exists() and not any(folder.glob("*.npz")):
            shutil.rmtree(folder)
        raise
