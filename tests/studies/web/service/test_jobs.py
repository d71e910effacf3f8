"""Jobs: each is prepared by one worker, then open for all, and none is lost."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import sqlalchemy

from studies.records.jobs import Job, Jobs, JobSettings, NameTaken
from studies.records.tables import JobRow

SETTINGS = JobSettings(trials=5, timeout=60.0, reference="gradcam@0.3")


def _claimed(jobs: Jobs, worker: str) -> Job:
    found = jobs.claim(worker)
    assert found is not None
    return found


def _silence(url: str) -> None:
    """Let every heartbeat that there is be too old."""
    long_ago = datetime(2020, 1, 1)
    engine = sqlalchemy.create_engine(url)
    beating = JobRow.heartbeat_at.is_not(None)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.update(JobRow).where(beating).values(heartbeat_at=long_ago))
    engine.dispose()


def test_every_job_goes_to_one_worker(any_database: str) -> None:
    jobs = Jobs(any_database)
    for study in ("a", "b", "c"):
        jobs.add(study, ["x", "y", "ü"], SETTINGS)

    def all_it_gets(number: int) -> list[str]:
        mine = Jobs(any_database)
        found = []
        while (job := mine.claim(f"worker {number}")) is not None:
            found.append(job.study_name)
            assert job.settings == SETTINGS
        mine.close()
        return found

    with ThreadPoolExecutor(6) as pool:
        taken = [name for names in pool.map(all_it_gets, range(6)) for name in names]
    # A worker that lost a race asks again only when it is told that there is nothing.
    while (job := jobs.claim("late")) is not None:
        taken.append(job.study_name)
    assert sorted(taken) == sorted(f"{study}/{key}" for study in "abc" for key in "xyü")
    assert jobs.counts() == Counter(running=9)
    jobs.close()


def test_what_a_silent_worker_was_preparing_is_prepared_by_another(any_database: str) -> None:
    jobs = Jobs(any_database)
    jobs.add("study", ["x"], SETTINGS)
    first = _claimed(jobs, "first")
    assert jobs.beat(first.id, "first")
    assert jobs.claim("second") is None
    _silence(any_database)
    again = _claimed(jobs, "second")
    assert (again.id, again.state, again.attempts) == (first.id, "running", 2)
    # What the first one still says does not count.
    assert not jobs.beat(first.id, "first")
    jobs.prepared(first.id, "first")
    assert jobs.at_work() == []
    assert jobs.beat(first.id, "second")
    _silence(any_database)
    _claimed(jobs, "third")
    _silence(any_database)
    assert jobs.claim("fourth") is None
    (job,) = jobs.of("study")
    assert job.state == "failed"
    assert "died 3 times" in job.reason
    jobs.close()


def test_a_prepared_job_is_open_for_all_until_it_ends(any_database: str) -> None:
    jobs = Jobs(any_database)
    jobs.add("study", ["x"], SETTINGS)
    job = _claimed(jobs, "me")
    jobs.prepared(job.id, "me")
    jobs.spend(job.id, 12.5)
    jobs.spend(job.id, 0.5)
    _silence(any_database)
    assert jobs.claim("you") is None
    assert not jobs.beat(job.id, "me")  # there is nothing to be prepared
    assert [(each.id, each.seconds) for each in jobs.at_work()] == [(job.id, 13.0)]
    jobs.end(job.id, "done")
    jobs.end(job.id, "failed", "too late")
    assert jobs.at_work() == []
    assert [(each.state, each.reason) for each in jobs.of("study")] == [("done", "")]
    jobs.close()


def test_released_jobs_are_no_attempts(any_database: str) -> None:
    jobs = Jobs(any_database)
    jobs.add("study", ["x"], SETTINGS)
    for number in range(5):
        job = _claimed(jobs, f"worker {number}")
        if number % 2:
            jobs.prepared(job.id, f"worker {number}")
            jobs.prepare_again(job.id)  # its study was deleted
        else:
            jobs.release(job.id, f"worker {number}")
    assert _claimed(jobs, "last").attempts == 1
    jobs.close()


def test_who_comes_late_puts_nothing_back(any_database: str) -> None:
    jobs = Jobs(any_database)
    jobs.add("study", ["x"], SETTINGS)
    job = _claimed(jobs, "asleep")
    jobs.prepare_again(job.id)  # another worker has done so, and this one claimed it
    _silence(any_database)
    _claimed(jobs, "awake")
    jobs.release(job.id, "asleep")
    assert jobs.beat(job.id, "awake")
    jobs.prepared(job.id, "awake")
    jobs.release(job.id, "asleep")
    assert [each.attempts for each in jobs.at_work()] == [2]
    jobs.close()


def test_cancelling_and_failing_end_a_study(any_database: str) -> None:
    jobs = Jobs(any_database)
    jobs.add("one", ["x", "y"], SETTINGS)
    jobs.add("two", ["x", "y", "z"], SETTINGS)
    running = _claimed(jobs, "me")
    jobs.cancel("one")
    assert {job.state for job in jobs.of("one")} == {"cancelled"}
    assert not jobs.beat(running.id, "me")
    failing, other = _claimed(jobs, "me"), _claimed(jobs, "you")
    jobs.prepared(failing.id, "me")
    jobs.end(failing.id, "failed", "no picture")
    assert [job.state for job in jobs.of("two")] == ["failed", "cancelled", "cancelled"]
    assert not jobs.beat(other.id, "you")
    assert jobs.at_work() == []
    assert jobs.claim("me") is None
    jobs.close()


def test_a_second_study_does_not_wait_for_all_of_the_first(any_database: str) -> None:
    jobs = Jobs(any_database)
    jobs.add("large", [f"k{n}" for n in range(9)], SETTINGS)
    jobs.add("small", ["x"], SETTINGS)
    assert [_claimed(jobs, "w").study for _ in range(3)] == ["large", "small", "large"]
    jobs.close()


def test_names_are_taken_in_whatever_case(any_database: str) -> None:
    jobs = Jobs(any_database)
    jobs.add("Study", ["x"], SETTINGS)
    for name in ("Study", "study", "STUDY"):
        with pytest.raises(NameTaken):
            jobs.add(name, ["y"], SETTINGS)
    assert [job.key for job in jobs.everything()] == ["x"]
    jobs.close()
