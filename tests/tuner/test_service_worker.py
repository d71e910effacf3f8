"""Workers of the service, without their server: which job is next, and when one is over."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from studies.records.jobs import Job, Jobs, JobSettings
from studies.results.attributes import DEFAULTS_ORIGIN
from studies.storage import open_storage
from studies.web.service import ServiceFolder
from tests.tuner.tiny import KEYS
from tuner.study import StudyRunner
from tuner.workers import service
from tuner.workers.service import ServicePlan, ServiceWorker
from tuner.workers.shared import SharedStudies

pytestmark = pytest.mark.usefixtures("tiny_catalogue", "quick_heartbeats")


@pytest.fixture
def plan(here: Path) -> ServicePlan:
    """A service's, whose uploads are the files of the tiny catalogue."""
    url = f"sqlite:///{here / 's.db'}"
    open_storage(url).close()
    return ServicePlan(
        storage=url, folder=str(here / "uploads"), model="tests.tuner.tiny:make", device="cpu",
        engine="torch", seeds=1,
    )  # fmt: skip


@pytest.fixture
def jobs(plan: ServicePlan) -> Iterator[Jobs]:
    found = Jobs(plan.storage)
    yield found
    found.close()


def _ask(plan: ServicePlan, jobs: Jobs, keys: tuple[str, ...], **limits: float) -> None:
    """Upload a study named ``pets``."""
    folder = ServiceFolder(Path(plan.folder)).catalog("pets").parent
    folder.mkdir(parents=True)
    for path in Path().glob("*.*ml"), Path().glob("*.png"):
        for each in path:
            shutil.copy(each, folder / ("catalog.toml" if each.suffix == ".toml" else each.name))
    asked = JobSettings(**{"trials": 3, "timeout": None, "reference": "masks", **limits})  # type: ignore[arg-type]
    jobs.add("pets", keys, asked)


def _work(plan: ServicePlan, until: Callable[[], bool]) -> None:
    """Let one worker work until something is so."""
    deadline = time.monotonic() + 120

    def stop() -> bool:
        assert time.monotonic() < deadline
        return until()

    worker = ServiceWorker(plan, stop)
    worker.prepare()
    worker.run(pause=lambda seconds: time.sleep(min(seconds, 0.1)))


def _all_ended(jobs: Jobs) -> bool:
    return all(job.state not in ("queued", "running") for job in jobs.everything())


def _trials(plan: ServicePlan, key: str) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(plan.storage)
    try:
        return optuna.load_study(study_name=f"pets/{key}", storage=storage).get_trials()
    finally:
        storage.close()


def _states(plan: ServicePlan, key: str) -> list[TrialState]:
    return [trial.state for trial in _trials(plan, key)]


def test_a_worker_does_one_job_after_the_other(plan: ServicePlan, jobs: Jobs) -> None:
    _ask(plan, jobs, KEYS[:2])
    seen: set[tuple[str, ...]] = set()

    def over() -> bool:
        found = jobs.of("pets")
        seen.add(tuple(job.state for job in found))
        return _all_ended(jobs)

    _work(plan, over)
    assert seen <= {
        ("queued", "queued"), ("running", "queued"), ("done", "queued"), ("done", "running"),
        ("done", "done"),
    }  # fmt: skip
    for key in KEYS[:2]:
        assert len([s for s in _states(plan, key) if s != TrialState.WAITING]) == 3
        origins = [trial.user_attrs.get("origin") for trial in _trials(plan, key)]
        assert origins.count(DEFAULTS_ORIGIN) == 1
    assert all(job.seconds > 0 for job in jobs.of("pets"))


def test_the_same_request_gives_the_same_study(plan: ServicePlan, jobs: Jobs, here: Path) -> None:
    _ask(plan, jobs, KEYS[:1])
    _work(plan, lambda: _all_ended(jobs))
    first = [(t.params, t.values) for t in _trials(plan, KEYS[0])]
    jobs.close()
    for path in here.glob("s.db*"):
        path.unlink()
    shutil.rmtree(plan.folder)
    open_storage(plan.storage).close()
    again = Jobs(plan.storage)
    _ask(plan, again, KEYS[:1])
    _work(plan, lambda: _all_ended(again))
    again.close()
    assert [t[0] for t in first] == [t.params for t in _trials(plan, KEYS[0])]


