"""The blocks that a page is made of: plain values, which the template renders by their ``kind``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from studies.report.charts.drawing import Drawing
from studies.report.charts.panels import Panel

__all__ = [
    "Block", "Chart", "Claim", "Facts", "Marks", "Missing", "PanelRow", "Picture", "Section",
    "Supplement", "Table", "Text",
]  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Missing:
    """Text in place of missing data, which says how to get them."""

    kind: ClassVar[str] = "missing"
    text: str


@dataclass(frozen=True)
class Marks:
    """Warnings."""

    kind: ClassVar[str] = "marks"
    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        words: columns (from 0) that hold text and not numbers, besides the first.
    """

    kind: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = ()


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Chart:
    """A drawing inside the page, with a text alternative."""

    kind: ClassVar[str] = "chart"
    drawing: Drawing
    alternative: str
    caption: str


@dataclass(frozen=True)
class PanelRow:
    """Panels of one image, with a note on a doubtful reference."""

    kind: ClassVar[str] = "panels"
    title: str
    note: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Picture:
    """A picture inside the page, at its own size in pixels."""

    kind: ClassVar[str] = "picture"
    source: str
    alternative: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class Claim:
    """A public claim, and whether the data support it.

    Attributes:
        answer: ``supported``, ``contradicted``, ``undecided`` or ``no data``.
        found: sentences with the numbers.
    """

    kind: ClassVar[str] = "claim"
    claimed: str
    answer: str
    found: Sequence[str]


Block = Text | Missing | Marks | Table | Facts | Chart | PanelRow | Picture | Claim


@dataclass(frozen=True)
class Section:
    """A heading with the blocks below it."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The heading's id for links within the page."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


@dataclass(frozen=True)
class Supplement:
    """A section that another package adds to the page.

    Attributes:
        blocks: of the section.
        tables: header and rows of CSV files, by file name without suffix.
    """

    blocks: Sequence[Block]
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[object]]]]
