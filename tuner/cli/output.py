"""What people see: tables and progress on a terminal, JSON on request, silence otherwise."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

__all__ = [
    "console", "download_progress", "errors", "steps_within", "table", "work_progress",
    "write_json",
]  # fmt: skip


class _Output(Console):
    """Standard output; when whoever reads it leaves, the command ends."""

    def on_broken_pipe(self) -> None:
        """Let the command line know; rich would end the program as failed."""
        raise BrokenPipeError


class _Remarks(Console):
    """Standard error; the work goes on when nobody reads it any more."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True


# A pipe has no width; 80 columns would fold every table. Started with a closed one, there is none.
_on_terminal = sys.stdout is not None and sys.stdout.isatty()
# Keys and paths may hold square brackets and colons, which mean nothing to rich.
console = _Output(
    highlight=False, markup=False, emoji=False, width=None if _on_terminal else 160
)
errors = _Remarks(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def write_json(document: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    sys.stdout.write(json.dumps(_plain(document), indent=2) + "\n")


def _plain(document: Any) -> Any:
    """JSON has no ``nan``: what is not known is null."""
    if isinstance(document, dict):
        return {name: _plain(value) for name, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_plain(value) for value in document]
    return None if isinstance(document, float) and math.isnan(document) else document


def table(title: str, *columns: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        first = index == 0
        made.add_column(column, justify="left" if first else "right", no_wrap=not first)
    return made


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for downloads; quiet when not on a terminal."""
    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip
    with progress:
        bars: dict[str, Any] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=total or None)
            progress.update(bars[name], completed=done)

        yield report


def steps_within(
    advance: Callable[[str, float, float], None], what: str, done: int, total: int
) -> Callable[[int, int], None]:
    """A callback for the steps of one of several pieces of work, of which ``done`` are done."""

    def report(step: int, steps: int) -> None:
        advance(what, done + step / max(steps, 1), total)

    return report


@contextmanager
def work_progress(title: str) -> Iterator[Callable[[str, float, float], None]]:
    """A bar for steps that take long: called with (what, done, in all)."""
    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip
    with progress:
        bar = progress.add_task(title, total=None)

        def report(what: str, done: float, total: float) -> None:
            progress.update(bar, description=f"{title}: {what}", completed=done, total=total)

        yield report
