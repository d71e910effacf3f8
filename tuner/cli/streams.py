"""Handles standard streams that are closed, cannot encode some characters, or lose their reader."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ReaderLeft", "flushed", "prepare_streams"]

_NAMES = ("stdin", "stdout", "stderr")
_ERRORS = "lime-tuner-plain"
# Replacements for characters in our tables and messages; others are escaped.
_PLAIN = {
    "−": "-", "–": "-", "—": "-", "²": "2", "±": "+/-", "→": "->", "…": "...", "×": "x", "·": "*",
    "≥": ">=", "≤": "<=", "≈": "~", "°": " deg", "√": "sqrt", "█": "#", "▁": "_", "Δ": "d",
    "σ": "sigma", "µ": "u", "μ": "u",
}  # fmt: skip


class ReaderLeft(Exception):
    """The reader of standard output closed the pipe.

    No ``BrokenPipeError``, for which click has an exit status of its own.
    """


def prepare_streams() -> list[str]:
    """Replace closed standard streams, and let output streams replace what they cannot encode.

    The next file that is opened, perhaps a database, would get the descriptor of a closed stream,
    and printed text would be written to it.

    Returns:
        Names of the output streams that were closed.
    """
    closed = []
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # gets this number
        if getattr(sys, name) is None:
            stream = open(os.devnull, "r" if number == 0 else "w", encoding="utf-8")  # noqa: SIM115, PTH123
            setattr(sys, name, stream)
            closed += [name] if number else []
    codecs.register_error(_ERRORS, _plain)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors=_ERRORS)
    return closed


def _plain(error: UnicodeError) -> tuple[str, int]:
    """The error handler: replaces characters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wanted = error.object[error.start : error.end]
    escaped = (
        _PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in wanted
    )
    return "".join(escaped), error.end


@contextmanager
def flushed() -> Iterator[None]:
    """Flush standard output inside the ``with``, so that errors are raised before Python exits."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, ReaderLeft) as error:
        # Python would write the rest of the buffer at exit, and complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise ReaderLeft from error
        raise
