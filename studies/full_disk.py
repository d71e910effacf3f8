"""Telling a full disk from other trouble, and saying so."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from explainers.errors import StorageError

__all__ = ["is_full", "no_space"]

# EFBIG: a limit on the size of files (ulimit -f); to whoever writes, the disk ends there.
_NUMBERS = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
# SQLite; the operating system through PostgreSQL or Python; a quota; MariaDB.
_WORDS = (
    "database or disk is full", "no space left on device", "disk quota exceeded", "disk full",
    "file too large",
)  # fmt: skip
_VAGUE = ("disk i/o error", "unable to open database file")  # SQLite, also over its quota
_ROOM = 1 << 20  # bytes that a write of ours fits into


def is_full(error: BaseException, path: Path | None = None) -> bool:
    """Whether something failed because a disk is full.

    Args:
        path: a file on that disk, where it is known; it decides where the error is vague.
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
    """The error for a full disk."""
    return StorageError(
        f"no space left on the disk of {what}: free some, and the same command goes on from there; "
        "what is recorded is kept"
    )


def _room(path: Path) -> int:
    """Free bytes on the disk of a file; enough where that is not known."""
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
