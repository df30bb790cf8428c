"""Runs elutq-compile, the compiler's program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Sequence

from ._build import built_files
from .errors import CompileError

PROGRAM = "elutq-compile"


def find_compiler() -> Path:
    """The program named by ELUTQ_COMPILE; else the one of a build tree: ELUTQ_BUILD_DIR or the source tree's build/release,
    where this package lies in one; else the one on PATH."""
    if named := os.environ.get("ELUTQ_COMPILE"):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise CompileError(f"ELUTQ_COMPILE names '{named}', which is no program")
        return Path(named)
    for candidate in built_files(__file__, "bin", PROGRAM):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    if found := shutil.which(PROGRAM):
        return Path(found)
    raise CompileError(f"{PROGRAM} is not to be found: build it, put it on PATH, or let ELUTQ_COMPILE name it")


def compile(model: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, *, emit: str = "exe",
            quantize: str | None = None, arguments: Sequence[str] = (), quiet: bool = True) -> None:
    """Compiles an ONNX model. `emit`, `quantize` and further `arguments` are as `elutq-compile --help` tells.

    With emit="lib", output "DIR/NAME" becomes DIR/libNAME.so, DIR/NAME.weights and DIR/NAME.h, which `elutq.Model` opens.
    Raises CompileError with the compiler's message.
    """
    command = [str(find_compiler()), os.fspath(model), f"--emit={emit}"]
    if output is not None:
        command += ["-o", os.fspath(output)]
    if quantize is not None:
        command.append(f"--quantize={quantize}")
    if quiet:
        command.append("-q")
    command += arguments
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    if result.returncode != 0:
        raise CompileError(_message(result))


def run_compiler(arguments: Sequence[str]) -> int:
    """Runs elutq-compile on the caller's terminal; returns its exit status (negative: killed by that signal)."""
    with subprocess.Popen([str(find_compiler()), *arguments]) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()  # Unlike a kill, this lets it remove its temporary files.
            raise


def _message(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line] or lines[-1:]
    if result.returncode < 0:
        return f"{PROGRAM} was ended by signal {-result.returncode}" + (f": {errors[-1]}" if errors else "")
    return errors[0] if errors else f"{PROGRAM} failed with exit status {result.returncode}"
