"""Tables, progress and suggestions, at 80 columns, at 140, and through a pipe."""

from __future__ import annotations

import fcntl
import io
import os
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from explainers.metrics import MEASURES
from studies.queries import StudyOverview
from studies.results.analysis import methods_of
from studies.results.explained_class import ExplainedClass
from studies.submission.score_board import BoardRow
from tests.studies.comparison_samples import comparison_run
from tests.studies.study_samples import random_studies
from tests.tuner.command_line import Cli
from tests.tuner.processes import ROOT
from tests.tuner.tiny import MODEL, TINY, TUNE_TINY
from tuner.cli.output import console, progress, shown_if_interrupted, table, within_height
from tuner.cli.output.progress import clock, times
from tuner.cli.results import comparison_tables, export, status
from tuner.cli.search import study_watcher
from tuner.cli.search.study_watcher import StudyWatcher
from tuner.cli.servers import submission

NAMES = ("west highland white terrier 1", "west highland white terrier 2", "cat")
URL = "sqlite:///lime-tuner.db"


def shown(what: RenderableType, width: int = 80) -> str:
    written = io.StringIO()
    Console(file=written, width=width, highlight=False, markup=False).print(what)
    return written.getvalue()


def cells(text: str) -> list[list[str]]:
    """The cells of every line of a table between its borders."""
    return [
        [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith(("│", "┃"))
    ]


def check(text: str, width: int, names: tuple[str, ...] = NAMES) -> None:
    """It is no wider than the terminal, no column is empty, no name is cut off."""
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for line in text.splitlines():
        if line.startswith("┏"):
            assert min(map(len, re.split("[┏┳┓]", line)[1:-1])) >= 3
    for name in names:
        first = "".join(row[0].replace(" ", "") for row in cells(text))
        assert name.replace(" ", "") in first


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_a_table_fits_and_keeps_its_names(width: int) -> None:
    made = table("title", "image", "a long header", "b", "c", leave_out=("b",))
    for name in NAMES:
        made.add_row(name, "1.000", "some words that take much room", "3")
    text = shown(made, width)
    check(text, width)
    assert ("no room for: b" in text) == (width <= 60)
    assert "1.000" in text
    assert not re.search(r"\bname|titl$", text)


def test_columns_without_room_come_in_further_tables() -> None:
    made = table("title", "image", *(f"column{n}" for n in range(12)))
    for name in NAMES:
        made.add_row(name, *(f"{n}.000" for n in range(12)))
    text = shown(made)
    check(text, 80)
    assert all(f"column{n}" in text and f"{n}.000" in text for n in range(12))
    assert text.count("title") == 1


def test_a_table_that_fits_is_as_wide_as_its_cells() -> None:
    made = table("t", "image", "a long header")
    made.add_row("cat", "1")
    assert "┃ image ┃ a long header ┃" in shown(made)


def test_a_name_that_is_longer_than_the_terminal_is_folded() -> None:
    name = "x" * 150 + "y"
    made = table("t", "image", "IoU", "seconds")
    made.add_row(name, "0.5", "1.0")
    check(shown(made), 80, (name,))


def test_as_many_rows_as_there_is_height_for() -> None:
    console = Console(file=io.StringIO(), width=80, height=24)
    made = within_height(lambda rows: "\n".join(map(str, range(rows))), 100, console)
    assert made == "\n".join(map(str, range(23)))


def test_time_so_far_and_time_left_say_which_they_are() -> None:
    assert times(12, 0, 10) == "elapsed 0:12"
    assert times(12, 1, 10) == "elapsed 0:12, about 1:48 left"
    assert times(3600, 9, 10) == "elapsed 1:00:00, about 6:40 left"
    assert [clock(s) for s in (0, 9.6, 61, 3599, 3600, 90000)] == [
        "0:00", "0:10", "1:01", "59:59", "1:00:00", "1 day, 1:00:00",
    ]  # fmt: skip


def test_a_bar_wraps_a_long_name_and_has_both_times(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    on_terminal = type(progress.errors)(
        file=written, force_terminal=True, width=80, color_system=None, markup=False
    )
    monkeypatch.setattr(progress, "errors", on_terminal)
    with progress.work_progress("reference gradcam@0.3") as advance:
        advance(NAMES[0], 1, 2)
        time.sleep(0.2)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.getvalue())
    assert "elapsed 0:0" in text
    assert re.search(r"about 0:0\d left", text)
    assert "…" not in text
    assert NAMES[0].split()[-1] in text


def test_a_pipe_gets_a_line_for_each_phase_and_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    with progress.phase("loading"):
        time.sleep(0.2)
    with progress.work_progress("comparing") as advance:
        for number, key in enumerate(("cat", "dog")):
            for step in ("LIME", "Grad-CAM"):
                advance(f"{key}, {step}", number + 0.5, 2)
                time.sleep(0.1)
            advance(key, number + 1, 2)
    with progress.phase("short"):
        pass
    assert capsys.readouterr().err.splitlines() == ["loading", "comparing: cat", "comparing: dog"]


def a_study(key: str, finished: int) -> StudyOverview:
    return StudyOverview(f"demo/{key}", {"COMPLETE": finished}, 3, 0.8, 0.81, 1.2, 0.05, 0.5, 21.0,
                         None)  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_of_tune(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {f"demo/{key}": key for key in NAMES}
    watcher = StudyWatcher(URL, names, 60, {"demo/cat": 10})
    rows = {f"demo/{key}": a_study(key, 12) for key in NAMES[1:]}
    monkeypatch.setattr(watcher, "_start", time.monotonic() - 14)
    text = shown(watcher._table(rows, 3), width)
    check(text, width)
    # Fourteen trials since the start took fourteen seconds, and 156 of 170 are left.
    assert re.search(r"24/180 trials, elapsed 0:14, about 2:3\d left", text)
    assert "waiting" in text
    fewer = shown(watcher._table(rows, 1), width)
    assert "and 2 more images" in fewer


def test_an_estimate_is_there_after_the_first_trial() -> None:
    watcher = StudyWatcher(URL, {"demo/cat": "cat"}, 60, {"demo/cat": 10})
    assert "left" not in shown(watcher._table({"demo/cat": a_study("cat", 10)}, 1))
    assert "left" in shown(watcher._table({"demo/cat": a_study("cat", 11)}, 1))


def test_tune_through_a_pipe_says_which_image_is_done(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random_studies(URL, "demo", ("cat", "house"), 3)
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    monkeypatch.setattr(study_watcher, "_EVERY", 0.01)
    with StudyWatcher(URL, {"demo/cat": "cat", "demo/house": "house"}, 3, {"demo/cat": 3}):
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "tuning 2 images, 3 trials each"
    assert len(lines) == 2  # the cat was done before
    assert re.fullmatch(
        r"house: best IoU 0\.\d+, default 0\.\d+ "
        r"\(2 of 2 images, 6/6 trials, elapsed 0:0\d, about 0:00 left\)",
        lines[1],
    )


@pytest.mark.parametrize("width", [80, 140])
def test_status(width: int, here: Path) -> None:
    keys = tuple(f"{name} {number}" for number in range(5) for name in NAMES)
    random_studies(URL, "tml25", keys, 1)
    rows, activities = status._look(URL, None)
    text = shown(status._view(URL, None, rows, activities), width)
    check(text, width, tuple(f"tml25/{key}" for key in keys))
    console = Console(file=io.StringIO(), width=width, height=16)
    fitting = within_height(
        lambda most: status._view(URL, None, rows, activities, most), len(rows), console
    )
    lines = shown(fitting, width).splitlines()
    assert 10 <= len(lines) < 16
    assert re.search(r"and \d+ more studies", " ".join(lines))
    # The explained classes are the first to go.
    rows[0] = replace(rows[0], explained=ExplainedClass(1, "cat", 0.5, asked=False))
    everything = status._view(URL, None, rows, activities, len(rows))
    assert "explained classes:" in shown(status._view(URL, None, rows, activities), width)
    assert shown(everything, width).splitlines()[-1] == "and the explained classes"


RESULT = {
    "avg_iou": 0.8, "avg_time": 1.5, "seeds": 5, "reference": "masks",
    "images": {
        name: {"iou": 0.8, "iou_std": 0.01, "time": 1.5, "label": "West Highland white terrier"}
        for name in NAMES
    },
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
def test_verify(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export.console, "_width", width)
    export.show_verification({**RESULT, "defaults": RESULT})
    text = capsys.readouterr().out
    check(text, width)
    assert all(header in text for header in ("IoU", "default", "0.800", "1.50"))
    assert ("no room for" in text) == (width == 80)


@pytest.mark.parametrize("width", [80, 140])
def test_compare(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparison_tables.console, "_width", width)
    run = comparison_run("demo", "cat", "dog", "house")
    comparison_tables.show_comparison(run)
    text = capsys.readouterr().out
    check(text, width, tuple(measure.title for measure in MEASURES.values()))
    for method in methods_of(run):
        assert all(word in text for word in method.split())
    assert ("no room for: better" in text) == (width == 80)


@pytest.mark.parametrize("width", [80, 140])
def test_leaderboard(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teams = tuple(f"{name} of the explaining" for name in NAMES)
    rows = [BoardRow(team, 0.5, 1.5, "2026-01-01 10:00") for team in teams]
    monkeypatch.setattr(submission.console, "_width", width)
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    submission.show_board(rows, [at, None, None], "http://server")
    text = capsys.readouterr().out
    check(text, width, teams)
    assert "0.5000" in text


def test_next_steps_run_as_they_are_printed(tiny_catalogue: Path, cli: Cli) -> None:
    """``tune``, ``export`` and ``verify`` say what to do next; with --json they do not."""
    few = ("--trials", "1", "--images", "house", "--storage", "sqlite:///my own.db")
    step = next_step(cli.ok(*TUNE_TINY, *few))
    assert step[1] == "export"
    exported = next_step(cli.ok(*step[1:]))
    assert exported[1] == "verify"
    verified = next_step(cli.ok(*exported[1:], "--seeds", "1", "--baseline-seeds", "0"))
    assert verified[1] == "report"
    assert "--storage" in verified
    assert "next:" not in cli.ok(*step[1:], "--json")
    assert "next:" not in cli.ok(*TUNE_TINY, *few, "--json")


def next_step(text: str) -> list[str]:
    line = text.splitlines()[-1]
    assert line.startswith("next: lime-tuner ")
    return shlex.split(line.removeprefix("next: "))


def test_export_takes_what_tune_took(tiny_catalogue: Path, cli: Cli) -> None:
    cli.ok(*TUNE_TINY, "--trials", "1", "--images", "house,key", "--seeds", "1")
    few = ("--images", "house", "--device", "cpu", "--reference", "masks")
    assert "parameters of 1 images" in cli.ok("export", *TINY, *few)
    line = cli.refused("export", "--catalog", "demo.toml", "--model", "resnet50", *few)
    assert f"was made with --model {MODEL[1]}, not resnet50" in line


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_is_shown_what_there_is_after_an_interruption(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(console), "is_terminal", terminal)
    shown: list[str] = []
    with pytest.raises(KeyboardInterrupt), shown_if_interrupted(lambda: shown.append("table")):
        raise KeyboardInterrupt
    assert bool(shown) == terminal


@contextmanager
def on_terminal(
    *arguments: str, rows: int = 24, columns: int = 80
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str]]]:
    """A command on a terminal of its own, and a function that waits for a text there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {n: v for n, v in os.environ.items() if n not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**environment, "TERM": "xterm", "PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = ""

    def wait_for(text: str) -> str:
        """All that was written until then, without colours and movements."""
        nonlocal seen
        deadline = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    seen += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # it has ended
                    break
        assert text in seen, seen
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\r", "", seen)

    try:
        yield process, wait_for
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
def test_on_a_terminal_the_table_stays_after_an_interruption(tiny_catalogue: Path) -> None:
    arguments = (*TUNE_TINY, "--images", "house,key", "--trials", "100000", "--seeds", "1")
    with on_terminal(*arguments) as (process, wait_for):
        assert "loading" in wait_for("loading")
        wait_for(" left")
        process.send_signal(signal.SIGINT)
        text = wait_for("interrupted: what is recorded is kept")
    assert process.returncode is not None
    last = text[text.rindex("┏") :]
    assert re.search(r"│ house +│ +\d+/100000 │", last)
    assert max(len(line) for line in last.splitlines() if line[0] in "┏│└") <= 80
    assert re.search(r"\d+/200000 trials, elapsed 0:\d\d, about [\d:, days]+ left", text)


def test_the_next_command_has_the_model_of_the_studies(tiny_catalogue: Path, cli: Cli) -> None:
    cli.ok(*TUNE_TINY, "--images", "house", "--trials", "1", "--seeds", "1")
    out = cli.ok("export", "--catalog", tiny_catalogue.name, "--images", "house")
    (line,) = (each for each in out.splitlines() if each.startswith("next: "))
    assert line.endswith(" ".join(MODEL))
