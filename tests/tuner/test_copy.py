"""``lime-tuner copy``."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest

from studies.records import add_comparison, begin_comparison
from studies.storage import open_storage
from tests.studies.comparison_samples import comparison_run
from tests.studies.study_samples import random_studies
from tests.tuner.command_line import Cli


@pytest.fixture
def laptop(here: Path) -> str:
    """The usual storage in the working folder, with two studies and a comparison."""
    url = "sqlite:///lime-tuner.db"
    random_studies(url, "p", ("a", "b"), 4)
    add_comparison(url, comparison_run("p", "a"))
    return url


def test_copy_shows_what_went_where(cli: Cli, here: Path, laptop: str) -> None:
    del laptop
    begin_comparison("sqlite:///lime-tuner.db", comparison_run("q", "a"))
    planned = cli.ok("copy", "--to", "sqlite:///lab.db", "--dry-run")
    assert "to copy" in planned
    assert "nothing was written" in planned
    assert not (here / "lab.db").exists()
    code, out, err = cli("copy", "--to", "sqlite:///lab.db")
    assert code == 0
    assert re.findall(r"(p/\w) +│ +(\w+) +│ +(\d) │ +(\d) │", out) == [
        ("p/a", "copied", "3", "1"),
        ("p/b", "copied", "3", "1"),
    ]
    assert "lime_tuner_explanations" in out
    assert "not finished stay (1 in lime_tuner_runs)" in err
    assert "unfinished copy" not in err
    again = cli.ok("copy", "--from", "sqlite:///lime-tuner.db", "--to", "sqlite:///lab.db")
    assert again.count("there already") >= 2


def test_copy_as_json(cli: Cli, here: Path, laptop: str) -> None:
    first = json.loads(cli.ok("copy", "--from", laptop, "--to", "sqlite:///lab.db", "--json"))
    assert (first["from"], first["to"]) == (laptop, "sqlite:///lab.db")
    assert first["dry_run"] is False
    study = first["studies"]["p/a"]
    assert study["trials"] == {"COMPLETE": 3, "PRUNED": 1}
    assert (study["outcome"], study["interrupted"], len(study["sha256"])) == ("copied", 0, 64)
    assert first["records"]["lime_tuner_images"] == {"copied": 1, "there": 0, "left": 0}
    assert first["artifacts"] == {"copied": 0, "there": 0, "missing": []}
    second = json.loads(
        cli.ok("copy", "--from", "sqlite:///lab.db", "--to", laptop, "--study", "p/b", "--json")
    )
    assert second["studies"]["p/b"]["outcome"] == "there"
    assert "lime_tuner_verifications" in second["skipped_tables"]


def test_copy_refuses_in_one_line(cli: Cli, here: Path, laptop: str) -> None:
    assert "same storage" in cli.refused("copy", "--from", laptop, "--to", laptop, status=(2,))
    assert "--to" in cli.refused("copy", status=(2,))
    random_studies("sqlite:///lab.db", "p", ("b",), 1)
    line = cli.refused("copy", "--to", "sqlite:///lab.db", status=(1,))
    assert "study 'p/b'" in line
    assert "--overwrite" in line
    cli.ok("copy", "--to", "sqlite:///lab.db", "--overwrite")
    with_password = "postgresql+psycopg://me:secret@127.0.0.1:1/x"
    line = cli.refused("copy", "--to", with_password, status=(1,))
    assert "cannot be used" in line or "psycopg" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("url", "module", "says"),
    [
        ("postgresql+psycopg2://h/x", "psycopg2", "lime-tuner[postgresql]"),
        ("mysql+mysqldb://h/x", "MySQLdb", "lime-tuner[mysql]"),
    ],
)
def test_a_missing_driver_is_named(
    cli: Cli, here: Path, url: str, module: str, says: str
) -> None:
    if find_spec(module):
        pytest.skip(f"{module} is installed")
    open_storage("sqlite:///lime-tuner.db")
    line = cli.refused("copy", "--to", url, status=(1,))
    assert f"needs the Python package {module}" in line
    assert says in line


def test_a_study_can_go_on_elsewhere(cli: Cli, here: Path, laptop: str) -> None:
    cli.ok("copy", "--to", "sqlite:///lab.db")
    study = optuna.load_study(study_name="p/a", storage=open_storage("sqlite:///lab.db"))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert [trial.number for trial in study.trials] == list(range(6))
