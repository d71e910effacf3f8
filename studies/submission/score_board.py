"""Read a grading server's score board: any HTML page with a table of teams and their IoU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from explainers.errors import SubmissionError
from explainers.messages import one_line
from studies.submission.requests import BOARD, Reply, RequestFailure, parse_address, request

__all__ = ["BoardRow", "fetch_board", "read_board"]

_MOST_BYTES = 5_000_000
_WIDEST_CELL = 50

# Patterns of column titles, the most reliable first. In this order, "submission time" is a date and
# not a duration, and "submitted by" is a team.
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


@dataclass
class _Cell:
    width: int
    text: str = ""


@dataclass(frozen=True)
class BoardRow:
    """A line of a score board.

    Attributes:
        iou: in [0, 1], if the server keeps to that; ``None`` where the page shows no number.
        seconds: ``None`` where the page shows no number.
        submitted: date as the page writes it.
        iou_step, seconds_step: value of one unit in the last digit shown.
    """

    team: str
    iou: float | None
    seconds: float | None
    submitted: str
    iou_step: float = field(default=0.0, repr=False)
    seconds_step: float = field(default=0.0, repr=False)

    def shows(self, iou: float, seconds: float) -> bool:
        """Whether a result would be shown as this row, after rounding."""
        pairs = (iou, self.iou, self.iou_step), (seconds, self.seconds, self.seconds_step)
        return all(
            # Half a step, and a margin for rounding errors.
            shown is not None and abs(exact - shown) <= 0.5 * step + 1e-12 * max(1.0, abs(shown))
            for exact, shown, step in pairs
        )


def fetch_board(
    url: str, *, connect_seconds: float = 10, read_seconds: float = 30
) -> list[BoardRow]:
    """Fetch the score board of a grading server.

    Args:
        url: the server's, with or without ``/score_board`` at its end.

    Raises:
        InvalidInput: see :func:`studies.submission.requests.parse_address`.
        SubmissionError: there is no page, or none with a score board.
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
    head = reply.headers.get("content-type", "").encode("ascii", "replace") + reply.body[:4096]
    named = re.search(rb"charset=[\"']?([\w.-]+)", head)
    try:
        return reply.body.decode(named[1].decode() if named else "utf-8", errors="replace")
    except LookupError:  # the name is not that of a text encoding
        return reply.text


def read_board(html: str) -> list[BoardRow]:
    """Return the rows of the first table that has a column for teams and one for IoU.

    Raises:
        SubmissionError: there is no such table.
    """
    try:
        tables = _Tables(html).texts()
    except AssertionError as error:
        raise SubmissionError("the page is no HTML that can be read") from error
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


class _Tables(HTMLParser):
    """Parses the tables of a page, in the order in which they begin.

    Unclosed rows and cells, as in many hand-written pages, end where the next one begins.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self._tables: list[list[list[_Cell]]] = []
        self._open: list[list[list[_Cell]]] = []  # tables that are not closed yet
        self.feed(page)
        self.close()

    def texts(self) -> list[list[list[str]]]:
        """Return tables of rows of cells; a cell over several columns is in the first of them."""
        return [
            [
                [text for cell in row for text in (one_line(cell.text), *[""] * (cell.width - 1))]
                for row in table
                if row
            ]
            for table in self._tables
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a table, a row or a cell."""
        rows = self._open[-1] if self._open else []
        if tag == "table":
            self._tables.append([])
            self._open.append(self._tables[-1])
        elif tag == "tr" and self._open:
            rows.append([])
        elif tag in ("td", "th") and rows:
            span = str(dict(attrs).get("colspan"))
            width = int(span) if re.fullmatch(r"\d{1,4}", span) else 1
            rows[-1].append(_Cell(min(_WIDEST_CELL, max(1, width))))
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        """End a table, so that the one around it continues."""
        if tag == "table" and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        """Add text to the newest cell, except that of a script."""
        if self.cdata_elem is None and self._open and self._open[-1] and self._open[-1][-1]:
            self._open[-1][-1][-1].text += data


def _columns(titles: Sequence[str]) -> dict[str, int]:
    """Return the index of each column that is found, by the keys of ``_TITLES``."""
    found: dict[str, int] = {}
    # "avgTime", "avg_time" and "Avg. time" are treated alike.
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
    """Read a row; ``None`` for one without a team's result, such as a note across the table."""

    def text(kind: str) -> str:
        index = columns.get(kind)
        return cells[index] if index is not None and index < len(cells) else ""

    def unit(kind: str) -> str:
        title = titles[columns[kind]] if kind in columns else ""
        inside = re.search(r"[(\[]\s*(\w+|%)\s*[)\]]", title)
        return inside[1].lower() if inside else ""

    iou, iou_step = _number(text("iou"), _SHARES, unit("iou"))
    seconds, seconds_step = _number(text("time"), _SECONDS, unit("time"))
    team, submitted = text("team"), text("submitted")
    if not team or (iou is None and seconds is None and not submitted):
        return None
    return BoardRow(team, iou, seconds, submitted, iou_step, seconds_step)


def _number(text: str, units: dict[str, float], unit: str) -> tuple[float | None, float]:
    """Return the first number in a text, and the value of one unit in its last digit.

    Args:
        units: factors by name of the unit.
        unit: used for a number without a unit of its own.
    """
    found = _NUMBER.search(text)
    if found is None:
        return None, 0.0
    digits, _, exponent = found[1].lower().partition("e")
    digits = digits.rstrip(".,")
    # Of two different separators the last is the decimal one; a repeated one is not.
    point = max(",.", key=digits.rfind)
    whole, _, fraction = digits.partition(point) if digits.count(point) == 1 else (digits, "", "")
    power = int(exponent or 0)
    if abs(power) > 300:
        return None, 0.0
    scale = units.get(found[2].lower() or unit, 1.0) * 10.0**power
    return float(f"{re.sub('[.,]', '', whole)}.{fraction}") * scale, 10.0 ** -len(fraction) * scale
