"""Whatever goes wrong is one line; whatever the standard streams are, there is no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from studies.queries import damage_in, overview
from studies.storage import open_storage
from tests.tuner.command_line import Cli
from tests.tuner.processes import ROOT
from tuner.workers.pool import LocalPool

URL = "sqlite:///t.db"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)


@pytest.fixture
def study(here: Path) -> optuna.Study:
    """One finished trial."""
    made = optuna.create_study(storage=open_storage(URL), study_name="t/a", direction="maximize")
    made.set_user_attr("runtime_weight", 0.1)
    made.add_trial(optuna.create_trial(value=0.5, user_attrs={"iou": 0.5, "runtime_seconds": 1.0}))
    return made


def _raising(error: BaseException) -> Any:
    def fail(*args: object, **given: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a\nb \x1b[31mred\u202e"), "unexpected ValueError (a b [31mred)"),
        (MemoryError(), "unexpected MemoryError: "),
        (RecursionError("too deep"), "unexpected RecursionError (too deep)"),
        (ConnectionResetError(104, "reset"), "unexpected ConnectionResetError"),
        (KeyError("postgresql://me:geheim@host/db"), "me:***@host"),
        (SystemExit(3), "ended the program (exit 3)"),
        (ModuleNotFoundError("no", name="onnxruntime.x"), "pip install 'lime-tuner[fast]'"),
        (ModuleNotFoundError("no", name="open_clip"), "pip install 'lime-tuner[dissect]'"),
        (ModuleNotFoundError("no", name="colours"), "pip install colours"),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_any_exception_is_one_line_and_a_log(
    here: Path, cache: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException,
    said: str, stored: bool,
) -> None:  # fmt: skip
    if stored:
        (here / "t.db").touch()
    monkeypatch.setattr("tuner.cli.results.status.overview", _raising(error))
    line = cli.refused("status", "--storage", URL, status=(1,))
    assert said in line
    assert line.isprintable()
    log = (here if stored else cache) / "lime-tuner.log"
    if "unexpected" in line:
        assert line.endswith(f"details in {log}")
        assert "Traceback" in log.read_text()
        assert "geheim" not in log.read_text()


def test_an_interrupt_stays_one(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.cli.results.status.overview", _raising(KeyboardInterrupt()))
    assert cli("status", "--storage", URL)[0] == 130


@pytest.mark.parametrize(
    ("table", "name", "text", "said"),
    [
        ("trial", "iou", '"abc"', "'iou' is damaged (\"abc\", not a number)"),
        ("trial", "iou", "NaN", "(NaN, not a number)"),
        ("trial", "runtime_seconds", "true", "(true, not a number)"),
        ("trial", "iou", "{", "(no JSON: {)"),
        ("study", "runtime_weight", "[]", "([], not a number)"),
    ],
)
def test_damaged_attributes_are_named(
    here: Path, study: optuna.Study, cli: Cli, table: str, name: str, text: str, said: str
) -> None:
    assert damage_in(URL) is None
    with sqlalchemy.create_engine(URL).begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE {table}_user_attributes SET value_json = ? WHERE key = ?", (text, name)
        )
    found = damage_in(URL)
    assert found is not None
    assert said in found
    assert ("study 't/a', trial 0" if table == "trial" else "study 't/a':") in found
    if table == "trial":
        code, _, err = cli("status", "--storage", URL)
        assert code == 0
        (line,) = err.splitlines()
        assert line.startswith(f"t/a #0: its attribute '{name}' is damaged (")
        assert line.endswith(f"{said}: it is left out")
        (row,) = overview(URL, None)
        assert (row.best_score, row.best_iou is None) == (0.5, name == "iou")


@pytest.mark.parametrize("command", ["status", "report", "export", "dashboard", "worker", "copy"])
def test_a_damaged_page_is_told_alike(here: Path, cli: Cli, command: str) -> None:
    study = optuna.create_study(storage=open_storage(URL), study_name="demo/house")
    study.set_user_attr("x", "y" * 3000)
    with sqlalchemy.create_engine(URL).begin() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = bytearray((here / "t.db").read_bytes())
    pages[100:4000] = b"\xff" * 3900  # the table of tables
    (here / "t.db").write_bytes(pages)
    more = ["--to", "sqlite:///u.db", "--from", URL] if command == "copy" else ["--storage", URL]
    assert cli.refused(command, *more, status=(1,)) == (
        "lime-tuner: storage sqlite:///t.db cannot be used (database disk image is malformed): the "
        "file is damaged: put back a copy of it, or save what is left with sqlite3 .recover"
    )


@pytest.mark.parametrize(
    ("shell", "status", "said"),
    [
        ("{} >&-", 0, "standard output is closed"),
        ("{} <&- >&- 2>&-", 0, ""),
        ("{} >/dev/full", 1, "no space left"),
        ("{} | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("PYTHONIOENCODING=ascii LC_ALL=C PYTHONUTF8=0 {}", 0, ""),
        ("COLUMNS=0 TERM=dumb {}", 0, ""),
        ("COLUMNS=20 NO_COLOR=1 {}", 0, ""),
        ("mkdir gone && cd gone && rmdir ../gone && {}", 2, "the working folder cannot be used"),
    ],
)
def test_streams_may_be_anything(
    here: Path, study: optuna.Study, shell: str, status: int, said: str
) -> None:
    command = f"{sys.executable} -m tuner status --storage sqlite:///{here}/t.db"
    done = subprocess.run(
        ["bash", "-c", shell.format(command)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == (said != "")
    if "ascii" in shell:
        assert "IoU" in done.stdout
        assert done.stdout.isascii()


def _grow(_: int) -> int:
    """Like a study: half a gigabyte in blocks that are kept when they are freed."""
    from tuner.runtime.freed_memory import keep_freed_memory

    keep_freed_memory()
    blocks = [bytearray(20 << 20) for _ in range(25)]
    for block in blocks:
        block[::4096] = b"x" * len(block[::4096])
    kept = [bytearray(64)]  # above them
    blocks.clear()
    return os.getpid() if kept else 0


def _pause(_: int) -> int:
    import time

    time.sleep(1.1)  # loky looks after a second
    return os.getpid()


def test_workers_stay_when_they_have_freed_what_they_used() -> None:
    pool = LocalPool(2)
    first = set(pool.run(_pause, range(2)))
    assert set(pool.run(_grow, range(4))) | set(pool.run(_pause, range(4))) <= first
