"""SIGKILL in the middle of ``tune``, ``worker`` and ``serve``, again and again.

Nothing finished is lost, nothing corrupt, nothing done twice.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from studies.export import read_pickle
from studies.storage import open_storage
from tests.tuner.command_line import Cli
from tests.tuner.killed_service import Killed
from tests.tuner.kills import Finished, Tally, finished, numbers_of, plan_trials, sound_chunks
from tests.tuner.processes import Command, until
from tests.tuner.tiny import TUNE_TINY

_STUDIES = ("demo/house", "demo/key")

pytestmark = pytest.mark.usefixtures("tiny_catalogue", "quick_heartbeats")


def _killed_and_resumed(command: list[str], database: Path, cache: Path, tally: Tally) -> Finished:
    """Kill a command again and again when it has finished a trial, then let it finish."""
    kept = finished(database)
    tally.before = len(kept)
    while tally.goes_on:
        start = len(kept)
        with Command(*command) as running:
            until(lambda: running.poll() is not None or len(finished(database)) > start)  # noqa: B023
            time.sleep(tally.chance.uniform(0, 0.3))
            tally.count(at_work=running.poll() is None and len(finished(database)) > start)
            running.kill(all_of_it=True)
        time.sleep(0.2)
        now = finished(database)
        assert kept.items() <= now.items()
        sound_chunks(cache)
        kept = now
    with Command(*command) as running:
        assert running.wait() == 0, running.err
    last = finished(database)
    assert kept.items() <= last.items()
    assert sound_chunks(cache) > 0
    tally.say(len(last))
    return last


def _assert_counts(found: Finished, trials: int, *, more: int) -> None:
    """Every study has its trials, and at most so many more."""
    counts = Counter(study for study, _ in found)
    assert len(counts) == len(_STUDIES)
    assert all(trials <= count <= trials + more for count in counts.values()), counts


@pytest.mark.parametrize("kills", numbers_of("tune"))
def test_tune_is_killed_and_resumed(tmp_path: Path, cache: Path, kills: int) -> None:
    database, trials = tmp_path / "tuning.db", max(8, 2 * kills)
    command = [
        *TUNE_TINY, "--images", "house,key", "--trials", str(trials),
        "--seeds", "3", "--workers", "2", "--fix", "segmentation=slic",
        "--storage", f"sqlite:///{database}",
    ]  # fmt: skip
    prediction_cache = cache / "bank" / "answers.sqlite3"
    found = _killed_and_resumed(command, database, prediction_cache, Tally("tune", kills))
    _assert_counts(found, trials, more=2)


@pytest.mark.parametrize("kills", numbers_of("worker"))
def test_a_worker_is_killed_and_followed(here: Path, cache: Path, cli: Cli, kills: int) -> None:
    database, trials = here / "tuning.db", max(8, 2 * kills)
    url = f"sqlite:///{database}"
    cli.ok(*TUNE_TINY, "--images", "house,key", "--trials", "1", "--seeds", "3",
           "--fix", "segmentation=slic", "--storage", url)  # fmt: skip
    plan_trials(url, trials, _STUDIES)
    # Until the last trials that were cut off are known to be, and done again.
    command = ["worker", "--storage", url, "--device", "cpu", "--idle-exit", "10"]
    prediction_cache = cache / "bank" / "answers.sqlite3"
    found = _killed_and_resumed(command, database, prediction_cache, Tally("worker", kills))
    _assert_counts(found, trials, more=1 + kills)
    storage = open_storage(url)
    for name in _STUDIES:
        trials_of = optuna.load_study(study_name=name, storage=storage).get_trials()
        again = {n for t in trials_of for n in t.system_attrs.get("retry_history", ())}
        lost = {t.number for t in trials_of if t.state == optuna.trial.TrialState.FAIL and t.params}
        assert lost <= again
        assert not [t for t in trials_of if t.state == optuna.trial.TrialState.RUNNING]


@pytest.mark.parametrize("kills", numbers_of("serve"))
def test_a_service_is_killed_and_started_again(here: Path, kills: int) -> None:
    tally = Tally("serve", kills)
    with Killed(here, tally, workers=2) as service:
        while tally.goes_on:
            service.keep_busy(jobs=6)
            service.kill_something()
        service.finish(seconds=900)
        for study, keys in service.asked.items():
            found = service.get(f"/api/studies/{study}")
            assert (found["state"], found["reason"]) == ("done", "")
            assert found["images"].keys() == set(keys)
            assert all(image["default"] is not None for image in found["images"].values())
            path = here / "taken.pkl"
            path.write_bytes(service.take(f"/api/studies/{study}/explain_params.pkl"))
            assert read_pickle(path).keys() == set(keys)
    assert (service.status, service.left) == (130, [])
    jobs = service.jobs()
    assert Counter(job.study for job in jobs) == Counter(
        {study: len(keys) for study, keys in service.asked.items()}
    )
    assert {job.state for job in jobs} == {"done"}
    counts = service.trials()
    assert counts.keys() == {job.study_name for job in jobs}
    for name, states in counts.items():
        done = states["COMPLETE"] + states["PRUNED"]
        assert service.trials_each <= done <= service.trials_each + 1, (name, states)
        assert states["RUNNING"] == 0, (name, states)
    assert service.left_files() == []
    tally.say(len(service.finished()))
