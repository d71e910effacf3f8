"""The score board as a browser shows it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from studies.records.grades import Grade
from studies.web.grading.board import ORDERS, board_page, board_rows
from tests.pages import VIEWS, for_everybody, opened

GRADES = [
    Grade("the quick brown foxes of the second semester", datetime(2026, 3, 1, 9), 0.71, 2.5, 3),
    Grade("b", datetime(2026, 3, 2, 8), 0.5, 0.25),
    Grade("Alpha <script>", datetime(2026, 2, 27, 23, 59), 0.25, 12.125, 12),
]


@pytest.mark.parametrize(("screen", "scheme"), VIEWS)
@pytest.mark.parametrize("grades", [GRADES, []], ids=["three", "none"])
def test_it_is_readable_for_everybody(
    browser: Browser, tmp_path: Path, screen: str, scheme: str, grades: list[Grade]
) -> None:
    file = tmp_path / "board.html"
    file.write_text(board_page(grades, "time", "LIME on ten images."), encoding="utf-8")
    page, wrong = opened(browser, file.as_uri(), screen, scheme)
    for_everybody(page, wrong, screen, scheme)
    if grades:
        teams = page.locator("tbody tr td:nth-child(2)").all_inner_texts()
        assert teams == [GRADES[1].team, GRADES[0].team, GRADES[2].team]  # by time
        assert page.locator("td.best").all_inner_texts() == ["0.250", "0.7100"]
        assert page.locator("th[aria-sort]").inner_text().startswith("LIME time")
    page.close()


def test_orders_and_places() -> None:
    assert [row["place"] for row in board_rows(GRADES)] == [1, 2, 3]
    for order in ORDERS:
        page = board_page(GRADES, order, "")
        assert "&lt;script&gt;" in page
        assert "<script>" not in page.partition("<tbody>")[2].partition("</tbody>")[0]
        assert f'aria-sort="{ORDERS[order][1]}"' in page
        # Wherever a team stands in the table, it keeps its place.
        assert page.index("<td>2</td>") < page.index("0.5000") or order != "iou"
    by_name = board_page(GRADES, "team", "")
    places = [by_name.index(team) for team in ("Alpha", "<td>b<", "the quick")]
    assert places == sorted(places)


def test_new_results_appear_by_themselves(browser: Browser) -> None:
    answers = iter([board_page(GRADES[1:], "iou", ""), board_page(GRADES, "iou", "")])
    page = browser.new_page()
    page.clock.install()
    page.route("**/*", lambda route: route.fulfill(body=next(answers), content_type="text/html"))
    page.goto("http://board.invalid/score_board")
    assert page.locator("tbody tr").count() == 2
    page.clock.fast_forward(31_000)
    page.locator("tbody tr").nth(2).wait_for()
    page.close()
