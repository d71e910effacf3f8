"""Large blocks are not given back to the kernel between two layers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

# Blocks that come straight from the kernel, before and after a tensor of 20 MB was freed.
_COUNT = """
import ctypes
import numpy as np
from tuner.runtime.freed_memory import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
keep_freed_memory()
before = libc.mallinfo2().hblks
tensor = np.empty(20 << 20, np.uint8)
mapped = libc.mallinfo2().hblks - before
del tensor
print(mapped, libc.mallinfo2().fordblks >= 20 << 20)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="counts the blocks of glibc 2.33 and newer",
)
@pytest.mark.parametrize(
    ("chosen", "found"),
    [({}, "0 True"), ({"MALLOC_MMAP_THRESHOLD_": "1000000"}, "1 False")],
    ids=["ours", "the user's"],
)
def test_what_is_freed_is_kept_unless_the_user_says_otherwise(
    chosen: dict[str, str], found: str
) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", _COUNT], env={**plain, **chosen}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == found
