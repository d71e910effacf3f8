"""Several worker processes on one database server: killed, cut off, and done all the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from studies.storage import open_storage
from tests.studies.databases import cut_connections
from tests.tuner.command_line import Cli
from tests.tuner.tiny import TUNE_TINY
from tuner.problem.spec import PLAN

KEYS = ("house", "key")
TRIALS, WORKERS = 25, 3
_SECONDS = 400


@contextmanager
def _workers(url: str, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tuner", "worker", "--storage", url, "--idle-exit", "30",
             "--device", "cpu"],
            cwd=folder, text=True, stderr=(folder / f"worker-{number}.err").open("w"),
            stdout=subprocess.DEVNULL,
            env={**os.environ, "LIME_TUNER_CACHE": str(folder / f"cache-{number}"),
                 "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        for number in range(WORKERS)
    ]  # fmt: skip
    try:
        yield started
    finally:
        for each in started:
            each.kill()
            each.wait()


def _trials(url: str) -> dict[str, list[optuna.trial.FrozenTrial]]:
    with closing(open_storage(url)) as storage:
        return {
            key: optuna.load_study(study_name=f"demo/{key}", storage=storage).get_trials()
            for key in KEYS
        }


def _finished(url: str) -> int:
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(t.state in done for trials in _trials(url).values() for t in trials)


@pytest.mark.usefixtures("tiny_catalogue")
def test_killed_and_cut_off_they_finish_every_study(
    server_database: str, here: Path, cli: Cli
) -> None:
    url = server_database
    cli.ok(*TUNE_TINY, "--images", ",".join(KEYS), "--trials", "1", "--seeds",
           "2", "--fix", "segmentation=slic", "--storage", url)  # fmt: skip
    for key in KEYS:
        study = optuna.load_study(study_name=f"demo/{key}", storage=open_storage(url))
        study.set_user_attr(PLAN, {**study.user_attrs[PLAN], "trials": TRIALS})
    chance = random.Random(3)
    deadline = time.monotonic() + _SECONDS
    with _workers(url, here) as workers:
        while _finished(url) < 8 and time.monotonic() < deadline:
            time.sleep(0.2)
        chance.choice(workers).send_signal(signal.SIGKILL)
        while _finished(url) < 16 and time.monotonic() < deadline:
            time.sleep(0.2)
        cut_connections(url)
        while time.monotonic() < deadline:
            found = _trials(url)
            states = [t.state for trials in found.values() for t in trials]
            done = [
                sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
                for trials in found.values()
            ]
            if min(done) >= TRIALS and TrialState.RUNNING not in states:
                break
            time.sleep(1)
        alive = [each for each in workers if each.poll() is None]
        assert len(alive) == WORKERS - 1, [f.read_text() for f in here.glob("worker-*.err")]
        alive[0].send_signal(signal.SIGTERM)
        assert alive[0].wait(30) == 0
    assert TrialState.RUNNING not in states
    for trials in found.values():
        assert [t.number for t in trials] == list(range(len(trials)))
        finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        assert TRIALS <= len(finished) <= TRIALS + WORKERS - 1
        assert all("iou" in t.user_attrs for t in finished)
        assert any(t.user_attrs.get("origin") == "lime defaults" for t in finished)
