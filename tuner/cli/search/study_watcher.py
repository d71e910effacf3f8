"""The table that ``tune`` shows on a terminal while its studies run."""

from __future__ import annotations

import threading
import time

from rich.live import Live
from rich.table import Table

from explainers.errors import LimeTunerError
from studies.queries import StudyOverview, overview
from tuner.cli.output import errors, rounded, table

__all__ = ["StudyWatcher"]


class StudyWatcher:
    """A live table of the studies, read from the storage; shown only on a terminal.

    Args:
        names: key of the image by name of the study.
        trials: number of trials that each study should have.
    """

    def __init__(self, storage: str, names: dict[str, str], trials: int) -> None:
        self._storage, self._names, self._trials = storage, names, trials
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if errors.is_terminal:
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _show(self) -> None:
        start = time.monotonic()
        first: int | None = None
        with Live(console=errors, transient=True, refresh_per_second=2) as live:
            while not self._stop.wait(1.5):
                rows = self._rows()
                finished = sum(row.finished for row in rows.values())
                first = finished if first is None else first
                rate = (finished - first) / max(time.monotonic() - start, 1e-9)
                wanted = self._trials * len(self._names)
                left = f"{(wanted - finished) / rate / 60:.1f} min left" if rate > 0 else "starting"
                live.update(self._table(rows, f"{finished}/{wanted} trials, {left}"))

    def _rows(self) -> dict[str, StudyOverview]:
        try:
            return {r.study: r for r in overview(self._storage, None) if r.study in self._names}
        except LimeTunerError:  # no study yet
            return {}

    def _table(self, rows: dict[str, StudyOverview], title: str) -> Table:
        shown = table(title, "image", "trials", "best score", "IoU", "default IoU", "× faster")
        for study, key in self._names.items():
            row = rows.get(study)
            if row is None:
                shown.add_row(key, "waiting", "", "", "", "")
                continue
            shown.add_row(
                key,
                f"{row.finished}/{self._trials}",
                rounded(row.best_score, 3),
                rounded(row.best_iou, 3),
                rounded(row.default_iou, 3),
                "" if not row.best_ratio else f"{1 / row.best_ratio:.0f}",
            )
        return shown
