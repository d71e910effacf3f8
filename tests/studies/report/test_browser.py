"""The report as a browser shows it: opened from disk, light and dark, wide, narrow and on paper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from studies.records import add_comparison
from studies.report import write_report
from studies.storage import open_storage
from tests.studies.comparison_samples import comparison_run
from tests.studies.study_samples import random_studies

KEYS = ("goldfish", "racer", "kite")
SCREENS = {"desktop": (1280, 900), "phone": (375, 812)}
PAPER = (718, 1047)  # what the margins leave of A4, in CSS pixels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the machine's own, or one that ``playwright install`` has brought."""
    with sync_playwright() as playwright:
        own = shutil.which("chromium") or shutil.which("google-chrome")
        path = own or playwright.chromium.executable_path
        if not Path(path).is_file():
            reason = "no Chromium: install it, or run playwright install chromium"
            if os.environ.get("LIME_TUNER_REQUIRE_BROWSER") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


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


def _opened(browser: Browser, report: Path, screen: str, scheme: str) -> tuple[Page, list[str]]:
    """The page, and what went wrong while it was opened."""
    wide, high = SCREENS[screen]
    page = browser.new_page(
        viewport={"width": wide, "height": high},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("file:", "data:"))
            else wrong.append(f"request: {request.url}")
        ),
    )
    page.goto(report.as_uri())
    return page, wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", list(SCREENS))
def test_opens_from_disk_for_everybody(
    browser: Browser, report: Path, screen: str, scheme: str
) -> None:
    page, wrong = _opened(browser, report, screen, scheme)
    assert wrong == []
    images = page.locator("img")
    assert images.count() == (5 + 3 * 10 if report.parent.parent.name.startswith("full") else 0)
    broken = images.evaluate_all(
        "all => all.filter(i => !i.complete || i.naturalWidth === 0).map(i => i.alt)"
    )
    assert broken == []
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    found = Axe().run(page)
    serious = [
        f"{v['id']}: {v['nodes'][0]['html'][:200]}"
        for v in found.response["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
    page.close()


def test_no_figure_is_cut_on_paper(browser: Browser, report: Path) -> None:
    page, _ = _opened(browser, report, "desktop", "dark")
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
