"""Numbers, counts and tables as the report writes them; a missing number is an empty text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from studies.results.statistics import Interval

__all__ = ["around", "counted", "in_columns", "number", "sentence"]

_Item = TypeVar("_Item")
_Cell = TypeVar("_Cell")


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


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def in_columns(
    items: Iterable[_Item], columns: Mapping[str, Callable[[_Item], _Cell]]
) -> tuple[list[str], list[list[_Cell]]]:
    """Header and rows of a table.

    Args:
        columns: title of each column, and what it shows of an item.
    """
    return list(columns), [[cell(item) for cell in columns.values()] for item in items]
