"""What ``tune`` shows while its studies run: a table on a terminal, else a line for each image."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from functools import partial

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from explainers.errors import LimeTunerError
from studies.queries import StudyOverview, overview
from tuner.cli.output import errors, rounded, table, within_height
from tuner.cli.output import progress as progress_output

__all__ = ["StudyWatcher"]

_EVERY = 1.5  # seconds between two looks at the storage


class StudyWatcher:
    """Shows on stderr how far the studies are, as the storage has them.

    An interruption leaves the table of what there is on a terminal.

    Args:
        names: key of the image by name of the study.
        trials: number of trials that each study should have.
        before: number of finished trials that a study had at the start, by its name.
    """

    def __init__(
        self, storage: str, names: Mapping[str, str], trials: int, before: Mapping[str, int]
    ) -> None:
        self._storage, self._names, self._trials, self._before = storage, names, trials, before
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._start = time.monotonic()
        if errors.is_terminal:
            self._thread = threading.Thread(target=self._show, daemon=True)
        elif math.isfinite(progress_output.PATIENCE):
            self._thread = threading.Thread(target=self._tell, daemon=True)
        if self._thread is not None:
            self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        if kind is not None and errors.is_terminal:
            rows = self._rows()
            if rows:
                errors.print(self._table(rows, len(self._names)), soft_wrap=False)

    def _show(self) -> None:
        with Live(console=errors, transient=True, refresh_per_second=2) as live:
            while True:
                made = partial(self._table, self._rows())
                live.update(within_height(made, len(self._names), errors))
                if self._stop.wait(_EVERY):
                    return

    def _tell(self) -> None:
        """A line at the start and for each image whose trials are done."""
        told = {study for study, count in self._before.items() if count >= self._trials}
        count = len(self._names)
        if self._stop.wait(_EVERY):
            return
        errors.print(f"tuning {count} image{'s' * (count != 1)}, {self._trials} trials each")
        while not self._stop.wait(_EVERY):
            rows = self._rows()
            for study, row in rows.items():
                if row.finished >= self._trials and study not in told:
                    told.add(study)
                    errors.print(
                        f"{self._names[study]}: best IoU {rounded(row.best_iou, 3) or 'none'}, "
                        f"default {rounded(row.default_iou, 3) or 'none'} "
                        f"({len(told)} of {count} images, {self._progress(rows)})"
                    )

    def _rows(self) -> dict[str, StudyOverview]:
        try:
            return {r.study: r for r in overview(self._storage, None, only=list(self._names))}
        except LimeTunerError:  # no study yet
            return {}

    def _progress(self, rows: Mapping[str, StudyOverview]) -> str:
        """How many trials there are, the time they took, and what is left."""
        finished = sum(row.finished for row in rows.values())
        before, wanted = sum(self._before.values()), self._trials * len(self._names)
        elapsed = time.monotonic() - self._start
        return (
            f"{finished}/{wanted} trials, "
            f"{progress_output.times(elapsed, finished - before, wanted - before)}"
        )

    def _table(self, rows: Mapping[str, StudyOverview], most: int) -> RenderableType:
        """The table; with fewer rows than there are images, those at work come first."""
        shown = table(
            self._progress(rows), "image", "trials", "best score", "IoU", "default IoU", "× faster",
            leave_out=("best score", "× faster", "default IoU"),
        )  # fmt: skip
        names = sorted(self._names, key=lambda study: self._rank(rows.get(study)))[:most]
        for study, key in self._names.items():
            row = rows.get(study)
            if study not in names:
                continue
            if row is None:
                shown.add_row(key, "waiting")
                continue
            shown.add_row(
                key,
                f"{row.finished}/{self._trials}",
                rounded(row.best_score, 3),
                rounded(row.best_iou, 3),
                rounded(row.default_iou, 3),
                "" if not row.best_ratio else f"{1 / row.best_ratio:.0f}",
            )
        hidden = len(self._names) - len(names)
        return Group(shown, Text(f"and {hidden} more images")) if hidden else shown

    def _rank(self, row: StudyOverview | None) -> int:
        if row is None:
            return 2
        return 0 if row.finished < self._trials else 1