def test_two_workers_share_a_photograph(plan: ServicePlan, jobs: Jobs) -> None:
    _ask(plan, jobs, KEYS[:1], trials=8)
    together: set[int] = set()

    def over() -> bool:
        if jobs.at_work():
            together.add(_states(plan, KEYS[0]).count(TrialState.RUNNING))
        return _all_ended(jobs)

    threads = [threading.Thread(target=_work, args=(plan, over)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = jobs.of("pets")
    assert job.state == "done"
    assert max(together) >= 1  # each asks between its own trials: the other one runs one then
    finished = [s for s in _states(plan, KEYS[0]) if s in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert 8 <= len(finished) <= 9


def _one_job(plan: ServicePlan, jobs: Jobs, trials: int) -> Job:
    """Work on a job until its study exists and has so many trials."""
    _ask(plan, jobs, KEYS[:1])
    _work(plan, lambda: bool(jobs.at_work()) and len(_states(plan, KEYS[0])) >= trials)
    (job,) = jobs.at_work()
    return job


def test_a_study_that_was_deleted_is_made_again(plan: ServicePlan, jobs: Jobs) -> None:
    job = _one_job(plan, jobs, 1)
    optuna.delete_study(study_name=job.study_name, storage=plan.storage)
    _work(plan, lambda: _all_ended(jobs))
    assert [each.state for each in jobs.of("pets")] == ["done"]
    assert len(_trials(plan, KEYS[0])) >= 3


def test_a_study_that_is_deleted_while_it_runs_starts_from_nothing(
    plan: ServicePlan, jobs: Jobs
) -> None:
    _ask(plan, jobs, KEYS[:1], trials=4)
    deleted = False

    def over() -> bool:
        nonlocal deleted
        if jobs.at_work() and not deleted:
            finished = (TrialState.COMPLETE, TrialState.PRUNED)
            if sum(state in finished for state in _states(plan, KEYS[0])) >= 2:
                # SQLite gives the ids of the study and its trials to the next one.
                optuna.delete_study(study_name=f"pets/{KEYS[0]}", storage=plan.storage)
                deleted = True
        return _all_ended(jobs)

    _work(plan, over)
    assert deleted
    assert [each.state for each in jobs.of("pets")] == ["done"]
    states = _states(plan, KEYS[0])
    assert len([s for s in states if s in (TrialState.COMPLETE, TrialState.PRUNED)]) == 4


def test_the_next_study_of_that_name_is_not_taken_for_the_last(
    plan: ServicePlan, jobs: Jobs
) -> None:
    _ask(plan, jobs, KEYS[:1])
    broken = False

    def over() -> bool:
        """Break the first study, and put another in its place, as :class:`Retention` does."""
        nonlocal broken
        if jobs.at_work() and not broken:
            study = optuna.load_study(study_name=f"pets/{KEYS[0]}", storage=plan.storage)
            study.set_user_attr("image_sha256", "0" * 64)
            broken = True
        (job,) = jobs.of("pets")
        if job.state == "failed" and job.id == 1:
            optuna.delete_study(study_name=job.study_name, storage=plan.storage)
            shutil.rmtree(plan.folder)
            jobs.forget("pets")
            _ask(plan, jobs, KEYS[:1], timeout=600.0)
            return False
        return _all_ended(jobs) and job.settings.timeout is not None

    _work(plan, over)
    assert [(each.state, each.reason) for each in jobs.of("pets")] == [("done", "")]


def test_what_goes_first_waits_before_any_worker_joins(plan: ServicePlan, jobs: Jobs) -> None:
    _ask(plan, jobs, KEYS[:1], trials=1)
    _work(plan, lambda: bool(jobs.at_work()))
    (first,) = _trials(plan, KEYS[0])
    assert (first.state, first.user_attrs["origin"]) == (TrialState.WAITING, DEFAULTS_ORIGIN)


def test_a_trial_that_was_given_up_is_found_dead(
    plan: ServicePlan, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ask, given_up = optuna.Study.ask, 0

    def asked(study: optuna.Study, *arguments: Any) -> optuna.Trial:
        """Fail once, when the last trial is running and Optuna does not guard it yet."""
        nonlocal given_up
        trial = ask(study, *arguments)
        if trial.number == 2 and not given_up:
            given_up += 1
            raise sqlalchemy.exc.OperationalError("UPDATE", {}, Exception("database is locked"))
        return trial

    monkeypatch.setattr(optuna.Study, "ask", asked)
    _ask(plan, jobs, KEYS[:1])
    _work(plan, lambda: _all_ended(jobs))
    assert given_up == 1
    assert [each.state for each in jobs.of("pets")] == ["done"]
    assert TrialState.RUNNING not in _states(plan, KEYS[0])


def test_a_full_disk_while_preparing_is_waited_for(
    plan: ServicePlan, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save, errors = service.save_png, [OSError(errno.ENOSPC, "No space left on device")] * 4

    def saved(*arguments: Any) -> None:
        if errors:
            raise errors.pop()
        save(*arguments)

    monkeypatch.setattr(service, "save_png", saved)
    _ask(plan, jobs, KEYS[:1])
    _work(plan, lambda: _all_ended(jobs))
    assert [each.state for each in jobs.of("pets")] == ["done"]
    assert "no space left on the disk" in caplog.text


def test_trouble_with_the_database_is_told_in_one_line(
    plan: ServicePlan, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spend, errors = Jobs.spend, [sqlite3.OperationalError("database is locked")]

    def spent(jobs: Jobs, job: int, seconds: float) -> None:
        if errors:
            raise sqlalchemy.exc.OperationalError("UPDATE lime_tuner_jobs", {}, errors.pop())
        spend(jobs, job, seconds)

    monkeypatch.setattr(Jobs, "spend", spent)
    _ask(plan, jobs, KEYS[:1], trials=1)
    _work(plan, lambda: _all_ended(jobs))
    assert [each.state for each in jobs.of("pets")] == ["done"]
    assert "given up for now (database is locked)" in caplog.text


def test_a_job_whose_trials_die_one_after_the_other_has_failed(
    plan: ServicePlan, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _one_job(plan, jobs, 1)
    monkeypatch.setattr(StudyRunner, "finish", lambda self: None)
    study = optuna.load_study(study_name=job.study_name, storage=plan.storage)
    for _ in range(service._MOST_LOST):
        study.tell(study.ask(), state=TrialState.FAIL)
    _work(plan, lambda: _all_ended(jobs))
    (job,) = jobs.of("pets")
    assert job.state == "failed"
    assert "trials in a row were lost" in job.reason
    assert str(Path(plan.folder)) not in job.reason


def test_what_a_dead_worker_was_at_is_tried_again(plan: ServicePlan, jobs: Jobs) -> None:
    job = _one_job(plan, jobs, 1)
    storage = open_storage(plan.storage)
    lost = optuna.load_study(study_name=job.study_name, storage=storage).ask({})
    storage.close()  # its heartbeat ends with it
    _work(plan, lambda: _all_ended(jobs))
    states = _states(plan, KEYS[0])
    assert states[lost.number] == TrialState.FAIL
    assert TrialState.RUNNING not in states
    assert [each.state for each in jobs.of("pets")] == ["done"]


def test_a_study_of_something_else_fails_its_job(plan: ServicePlan, jobs: Jobs) -> None:
    job = _one_job(plan, jobs, 1)
    study = optuna.load_study(study_name=job.study_name, storage=plan.storage)
    study.set_user_attr("image_sha256", "0" * 64)
    _work(plan, lambda: _all_ended(jobs))
    (job,) = jobs.of("pets")
    assert job.state == "failed"
    assert "sha256" in job.reason


def test_an_error_of_ours_fails_one_job_and_ends_no_worker(
    plan: ServicePlan, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: SharedStudies, name: str) -> None:
        raise RuntimeError(f"a mistake in {name}")

    monkeypatch.setattr(SharedStudies, "finish", broken)
    _ask(plan, jobs, KEYS[:1])
    _work(plan, lambda: _all_ended(jobs))
    (job,) = jobs.of("pets")
    assert job.state == "failed"
    assert "RuntimeError: a mistake in pets/house" in job.reason
