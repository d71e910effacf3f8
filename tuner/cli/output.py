"""Output of commands: tables, progress bars on a terminal, and JSON documents."""

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
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

__all__ = [
    "console", "download_progress", "errors", "rounded", "steps_within", "table", "work_progress",
    "write_json",
]  # fmt: skip


class _Output(Console):
    """Standard output; the command ends when its reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Raise for the command line to handle; rich would exit with an error status."""
        raise BrokenPipeError


class _Remarks(Console):
    """Standard error; the work goes on when its reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Print nothing from now on."""
        self.quiet = True


# A pipe has no width, and the default of 80 columns would fold every table. ``sys.stdout`` is None
# if the program was started with it closed.
_on_terminal = sys.stdout is not None and sys.stdout.isatty()
# Without markup and emoji: names of images, files and studies may contain brackets and colons.
console = _Output(
    highlight=False, markup=False, emoji=False, width=None if _on_terminal else 160
)  # fmt: skip
errors = _Remarks(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def write_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(_plain(document), indent=2) + "\n")


def _plain(document: Any) -> Any:
    """The document with ``None`` for ``nan``, which JSON does not have."""
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


def rounded(value: float | None, digits: int) -> str:
    """A number with this many decimals; empty for ``None``."""
    return "" if value is None else f"{value:.{digits}f}"


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each download, only on a terminal; called with (name, done, in all)."""
    progress = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
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
def work_progress(title: str) -> Iterator[Callable[[str, float, float], None]]:
    """A progress bar, only on a terminal; called with (what, done, in all)."""
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
