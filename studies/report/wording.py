"""Numbers as the report writes them, where a missing one is an empty text; and what several
sections say."""

from __future__ import annotations

import math

from studies.statistics import Interval

__all__ = ["NO_COMPARISON", "around", "counted", "number"]

NO_COMPARISON = (
    "No comparison is recorded for this study: run lime-tuner compare with the same --study."
)


def around(found: Interval, digits: int = 3) -> str:
    """A mean with its interval in square brackets; without, where there is one value only."""
    if not found.size:
        return ""
    if found.size == 1:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits behind the point."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def counted(count: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
