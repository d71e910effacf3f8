"""Reading a grading server's score board: anybody's page with a table of teams and their IoU."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from explainers.errors import SubmissionError
from explainers.messages import one_line
from studies.server_address import BOARD, parse_address
from studies.server_requests import Reply, RequestFailure, request

if TYPE_CHECKING:
    import bs4

__all__ = ["BoardRow", "fetch_board", "read_board"]

_MOST_BYTES = 5_000_000
_WIDEST_CELL = 50

# What a column is called, the surest word first. Asked in this order, so that "submission time" is
# when, not how long, and "submitted by" is who.
_TITLES = {
    "team": (r"\bteam", r"\bgroup", r"\bby\b", r"\bname\b", r"\b(user|student|participant)"),
    "submitted": (r"\bsubmitted", r"\bsubmi", r"\b(date|when|timestamp|uploaded|updated?)\b"),
    "iou": (r"iou\b", r"jaccard", r"intersection over union"),
    "time": (r"time\b", r"\b(runtime|seconds?|secs?|duration)\b"),
}
_NUMBER = re.compile(
    r"([-+]?(?:\d[\d.,]*|[.,]\d+)(?:e[-+]?\d+)?)\s*([a-z%]*)", re.IGNORECASE | re.ASCII
)
_SECONDS = {
    "ms": 0.001, "msec": 0.001, "milliseconds": 0.001,
    "min": 60.0, "mins": 60.0, "m": 60.0, "minutes": 60.0,
}  # fmt: skip
_SHARES = {"%": 0.01}

_Cell = list[str]
_Row = list[_Cell]


@dataclass(frozen=True)
class BoardRow:
    """A line of a score board.

    Attributes:
        iou: in [0, 1] where the server keeps to it; ``None`` where the page shows no number.
        seconds: ``None`` where the page shows no number.
        submitted: when, as the page writes it.
        iou_step, seconds_step: what the last digit shown is worth.
    """

    team: str
    iou: float | None
    seconds: float | None
    submitted: str
    iou_step: float = field(default=0.0, repr=False)
    seconds_step: float = field(default=0.0, repr=False)

    def shows(self, iou: float, seconds: float) -> bool:
        """Whether this is how the page would show such a result."""
        return _rounds_to(iou, self.iou, self.iou_step) and _rounds_to(
            seconds, self.seconds, self.seconds_step
        )


def _rounds_to(exact: float, shown: float | None, step: float) -> bool:
    # Half a step, and what floating point adds to it.
    return shown is not None and abs(exact - shown) <= 0.5 * step + 1e-12 * max(1.0, abs(shown))


def fetch_board(
    url: str, *, connect_seconds: float = 10, read_seconds: float = 30
) -> list[BoardRow]:
    """The score board of a grading server.

    Args:
        url: the server's, with or without ``/score_board`` at its end.

    Raises:
        InvalidInput: see :func:`studies.server_address.parse_address`.
        SubmissionError: no page, or one without a board.
    """
    address = parse_address(url)
    page = address.page(BOARD)
    try:
        reply = request(
            "GET", address, BOARD, connect_seconds=connect_seconds, read_seconds=read_seconds,
            most_bytes=_MOST_BYTES,
        )  # fmt: skip
    except RequestFailure as failure:
        raise SubmissionError(f"{page} {failure}: check the address, or try later") from None
    target = reply.redirection(page)
    if target is not None:
        raise SubmissionError(f"{page} redirects to {target}: give that address if you trust it")
    if reply.status != 200:
        raise SubmissionError(f"{page} answered {reply.status}: check the address, or try later")
    try:
        return read_board(_decoded(reply))
    except SubmissionError as error:
        raise SubmissionError(f"{page}: {error}") from None


def _decoded(reply: Reply) -> str:
    declared = re.search(r"charset=[\"']?([\w.-]+)", reply.headers.get("content-type", ""))
    name = declared[1] if declared else None
    if name is None:
        written = re.search(rb"charset=[\"']?([\w.-]+)", reply.body[:4096])
        name = written[1].decode("ascii", "replace") if written else "utf-8"
    try:
        codecs.lookup(name)
        return reply.body.decode(name, errors="replace")
    except LookupError:  # a name that is no character set's, or none of text
        return reply.body.decode("utf-8", errors="replace")


def read_board(html: str) -> list[BoardRow]:
    """The lines of the first table that has a column for teams and one for IoU, in its order.

    Raises:
        SubmissionError: there is none.
    """
    tables = _tables(html)
    for rows in tables:
        for number, titles in enumerate(rows):
            columns = _columns(titles)
            if {"team", "iou"} <= set(columns):
                return [
                    row
                    for cells in rows[number + 1 :]
                    if cells != titles and (row := _row(cells, columns, titles)) is not None
                ]
    some = f"{len(tables)} tables, none" if tables else "no table"
    raise SubmissionError(
        f"the page has {some} with a column for teams and one for IoU: is it a score board?"
    )


def _tables(html: str) -> list[list[list[str]]]:
    """Texts of the cells of the rows of the tables, in the order in which they begin.

    Rows and cells that are never closed, as in many hand-written pages, end where the next begins.
    """
    import bs4
    from bs4.element import NavigableString

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs4.MarkupResemblesLocatorWarning)
        warnings.simplefilter("ignore", bs4.XMLParsedAsHTMLWarning)
        try:
            soup = bs4.BeautifulSoup(html, "html.parser")
        except bs4.ParserRejectedMarkup as error:
            raise SubmissionError("the page is no HTML that can be read") from error
    tables: list[list[_Row]] = []
    # Of every element: the table, the row and the cell that it is in.
    places: dict[int, tuple[list[_Row] | None, _Row | None, _Cell | None]] = {}
    for element in soup.descendants:
        table, row, cell = places.get(id(element.parent), (None, None, None))
        if not isinstance(element, bs4.Tag):
            if type(element) is NavigableString and cell is not None:  # no comment, no script
                cell.append(str(element))
            continue
        if element.name == "table":
            table, row, cell = [], None, None
            tables.append(table)
        elif element.name == "tr" and table is not None:
            row, cell = [], None
            table.append(row)
        elif element.name == "br" and cell is not None:
            cell.append(" ")
        elif element.name in ("td", "th") and row is not None:
            cell = []
            # A cell over several columns stands in the first, the others are empty.
            row += [cell, *([] for _ in range(_width(element) - 1))]
        places[id(element)] = (table, row, cell)
    return [[[one_line("".join(cell)) for cell in row] for row in table if row] for table in tables]


def _width(cell: bs4.Tag) -> int:
    """Columns that a cell spans."""
    text = str(cell.get("colspan", "1"))
    return min(_WIDEST_CELL, max(1, int(text))) if re.fullmatch(r"\d{1,4}", text) else 1


def _columns(titles: Sequence[str]) -> dict[str, int]:
    """Where what is: indices of columns by the keys of ``_TITLES``, as far as they are there."""
    found: dict[str, int] = {}
    # "avgTime", "avg_time" and "Avg. time" are the same.
    plain = [
        " ".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", title))).lower()
        for title in titles
    ]
    for kind, patterns in _TITLES.items():
        matching = [
            (rank, "lime" not in title, index)  # other methods may have columns of their own
            for index, title in enumerate(plain)
            if index not in found.values()
            for rank, pattern in enumerate(patterns)
            if re.search(pattern, title)
        ]
        if matching:
            found[kind] = min(matching)[2]
    return found


def _row(cells: Sequence[str], columns: dict[str, int], titles: Sequence[str]) -> BoardRow | None:
    """``None`` for a line that is no team's, such as a note across the table."""

    def text(kind: str) -> str:
        index = columns.get(kind)
        return cells[index] if index is not None and index < len(cells) else ""

    def unit(kind: str) -> str:
        inside = re.search(r"[(\[]\s*(\w+|%)\s*[)\]]", titles[columns[kind]])
        return inside[1].lower() if inside else ""

    iou, iou_step = _number(text("iou"), _SHARES, unit("iou"))
    seconds, seconds_step = (
        _number(text("time"), _SECONDS, unit("time")) if "time" in columns else (None, 0.0)
    )
    team, submitted = text("team"), text("submitted")
    if not team or (iou is None and seconds is None and not submitted):
        return None
    return BoardRow(team, iou, seconds, submitted, iou_step, seconds_step)


def _number(text: str, units: dict[str, float], unit: str) -> tuple[float | None, float]:
    """The first number in a text, and what its last digit is worth.

    Args:
        units: what one of a unit is, by its name.
        unit: of a number that has none of its own.
    """
    found = _NUMBER.search(text)
    if found is None:
        return None, 0.0
    digits, _, exponent = found[1].lower().partition("e")
    digits = digits.rstrip(".,")
    # Of two separators the last one is the decimal one; of several alike, none is.
    for separator, other in ((",", "."), (".", ",")):
        if separator in digits and (
            digits.rfind(other) > digits.rfind(separator) or digits.count(separator) > 1
        ):
            digits = digits.replace(separator, "")
    digits = digits.replace(",", ".")
    power = int(exponent or 0)
    if abs(power) > 300:
        return None, 0.0
    scale = units.get(found[2].lower() or unit, 1.0) * 10.0**power
    return float(digits) * scale, 10.0 ** -len(digits.partition(".")[2]) * scale
