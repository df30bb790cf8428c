"""What the drivers of the benchmarks have in common."""
import argparse
import json
import pathlib
import platform
import re
import subprocess
from typing import Iterable


class BenchError(Exception):
    pass


def cpu_info() -> tuple:
    """Name of the processor and its flags."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine(), set()
    name = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)", text, re.MULTILINE)
    return (name.group(1).strip() if name else platform.machine()), set(flags.group(1).split() if flags else ())


def run_program(work: str, command: list) -> dict:
    """What the program at the head of `command` measures of the product `work`."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    except OSError as error:
        raise BenchError(f"cannot run '{command[0]}': {error.strerror}") from None
    if done.returncode != 0:
        message = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        raise BenchError(f"{work}: {re.sub(r'^elutq-bench-kernels: error: ', '', message)}")
    return json.loads(done.stdout)


def parse_only(parser: argparse.ArgumentParser, text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        parser.error(f"--only: '{text}' is no regular expression: {error}")


def named(rows: Iterable[dict], only: re.Pattern) -> list:
    """The products whose name `only` matches."""
    found = [row for row in rows if only.search(row["work"])]
    if not found:
        raise BenchError(f"no product has a name that --only '{only.pattern}' matches")
    return found


def table_line(values: list, columns: tuple) -> str:
    return " ".join(f"{value:{align}{width}}" for value, (_, width, align) in zip(values, columns)).rstrip()


def goals_of(goals: dict, isa: str) -> dict:
    """The goals of an instruction set. Those with AMX are those with VBMI and VNNI, which it comes with."""
    return goals.get("avx512vbmi" if isa == "avx512amx" else isa, {})
