"""Standard streams as they may be: closed, of a narrow encoding, or read by somebody who leaves."""

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
# What tables and messages of ours contain; other characters are escaped.
_PLAIN = {
    "−": "-", "–": "-", "—": "-", "²": "2", "±": "+/-", "→": "->", "…": "...", "×": "x", "·": "*",
    "≥": ">=", "≤": "<=", "≈": "~", "°": " deg", "√": "sqrt", "█": "#", "▁": "_", "Δ": "d",
    "σ": "sigma", "µ": "u", "μ": "u",
}  # fmt: skip


class ReaderLeft(Exception):
    """Whoever read standard output has seen enough; click would end with a status of its own."""


def prepare_streams() -> list[str]:
    """Let every stream be written or read, whatever the caller has made of it.

    A descriptor that is closed would go to the next file that is opened, a database perhaps, and
    be written to by whoever prints.

    Returns:
        Names of output streams that were closed.
    """
    closed = []
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # takes the number
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
    """What stands for characters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wanted = error.object[error.start : error.end]
    escaped = (
        _PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in wanted
    )
    return "".join(escaped), error.end


@contextmanager
def flushed() -> Iterator[None]:
    """Let what cannot be written to standard output be known inside, not at the end of Python."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, ReaderLeft) as error:
        # What is left in the buffer would be tried again then, and complained of.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise ReaderLeft from error
        raise
