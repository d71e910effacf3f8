"""``--help`` at 80 columns, ``--version``, and what a shell is told to complete."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from studies.catalog import SHIPPED_CATALOGUES, load_catalog
from tests.studies.study_samples import random_studies
from tests.tuner.command_line import Cli
from tests.tuner.processes import ROOT
from tuner.cli.commands import COMMANDS, GROUPS, loaded_command
from tuner.cli.help.table import FILE, completion_table
from tuner.options import PANELS

WIDTH = 80


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.delenv("LIME_TUNER_CATALOG", raising=False)


def test_the_list_has_every_command_once_in_its_group(cli: Cli) -> None:
    shown = cli.ok("--help")
    assert max(map(len, shown.splitlines())) <= WIDTH
    found, group = {}, ""
    for line in shown.splitlines():
        if re.fullmatch(r"[A-Z].*:", line):
            group = line[:-1]
        elif match := re.match(r"  ([a-z]+)  +\S", line):
            found[match[1]] = group
    assert found == {name: command.group for name, command in COMMANDS.items()}
    assert list(dict.fromkeys(found.values())) == list(GROUPS)


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_a_commands_help_is_cut_off(name: str, cli: Cli) -> None:
    shown = cli.ok(name, "--help")
    assert max(map(len, shown.splitlines())) <= WIDTH
    text = " ".join(shown.split())
    for parameter in loaded_command(name).params:
        assert " ".join(parameter.help.split()) in text
        for flag in (*parameter.opts, *parameter.secondary_opts):
            assert parameter.param_type_name == "argument" or re.search(rf"{flag}\b", shown)
    headings = re.findall(r"^([A-Z].*):$", shown, flags=re.MULTILINE)
    known = ["Arguments", *PANELS, "Options", "Examples"]
    assert headings == [heading for heading in known if heading in headings]
    assert headings[-1] == "Examples"


def test_options_of_tune_stand_in_panels(cli: Cli) -> None:
    panels = dict(re.findall(r"^([A-Z].*):\n((?:  .*\n)+)", cli.ok("tune", "--help"), re.MULTILINE))
    for panel, flags in {
        "What to work on": ("--catalog", "--model", "--reference", "--storage"),
        "Search": ("--sampler", "--objective"),
        "Budget": ("--trials", "--timeout", "--seeds"),
        "Machine": ("--device", "--engine", "--workers"),
        "Output": ("--log", "--json", "--help"),
    }.items():
        assert [f for f in flags if not re.search(rf"^  {f}\b", panels[panel], re.MULTILINE)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_calls_that_there_are(name: str) -> None:
    assert 1 <= len(COMMANDS[name].examples) <= 2
    for line in COMMANDS[name].examples:
        words = [word for word in shlex.split(line) if not word.startswith("LIME_TUNER_")]
        assert words[:2] == ["lime-tuner", name]
        assert len(line) < WIDTH - 2
        known = {flag for parameter in loaded_command(name).params for flag in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known


def test_the_version(cli: Cli) -> None:
    assert re.fullmatch(r"lime-tuner \d+\.\d+\S*\n", cli.ok("--version"))


def test_help_takes_less_than_half_a_second_of_a_core() -> None:
    code = (
        "import sys, time\n"
        "from tuner.cli import main\n"
        "sys.argv = ['lime-tuner', '--help']\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'optuna', 'sqlalchemy', 'numpy'} & set(sys.modules)\n"
        "    sys.stderr.write(f'{time.process_time()} {sorted(heavy)}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    seconds, _, heavy = done.stderr.partition(" ")
    assert heavy == "[]"
    assert float(seconds) < 0.5


def test_what_is_completed_is_what_there_is() -> None:
    assert FILE.read_text("utf-8") == completion_table(), "run python -m tuner.cli.help.table"


def completed(cli: Cli, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """What bash is told to complete at the end of a line."""
    with monkeypatch.context() as patched:
        patched.setenv("_LIME_TUNER_COMPLETE", "complete_bash")
        patched.setenv("COMP_WORDS", line)
        patched.setenv("COMP_CWORD", str(line.count(" ")))
        code, out, err = cli()
    assert (code, err) == (0, "")
    return out.split("\n")[:-1] if out.strip() else []


def test_commands_options_and_choices_are_completed(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed(cli, monkeypatch, "lime-tuner ver") == ["verify"]
    assert completed(cli, monkeypatch, "lime-tuner tune --tri") == ["--trials"]
    assert completed(cli, monkeypatch, "lime-tuner tune --sampler c") == ["ceiling"]
    assert completed(cli, monkeypatch, "lime-tuner dance --st") == []


def test_names_of_studies_are_completed(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("status", "export", "copy", "tune"):
        assert completed(cli, monkeypatch, f"lime-tuner {command} --study ") == []
    assert list(here.iterdir()) == []  # asking has made no database
    random_studies("sqlite:///lime-tuner.db", "mine", ("house", "cat"), 1)
    random_studies("sqlite:///lime-tuner.db", "other", ("house",), 1)
    random_studies("sqlite:///else.db", "elsewhere", ("house",), 1)
    assert completed(cli, monkeypatch, "lime-tuner tune --study ") == ["mine", "other"]
    assert completed(cli, monkeypatch, "lime-tuner status --study mine/") == [
        "mine/house", "mine/cat",
    ]  # fmt: skip
    line = "lime-tuner report --storage sqlite:///else.db --study "
    assert completed(cli, monkeypatch, line) == ["elsewhere"]
    (here / "lime-tuner.db").write_bytes(b"no database at all" * 100)
    assert completed(cli, monkeypatch, "lime-tuner tune --study ") == []


def test_catalogues_and_keys_are_completed(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "demo-2.toml").touch()
    (here / "demonstration").mkdir()
    (here / "demo.txt").touch()
    (here / "lime-tuner.toml").touch()
    found = completed(cli, monkeypatch, "lime-tuner tune --catalog demo")
    assert found == ["demo", "demo-2.toml", "demonstration/"]
    found = completed(cli, monkeypatch, "lime-tuner tune --catalog ")
    assert found == [*SHIPPED_CATALOGUES, "demo-2.toml", "demonstration/"]
    keys = list(load_catalog("demo").keys)
    assert completed(cli, monkeypatch, "lime-tuner cam --catalog demo --images ") == keys
    line = "lime-tuner verify p.pkl --catalog demo --images cat,ho"
    assert completed(cli, monkeypatch, line) == ["cat,house"]
    assert completed(cli, monkeypatch, "lime-tuner tune --catalog nowhere --images ") == []


def test_a_shell_completes_once_it_is_installed(here: Path) -> None:
    """And waits for no torch."""
    random_studies("sqlite:///lime-tuner.db", "mine", ("house",), 1)
    (here / "torch.py").write_text("raise SystemExit('torch is imported')\n")
    tool = here / "lime-tuner"
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tuner "$@"\n')
    tool.chmod(0o755)
    script = (
        "lime-tuner --install-completion\n"
        "source ~/.bashrc\n"
        "COMP_WORDS=(lime-tuner tune --study m) COMP_CWORD=3\n"
        "_lime_tuner_completion lime-tuner\n"
        'echo "completed: ${COMPREPLY[*]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, cwd=here,
        env={
            **os.environ, "HOME": str(here), "PYTHONPATH": f"{here}{os.pathsep}{ROOT}",
            "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        },
    )  # fmt: skip
    assert "completed: mine\n" in done.stdout, done
