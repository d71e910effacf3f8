"""Progress on stderr: bars on a terminal, and elsewhere a line for each phase and image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

from tuner.cli.output.consoles import errors

__all__ = [
    "PATIENCE", "clock", "download_progress", "phase", "steps_within", "times", "work_progress",
]  # fmt: skip

PATIENCE = 1.0
"""Seconds after which work is announced where there is no terminal; what is shorter stays silent,
so that the line of an error is the only one."""


class _Times(ProgressColumn):
    """The time that has passed, and an estimate of what is left after the first step."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(times(task.elapsed or 0.0, task.completed, task.total or 0.0))


def times(elapsed: float, done: float, total: float) -> str:
    """Seconds so far and, in proportion to what is done, those that are left, in words."""
    text = f"elapsed {clock(elapsed)}"
    if total and 0 < done <= total:
        text += f", about {clock(elapsed * (total - done) / done)} left"
    return text


def clock(seconds: float) -> str:
    """Seconds as ``h:mm:ss`` without leading zeros: ``0:07``, ``12:30``, ``3:00:00``."""
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix("0:").removeprefix("0") if seconds < 3599.5 else text


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each download on a terminal, elsewhere a line; called with (name, done, in all)."""
    if not errors.is_terminal:
        lines = _Lines("downloading")
        yield lines.report
        return
    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
        console=errors, transient=True,
    )  # fmt: skip
    with progress:
        bars: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=total or None)
            progress.update(bars[name], completed=done)

        yield report


def steps_within(
    advance: Callable[[str, float, float], None], what: str, done: int, total: int
) -> Callable[[int, int], None]:
    """A callback for the steps of one piece of work, when ``done`` of ``total`` are done."""

    def report(step: int, steps: int) -> None:
        advance(what, done + step / max(steps, 1), total)

    return report


@contextmanager
def phase(title: str) -> Iterator[None]:
    """Say what is being done while it is done, for work without steps."""
    if not errors.is_terminal:
        with _Lines(title):
            yield
        return
    with Progress(
        SpinnerColumn(), _description(), _Times(), console=errors, transient=True
    ) as progress:
        progress.add_task(title, total=None)
        yield


@contextmanager
def work_progress(title: str) -> Iterator[Callable[[str, float, float], None]]:
    """A bar on a terminal, elsewhere a line for each image; called with (what, done, in all).

    ``what`` is an image, or an image, a comma and what is done with it.
    """
    if not errors.is_terminal:
        with _Lines(title) as lines:
            yield lines.report
        return
    with Progress(
        _description(), BarColumn(bar_width=12), TextColumn("{task.percentage:>3.0f} %"), _Times(),
        console=errors, transient=True,
    ) as progress:  # fmt: skip
        bar = progress.add_task(title, total=None)

        def report(what: str, done: float, total: float) -> None:
            progress.update(bar, description=f"{title}: {what}", completed=done, total=total)

        yield report


def _description() -> TextColumn:
    """The text of a bar, which is wrapped where there is no room for it, never cut off."""
    return TextColumn(
        "{task.description}", markup=False, table_column=Column(no_wrap=False, overflow="fold")
    )


class _Lines:
    """Lines on a phase where there is no terminal: after :data:`PATIENCE`, one for each image."""

    def __init__(self, title: str) -> None:
        self._title, self._now = title, ""
        self._start = time.monotonic()
        self._said: set[str] = set()
        self._timer = threading.Timer(min(PATIENCE, threading.TIMEOUT_MAX), self._say)
        self._timer.daemon = True

    def __enter__(self) -> _Lines:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def report(self, what: str, done: float, total: float) -> None:
        """Say what is being worked on, once."""
        self._now = what.partition(", ")[0]
        if time.monotonic() - self._start >= PATIENCE:
            self._say()

    def _say(self) -> None:
        if self._now in self._said:
            return
        self._said.add(self._now)
        text = f"{self._title}: {self._now}" if self._now else self._title
        elapsed = time.monotonic() - self._start
        errors.print(f"{text} (elapsed {clock(elapsed)})" if elapsed >= 2 else text)
