"""The storage while its server is stopped, and trials that nobody is alive for."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from studies.storage import open_storage
from studies.storage.reconnecting import ReconnectingStorage, fail_stale_trials
from tests.studies.clusters import CLUSTERS, private_cluster
from tests.studies.databases import cut_connections


@pytest.mark.parametrize("server", list(CLUSTERS))
def test_a_trial_waits_for_a_server_that_is_restarted(server: str) -> None:
    with private_cluster(server) as cluster:
        study = optuna.create_study(storage=open_storage(cluster.url), direction="maximize")
        study.enqueue_trial({"x": 0.25})
        back = threading.Event()

        def come_back() -> None:
            time.sleep(2.5)
            cluster.start()
            back.set()

        def objective(trial: optuna.Trial) -> float:
            if trial.number == 1:  # between two of its words, not between two trials
                cluster.stop(at_once=True)
                threading.Thread(target=come_back).start()
            x = trial.suggest_float("x", 0, 1)
            trial.report(x, step=0)
            trial.set_user_attr("iou", x)
            if trial.number == 2:  # ... and before its last
                back.wait()
                back.clear()
                cluster.stop()
                threading.Thread(target=come_back).start()
            return x

        study.optimize(objective, n_trials=4)
        assert back.wait(30)
        found = optuna.load_study(study_name=study.study_name, storage=open_storage(cluster.url))
        trials = found.get_trials()
        assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
        assert [t.number for t in trials] == [0, 1, 2, 3]
        assert trials[0].params == {"x": 0.25}
        assert all(t.value == t.params["x"] == t.user_attrs["iou"] for t in trials)


def test_a_connection_that_breaks_in_the_middle_of_reading(server_database: str) -> None:
    study = optuna.create_study(storage=open_storage(server_database))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    storage = open_storage(server_database)
    cut = []

    def cut_once(connection: object, cursor: object, statement: str, *_: object) -> None:
        if "FROM trial_params" in statement and not cut:
            cut.append(statement)
            cut_connections(server_database)

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", cut_once)
    found = optuna.load_study(study_name=study.study_name, storage=storage).get_trials()
    assert cut
    assert [t.params for t in found] == [t.params for t in study.get_trials()]
    assert all(t.params for t in found)


def _patient(url: str) -> ReconnectingStorage:
    return ReconnectingStorage(url, heartbeat=1, grace=2)


def test_a_trial_that_never_sent_a_heartbeat_is_found_dead(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    open_storage(url)
    study = optuna.create_study(storage=_patient(url))
    study.enqueue_trial({"x": 0.5})
    # What a worker leaves that is killed when it has taken the trial and proposed nothing yet.
    killed = optuna.load_study(
        study_name=study.study_name, storage=optuna.storages.RDBStorage(url)
    ).ask()
    deadline = time.monotonic() + 20
    while study.get_trials()[killed.number].state == TrialState.RUNNING:
        assert time.monotonic() < deadline
        fail_stale_trials(study)
        time.sleep(0.2)
    again = study.ask()
    assert again.number != killed.number
    assert again.suggest_float("x", 0, 1) == 0.5


def test_a_copy_for_another_process_has_a_clock_of_its_own(tmp_path: Path) -> None:
    storage = _patient(f"sqlite:///{tmp_path / 's.db'}")
    storage._cut_off = time.monotonic()  # of this machine, since it was started
    assert pickle.loads(pickle.dumps(storage))._cut_off is None


def test_a_sampler_that_takes_long_is_not_taken_for_dead(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    open_storage(url)

    class Slow(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            time.sleep(5)

    study = optuna.create_study(storage=_patient(url), sampler=Slow(seed=0))
    asking = threading.Thread(
        target=study.optimize,
        kwargs={"n_trials": 1},
        args=(lambda trial: trial.suggest_float("x", 0, 1),),
    )
    asking.start()
    other = optuna.load_study(study_name=study.study_name, storage=_patient(url))
    while asking.is_alive():
        fail_stale_trials(other)
        time.sleep(0.2)
    assert [t.state for t in other.get_trials()] == [TrialState.COMPLETE]
