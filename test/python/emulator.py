"""Runs AArch64 code on a machine of another kind, under qemu: programs, and functions of shared libraries.

Needs the Debian packages qemu-user and g++-aarch64-linux-gnu, which scripts/test installs.
"""

import functools
import pathlib
import shutil
import struct
import subprocess
import tempfile

import numpy as np
import pytest

QEMU, CXX = "qemu-aarch64", "aarch64-linux-gnu-g++"
# The cross compiler's libraries; Debian puts them there.
SYSROOT = "/usr/aarch64-linux-gnu"
SERVER = pathlib.Path(__file__).with_name("kernel_server.cpp")

# Emulated processors that have what an instruction set needs, and as little as possible beyond it.
PROCESSORS = {"neon": "cortex-a53", "neon_dotprod": "cortex-a76"}
MARCH = {"neon": "-march=armv8-a", "neon_dotprod": "-march=armv8.2-a+dotprod"}


def clang_flags(isa):
    return ["--target=aarch64-linux-gnu", MARCH[isa]]


def skip_unless_available():
    for tool, package in ((QEMU, "qemu-user"), (CXX, "g++-aarch64-linux-gnu")):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is missing (Debian: {package})")


def command(processor):
    """What comes before a program's name to run it."""
    return [QEMU, "-cpu", processor, "-L", SYSROOT]


@functools.cache
def server():
    """The program that loads a library and calls it, built once."""
    folder = tempfile.TemporaryDirectory()
    program = pathlib.Path(folder.name) / "kernel_server"
    subprocess.run([CXX, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", SERVER, "-o", program, "-ldl"], check=True)
    return folder, program


class Library:
    """A shared library in an emulated process of its own."""

    def __init__(self, path, isa):
        self._folder, program = server()
        words = [*command(PROCESSORS[isa]), program, path]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, name, arrays):
        """Calls `name` with pointers to copies of `arrays`, and writes back what the call changed."""
        request = struct.pack("<I", len(name)) + name.encode() + struct.pack("<I", len(arrays))
        request += struct.pack(f"<{len(arrays)}Q", *(array.nbytes for array in arrays))
        try:
            self._process.stdin.write(request + b"".join(array.tobytes() for array in arrays))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        for array in arrays:
            result = self._process.stdout.read(array.nbytes)
            if len(result) != array.nbytes:
                raise RuntimeError(f"{name} ended its process: exit status {self._process.wait()}")
            if array.tobytes() != result:
                array.view(np.uint8).reshape(-1)[:] = np.frombuffer(result, np.uint8)

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        if self._process.wait() != 0:
            raise RuntimeError(f"the emulated process ended with {self._process.returncode}")
