"""``tune --cluster``: a real scheduler and worker processes, one of which is killed."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from studies.queries import overview
from studies.storage import holds_studies, open_storage
from tests.tuner.command_line import Cli
from tests.tuner.dask_cluster import dask_cluster
from tests.tuner.processes import Command, until
from tests.tuner.tiny import TUNE_TINY

KEYS, TRIALS = ("house", "key"), 10
_TUNE = (
    *TUNE_TINY, "--images", ",".join(KEYS), "--trials", str(TRIALS), "--seeds",
    "3", "--fix", "segmentation=slic", "--device", "cpu",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("tiny_catalogue", "quick_heartbeats")


def _finished(url: str) -> int:
    return sum(row.finished for row in overview(url, None)) if holds_studies(url) else 0


def test_a_worker_that_is_killed_costs_nothing_but_time(here: Path, cli: Cli) -> None:
    url = f"sqlite:///{here / 'lime-tuner.db'}"
    with dask_cluster(here) as cluster:
        assert "has no workers" in cli.refused(*_TUNE, "--cluster", cluster.address)
        cluster.add_worker("--nthreads", "2", "--no-nanny")
        assert "--nthreads 1" in cli.refused(*_TUNE, "--cluster", cluster.address)
        assert not list(here.glob("*.db"))
        cluster.kill_worker(0)
        for _ in range(2):
            cluster.add_worker("--nthreads", "1")
        with Command(*_TUNE, "--cluster", cluster.address) as tune:
            until(lambda: _finished(url) >= 4 or tune.poll() is not None)
            cluster.kill_worker(1)
            assert tune.poll() is None, "it was done before anything was killed"
            assert tune.wait() == 0, tune.err
    for key in KEYS:
        study = optuna.load_study(study_name=f"demo/{key}", storage=open_storage(url))
        states = [trial.state for trial in study.trials]
        assert states.count(TrialState.RUNNING) == 0
        assert sum(s in (TrialState.COMPLETE, TrialState.PRUNED) for s in states) == TRIALS
        assert any(t.user_attrs.get("origin") == "lime defaults" for t in study.trials)


def test_a_cluster_that_will_not_do_is_one_line(here: Path, cli: Cli) -> None:
    nobody = "tcp://127.0.0.1:9"
    assert "dask scheduler" in cli.refused(*_TUNE, "--cluster", nobody, status=(1,))
    assert "tcp://" in cli.refused(*_TUNE, "--cluster", "here")
    assert not list(here.glob("*.db"))
