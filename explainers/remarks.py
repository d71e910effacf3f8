"""What had to be decided while files were read, told once for all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from explainers.errors import InvalidInput

__all__ = ["Remarks", "Source", "shortened", "source_of", "told_once"]

_logger = logging.getLogger(__name__)
_SHOWN = 3


class Remarks:
    """Collects what was decided about which file; :meth:`tell` warns once for each decision."""

    def __init__(self) -> None:
        self._details: dict[str, list[str]] = {}

    def add(self, decision: str, detail: str) -> None:
        """Keep one decision; what is said of a file twice is told once."""
        details = self._details.setdefault(decision, [])
        if detail not in details:
            details.append(detail)

    def tell(self) -> None:
        """One warning for each decision, and forget them."""
        for decision, details in self._details.items():
            _logger.warning("%s: %s", decision, shortened(details))
        self._details.clear()


@dataclass(frozen=True)
class Source:
    """Where a mask comes from, as messages name it.

    Attributes:
        name: a path, or "the reference".
        remarks: who collects what is decided about it.
    """

    name: str
    remarks: Remarks = field(default_factory=Remarks)

    def tell(self, decision: str, detail: str = "") -> None:
        """Collect a decision about this source."""
        self.remarks.add(decision, f"{self.name} ({detail})" if detail else self.name)

    def error(self, reason: str) -> InvalidInput:
        """The exception for a source that cannot be used."""
        return InvalidInput(f"{self.name} {reason}")


@contextmanager
def told_once(remarks: Remarks | None = None) -> Iterator[Remarks]:
    """Remarks for a while: the caller's own, who tells them, or new ones that are told at the end.

    They are told after an error, too: they may say where it comes from.
    """
    if remarks is not None:
        yield remarks
        return
    remarks = Remarks()
    try:
        yield remarks
    finally:
        remarks.tell()


@contextmanager
def source_of(name: str, remarks: Remarks | None) -> Iterator[Source]:
    """A source whose remarks are told as in :func:`told_once`."""
    with told_once(remarks) as collected:
        yield Source(name, collected)


def shortened(texts: Sequence[str], most: int = _SHOWN) -> str:
    """The first few, and how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")
