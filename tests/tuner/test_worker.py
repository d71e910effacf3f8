"""Workers: what they refuse, and that a storage's studies get done."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from studies.queries import overview
from studies.results.attributes import RETRIES
from studies.storage import open_storage
from studies.storage.reconnecting import ReconnectingStorage, until_reachable
from tests.studies.clusters import private_cluster
from tests.tuner.command_line import Cli
from tests.tuner.kills import plan_trials
from tests.tuner.tiny import TUNE_TINY
from tuner.problem import SearchSpace
from tuner.workers.worker import Machine, Mismatch, Worker


def test_a_space_comes_back_from_its_text() -> None:
    space = SearchSpace().fix(["segmentation=slic", "num_samples=128", "random_seed=None"])
    assert SearchSpace.from_json(space.to_json()) == space
    assert SearchSpace.from_json(SearchSpace().to_json()).to_json() == SearchSpace().to_json()


def test_a_database_that_is_away_is_waited_for() -> None:
    answers = iter([sqlalchemy.exc.OperationalError("x", {}, Exception("gone"))] * 3 + [7])
    pauses: list[float] = []
    said: list[str] = []

    def ask() -> int:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    assert until_reachable(ask, on_message=said.append, pause=pauses.append) == 7
    assert pauses == [0.5, 1.0, 2.0]
    assert len(said) == 2
    with pytest.raises(sqlalchemy.exc.OperationalError):
        until_reachable(
            lambda: (_ for _ in ()).throw(  # type: ignore[arg-type,return-value]
                sqlalchemy.exc.OperationalError("x", {}, Exception())
            ),
            stop=lambda: True,
        )


def test_what_a_dead_worker_leaves_is_tried_again_and_not_for_ever(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    storage = ReconnectingStorage(url, heartbeat=1, grace=1)
    study = optuna.create_study(storage=storage, direction="maximize")
    numbers = []
    for _ in range(4):
        worker = ReconnectingStorage(url)
        trial = optuna.load_study(study_name=study.study_name, storage=worker).ask()
        numbers.append(trial.number)
        value = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("iou", 0.5)  # half done
        worker.close()
        time.sleep(2.2)  # SQLite's clock has whole seconds
        storage.fail_stale_trials(study.study_name)
        waiting = study.get_trials(states=(TrialState.WAITING,))
        if len(numbers) < 4:
            (again,) = waiting
            assert again.params == {"x": value}
            assert again.user_attrs == {}
            assert again.system_attrs["retry_history"] == numbers
    assert waiting == []
    assert [t.state for t in study.get_trials()] == [TrialState.FAIL] * 4


@pytest.fixture
def planned(here: Path, cli: Cli, tiny_catalogue: Path) -> str:
    """Two studies that are begun and not done."""
    cli.ok(*TUNE_TINY, "--images", "house,key", "--trials", "1", "--seeds", "2",
           "--fix", "segmentation=slic")  # fmt: skip
    url = f"sqlite:///{here / 'lime-tuner.db'}"
    plan_trials(url, 4, ("demo/house", "demo/key"))
    return url


def test_it_does_what_is_left_and_ends(planned: str, cli: Cli) -> None:
    out = cli.ok("worker", "--storage", planned, "--idle-exit", "0")
    assert out.strip() == "6 trials"
    assert [row.finished for row in overview(planned, None)] == [4, 4]
    assert cli.ok("worker", "--storage", planned, "--idle-exit", "0").strip() == "0 trials"


def test_what_is_left_when_others_have_filled_in_is_done_all_the_same(
    planned: str, cli: Cli
) -> None:
    cli.ok("worker", "--storage", planned, "--idle-exit", "0")
    study = optuna.load_study(study_name="demo/house", storage=open_storage(planned))
    study.add_trial(optuna.create_trial(
        state=TrialState.WAITING, system_attrs={RETRIES: [2], "fixed_params": {"num_features": 3}},
    ))  # fmt: skip
    study.enqueue_trial({"num_features": 4})  # what was never begun is not missed
    assert [row.lost for row in overview(planned, None)] == [True, False]
    assert cli.ok("worker", "--storage", planned, "--idle-exit", "0").strip() == "1 trials"
    *_, again, waiting = study.get_trials()
    assert again.params["num_features"] == 3
    assert (again.number, waiting.state) == (4, TrialState.WAITING)


def test_what_is_not_the_same_is_refused(planned: str, cli: Cli) -> None:
    study = optuna.load_study(study_name="demo/house", storage=open_storage(planned))
    study.set_user_attr("image_sha256", "0" * 64)
    worker = Worker(Machine(storage=planned), stop=lambda: False, idle_exit=0.0)
    with pytest.raises(Mismatch, match="picture 'house'"):
        worker.run()
    assert list(worker.refused) == ["demo/house"]
    assert worker.trials == 3  # the other study was done all the same
    for name in ("demo/house", "demo/key"):
        each = optuna.load_study(study_name=name, storage=open_storage(planned))
        each.set_user_attr("package_versions", {"lime": "9.9"})
    plan_trials(planned, 9, ("demo/house", "demo/key"))
    code, out, err = cli("worker", "--storage", planned)
    assert (code, out) == (2, "")
    lines = err.strip().splitlines()
    assert len(lines) == 3  # one for each study, and why it ends
    assert all("lime==9.9" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--until", "soon"), "time of day"),
        (("--threads", "0"), "threads"),
        (("--idle-exit", "-1"), "idle-exit"),
        (("--storage", "sqlite:////no/such/place.db"), "place"),
    ],
)
def test_wrong_calls_are_one_line(
    here: Path, cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    assert says in cli.refused("worker", *arguments)
    assert list(here.iterdir()) == []


def test_a_heartbeat_that_is_none_is_one_line(
    planned: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("soon", "0", "-5", "2.5", "601", "٣"):
        monkeypatch.setenv("LIME_TUNER_HEARTBEAT", text)
        for command in (("worker", "--storage", planned), (*TUNE_TINY, "--images", "house")):
            line = cli.refused(*command, status=(2,))
            assert f"LIME_TUNER_HEARTBEAT is {text!r}: give a whole number of seconds" in line


def test_it_may_be_started_before_its_database(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with private_cluster("postgresql") as cluster:
        open_storage(cluster.url).close()
        cluster.stop()
        threading.Timer(3, cluster.start).start()
        code, out, err = cli("worker", "--storage", cluster.url, "--idle-exit", "0")
        assert (code, out) == (0, "0 trials\n")
        assert "the database is away" in err
        assert "the database is back" in err
        cluster.stop()
        monkeypatch.setattr("tuner.cli.search.worker._START_SECONDS", 1.0)
        code, _, err = cli("worker", "--storage", cluster.url)
        assert code == 1
        assert "check the URL" in err.splitlines()[-1]
        assert "Traceback" not in err
        cluster.start()
    assert [path.name for path in here.iterdir()] == ["lime-tuner.log"]
