"""Format numbers, counts and tables for the report; a missing number is an empty text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from studies.results.statistics import Interval

__all__ = ["around", "counted", "in_columns", "number", "sentence"]

_Item = TypeVar("_Item")
_Cell = TypeVar("_Cell")


def around(found: Interval, digits: int = 3) -> str:
    """Format a mean with its interval in square brackets, or without if it is of one value."""
    if not found.size:
        return ""
    if found.size == 1:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with so many digits after the decimal point."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def counted(count: int, what: str) -> str:
    """Return a count with its noun: ``1 image``, ``2 images``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def sentence(text: str) -> str:
    """Add a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def in_columns(
    items: Iterable[_Item], columns: Mapping[str, Callable[[_Item], _Cell]]
) -> tuple[list[str], list[list[_Cell]]]:
    """Return header and rows of a table.

    Args:
        columns: by title, a function from an item to the column's cell.
    """
    return list(columns), [[cell(item) for cell in columns.values()] for item in items]
