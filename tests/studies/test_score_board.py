"""Reading score boards: ours, and what others write by hand."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.errors import SubmissionError
from studies.records.grades import Grade
from studies.submission.score_board import BoardRow, fetch_board, read_board
from studies.web.grading.board import board_page
from tests.studies.scripted_server import Reply, page, problem, scripted


def table(*rows: str, head: str = "<tr><th>Team</th><th>IoU</th><th>Time</th></tr>") -> str:
    return f"<table>{head}{''.join(rows)}</table>"


def one(html: str) -> BoardRow:
    (row,) = read_board(html)
    return row


def test_our_own_page() -> None:
    at = datetime(2026, 2, 3, 4, 5, 6)
    grades = [Grade("<b>Ärzte</b> & co", at, 0.76543, 1.23456), Grade("two", at, 0.5, 0.25)]
    found = read_board(board_page(grades, "iou", "lead"))
    assert found == [
        BoardRow("<b>Ärzte</b> & co", 0.7654, 1.235, "2026-02-03 04:05", 1e-4, 1e-3),
        BoardRow("two", 0.5, 0.25, "2026-02-03 04:05", 1e-4, 1e-3),
    ]
    assert found[0].shows(0.76543, 1.23456)
    assert not found[0].shows(0.76553, 1.23456)
    assert not found[0].shows(0.76543, 1.236)
    assert read_board(board_page([], "iou", "lead")) == []


@pytest.mark.parametrize(
    "titles",
    [
        ("Team", "LIME IoU", "LIME time", "submitted at"),
        ("TEAM NAME", "avg_iou", "avg_time", "Date"),
        ("group", "meanIoU", "Runtime (s)", "Last submission time"),
        ("Name", "Jaccard", "Seconds", "timestamp"),
        ("Submitted by", "mIoU ▲", "avgTime", "When"),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_titles_of_columns(titles: tuple[str, ...], order: tuple[int, ...]) -> None:
    cells = ("we", "0.75", "1.5", "today")
    head = "".join(f"<td>{titles[index]}</td>" for index in order)
    body = "".join(f"<td>{cells[index]}</td>" for index in order)
    html = table(f"<tr><td>#1</td>{body}</tr>", head=f"<tr><td>#</td>{head}</tr>")
    row = one(html)
    assert (row.team, row.iou, row.seconds, row.submitted) == ("we", 0.75, 1.5, "today")


def test_the_columns_of_lime_are_meant() -> None:
    titles = ("Team", "Grad-CAM IoU", "Grad-CAM time", "LIME IoU", "LIME time")
    head = f"<tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>"
    row = one(table("<tr><td>we<td>0.1<td>9<td>0.75<td>1.5", head=head))
    assert (row.iou, row.seconds) == (0.75, 1.5)


@pytest.mark.parametrize(
    ("iou", "seconds", "expected"),
    [
        ("0,75", "1,5 s", (0.75, 1.5)), ("75 %", "1500ms", (0.75, 1.5)),
        (".75", "1,234.5", (0.75, 1234.5)), ("0.75 (best)", "1.234,5", (0.75, 1234.5)),
        ("7.5e-1", "2 min", (0.75, 120)), ("–", "n/a", (None, None)), ("nan", "", (None, None)),
        ("IoU: 0.75", "1,234,567 sec", (0.75, 1234567)), ("1", "1e999", (1.0, None)),
    ],
)  # fmt: skip
def test_numbers(iou: str, seconds: str, expected: tuple[float | None, float | None]) -> None:
    head = "<tr><th>Team</th><th>IoU</th><th>Time</th><th>Date</th></tr>"
    row = one(table(f"<tr><td>we</td><td>{iou}</td><td>{seconds}</td><td>1</td></tr>", head=head))
    assert (row.iou, row.seconds) == pytest.approx(expected)


def test_a_unit_in_the_title() -> None:
    head = "<tr><th>Team</th><th>IoU (%)</th><th>Time [ms]</th></tr>"
    row = one(table("<tr><td>we</td><td>76.54</td><td>1235</td></tr>", head=head))
    assert row.shows(0.76543, 1.23456)
    assert not row.shows(0.7656, 1.23456)


@given(st.floats(0, 1), st.floats(0, 5000), st.integers(1, 6), st.integers(0, 6))
def test_a_result_is_found_at_the_digits_that_are_shown(
    iou: float, seconds: float, digits: int, fewer: int
) -> None:
    row = one(table(f"<tr><td>we</td><td>{iou:.{digits}f}</td><td>{seconds:.{fewer}f}</td></tr>"))
    assert row.shows(iou, seconds)
    assert not row.shows(iou + 1.1 * 10**-digits, seconds)
    assert not row.shows(iou, seconds + 1.1 * 10**-fewer)


def test_pages_by_hand() -> None:
    html = """
    <table><tr><td>menu<td>Team
    <tr><td>
      <table border=1 id=board>
        <caption>Board</caption>
        <tr><th colspan=4>Spring term
        <tr><th colspan=2>Team<th>IoU<th>Time
        <!-- <tr><td>hidden<td>x<td>1<td>1 -->
        <tr><td>first<td>A<td>0.<b>5</b><td>2<script>document.write(9)</script>
        <tr><td colspan=9>the others have not sent anything
        <tr><td>\x1b[31msecond [red]<td>B<td><td>4
        <tr><td>third<br>of all<td>C<td>0.25
        <tr><td><td><td>0.1<td>1
      </table>
    </table>
    """
    assert [(r.team, r.iou, r.seconds, r.submitted) for r in read_board(html)] == [
        ("first", 0.5, 2.0, ""), ("[31msecond [red]", None, 4.0, ""),
        ("third of all", 0.25, None, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ("", "no table"), ("http://x", "no table"), ("<![", "table|no HTML"),
        ("<table><tr><th>Team<th>Points</table><table><tr><td>IoU</table>", "2 tables"),
        ("<table>" * 3000 + "<tr><td>" * 3000, "3000 tables"),
        ('<?xml version="1.0"?><a/>', "no table"),
    ],
)  # fmt: skip
def test_no_board(html: str, says: str, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(SubmissionError, match=says):
        read_board(html)
    assert not recwarn.list


@pytest.mark.parametrize("end", ["", "/", "/score_board", "/lime"])
def test_fetching(end: str) -> None:
    with scripted(page(table("<tr><td>Ärzte</td><td>0.5</td><td>2</td></tr>"))) as server:
        (row,) = fetch_board(server.url + end)
    assert (row.team, row.iou, row.seconds) == ("Ärzte", 0.5, 2.0)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/score_board")


@pytest.mark.parametrize("kind", ["text/html; charset=latin-1", "text/html"])
def test_another_character_set(kind: str) -> None:
    html = table("<tr><td>Ärzte</td><td>0.5</td><td>2</td></tr>")
    body = f"<meta charset='iso-8859-1'>{html}".encode("latin-1")
    with scripted((200, {"Content-Type": kind}, body)) as server:
        assert fetch_board(server.url)[0].team == "Ärzte"
    with scripted(page(html, "text/html; charset=rot13")) as server:
        assert fetch_board(server.url)[0].team == "Ärzte"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (problem(404, "no"), "answered 404"), (problem(500, "no"), "answered 500"),
        ((301, {"Location": "https://me:pass@x.example/"}, b""), "redirects to https://x.example/"),
        (page("<p>soon"), "/score_board: the page has no table"), ("slam", "broke the connection"),
        ("hang", "gave no answer in 0.2 s"), (page(" " * 5_000_001), "more than 5,000,000 bytes"),
    ],
)  # fmt: skip
def test_a_board_that_cannot_be_had(reply: Reply | str, says: str) -> None:
    with (
        scripted(reply) as server,
        pytest.raises(SubmissionError) as caught,
    ):
        fetch_board(server.url, read_seconds=0.2 if reply == "hang" else 30)
    message = str(caught.value)
    assert says in message
    assert len(message.splitlines()) == 1
    assert "pass@" not in message
    assert len(server.asked) == 1
