"""What a trial writes in quick succession: gathered, and there when it has to be."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from studies import gathering_storage
from studies.storage import open_storage


def _study(folder: Path) -> tuple[optuna.Study, optuna.Study]:
    """The same study twice: as its worker has it, and as others see it."""
    url = f"sqlite:///{folder / 's.db'}"
    made = optuna.create_study(storage=open_storage(url), study_name="a", direction="maximize")
    return made, optuna.load_study(study_name="a", storage=optuna.storages.RDBStorage(url))


def _objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("kind", ["a", "b"])
    for step in range(10):
        trial.report(x, step)
    for number in range(9):
        trial.set_user_attr(f"u{number}", x)
    return x


def test_one_transaction_instead_of_twenty(tmp_path: Path) -> None:
    study, others = _study(tmp_path)
    commits: list[object] = []
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "commit", commits.append)
    study.optimize(_objective, n_trials=3)
    assert len(commits) <= 3 * 14
    for trial in others.get_trials():
        assert trial.state == TrialState.COMPLETE
        assert set(trial.params) == {"x", "kind"}
        assert trial.intermediate_values == dict.fromkeys(range(10), trial.value)
        assert trial.user_attrs == {f"u{n}": trial.value for n in range(9)}


def test_a_slow_trial_can_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, others = _study(tmp_path)
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    assert others.get_trials()[0].params == {}
    assert study.get_trials()[0].params == {"x": x}  # who reads, reads what it wrote
    assert others.get_trials()[0].params == {"x": x}
    trial.suggest_int("n", 3, 3)
    with pytest.raises(ValueError):  # there is none yet
        study.best_trial  # noqa: B018
    assert others.get_trials()[0].params == {"x": x, "n": 3}
    monkeypatch.setattr(gathering_storage, "_LONGEST_WAIT", -1.0)
    trial.report(0.5, step=0)
    trial.set_user_attr("a", 1)
    trial.report(0.6, step=1)
    assert others.get_trials()[0].intermediate_values == {0: 0.5, 1: 0.6}


def test_what_is_written_to_an_ended_trial_is_refused_once(tmp_path: Path) -> None:
    study, others = _study(tmp_path)
    trial = study.ask()
    trial.set_user_attr("a", 1)
    others.tell(trial.number, state=TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.get_trials()
    assert study.get_trials()[0].user_attrs == {}


def test_the_last_word_counts_on_every_database(any_database: str) -> None:
    study = optuna.create_study(storage=open_storage(any_database), study_name="a")

    def objective(trial: optuna.Trial) -> float:
        for word in (1, 2):
            trial.set_user_attr("a", word)
            trial.set_user_attr(f"b{word}", [word])
            assert study.get_trials()[trial.number].user_attrs["a"] == word  # two transactions
        trial.report(float("inf"), step=0)
        return trial.suggest_int("n", 1, 9)

    study.optimize(objective, n_trials=2)
    others = optuna.load_study(study_name="a", storage=optuna.storages.RDBStorage(any_database))
    for trial in others.get_trials():
        assert trial.user_attrs == {"a": 2, "b1": [1], "b2": [2]}
        assert trial.intermediate_values == {0: float("inf")}
        assert trial.params == {"n": trial.value}
