"""Everything that happens in a bad run at once, on a PostgreSQL of the test's own.

It runs with ``pytest -m chaos``; whatever of it can be told apart is tested in every run as well:
``test_kill``, ``test_workers``, ``test_machines``, ``test_reconnecting``.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from studies.storage import open_storage
from tests.studies.clusters import Cluster, private_cluster
from tests.tuner.chaos import FINISHED, Witness, WorkerPool, enqueue_random, read_only, trials_of
from tests.tuner.command_line import Cli
from tests.tuner.kills import plan_trials
from tests.tuner.tiny import TUNE_TINY, write_catalogue
from tuner.workers.worker import Machine, Worker

_logger = logging.getLogger(__name__)

# What is drawn with eight superpixels or fewer is scored on the same seeds whenever it is tried.
TUNE = (*TUNE_TINY, "--seeds", "2", "--fix", "segmentation=slic",
        "--fix", "slic.n_segments=6", "--fix", "num_samples=512", "--trials", "1")  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """How bad it gets.

    Attributes:
        searched, drawn: images whose trials a sampler proposes, and whose trials are all drawn
            before; only what the second find does not depend on who comes first.
        kills: of each worker.
        restarts: of the database.
        seconds: after which it has taken too long.
    """

    searched: tuple[str, ...]
    drawn: tuple[str, ...]
    trials: int
    workers: int
    kills: int
    restarts: int
    seconds: float


SHORT = Scenario(("house",), ("key",), 18, 3, 1, 1, 480)
LONG = Scenario(
    ("house", "key", "boat", "mug", "umbrella"), ("cat", "bird", "fish", "snail", "butterfly"),
    40, 8, 7, 2, 3000,
)  # fmt: skip


@pytest.fixture
def postgresql() -> Cluster:
    with private_cluster("postgresql") as cluster:
        yield cluster


def _begin(url: str, scenario: Scenario, cli: Cli) -> dict[str, str]:
    """Begin all studies; the name of each image's."""
    write_catalogue(Path(), (*scenario.searched, *scenario.drawn))
    for keys, sampler in ((scenario.searched, "ceiling"), (scenario.drawn, "random")):
        cli.ok(*TUNE, "--images", ",".join(keys), "--sampler", sampler, "--storage", url)
    storage = open_storage(url)
    for number, key in enumerate(scenario.drawn):
        study = optuna.load_study(study_name=f"demo/{key}", storage=storage)
        enqueue_random(study, scenario.trials - 1, seed=number)
    names = {key: f"demo/{key}" for key in (*scenario.searched, *scenario.drawn)}
    plan_trials(url, scenario.trials, names.values())
    return names


def _say(start: float, text: str) -> None:
    """For ``pytest --log-cli-level=INFO``."""
    _logger.info("%.0f s: %s", time.monotonic() - start, text)


def _best_of(trials: list[FrozenTrial]) -> float:
    return max(t.values[0] for t in trials if t.state == TrialState.COMPLETE)


def _iou_per_seed(trials: list[FrozenTrial]) -> dict[str, list[float]]:
    """By parameters, of every trial with a result."""
    return {
        t.user_attrs["lime_parameters"]: t.user_attrs["iou_per_seed"]
        for t in trials
        if t.state in FINISHED and "iou_per_seed" in t.user_attrs
    }


@pytest.mark.chaos
@pytest.mark.usefixtures("tiny_catalogue", "quick_heartbeats")
@pytest.mark.parametrize("scenario", [SHORT, LONG], ids=["short", "long"])
def test_a_bad_run(postgresql: Cluster, scenario: Scenario, here: Path, cli: Cli) -> None:
    url = postgresql.url
    names = _begin(url, scenario, cli)
    # The same studies, for one worker that nobody disturbs.
    quiet = f"sqlite:///{here / 'quiet.db'}"
    for key in scenario.drawn:
        optuna.copy_study(from_study_name=names[key], from_storage=open_storage(url),
                          to_storage=open_storage(quiet))  # fmt: skip
    witness = Witness(url)
    total = scenario.trials * len(names)
    chance = random.Random(11)
    start, stack = time.monotonic(), contextlib.ExitStack()
    cache = here / "cache" / "bank"
    # What happens when so many of the trials are finished.
    plan: list[tuple[float, str, Callable[[], object]]] = [
        (0.25, "cut", witness.cut_connections),
        (0.35, "read-only", lambda: stack.enter_context(read_only(cache))),
        (0.75, "writable", stack.close),
    ]
    for number in range(scenario.restarts):
        at_once = number % 2 == 0
        plan.append(
            ((number + 1) / (scenario.restarts + 1), "restart",
             lambda at_once=at_once: postgresql.restart(at_once=at_once, away=3))
        )  # fmt: skip
    plan.sort(key=lambda event: event[0])
    with WorkerPool(url, here, scenario.workers, scenario.kills, chance) as pool, stack:
        while time.monotonic() - start < scenario.seconds:
            done = witness.finished()
            while plan and sum(done.values()) >= plan[0][0] * total:
                _, what, event = plan.pop(0)
                event()
                _say(start, f"{sum(done.values())} trials: {what}")
            pool.kill_some(witness.ended_by())
            whole = min(done.values()) >= scenario.trials
            if whole and not witness.at_work():
                break
            time.sleep(0.2)
        _say(start, f"{pool.killed} killed, {pool.wanting} spared: {witness.finished()}")
        assert whole, pool.said()
        assert not witness.at_work(), pool.said()
        assert pool.dismiss() == [0] * scenario.workers
        said = pool.said()
    assert not plan
    assert "Traceback" not in said
    assert "kept in memory only" in said
    assert pool.killed >= 0.8 * scenario.workers * scenario.kills

    found = trials_of(url, list(names.values()))
    everything = [t for trials in found.values() for t in trials]
    endings = witness.endings()
    assert set(endings.values()) == {1}
    assert len(endings) == len(everything) - len(names)  # those that began the studies
    values = {t._trial_id: t.values[0] for t in everything if t.state == TrialState.COMPLETE}
    seen = witness.complete_values()
    assert seen == {number: values[number] for number in seen}
    witness.close()
    for key, name in names.items():
        trials = found[name]
        assert [t.number for t in trials] == list(range(len(trials)))
        assert {t.state for t in trials} <= {*FINISHED, TrialState.FAIL}
        finished = [t for t in trials if t.state in FINISHED]
        assert scenario.trials <= len(finished) <= scenario.trials + scenario.workers - 1
        again = {n for t in trials for n in t.system_attrs.get("retry_history", ())}
        lost = [t for t in trials if t.state == TrialState.FAIL and t.params]
        assert {t.number for t in lost} <= again, key
    Worker(Machine(storage=quiet, device="cpu"), idle_exit=0.0).run()
    for name, trials in trials_of(quiet, [names[key] for key in scenario.drawn]).items():
        # How many seeds a trial is worth depends on who was best when it began; their IoU does not.
        alone = _iou_per_seed(trials)
        for text, ious in _iou_per_seed(found[name]).items():
            known = alone.get(text, [])  # several workers may run a trial more
            assert all(a == b for a, b in zip(ious, known, strict=False)), (name, text)
        assert _best_of(found[name]) == pytest.approx(_best_of(trials), abs=0.05), name
