"""Recognise errors that a full disk caused."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from explainers.errors import StorageError

__all__ = ["is_full", "no_space"]

# EFBIG: a limit on the size of files (ulimit -f), which is treated like a full disk.
_NUMBERS = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
# In this order from: SQLite; the operating system, by PostgreSQL or Python; a quota; MariaDB; a
# limit on the size of files.
_WORDS = (
    "database or disk is full", "no space left on device", "disk quota exceeded", "disk full",
    "file too large",
)  # fmt: skip
# SQLite says these over a quota, but for other reasons as well.
_VAGUE = ("disk i/o error", "unable to open database file")
_ROOM = 1 << 20  # bytes that every single write of this program fits into


def is_full(error: BaseException, path: Path | None = None) -> bool:
    """Whether an error, or one that caused it, says that a disk is full.

    Args:
        path: a file on that disk, where it is known. Where the error's text is ambiguous, the free
            space there decides.
    """
    for each in _causes(error):
        if isinstance(each, OSError) and each.errno in _NUMBERS:
            return True
        text = str(each).lower()
        if any(words in text for words in _WORDS):
            return True
        if path is not None and any(words in text for words in _VAGUE) and _room(path) < _ROOM:
            return True
    return False


def no_space(what: str) -> StorageError:
    """Return the error for a full disk, with a remedy."""
    return StorageError(
        f"no space left on the disk of {what}: free some, and the same command goes on from there; "
        "what is recorded is kept"
    )


def _room(path: Path) -> int:
    """Return the free bytes on a file's disk, or ``_ROOM`` where they cannot be read."""
    try:
        return shutil.disk_usage(path.absolute().parent).free
    except OSError:
        return _ROOM


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    for each in found:
        for inner in (each.__cause__, each.__context__, getattr(each, "orig", None)):
            if isinstance(inner, BaseException) and inner not in found:
                found.append(inner)
    return found
