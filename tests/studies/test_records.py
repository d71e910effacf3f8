"""Our tables: one schema, older files migrated, and what goes in comes out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from explainers.errors import StorageError
from studies.records import (
    SCHEMA_VERSION,
    VerifiedImage,
    add_compared_image,
    add_comparison,
    add_verification,
    begin_comparison,
    finish_comparison,
    latest_comparison,
    latest_verification,
    records,
    verified_images,
)
from studies.records.artifact_table import ARTIFACTS
from studies.records.schema import VERSION_TABLE
from studies.records.tables import Base, VerificationRow
from studies.storage import open_storage
from tests.studies.comparison_samples import PARAMETERS, WEIGHTS, comparison_run


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    open_storage(url)
    assert latest_comparison(url) is None
    add_comparison(url, comparison_run("first", "a", "b", other_classes=True))
    add_comparison(url, comparison_run("second", "c"))
    found = latest_comparison(url, "first")
    assert found is not None
    expected = comparison_run("first", "a", "b", other_classes=True)
    for name in ("at", "catalog", "study", "arguments", "package_versions", "seed"):
        assert getattr(found, name) == getattr(expected, name)
    assert [image.key for image in found.images] == ["a", "b"]
    for image, known in zip(found.images, expected.images, strict=True):
        np.testing.assert_array_equal(image.pixels, known.pixels)
        np.testing.assert_array_equal(image.reference, known.reference)
        assert image.comparison.facts == known.comparison.facts
        assert image.comparison.agreement == known.comparison.agreement
        for name in ("type", "catalog_class", "class_names", "reliability", "doubt"):
            assert getattr(image, name) == getattr(known, name)
        for a, b in zip(image.comparison.explanations, known.comparison.explanations, strict=True):
            assert a.measures.keys() == b.measures.keys()
            np.testing.assert_equal(dict(a.measures), dict(b.measures))
            np.testing.assert_array_equal(a.explanation.mask, b.explanation.mask)
            np.testing.assert_array_equal(a.explanation.ranking, b.explanation.ranking)
            np.testing.assert_array_equal(a.explanation.evidence, b.explanation.evidence)
            assert (a.explanation.surrogate is None) == (b.explanation.surrogate is None)
        others, known_others = image.comparison.other_classes, known.comparison.other_classes
        assert (
            [(o.class_index, o.method) for o in others]
            == [(2, o.method) for o in known_others]
            != []
        )
        for one, other in zip(others, known_others, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            np.testing.assert_array_equal(one.ranking, other.ranking)
    surrogate = found.images[0].comparison.explanations[-1].explanation.surrogate
    assert surrogate is not None
    assert (surrogate.parameters, surrogate.weights, surrogate.seed) == (PARAMETERS, WEIGHTS, 17)
    newest = latest_comparison(url)
    assert newest is not None
    assert newest.study == "second"


def test_an_interrupted_run_goes_on_with_what_it_has(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    run = comparison_run("one", "a", "b")
    number, images = begin_comparison(url, run)
    assert images == {}
    assert latest_comparison(url) is None  # there is nothing in it yet
    add_compared_image(url, number, 1, run.images[1])
    assert begin_comparison(url, replace(run, study="two"))[0] != number
    assert begin_comparison(url, replace(run, arguments={"rule": "other"}))[0] != number
    found, images = begin_comparison(url, run)
    assert (found, list(images)) == (number, ["b"])
    other = replace(comparison_run("one", "z", "b").images[0], key="b")
    add_compared_image(url, number, 1, other)  # instead of what was there
    add_compared_image(url, number, 0, run.images[0])
    half = latest_comparison(url, "one")
    assert half is not None
    assert [image.key for image in half.images] == ["a", "b"]
    np.testing.assert_array_equal(half.images[1].pixels, other.pixels)
    with records(url) as engine, engine.connect() as connection:
        orphans = connection.exec_driver_sql(
            "SELECT COUNT(*) FROM lime_tuner_explanations "
            "WHERE image_id NOT IN (SELECT id FROM lime_tuner_images)"
        ).scalar()
    assert orphans == 0
    finish_comparison(url, number)
    assert begin_comparison(url, run)[1] == {}  # the next one is new, and unfinished
    newest = latest_comparison(url, "one")
    assert newest is not None
    assert len(newest.images) == 2


def test_a_run_from_before_there_were_unfinished_ones_is_finished(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    add_comparison(url, comparison_run("old", "a"))
    with sqlalchemy.create_engine(url).begin() as connection:
        later = ("evidence", "units", "dissected_layers", "dissections", "submissions", "grades",
                 "calibrations", "artifacts", "jobs")  # fmt: skip
        for name in later:
            connection.exec_driver_sql(f"DROP TABLE lime_tuner_{name}")
        connection.exec_driver_sql("ALTER TABLE lime_tuner_runs DROP COLUMN finished")
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0003'")
    assert latest_comparison(url, "old") is not None
    with sqlalchemy.create_engine(url).connect() as connection:
        found = connection.exec_driver_sql("SELECT finished FROM lime_tuner_runs").scalar()
    assert found == 1


def test_a_verification_belongs_to_the_settings_it_was_run_with(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    for iou in (0.25, 0.5):
        add_verification(
            url, pickle_sha256="p", catalog="demo", classifier_sha256="c", reference="masks",
            seeds=3, settings={"a": "one", "b": "two"},
            result={
                "avg_iou": iou, "avg_time": 1.0,
                "images": {"a": {"iou": iou}, "b": {"iou": 1 - iou}},
                "defaults": {"images": {"a": {"iou": 0.125}}},
            },
        )  # fmt: skip
    found = verified_images(url, {"a": "one", "b": "other", "d": "one"}, "c")
    assert found == {"a": VerifiedImage("masks", 3, {"iou": 0.5}, {"iou": 0.125})}
    assert verified_images(url, {"a": "one"}, "another classifier") == {}


def _assert_as_declared(url: str) -> None:
    with records(url) as engine, engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, parents: name != VERSION_TABLE},
        )
        assert compare_metadata(context, [Base.metadata, ARTIFACTS.metadata]) == []


def test_migrations_and_tables_say_the_same(tmp_path: Path) -> None:
    _assert_as_declared(f"sqlite:///{tmp_path / 'new.db'}")


def test_a_file_from_before_versions_keeps_its_verifications(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    open_storage(url)
    engine = sqlalchemy.create_engine(url)
    old = sqlalchemy.Table(
        VerificationRow.__tablename__,
        sqlalchemy.MetaData(),
        *(
            sqlalchemy.Column(column.name, column.type, primary_key=column.primary_key)
            for column in VerificationRow.__table__.columns
            if column.name != "settings"
        ),
    )
    old.create(engine)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.insert(old).values(
                at=datetime(2026, 1, 1), pickle_sha256="old", catalog="demo",
                classifier_sha256="d", reference="masks", seeds=3, avg_iou=0.5, avg_time=1.0,
                result_json="{}",
            )
        )  # fmt: skip
    engine.dispose()
    row = latest_verification(url, "old")
    assert row is not None
    assert row.avg_iou == 0.5
    add_comparison(url, comparison_run("new", "a"))
    open_storage(url)  # Optuna's own version table is untouched


@pytest.mark.parametrize("version", ["0001", "0004", "0007"])
def test_a_migration_that_was_half_done_is_finished(tmp_path: Path, version: str) -> None:
    url = f"sqlite:///{tmp_path / 'half.db'}"
    add_comparison(url, comparison_run("kept", "a"))
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")
        connection.exec_driver_sql("DROP INDEX ix_lime_tuner_jobs_state")
    _assert_as_declared(url)
    assert latest_comparison(url, "kept") is not None


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'newer.db'}"
    with records(url) as engine, engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StorageError, match=r"newer lime-tuner.*update"):
        latest_comparison(url)
    with sqlalchemy.create_engine(url).connect() as connection:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    assert found == "9999"
    assert SCHEMA_VERSION < "9999"


def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"this is no database, but long enough to be looked at")
    with pytest.raises(StorageError, match=r"no\.db.*--storage"):
        add_verification(
            f"sqlite:///{tmp_path / 'no.db'}", pickle_sha256="a", catalog="b",
            classifier_sha256="c", reference="d", seeds=1,
            result={"avg_iou": 0.5, "avg_time": 1.0}, settings={},
        )  # fmt: skip
