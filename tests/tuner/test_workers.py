"""Several worker processes on one database server: killed, cut off, and done all the same."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from studies.storage import open_storage
from tests.studies.databases import cut_connections, fresh_database
from tests.tuner.command_line import Cli
from tests.tuner.kills import plan_trials
from tests.tuner.processes import Command
from tests.tuner.tiny import TUNE_TINY

KEYS = ("house", "key")
TRIALS, WORKERS = 16, 3
_SECONDS = 400


def _trials(url: str) -> dict[str, list[optuna.trial.FrozenTrial]]:
    with closing(open_storage(url)) as storage:
        return {
            key: optuna.load_study(study_name=f"demo/{key}", storage=storage).get_trials()
            for key in KEYS
        }


def _finished(url: str) -> int:
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(t.state in done for trials in _trials(url).values() for t in trials)


@pytest.fixture
def mysql() -> Iterator[str]:
    """An empty database; on PostgreSQL worse things happen in ``test_chaos``."""
    with fresh_database("mysql") as url:
        yield url


@pytest.mark.usefixtures("tiny_catalogue", "quick_heartbeats")
def test_killed_and_cut_off_they_finish_every_study(mysql: str, here: Path, cli: Cli) -> None:
    url = mysql
    cli.ok(*TUNE_TINY, "--images", ",".join(KEYS), "--trials", "1", "--seeds",
           "2", "--fix", "segmentation=slic", "--storage", url)  # fmt: skip
    plan_trials(url, TRIALS, [f"demo/{key}" for key in KEYS])
    chance = random.Random(3)
    deadline = time.monotonic() + _SECONDS
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                Command("worker", "--storage", url, "--device", "cpu",
                        LIME_TUNER_CACHE=str(here / f"cache-{number}"))
            )
            for number in range(WORKERS)
        ]  # fmt: skip
        while _finished(url) < 6 and time.monotonic() < deadline:
            time.sleep(0.2)
        chance.choice(workers).kill()
        while _finished(url) < 12 and time.monotonic() < deadline:
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
            time.sleep(0.3)
        alive = [each for each in workers if each.poll() is None]
        assert len(alive) == WORKERS - 1, [each.err for each in workers]
        alive[0].send_signal(signal.SIGTERM)
        assert alive[0].wait(30) == 0
    assert TrialState.RUNNING not in states
    for trials in found.values():
        assert [t.number for t in trials] == list(range(len(trials)))
        finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        assert TRIALS <= len(finished) <= TRIALS + WORKERS - 1
        assert all("iou" in t.user_attrs for t in finished)
        assert any(t.user_attrs.get("origin") == "lime defaults" for t in finished)
