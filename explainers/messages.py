"""Texts for people: foreign text made safe to show, warnings given once, lists shortened."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from explainers.errors import InvalidInput

__all__ = [
    "Decisions",
    "MaskSource",
    "decisions_logged",
    "error_line",
    "escaped",
    "mask_source",
    "one_line",
    "shortened",
    "warn_once",
]

_logger = logging.getLogger(__name__)
_SHOWN = 3
_MOST = 4096  # a service may run for months
_warned: set[str] = set()


class Decisions:
    """Collects what was decided about which file; :meth:`log` warns once for each decision."""

    def __init__(self) -> None:
        self._details: dict[str, list[str]] = {}

    def add(self, decision: str, detail: str) -> None:
        """Keep one decision; a detail that is given twice is kept once."""
        details = self._details.setdefault(decision, [])
        if detail not in details:
            details.append(detail)

    def log(self) -> None:
        """Log one warning for each decision, and forget them."""
        for decision, details in self._details.items():
            _logger.warning("%s: %s", decision, shortened(details))
        self._details.clear()


@dataclass(frozen=True)
class MaskSource:
    """Where a mask comes from, as messages name it.

    Attributes:
        name: a path, or "the reference".
        decisions: where what is decided about it is collected.
    """

    name: str
    decisions: Decisions = field(default_factory=Decisions)

    def record(self, decision: str, detail: str = "") -> None:
        """Collect a decision about this source."""
        self.decisions.add(decision, f"{self.name} ({detail})" if detail else self.name)

    def error(self, reason: str) -> InvalidInput:
        """The exception for a source that cannot be used."""
        return InvalidInput(f"{self.name} {reason}")


@contextmanager
def decisions_logged(decisions: Decisions | None = None) -> Iterator[Decisions]:
    """The caller's own decisions, which the caller logs; or new ones, logged at the end.

    They are logged after an error, too: they may say where it comes from.
    """
    if decisions is not None:
        yield decisions
        return
    decisions = Decisions()
    try:
        yield decisions
    finally:
        decisions.log()


@contextmanager
def mask_source(name: str, decisions: Decisions | None) -> Iterator[MaskSource]:
    """A source whose decisions are logged as in :func:`decisions_logged`."""
    with decisions_logged(decisions) as collected:
        yield MaskSource(name, collected)


def shortened(texts: Sequence[str], most: int = _SHOWN) -> str:
    """The first few, and how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def one_line(text: str, limit: int = 120) -> str:
    """The text in one line of at most ``limit`` characters.

    Whatever a terminal could take for a command, what turns the direction of writing, and what no
    encoding has (half a surrogate pair) becomes a space.
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def escaped(text: str) -> str:
    r"""The text with its line breaks; anything else that is not printable as ``\x1b``, ``\u202e``.

    For logs: a traceback stays readable, and what was sent can be told.
    """
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text
    )


def error_line(error: BaseException) -> str:
    """Type and text of somebody else's exception, in one line of at most 200 characters."""
    kind, text = type(error).__name__, str(error)
    return one_line(f"{kind}: {text}" if text.strip() else kind, 200)


def warn_once(logger: logging.Logger, line: str, subject: str | None = None) -> None:
    """Log a warning once in a process; as information in worker processes, whose parent warned.

    Args:
        subject: equal for two lines of which the second says nothing new; by default the line.
    """
    subject = subject or line
    if subject not in _warned:
        if len(_warned) >= _MOST:
            _warned.clear()
        _warned.add(subject)
        helper = multiprocessing.parent_process() is not None
        logger.log(logging.INFO if helper else logging.WARNING, "%s", line)
