"""What the README says is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import typer

from studies.records.artifact_table import ARTIFACTS
from studies.records.tables import Base
from tuner.cli import app
from tuner.cli.commands import COMMANDS, CommandGroup

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
GROUP = typer.main.get_command(app)
assert isinstance(GROUP, CommandGroup)
LOADED = {name: GROUP.get_command(None, name) for name in COMMANDS}


def test_every_command_is_documented_and_helps() -> None:
    listed = set(re.findall(r"^\| `(\w+)", README, flags=re.MULTILINE))
    assert listed == set(COMMANDS)
    for name, command in LOADED.items():
        assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name].summary


def test_every_table_of_the_database_is_described() -> None:
    listed = set(re.findall(r"^- `(lime_tuner_\w+)`: ", README, flags=re.MULTILINE))
    assert listed == {*Base.metadata.tables, ARTIFACTS.name}


def test_every_option_has_a_help_text() -> None:
    for name, command in LOADED.items():
        for parameter in command.params:
            text = getattr(parameter, "help", None)
            assert text, f"{name} {parameter.name}"


def test_commands_in_the_readme_exist_with_their_options() -> None:
    used = re.findall(r"lime-tuner (\w+)((?: +[^\s#`]+)*)", "\n".join(blocks("sh")))
    assert len(used) >= 6
    for name, rest in used:
        known = {o for p in LOADED[name].params for o in p.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known, name


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_ci_runs_exactly_the_test_command() -> None:
    tests = next(line for line in "\n".join(blocks("sh")).splitlines() if "pytest" in line)
    assert tests in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_the_catalogue_of_the_readme_is_one(tmp_path: Path) -> None:
    from studies.catalog import load_catalog

    text = next(b for b in re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL))
    file = tmp_path / "c.toml"
    file.write_text(re.sub(r"^  ", "", text, flags=re.MULTILINE))
    assert load_catalog(str(file)).keys == ("my cat",)


@pytest.mark.parametrize("name", ["tune", "TuningResult"])
def test_the_notebook_names_are_exported(name: str) -> None:
    import tuner

    assert name in tuner.__all__
    assert getattr(tuner, name).__name__ == name


def test_python_is_new_enough_for_the_claim() -> None:
    assert sys.version_info >= (3, 10)
    assert "python_requires = >=3.10" in (ROOT / "setup.cfg").read_text("utf-8")
