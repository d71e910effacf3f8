"""The report as a browser shows it: opened from disk, light and dark, wide, narrow and on paper."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from studies.records import add_comparison
from studies.report import write_report
from studies.storage import open_storage
from tests.pages import VIEWS, for_everybody, opened
from tests.studies.comparison_samples import comparison_run
from tests.studies.study_samples import random_studies

KEYS = ("goldfish", "racer", "kite")
PAPER = (718, 1047)  # what the margins leave of A4, in CSS pixels


@pytest.fixture(scope="module", params=["full", "empty"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything, and one over an empty storage."""
    folder = tmp_path_factory.mktemp(request.param)
    url = f"sqlite:///{folder / 's.db'}"
    open_storage(url)
    if request.param == "full":
        random_studies(url, "tml25", KEYS, 12)
        add_comparison(url, comparison_run("tml25", *KEYS, other_classes=True))
    return write_report(url, "tml25", folder / "report")[0]


@pytest.mark.parametrize(("screen", "scheme"), VIEWS)
def test_opens_from_disk_for_everybody(
    browser: Browser, report: Path, screen: str, scheme: str
) -> None:
    page, wrong = opened(browser, report.as_uri(), screen, scheme)
    full = report.parent.parent.name.startswith("full")
    assert page.locator("img").count() == (5 + 3 * 13 if full else 0)
    for_everybody(page, wrong, screen, scheme)
    page.close()


def test_no_figure_is_cut_on_paper(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report.as_uri(), "desktop", "dark")
    page.emulate_media(media="print", color_scheme="light")
    page.set_viewport_size({"width": PAPER[0], "height": PAPER[1]})
    boxes = page.locator("figure, .row").evaluate_all(
        "all => all.map(e => [e.scrollWidth, e.getBoundingClientRect().height,"
        " getComputedStyle(e).breakInside])"
    )
    for wide, high, breaks in boxes:
        assert wide <= PAPER[0]
        assert high <= PAPER[1]
        assert breaks == "avoid"
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER[0]
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
