"""Pages as a browser shows them to everybody: wide and narrow, light and dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["SCREENS", "VIEWS", "chromium", "for_everybody", "opened"]

SCREENS = {"desktop": (1280, 900), "phone": (375, 812)}
VIEWS = (("desktop", "light"), ("phone", "dark"))
"""Each screen and each scheme once: widths decide where things are, schemes only colours."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium: the machine's own, or one that ``playwright install`` has brought."""
    from playwright.sync_api import sync_playwright

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


def opened(
    browser: Browser, url: str, screen: str, scheme: str, *own: str
) -> tuple[Page, list[str]]:
    """The page, and what goes wrong while it is open.

    Args:
        screen: one of :data:`SCREENS`.
        scheme: ``light`` or ``dark``.
        own: beginnings of further URLs that may be asked for; files and data always may.
    """
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
            if request.url.startswith(("file:", "data:", *own))
            else wrong.append(f"request: {request.url}")
        ),
    )
    page.goto(url)
    return page, wrong


def for_everybody(page: Page, wrong: list[str], screen: str, scheme: str) -> None:
    """Nothing went wrong, nothing is broken or cut, and axe finds no serious barrier."""
    from axe_playwright_python.sync_playwright import Axe

    assert wrong == []
    broken = page.locator("img").evaluate_all(
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
    assert not serious, serious
