"""Lets glibc keep freed memory, which makes networks faster on a CPU.

By default glibc returns every large block to the kernel, which then has to clear fresh pages for
the next layer. That takes a quarter of MobileNet's time on a CPU, and a third of a smaller
network's. Keeping blocks of up to 32 MB costs some memory instead. Stock lime in a user's process
does not have this speed-up, so do not measure its seconds in a process that has called this.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

__all__ = ["give_back_freed_memory", "keep_freed_memory"]

# Parameters of mallopt in glibc's malloc.h, with the environment variables that set them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = {
    "MALLOC_MMAP_THRESHOLD_": (_MMAP_THRESHOLD, 32 << 20),  # the largest value that glibc accepts
    "MALLOC_TRIM_THRESHOLD_": (_TRIM_THRESHOLD, 1 << 30),
}


def keep_freed_memory() -> None:
    """Keep freed blocks for the rest of this process.

    Values that the user has set by ``MALLOC_...`` variables stay. Does nothing where the C library
    is not glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for variable, (parameter, value) in _KEPT.items():
        if variable not in os.environ:
            mallopt(parameter, value)


def give_back_freed_memory() -> None:
    """Return the memory that is free now to the kernel.

    Does nothing where the C library is not glibc.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
