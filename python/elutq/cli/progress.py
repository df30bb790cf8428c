"""What long commands show on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Callable, Iterator


@contextmanager
def bar(name: str, quiet: bool) -> Iterator[Callable[[float, float], None]]:
    """A bar with the time left, on a terminal; it is told what is done, and how much there is."""
    from tqdm import tqdm

    with tqdm(total=1.0, desc=name, bar_format="{l_bar}{bar}| {elapsed}<{remaining}", disable=quiet or not sys.stderr.isatty()) as shown:
        yield lambda done, whole: shown.update(done / whole - shown.n)
