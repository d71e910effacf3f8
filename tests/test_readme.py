"""What README and guides say is so."""

from __future__ import annotations

import re
import sys

import pytest
import typer

from studies.records.artifact_table import ARTIFACTS
from studies.records.tables import Base
from tests.documents import ROOT, blocks
from tuner.cli import app
from tuner.cli.commands import COMMANDS, CommandGroup

GROUP = typer.main.get_command(app)
assert isinstance(GROUP, CommandGroup)
LOADED = {name: GROUP.get_command(None, name) for name in COMMANDS}


def test_every_command_is_documented_and_helps() -> None:
    text = (ROOT / "tuner" / "commands.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(\w+)", text, flags=re.MULTILINE))
    assert listed == set(COMMANDS)
    for name, command in LOADED.items():
        assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name].summary


def test_every_table_of_the_database_is_described() -> None:
    text = (ROOT / "studies" / "storage.md").read_text("utf-8")
    listed = set(re.findall(r"^- `(lime_tuner_\w+)`: ", text, flags=re.MULTILINE))
    assert listed == {*Base.metadata.tables, ARTIFACTS.name}


def test_every_option_has_a_help_text() -> None:
    for name, command in LOADED.items():
        for parameter in command.params:
            text = getattr(parameter, "help", None)
            assert text, f"{name} {parameter.name}"


def test_ci_runs_exactly_the_test_command() -> None:
    lines = "".join(block.code for block in blocks("README.md")).splitlines()
    tests = next(line for line in lines if "pytest" in line)
    assert tests in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


@pytest.mark.parametrize("name", ["tune", "TuningResult"])
def test_the_notebook_names_are_exported(name: str) -> None:
    import tuner

    assert name in tuner.__all__
    assert getattr(tuner, name).__name__ == name


def test_python_is_new_enough_for_the_claim() -> None:
    assert sys.version_info >= (3, 10)
    assert "python_requires = >=3.10" in (ROOT / "setup.cfg").read_text("utf-8")
