"""What PyTorch's layers have freed is kept for the next one.

glibc gives every large block back to the kernel, which then clears fresh pages for the next layer:
a quarter of MobileNet's time on a CPU, a third of a smaller network's. Keeping blocks of up to
32 MB costs some memory instead. Stock lime in a user's own process pays for it, so nothing that
stands for its seconds may be measured after this.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

__all__ = ["give_back_freed_memory", "keep_freed_memory"]

# From glibc's malloc.h: parameters of mallopt, and the variables that set them from outside.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = {
    "MALLOC_MMAP_THRESHOLD_": (_MMAP_THRESHOLD, 32 << 20),  # the most that it takes
    "MALLOC_TRIM_THRESHOLD_": (_TRIM_THRESHOLD, 1 << 30),
}


def keep_freed_memory() -> None:
    """For the rest of this process; what the user has set by ``MALLOC_...`` stays.

    Does nothing where the C library is not glibc.
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
    """Let the kernel have what is freed after all, once; the next layers take it again.

    Does nothing where the C library is not glibc.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
