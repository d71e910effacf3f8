"""Workers of the service, without their server: which job is next, and when one is over."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from studies.records.jobs import Job, Jobs, JobSettings
from studies.results.attributes import DEFAULTS_ORIGIN
from studies.storage import open_storage
from studies.web.service import ServiceFolder
from tests.tuner.tiny import KEYS
from tuner.study import StudyRunner
from tuner.workers import service
from tuner.workers.service import ServicePlan, ServiceWorker

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


def test_the_same_request_gives_the_same_study(
    plan: ServicePlan, jobs: Jobs, here: Path
) -> None:
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
