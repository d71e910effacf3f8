"""``lime-tuner serve``: started as a user starts it, used by a browser, killed, started again."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from playwright.sync_api import Browser

from tests.pages import for_everybody, opened
from tests.tuner.command_line import Cli
from tests.tuner.processes import Command, until

KEYS = ("house", "key", "umbrella")
MODEL = ("--model", "tests.tuner.tiny:make_with_small_space")
_WORDS = (*MODEL, "--device", "cpu", "--seeds", "1", "--threads", "1", "--port", "0")


pytestmark = pytest.mark.usefixtures("tiny_catalogue", "quick_heartbeats")


@contextmanager
def _server(
    *, ended_by: signal.Signals = signal.SIGINT
) -> Iterator[tuple[str, Command]]:
    """Its URL and its process, in the working folder."""
    with Command("serve", *_WORDS) as started:
        yield started.address("/healthz"), started
        started.send_signal(ended_by)
        started.wait(40)


@pytest.fixture
def scenes(here: Path) -> list[Path]:
    """Pictures as files."""
    return [here / f"{key}.png" for key in KEYS]


def _post(url: str, scenes: list[Path], **fields: str) -> str:
    answer = requests.post(
        f"{url}/api/studies", files=[("images", (p.name, p.read_bytes())) for p in scenes],
        data=fields, timeout=60,
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    return str(answer.json()["study"])


def _wait(url: str, study: str, *states: str, seconds: float = 400) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = requests.get(f"{url}/api/studies/{study}", timeout=30).json()
        if found["state"] in states:
            return found
        time.sleep(0.2)
    pytest.fail(f"{study} is still {found['state']}: {found}")


def test_a_browser_takes_a_pickle_away(
    here: Path, cli: Cli, scenes: list[Path], browser: Browser
) -> None:
    with _server() as (url, process):
        page, wrong = opened(browser, url, "desktop", "light", url, "blob:")
        page.set_input_files("#images", [str(path) for path in scenes[:2]])
        page.locator("#trials").fill("6")
        page.locator("#send").click()
        page.wait_for_selector("#study:not([hidden])")
        counts = set()
        deadline = time.monotonic() + 400
        while page.locator("#study-state").inner_text() not in ("done", "failed"):
            counts.add(page.locator("#study-count").inner_text())
            assert time.monotonic() < deadline, counts
            time.sleep(0.2)
        assert len(counts) >= 2  # it has moved
        page.locator(".frame img").nth(5).wait_for()
        for_everybody(page, [w for w in wrong if "verbose" not in w], "desktop", "light")
        with page.expect_download() as download:
            page.locator("#take").click()
        assert download.value.suggested_filename == "explain_params.pkl"
        download.value.save_as(here / "explain_params.pkl")
        page.locator("#report").click()
        page.wait_for_selector("h1")
        study = page.url.rstrip("/").rpartition("/")[2]
        assert study in page.title()
        page.goto(f"{url}/dashboard/")
        page.get_by_text(f"{study}/{KEYS[0]}").wait_for()
        assert [w for w in wrong if "verbose" not in w] == []
        page.close()
        (worker,) = psutil.Process(process.pid).children()
    assert process.poll() == 130
    assert not worker.is_running()
    catalog = here / "lime-tuner-service" / study / "catalog.toml"
    said = json.loads(
        cli.ok("verify", "explain_params.pkl", "--catalog", str(catalog), *MODEL,
               "--device", "cpu", "--seeds", "1", "--baseline-seeds", "1", "--json")
    )  # fmt: skip
    assert said["images"].keys() == set(KEYS[:2])


def _trials(database: Path) -> dict[str, list[str]]:
    """States of all trials, by study."""
    with sqlite3.connect(database, timeout=30) as connection:
        rows = connection.execute(
            "SELECT study_name, state FROM trials JOIN studies USING (study_id) ORDER BY number"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for name, state in rows:
        found.setdefault(name, []).append(state)
    return found


def test_killed_and_started_again_it_finishes_and_nothing_is_twice(
    here: Path, scenes: list[Path]
) -> None:
    database = here / "lime-tuner.db"

    def finished() -> int:
        return sum(
            state in ("COMPLETE", "PRUNED") for all_ in _trials(database).values() for state in all_
        )

    with _server() as (url, process):
        study = _post(url, scenes[:2], trials="3", study="kept")
        until(lambda: finished() >= 1)
        (worker,) = psutil.Process(process.pid).children()
        worker.kill()  # another one takes its place
        until(lambda: [w.pid for w in psutil.Process(process.pid).children()] != [worker.pid])
        before = finished()
        until(lambda: finished() > before)
        (worker,) = psutil.Process(process.pid).children()
        process.kill()
        worker.kill()
        psutil.wait_procs([worker], timeout=20)
    kept = finished()
    with _server() as (url, process):
        found = _wait(url, study, "done", "failed")
        assert (found["state"], found["reason"]) == ("done", "")
        assert kept >= 2
        for image in found["images"].values():
            assert image["trials"] == 3
            assert image["default"] is not None
        for states in _trials(database).values():
            assert sum(state in ("COMPLETE", "PRUNED") for state in states) == 3
            assert "RUNNING" not in states
        assert requests.get(f"{url}/api/studies/kept/explain_params.pkl", timeout=30).ok


def test_what_a_worker_finds_out_fails_the_study_with_its_reason(
    here: Path, scenes: list[Path]
) -> None:
    broken = here / "broken.png"
    broken.write_bytes(scenes[0].read_bytes()[:3000])  # whose header is whole
    del here
    with _server(ended_by=signal.SIGTERM) as (url, process):
        study = _post(url, [broken, scenes[1]], trials="1")
        found = _wait(url, study, "done", "failed")
        assert found["state"] == "failed"
        assert "cannot be read as a picture" in found["reason"]
        assert str(Path.cwd()) not in json.dumps(found)
        # Time that is spent ends a study, but not without lime's defaults to compare with.
        study = _post(url, scenes[2:], trials="900", timeout="1")
        image = _wait(url, study, "done", "failed")["images"][KEYS[2]]
        assert image["state"] == "done"
        assert image["trials"] < 900
        assert image["default"] is not None
        study = _post(url, scenes[2:], trials="900")
        _wait(url, study, "running")
        cancelled = requests.delete(f"{url}/api/studies/{study}", timeout=30).json()
        assert cancelled["state"] == "cancelled"
        until(lambda: requests.get(f"{url}/healthz", timeout=30).json()["running"] == 0)
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 1
    assert process.poll() == -signal.SIGTERM
    assert psutil.wait_procs(workers, timeout=5)[1] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "0.0.0.0"), "LIME_TUNER_SERVICE_TOKEN"),
        (("--port", "70000"), "port"),
        (("--workers", "-1"), "workers"),
        (("--trials", "0"), "trials"),
        (("--queue", "0"), "queue"),
        (("--reference", "nonsense"), "nonsense"),
        (("--storage", "sqlite:////no/such/folder/s.db"), "folder"),
        (("--model", "no_such_model"), "no_such_model"),
    ],
)
def test_wrong_calls_are_one_line(
    here: Path, cli: Cli, arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del here
    monkeypatch.delenv("LIME_TUNER_SERVICE_TOKEN", raising=False)
    assert says in cli.refused("serve", "--port", "0", *arguments)


def test_a_token_must_be_hard_to_guess(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    del here
    monkeypatch.setenv("LIME_TUNER_SERVICE_TOKEN", "short")
    assert "16" in cli.refused("serve", "--port", "0")


@pytest.mark.parametrize("name", ["serve", "grade"])
def test_without_its_packages_it_says_what_to_install(
    name: str, here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    del here

    def missing(command: str) -> None:
        raise ModuleNotFoundError(f"No module named 'uvicorn' for {command}", name="uvicorn")

    monkeypatch.setattr("tuner.cli.commands.loaded_command", missing)
    line = cli.refused(name, status=(2,))
    assert f"{name} needs uvicorn: pip install -e '.[{name}]'" in line
