"""Decisions that are made while mask files are read, logged once for all files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from explainers.errors import InvalidInput
from explainers.messages import shortened

_logger = logging.getLogger(__name__)


class Decisions:
    """Collects decisions and the files they concern; :meth:`log` warns once for each decision."""

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
        decisions: collects the decisions about the mask.
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
    """The caller's own decisions, which the caller logs; or new ones, which are logged at the end.

    They are logged after an error, too, because they may explain it.
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
