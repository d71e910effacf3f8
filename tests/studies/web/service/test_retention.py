"""Old studies go, with everything; others stay."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy
from starlette.testclient import TestClient

from studies.queries import overview
from studies.records.jobs import Jobs, JobSettings
from studies.records.tables import JobRow
from studies.storage import artifact_folder, open_storage
from studies.storage.artifacts import add_picture, artifact_store
from studies.web.service import Service, ServiceFolder, ServiceLimits, create_app
from studies.web.service.retention import Retention
from tests.studies.study_samples import random_studies
from tests.studies.web.service.services import form_body, made_service, photograph, stored, work_off

_WEEK = timedelta(days=7)


def _ended(url: str, study: str, ago: timedelta) -> None:
    engine = sqlalchemy.create_engine(url)
    then = datetime.now(timezone.utc).replace(tzinfo=None) - ago
    ended = sqlalchemy.update(JobRow).where(JobRow.study == study, JobRow.finished)
    with engine.begin() as connection:
        connection.execute(ended.values(ended_at=then))
    engine.dispose()


def _ask(client: TestClient, study: str) -> None:
    parts: list[Any] = [("images", "i.png", photograph()), ("study", None, study.encode())]
    assert client.post("/api/studies", **form_body(parts)).status_code == 202


def test_a_study_has_ended_when_its_last_image_has(any_database: str) -> None:
    jobs = Jobs(any_database)
    for study, images in (("old", 2), ("new", 1), ("half", 2), ("waiting", 1)):
        jobs.add(study, [f"i{n}" for n in range(images)], JobSettings(5, None, "masks"))
    while (job := jobs.claim("w")) is not None:
        if job.study_name not in ("half/i1", "waiting/i0"):
            jobs.end(job.id, "done")
    for study, days in (("old", 8), ("half", 8), ("new", 6)):
        _ended(any_database, study, timedelta(days=days))
    assert jobs.ended_for(_WEEK) == ["old"]
    jobs.forget("old")
    assert jobs.of("old") == []
    assert {job.study for job in jobs.everything()} == {"new", "half", "waiting"}
    jobs.close()


def _with_pictures(service: Service, study: str) -> None:
    storage = open_storage(service.storage)
    made = optuna.load_study(study_name=f"{study}/i", storage=storage)
    add_picture(artifact_store(service.storage), made, "best", np.zeros((4, 4, 3), np.uint8))
    storage.close()


def test_everything_of_an_old_study_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = made_service(tmp_path, limits=ServiceLimits(images=5, queue=50, kept_days=7))
    with TestClient(create_app(service), base_url="http://localhost") as client:
        for study in ("old", "new"):
            _ask(client, study)
        work_off(service)
        _ask(client, "waiting")
    random_studies(service.storage, "by-hand", ("x",), 3)
    for study, days in (("old", 8), ("new", 6)):
        _with_pictures(service, study)
        _ended(service.storage, study, timedelta(days=days))
    kept = len(list(artifact_folder(service.storage).iterdir()))
    assert kept == 2
    caplog.set_level("INFO", "lime_tuner.serve")
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert client.get("/api/service").json()["limits"]["kept_days"] == 7
        deadline = time.monotonic() + 30
        while client.get("/api/studies/old").status_code != 404:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.get("/api/studies/new").json()["state"] == "done"
        assert client.get("/api/studies/old/images/i/photo.png").status_code == 404
        _ask(client, "old")  # the name is free
    messages = [each.message for each in caplog.records if each.name == "lime_tuner.serve"]
    assert messages == ["removed old: ended over 7 days ago"]
    names = {row.study for row in overview(service.storage, None)}
    assert names == {"new/i", "by-hand/x"}
    assert len(list(artifact_folder(service.storage).iterdir())) == 1
    assert set(stored(service)) == {"new/i", "waiting/i", "old/i", "new", "waiting", "old"}


def test_what_was_interrupted_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = made_service(tmp_path)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        _ask(client, "old")
    work_off(service)
    _ended(service.storage, "old", timedelta(days=8))
    jobs = Jobs(service.storage)
    retention = Retention(service.storage, ServiceFolder(service.folder), jobs, _WEEK)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(optuna, "delete_study", full)
        assert retention.sweep() == []
    assert "cannot be removed now" in caplog.text
    assert [row.study for row in overview(service.storage, None)] == ["old/i"]
    assert retention.sweep() == ["old"]
    assert overview(service.storage, None) == []
    assert stored(service) == []
    assert retention.sweep() == []
    jobs.close()
