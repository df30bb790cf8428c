"""Memory of tensors that are made and freed in every step."""

from __future__ import annotations

import ctypes

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Memory that is freed stays with this process. By default glibc gives large pieces back to the system at once, which makes them zero
    again, page by page, when the next tensor takes them: half of a tuning's time. Nothing happens with another C library."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
