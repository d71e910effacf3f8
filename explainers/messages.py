"""Texts for users: making foreign text safe to show, warning once, shortening lists."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence

__all__ = [
    "error_line",
    "escaped",
    "one_line",
    "shortened",
    "warn_once",
]

_SHOWN = 3
_MOST = 4096  # remembered lines: bounds the memory of a service that runs for months
_warned: set[str] = set()


def shortened(texts: Sequence[str], most: int = _SHOWN) -> str:
    """The first ``most`` texts, and how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def one_line(text: str, limit: int = 120) -> str:
    """The text in one line of at most ``limit`` characters.

    Control characters of terminals, characters that change the direction of writing, and halves of
    surrogate pairs, which cannot be encoded, become spaces.
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def escaped(text: str) -> str:
    r"""The text with its line breaks; other unprintable characters as ``\x1b``, ``\u202e``.

    For logs: tracebacks stay readable, and the original characters can be recovered.
    """
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text
    )


def error_line(error: BaseException) -> str:
    """Type and text of an exception, in one line of at most 200 characters."""
    kind, text = type(error).__name__, str(error)
    return one_line(f"{kind}: {text}" if text.strip() else kind, 200)


def warn_once(logger: logging.Logger, line: str, subject: str | None = None) -> None:
    """Log a warning once in a process; as information in worker processes, whose parent warned.

    Args:
        subject: a line is logged only if its subject is new; by default the line itself.
    """
    subject = subject or line
    if subject not in _warned:
        if len(_warned) >= _MOST:
            _warned.clear()
        _warned.add(subject)
        helper = multiprocessing.parent_process() is not None
        logger.log(logging.INFO if helper else logging.WARNING, "%s", line)
