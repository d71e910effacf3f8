"""Databases: ours, others', broken ones."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest

from explainers.errors import InvalidInput, LimeTunerError, StorageError
from studies.queries import best_parameters, overview, study_attributes
from studies.results.attributes import DEFAULTS_ORIGIN
from studies.results.trial_record import TrialRecord
from studies.storage import check_storage, describe, holds_studies, open_storage


def test_a_new_file_is_in_wal_mode_and_empty(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert not holds_studies(url)
    open_storage(url)
    assert holds_studies(url)
    with sqlite3.connect(tmp_path / "new.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert overview(url, None) == []


def test_looking_creates_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none.db'}"
    check_storage(url, write=True)
    with pytest.raises(StorageError, match="does not exist"):
        overview(url, None)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("this is no database, only a text of some length " * 50)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    before = (text.read_bytes(), other.read_bytes())
    for url, says in (
        (f"sqlite:///{text}", "not a database"),
        (f"sqlite:///{other}", "invoices"),
        (f"sqlite:///{tmp_path}", "folder"),
        (f"sqlite:///{tmp_path}/no/such/x.db", "does not exist"),
        ("sqlite:////proc/nowhere.db", "cannot be written"),
        ("postgresql+nodriver://x@localhost/y", "cannot be used"),
        ("postgres://x@localhost/y", "begin the URL with .*postgresql\\+psycopg://"),
        (f"sqlite:///{other}?mode=ro", "has the setting mode, which an SQLite file does not take"),
        (f"sqlite:///file:{other}?uri=true", "the setting uri"),
    ):
        with pytest.raises(LimeTunerError, match=says):
            open_storage(url)
    assert (text.read_bytes(), other.read_bytes()) == before
    for url in ("nonsense", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(InvalidInput):
            open_storage(url)


def test_passwords_are_not_shown() -> None:
    assert "secret" not in describe("postgresql+psycopg://me:secret@host/db")
    with pytest.raises(StorageError) as caught:
        check_storage("postgresql+nodriver://me:secret@host/db", write=True)
    assert "secret" not in str(caught.value)


def test_overview_agrees_with_optuna(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    storage = open_storage(url)
    study = optuna.create_study(study_name="p/a", storage=storage, direction="maximize")
    study.set_user_attr("image_key", "a")

    def objective(trial: optuna.Trial) -> float:
        from explainers.lime import LimeParameters

        x = trial.suggest_float("x", 0, 1)
        record = TrialRecord(
            LimeParameters(num_samples=10 + trial.number), x, [x], [0], 1 + x, 0.5, {}, 7
        )
        for name, value in record.to_attributes().items():
            trial.set_user_attr(name, value)
        if trial.number in (0, 1, 3):
            trial.set_user_attr("origin", DEFAULTS_ORIGIN if trial.number == 3 else "elsewhere")
        if trial.number % 3 == 2:
            trial.report(x, 0)
            raise optuna.TrialPruned
        return x

    study.optimize(objective, n_trials=9)
    optuna.create_study(study_name="other/b", storage=storage, direction="maximize")
    (row,) = overview(url, "p")
    assert row.trials == {"COMPLETE": 6, "PRUNED": 3}
    assert row.finished == 9
    assert row.best_number == study.best_trial.number
    assert row.best_score == pytest.approx(study.best_value)
    assert row.default_iou == pytest.approx(study.trials[3].value)
    assert [r.study for r in overview(url, None)] == ["p/a", "other/b"]
    assert list(best_parameters(url, "p")) == ["a"]
    assert str(10 + study.best_trial.number) in best_parameters(url, "p")["a"]
    assert study_attributes(url, ["p/a", "none"]) == {"p/a": {"image_key": "a"}}
