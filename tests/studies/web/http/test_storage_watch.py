"""A database that is deleted, replaced or without room is told, and found again."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from studies.web.evaluator import Limits
from studies.web.grading import GradingService
from studies.web.grading import create_app as grading_app
from studies.web.http import StorageWatch
from studies.web.service import create_app as service_app
from studies.web.tokens import read_tokens
from tests.studies.export.hostile_pickles import entry
from tests.studies.web.grading.tasks import KEYS, FakeEvaluator, demo_task
from tests.studies.web.service.services import form_body, made_service, photograph, stored


def _problem(answer: Any) -> str:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    return str(answer.json()["detail"])


def test_a_file_is_watched_and_a_server_is_not(tmp_path: Path) -> None:
    changes: list[str] = []
    url = f"sqlite:///{tmp_path / 's.db'}"
    (tmp_path / "s.db").write_bytes(b"x")
    watch = StorageWatch(url, lambda: changes.append("changed"))
    watch.check(write=True)
    (tmp_path / "other.db").write_bytes(b"y")
    (tmp_path / "other.db").replace(tmp_path / "s.db")
    watch.check()
    watch.check()
    assert changes == ["changed"]
    StorageWatch("postgresql+psycopg://u@nowhere.invalid/n").check(write=True)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def fill() -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))

    return fill


def _away(folder: Path) -> list[Path]:
    return [path.rename(f"{path}.away") for path in folder.glob("s.db*")]


def _back(moved: list[Path]) -> None:
    for path in moved:
        path.rename(str(path).removesuffix(".away"))


def test_the_service_without_its_database(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    calls: list[str] = []
    service = made_service(tmp_path, replaced=lambda: calls.append("replaced"))
    form = form_body([("images", "cat.png", photograph())])
    with TestClient(service_app(service), base_url="http://localhost") as client:
        assert client.post("/api/studies", **form).status_code == 202
        with sqlite3.connect(tmp_path / "s.db") as now, sqlite3.connect(tmp_path / "old") as backup:
            now.backup(backup)
        assert client.post("/api/studies", **form).status_code == 202
        moved = _away(tmp_path)
        for path in ("/healthz", "/api/studies", "/api/studies/x", "/dashboard/", "/report/x/"):
            assert "gone" in _problem(client.get(path))
        assert "gone" in _problem(client.post("/api/studies", **form))
        assert not (tmp_path / "s.db").exists()  # nobody has made another one
        assert "service_away.js" in client.get("/").text  # the page says so
        _back(moved)
        assert client.get("/healthz").json()["queued"] == 2
        assert len(client.get("/api/studies").json()) == 2
        assert calls == []
        # The backup in its place is what counts from then on, here and in the workers.
        _away(tmp_path)
        (tmp_path / "old").rename(tmp_path / "s.db")
        assert len(client.get("/api/studies").json()) == 1
        assert client.get("/healthz").json()["queued"] == 1
        assert client.get("/dashboard/api/studies").json()["study_summaries"] == []
        assert calls == ["replaced"]
        full_disk()
        before = stored(service)
        assert "full" in _problem(client.get("/healthz"))
        assert "full" in _problem(client.post("/api/studies", **form))
        assert client.get("/api/studies").status_code == 200
        assert stored(service) == before


def test_grading_without_its_database(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    (tmp_path / "tokens").write_text("red token-of-red\n")
    slot = FakeEvaluator()
    service = GradingService(
        demo_task(), read_tokens(tmp_path / "tokens"), Limits(),
        f"sqlite:///{tmp_path / 's.db'}", (slot,),
    )  # fmt: skip
    sent: dict[str, Any] = {
        "files": {"file": pickle.dumps({key: entry() for key in KEYS})},
        "headers": {"token": "token-of-red"},
    }
    with TestClient(grading_app(service)) as client:
        assert client.post("/lime", **sent).status_code == 200
        moved = _away(tmp_path)
        assert "gone" in _problem(client.get("/healthz"))
        assert "gone" in _problem(client.get("/api/score_board"))
        assert "gone" in _problem(client.post("/lime", **sent))
        page = client.get("/score_board")
        assert page.status_code == 503
        assert 'role="alert">the database is gone' in page.text
        _back(moved)
        assert client.get("/healthz").json() == {"ok": True, "waiting": 0}
        assert "red" in client.get("/score_board").text
        assert 'role="alert" hidden>' in client.get("/score_board").text
        # It goes while a submission is evaluated: no answer without a record of it.
        slot.gate.clear()
        slot.busy.clear()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.post, "/lime", **sent)
            assert slot.busy.wait(5)
            moved = _away(tmp_path)
            slot.gate.set()
            assert "submit it again" in _problem(answer.result(10))
        assert not (tmp_path / "s.db").exists()
        _back(moved)
        full_disk()
        assert "full" in _problem(client.get("/healthz"))
        assert "full" in _problem(client.post("/lime", **sent))
        (row,) = client.get("/api/score_board").json()
        assert row["submissions"] == 1
