"""Storages copied into others, and back."""

from __future__ import annotations

import io
import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.artifacts import upload_artifact
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from explainers.errors import InvalidInput, StorageError
from studies.copying import Copied, CopiedRows, copy_storage
from studies.queries import overview
from studies.records import (
    add_comparison,
    add_verification,
    begin_comparison,
    latest_comparison,
    latest_verification,
    records,
)
from studies.records.tables import (
    Base,
    DissectedLayerRow,
    DissectionRow,
    EvidenceRow,
    GradeRow,
    ImageRow,
    RunRow,
    SubmissionRow,
    UnitRow,
)
from studies.storage import artifact_folder, grace_seconds, holds_studies, open_storage
from studies.storage.artifacts import Artifacts, artifact_store
from studies.storage.reconnecting import ReconnectingStorage
from tests.studies.any_studies import AnyStudy, any_studies, told_of
from tests.studies.comparison_samples import comparison_run
from tests.studies.study_samples import random_studies

AT = datetime(2026, 11, 22, 3, 4, 5)
ONE = "6b1e3d0c-1111-4222-8333-abcdefabcdef"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a file that is not there yet; artifacts of servers lie in the working folder."""
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'here.db'}"


@pytest.fixture
def there(tmp_path: Path) -> str:
    """The URL of another file that is not there yet."""
    return f"sqlite:///{tmp_path / 'there.db'}"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """SQLite would wait at every commit, and there are thousands."""

    def relax(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", relax)


@contextmanager
def opened(url: str) -> Iterator[ReconnectingStorage]:
    storage = open_storage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def outcomes(copied: Copied) -> dict[str, str]:
    return {each.name: each.outcome for each in copied.studies}


def written(copied: Copied) -> dict[str, int]:
    return {name: row.copied for name, row in copied.records.items() if row.copied}


def rows(url: str, table: str) -> int:
    with records(url) as engine, engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar_one())


def test_any_study_arrives_as_it_was(here: str, there: str) -> None:
    """Whatever Optuna can store, it says the same about the copy."""
    prefixes = (f"p{number}" for number in itertools.count())
    random_studies(there, "other", ("a",), 3)  # rows get other numbers there
    with opened(here) as source, opened(there) as target:

        @settings(max_examples=5)
        @given(st.lists(any_studies(), min_size=1, max_size=4))
        def arrives(studies: list[AnyStudy]) -> None:
            prefix = next(prefixes)
            names = [f"{prefix}/ключ {number}" for number in range(len(studies))]
            for name, study in zip(names, studies, strict=True):
                study.store(source, name)
            copied = copy_storage(here, there, study=prefix)
            assert outcomes(copied) == dict.fromkeys(names, "copied")
            for name, study, found in zip(names, studies, copied.studies, strict=True):
                assert sum(found.trials.values()) == len(study.trials)
                assert told_of(target, name) == told_of(source, name)
            again = copy_storage(here, there, study=prefix)
            assert outcomes(again) == dict.fromkeys(names, "there")
            assert [e.sha256 for e in again.studies] == [e.sha256 for e in copied.studies]

        arrives()


def add_records(url: str, mark: int) -> None:
    """Some of everything that we record, different for every mark."""
    add_comparison(url, comparison_run("p", "a", "b", other_classes=True))
    add_comparison(url, comparison_run(f"other {mark}", "c"))
    add_verification(
        url, pickle_sha256=f"{mark}", catalog="demo", classifier_sha256="c", reference="masks",
        seeds=3, result={"avg_iou": 0.1 + mark, "avg_time": 1 / 3, "images": {}}, settings={},
    )  # fmt: skip
    with records(url) as engine, Session(engine) as session:
        images = session.scalars(
            sqlalchemy.select(ImageRow)
            .join(RunRow, RunRow.id == ImageRow.run_id)
            .where(RunRow.study == "p")
            .order_by(ImageRow.key)
        ).all()
        units = [
            UnitRow(unit=n, concept=f"größe {n}", concepts="[]", sheet_jpeg=bytes([mark, n, 255]))
            for n in range(3)
        ]
        evidence = [
            EvidenceRow(
                image_id=image.id, inside_share=0.25, sentence=f"{image.key} of {mark}",
                concepts="{}", units="[]",
            )
            for image in images
        ]  # fmt: skip
        layers = [
            DissectedLayerRow(position=0, layer="layer4", level=0.05, units=units),
            DissectedLayerRow(position=1, layer="fc", level=0.05, evidence=evidence),
        ]
        dissection = DissectionRow(
            at=AT, model=f"net {mark}", probe="p", concept_list="l", similarity="s",
            settings="{}", package_versions="{}", layers=layers,
        )  # fmt: skip
        submission = SubmissionRow(
            at=AT, url="http://x", parameters_sha256="p", parameters="{}", study="p",
            predicted_iou=None, predicted_time=None, avg_iou=0.1, avg_time=mark + 0.1,
        )  # fmt: skip
        session.add_all([dissection, submission])
        session.commit()


def add_grades(url: str, count: int) -> None:
    """Some that say just the same."""
    with records(url) as engine, Session(engine) as session:
        session.add_all(
            GradeRow(
                at=AT, team="t", upload_sha256="u", parameters="{}", exam="{}", avg_iou=1 / 3,
                avg_time=0.2, result_json="{}",
            )
            for _ in range(count)
        )  # fmt: skip
        session.commit()


def test_there_and_back(here: str, any_database: str, tmp_path: Path) -> None:
    random_studies(here, "p", ("a", "b"), 9)
    add_records(here, 1)
    random_studies(any_database, "lab", ("z",), 2)
    add_records(any_database, 2)
    add_grades(here, 3)
    add_grades(any_database, 1)
    with opened(here) as storage:
        key = storage.get_study_id_from_name("p/a")
        storage.set_study_system_attr(key, f"artifacts:{ONE}", "{}")
        storage.set_study_user_attr(key, "pictures", {"a": f"/artifacts/{key}/{ONE}"})
    artifact_store(here).write(ONE, io.BytesIO(b"picture"))
    before = {name: rows(any_database, name) for name in Base.metadata.tables}
    copied = copy_storage(here, any_database)
    assert outcomes(copied) == {"p/a": "copied", "p/b": "copied"}
    assert copied.studies[0].trials == {"COMPLETE": 7, "PRUNED": 2}
    for name, row in copied.records.items():
        assert rows(any_database, name) == before[name] + row.copied, name
        assert row.copied + row.there == rows(here, name), name
        assert row.left == 0
    assert copied.records["lime_tuner_runs"].there == 1  # the run that both have
    assert copied.records["lime_tuner_grades"] == CopiedRows(copied=2, there=1)
    evidence = (
        sqlalchemy.select(RunRow.study, ImageRow.key, DissectionRow.model, EvidenceRow.sentence)
        .join(ImageRow, ImageRow.id == EvidenceRow.image_id)
        .join(RunRow, RunRow.id == ImageRow.run_id)
        .join(DissectedLayerRow, DissectedLayerRow.id == EvidenceRow.layer_id)
        .join(DissectionRow, DissectionRow.id == DissectedLayerRow.dissection_id)
    )
    with records(any_database) as engine, engine.connect() as connection:
        assert set(connection.execute(evidence)) == {
            ("p", key, f"net {mark}", f"{key} of {mark}") for key in "ab" for mark in (1, 2)
        }
    whole = any_database.startswith("mysql")  # which keeps whole seconds
    with opened(here) as source, opened(any_database) as target:
        assert told_of(target, "p/b", whole=whole) == told_of(source, "p/b", whole=whole)
        key = target.get_study_id_from_name("p/a")
        assert target.get_study_user_attrs(key)["pictures"] == {"a": f"/artifacts/{key}/{ONE}"}
    assert _text(artifact_store(any_database), ONE) == "picture"
    again = copy_storage(here, any_database)
    assert set(outcomes(again).values()) == {"there"}
    assert written(again) == {}
    back = f"sqlite:///{tmp_path / 'back.db'}"
    returned = copy_storage(any_database, back)
    assert [each.sha256 for each in returned.studies if each.name != "lab/z"] == [
        each.sha256 for each in copied.studies
    ]
    home = copy_storage(any_database, here, study="p")
    assert set(outcomes(home).values()) == {"there"}
    found, known = (overview(url, "p") for url in (back, here))
    assert [row.best_score for row in found] == [row.best_score for row in known]
    assert latest_verification(back, "1") is not None
    comparison = latest_comparison(back, "other 1")
    assert comparison is not None
    assert len(comparison.images[0].comparison.explanations) == 5


def test_an_interrupted_copy_has_whole_studies_only(here: str, there: str) -> None:
    random_studies(here, "p", ("a", "b", "c"), 4)
    add_records(here, 1)

    def interrupt(what: str, done: float, total: float) -> None:
        if what == "p/b":
            raise KeyboardInterrupt

    with opened(there) as storage:  # what a killed copy has left
        half = storage.create_new_study([StudyDirection.MINIMIZE], "(unfinished copy) p/a")
        storage.create_new_trial(half)
    with pytest.raises(KeyboardInterrupt):
        copy_storage(here, there, on_progress=interrupt)
    assert [row.study for row in overview(there, None)] == ["p/a"]
    assert rows(there, "trials") == 4
    assert rows(there, "trial_user_attributes") == rows(here, "trial_user_attributes") / 3
    assert rows(there, "lime_tuner_runs") == 0

    def interrupt_records(what: str, done: float, total: float) -> None:
        if what == "lime_tuner_evidence":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_storage(here, there, on_progress=interrupt_records)
    assert rows(there, "lime_tuner_runs") == 0
    resumed = copy_storage(here, there)
    assert set(outcomes(resumed).values()) == {"there"}
    assert written(resumed)["lime_tuner_evidence"] == 2


def test_other_content_is_refused_and_nothing_copied(here: str, there: str) -> None:
    random_studies(here, "p", ("new", "same", "other"), 3)
    copy_storage(here, there, study="p/same")
    random_studies(there, "p", ("other",), 5)
    with pytest.raises(StorageError, match=r"'p/other'.*nothing was copied; --overwrite"):
        copy_storage(here, there)
    assert {row.study for row in overview(there, None)} == {"p/same", "p/other"}
    planned = copy_storage(here, there, overwrite=True, dry_run=True)
    assert {row.study for row in overview(there, None)} == {"p/same", "p/other"}
    done = copy_storage(here, there, overwrite=True)
    expected = {"p/new": "copied", "p/same": "there", "p/other": "replaced"}
    assert outcomes(planned) == outcomes(done) == expected
    assert rows(there, "trials") == rows(here, "trials") == 9
    assert rows(there, "trial_params") == rows(here, "trial_params")
    assert set(outcomes(copy_storage(here, there)).values()) == {"there"}


def test_what_arrives_otherwise_is_taken_back(here: str, tmp_path: Path) -> None:
    """A database that cuts long texts, or loses a trial."""
    random_studies(here, "p", ("a",), 3)
    for number, trigger in enumerate(
        (
            "AFTER INSERT ON trial_user_attributes BEGIN UPDATE trial_user_attributes "
            "SET value_json = substr(value_json, 1, 40); END",
            "AFTER INSERT ON trial_params BEGIN DELETE FROM trials WHERE number = 1; END",
        )
    ):
        path = tmp_path / f"bad{number}.db"
        with opened(f"sqlite:///{path}"), sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TRIGGER bad {trigger}")
        with pytest.raises(StorageError, match=r"study 'p/a'.*not copied"):
            copy_storage(here, f"sqlite:///{path}")
        assert rows(f"sqlite:///{path}", "studies") == 0
        assert rows(f"sqlite:///{path}", "trials") == 0


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_study_at_work_stays_and_a_left_one_has_failed(any_database: str, here: str) -> None:
    with opened(any_database) as storage:
        study = optuna.create_study(study_name="p/a", storage=storage)
        study.enqueue_trial({"x": 0.5})
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.report(0.25, 3)
        study.enqueue_trial({"x": 0.75})
        trials = sqlalchemy.table(
            "trials", sqlalchemy.column("trial_id"), sqlalchemy.column("datetime_start")
        )
        beats = sqlalchemy.table("trial_heartbeats", sqlalchemy.column("heartbeat"))
        long_ago = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=2)
        with pytest.raises(StorageError, match=r"'p/a' .* is at work \(trial 0\)"):
            copy_storage(any_database, here)  # it has just begun
        with storage.engine.begin() as connection:
            connection.execute(sqlalchemy.update(trials).values(datetime_start=long_ago))
        storage.record_heartbeat(trial._trial_id)
        with pytest.raises(StorageError, match=f"wait {grace_seconds()} seconds"):
            copy_storage(any_database, here)
        storage.close()  # or it would go on sending heartbeats
        with storage.engine.begin() as connection:
            connection.execute(sqlalchemy.update(beats).values(heartbeat=long_ago))
        copied = copy_storage(any_database, here)
        assert copied.studies[0].interrupted == 1
        assert copied.studies[0].trials == {"FAIL": 1, "WAITING": 1}
        assert study.trials[0].state == TrialState.RUNNING
        assert outcomes(copy_storage(any_database, here)) == {"p/a": "there"}
    with opened(here) as storage:
        failed, waiting = optuna.load_study(study_name="p/a", storage=storage).trials
    assert (failed.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    assert (failed.params, failed.intermediate_values) == ({"x": 0.5}, {3: 0.25})
    assert failed.datetime_complete is not None
    assert waiting.system_attrs == {"fixed_params": {"x": 0.75}}


def test_only_one_prefix(here: str, there: str, tmp_path: Path) -> None:
    random_studies(here, "p", ("a", "b"), 1)
    random_studies(here, "pp", ("a",), 1)
    add_records(here, 1)
    with pytest.raises(InvalidInput, match=r"'q'.*it has p, pp"):
        copy_storage(here, there, study="q")
    assert not (tmp_path / "there.db").exists()
    copied = copy_storage(here, there, study="p")
    assert set(outcomes(copied)) == {"p/a", "p/b"}
    assert copied.records["lime_tuner_runs"].copied == 1
    assert copied.records["lime_tuner_submissions"].copied == 1
    assert copied.records["lime_tuner_explanations"].copied == 10
    skipped = {name for name, row in copied.records.items() if row.skipped}
    assert {"lime_tuner_verifications", "lime_tuner_units", "lime_tuner_evidence"} <= skipped
    assert {name: rows(there, name) for name in skipped} == dict.fromkeys(skipped, 0)


def test_an_unfinished_comparison_stays(here: str, there: str) -> None:
    random_studies(here, "p", ("a",), 1)
    begin_comparison(here, comparison_run("p", "a"))
    copied = copy_storage(here, there)
    assert copied.records["lime_tuner_runs"].left == 1
    assert written(copied) == {}


def test_a_grading_server_s_records_go_without_studies(here: str, there: str) -> None:
    add_grades(here, 1)
    assert written(copy_storage(here, there)) == {"lime_tuner_grades": 1}
    assert rows(there, "lime_tuner_grades") == 1


def test_artifacts_go_with_their_studies(here: str, there: str, tmp_path: Path) -> None:
    random_studies(here, "p", ("a", "b"), 2)
    folder, store, other = artifact_folder(here), artifact_store(here), artifact_store(there)
    with opened(here) as storage:
        ids = []

        def upload(owner: optuna.Study | optuna.Trial, text: str) -> float:
            path = tmp_path / f"{text}.txt"
            path.write_text(text)
            ids.append(
                upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=owner)
            )
            return 0.5

        upload(optuna.load_study(study_name="p/a", storage=storage), "of a study")
        study = optuna.load_study(study_name="p/b", storage=storage)
        for text in ("of a trial", "lost"):
            study.optimize(lambda trial, text=text: upload(trial, text), n_trials=1)
    (folder / ids[2]).unlink()
    (folder / "nobody's").write_text("")
    copy_storage(here, there, dry_run=True)
    assert not holds_studies(there)
    copied = copy_storage(here, there, study="p/a").artifacts
    assert (copied.copied, copied.missing) == ((ids[0],), ())
    copied = copy_storage(here, there).artifacts
    assert (copied.copied, copied.there, copied.missing) == ((ids[1],), (ids[0],), (ids[2],))
    assert [_text(other, each) for each in ids[:2]] == ["of a study", "of a trial"]
    assert ids[2] not in other
    assert "nobody's" not in other
    other.write(ids[1], io.BytesIO(b"of a "))
    with pytest.raises(StorageError, match=f"artifact {ids[1]}: .* nothing was copied"):
        copy_storage(here, there)
    copy_storage(here, there, overwrite=True)
    assert _text(other, ids[1]) == "of a trial"
    back = f"sqlite:///{tmp_path / 'back.db'}"  # and home again
    assert set(copy_storage(there, back).artifacts.copied) == set(ids[:2])
    assert _text(artifact_store(back), ids[1]) == "of a trial"


def _text(store: Artifacts, artifact_id: str) -> str:
    with store.open_reader(artifact_id) as file:
        return file.read().decode()


def test_an_artifact_is_no_other_file(here: str, there: str, tmp_path: Path) -> None:
    random_studies(here, "p", ("a",), 0)
    (tmp_path / "secret").write_text("secret")
    with opened(here) as storage:
        storage.set_study_system_attr(1, "artifacts:../secret", "{}")
    with pytest.raises(StorageError, match="no plain name of a file"):
        copy_storage(here, there)


def test_the_dashboard_s_own_notes_go_with_a_study(here: str, there: str) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    paths = pytest.importorskip("optuna_dashboard.artifact")
    random_studies(here, "p", ("a", "b"), 2)
    random_studies(there, "other", ("c",), 5)
    with opened(here) as storage:
        study = optuna.load_study(study_name="p/b", storage=storage)
        storage.set_study_system_attr(study._study_id, f"artifacts:{ONE}", "{}")
        dashboard.save_note(study, f"größe ☃ {paths.get_artifact_path(study, ONE)}" + 3000 * "☃")
        trial = optuna.Trial(study, study.trials[1]._trial_id)
        dashboard.save_note(trial, "of trial 1")
    copy_storage(here, there)
    with opened(there) as storage:
        study = optuna.load_study(study_name="p/b", storage=storage)
        trial = optuna.Trial(study, study.trials[1]._trial_id)
        path = paths.get_artifact_path(study, ONE)
        assert path != f"/artifacts/2/{ONE}"
        assert dashboard.get_note(study) == f"größe ☃ {path}" + 3000 * "☃"
        assert dashboard.get_note(trial) == "of trial 1"


def test_what_cannot_be_copied_is_told(here: str, there: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        copy_storage(here, there)
    random_studies(here, "p", ("a",), 1)
    with pytest.raises(InvalidInput, match="the same storage"):
        copy_storage(here, f"sqlite:///{tmp_path}/./here.db")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    for source, target in ((here, f"sqlite:///{other}"), (f"sqlite:///{other}", there)):
        with pytest.raises(StorageError, match="invoices"):
            copy_storage(source, target)
    with sqlite3.connect(tmp_path / "here.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v4.0.0.a'")
    with pytest.raises(StorageError, match="version"):
        copy_storage(here, there)
    assert not (tmp_path / "there.db").exists()
