"""What a page is made of. Blocks are plain values; the template knows how each kind looks."""

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
    """What stands where there are no data: what to do to have them."""

    kind: ClassVar[str] = "missing"
    text: str


@dataclass(frozen=True)
class Marks:
    """Warnings."""

    kind: ClassVar[str] = "marks"
    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """``words``: columns (from 0) that hold text and not numbers, besides the first."""

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
    """A drawing inside the page, and words for those who cannot see it."""

    kind: ClassVar[str] = "chart"
    drawing: Drawing
    alternative: str
    caption: str


@dataclass(frozen=True)
class PanelRow:
    """Panels of one image, and what is to be doubted about it."""

    kind: ClassVar[str] = "panels"
    title: str
    note: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Picture:
    """A picture as wide as it is, inside the page."""

    kind: ClassVar[str] = "picture"
    source: str
    alternative: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class Claim:
    """A public claim and the answer of the data.

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
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """For links within the page."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


@dataclass(frozen=True)
class Supplement:
    """What another package, which this one does not know, adds to the page.

    Attributes:
        blocks: of its section.
        tables: header and rows of CSV files by name without suffix.
    """

    blocks: Sequence[Block]
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[object]]]]
