"""The dashboard as people use it: open in a browser, and left open beside a running study.

``LIME_TUNER_TEST_SCREENSHOTS`` names a folder for pictures of what the browser showed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
import requests

from studies.storage import open_storage
from tests.tuner.command_line import Cli
from tests.tuner.processes import Command, until
from tests.tuner.tiny import TUNE_TINY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

URL = "sqlite:///lime-tuner.db"
TUNE = (*TUNE_TINY, "--images", "house", "--fix", "segmentation=slic")
_PATIENCE = 60_000  # milliseconds

pytestmark = pytest.mark.usefixtures("tiny_catalogue")


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Its address."""
    with Command("dashboard", "--port", "0", folder=folder) as started:
        yield started.address()
        started.send_signal(signal.SIGINT)
        assert started.wait() == 130
    assert "Traceback" not in started.err
    assert "locked" not in started.err


def _keep(page: Page, name: str) -> None:
    folder = os.environ.get("LIME_TUNER_TEST_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_browser_shows_studies_notes_pictures_and_plots(
    here: Path, cli: Cli, browser: Browser
) -> None:
    cli.ok(*TUNE, "--trials", "6", "--seeds", "2")
    best = optuna.load_study(study_name="demo/house", storage=open_storage(URL)).best_trial
    with _served(here) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 1700})
        page.set_default_timeout(_PATIENCE)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("response", lambda response: (
            wrong.append(f"{response.status} {response.url}") if response.status >= 400 else None
        ))  # fmt: skip

        page.goto(f"{address}/dashboard")
        page.get_by_text("demo/house").wait_for()
        _keep(page, "studies")
        page.get_by_text("demo/house").click()
        page.get_by_text("IoU against seconds").wait_for()
        page.get_by_text(f"Best Trial (number={best.number})").wait_for()
        _keep(page, "study")

        page.goto(f"{address}/dashboard/studies/1/note")
        page.get_by_text("house: IoU").wait_for()
        page.wait_for_function("document.querySelectorAll('img').length === 3")
        page.wait_for_function("[...document.images].every(i => i.complete)")
        shown = page.locator("img").evaluate_all(
            "all => all.map(i => [i.naturalWidth, i.getBoundingClientRect().bottom])"
        )
        assert [width for width, _ in shown] == [256] * 3
        assert all(0 < bottom < 1700 for _, bottom in shown)
        _keep(page, "note")

        page.goto(f"{address}/dashboard/studies/1/trials?numbers={best.number}")
        page.get_by_text("explanation.png").wait_for()
        page.wait_for_function("document.images.length > 0 && document.images[0].naturalWidth > 0")
        page.locator("img").first.scroll_into_view_if_needed()
        _keep(page, "best-trial")
        page.close()
    assert wrong == []


@pytest.mark.chaos
def test_it_stays_open_while_five_hundred_trials_run(here: Path) -> None:
    command = (
        *TUNE, "--trials", "500", "--seeds", "1", "--sampler", "random", "--fix",
        "num_samples=16", "--fix", "slic.n_segments=6",
    )  # fmt: skip
    with Command(*command) as tuning:
        until((here / "lime-tuner.db").exists)
        answered: dict[str, int] = {}
        with _served(here) as address:
            while tuning.poll() is None:
                for path in ("/dashboard/studies/1", "/api/studies", "/api/studies/1",
                             "/api/studies/1/param_importances?evaluator=ped_anova"):  # fmt: skip
                    answer = requests.get(f"{address}{path}", timeout=60)
                    early = answer.status_code in (400, 404) and "studies/1" in path
                    if not (early and not answered.get(path)):  # before there is a study
                        assert answer.status_code == 200, (path, answer.text[:300])
                        answered[path] = answered.get(path, 0) + 1
                time.sleep(1)
        assert tuning.wait() == 0, tuning.err
    assert min(answered.values()) >= 10
    trials = optuna.load_study(study_name="demo/house", storage=open_storage(URL)).get_trials()
    assert {t.state.name for t in trials} <= {"COMPLETE", "PRUNED"}
    assert len(trials) == 500
