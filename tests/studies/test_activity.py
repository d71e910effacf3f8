"""Who works on a storage's studies, what failed there, and when they last got better."""

from __future__ import annotations

from datetime import timedelta

import optuna
import pytest
import sqlalchemy

from studies.queries import activity, overview
from studies.results.attributes import FAILURE, WORKER
from studies.storage import grace_seconds, open_storage
from tests.studies.study_samples import random_studies


def test_runners_failures_and_the_last_improvement(any_database: str) -> None:
    random_studies(any_database, "p", ("a", "b"), 12)
    storage, elsewhere = open_storage(any_database), open_storage(any_database)
    study = optuna.load_study(study_name="p/a", storage=storage)
    best = study.best_trial
    alive = study.ask()
    silent = optuna.load_study(study_name="p/a", storage=elsewhere).ask()
    for trial, worker in ((alive, "here:1"), (silent, "there:2")):
        trial.set_user_attr(WORKER, worker)
        storage.record_heartbeat(trial._trial_id)
    elsewhere.close()
    without = optuna.storages.RDBStorage(any_database)
    unborn = optuna.load_study(study_name="p/a", storage=without).ask()
    failed = study.ask()
    failed.set_user_attr(FAILURE, "ValueError: nothing left")
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    _age(any_database, silent._trial_id, grace_seconds() + 40)

    rows = overview(any_database, None)
    found = activity(any_database, rows)
    one = found["p/a"]
    assert found["p/b"].running == found["p/b"].failures == ()
    assert one.workers == ("here:1",)
    assert {each.number: (each.worker, each.silent) for each in one.running} == {
        alive.number: ("here:1", False),
        silent.number: ("there:2", True),
        unborn.number: (None, True),
    }
    assert one.running[1].heard == pytest.approx(grace_seconds() + 40, abs=3)
    (failure,) = one.failures
    assert (failure.number, failure.reason) == (failed.number, "ValueError: nothing left")
    assert failure.at is not None
    assert one.since_best == 11 - best.number
    assert one.improved is not None
    assert best.datetime_complete is not None
    assert abs((one.improved - best.datetime_complete).total_seconds()) < 1


def test_a_dead_worker_is_the_reason(any_database: str) -> None:
    storage = open_storage(any_database)
    study = optuna.create_study(study_name="p/a", storage=storage)
    trial = study.ask()
    trial.set_user_attr(WORKER, "there:2")
    storage.close()
    _age(any_database, trial._trial_id, grace_seconds() + 40)
    storage.fail_stale_trials("p/a")
    (failure,) = activity(any_database, overview(any_database, None))["p/a"].failures
    assert failure.worker == "there:2"
    assert failure.reason == f"there:2 gave no sign of life for {grace_seconds()} s"


def _age(url: str, trial: int, seconds: int) -> None:
    """Make a trial's last sign of life that much older."""
    engine = sqlalchemy.create_engine(url)
    meta = sqlalchemy.MetaData()
    with engine.begin() as connection:
        meta.reflect(connection, only=["trial_heartbeats"])
        beats = meta.tables["trial_heartbeats"]
        mine = beats.c.trial_id == trial
        at = connection.execute(sqlalchemy.select(beats.c.heartbeat).where(mine)).scalar_one()
        earlier = at - timedelta(seconds=seconds)
        connection.execute(beats.update().where(mine).values(heartbeat=earlier))
    engine.dispose()
