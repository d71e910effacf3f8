"""``lime-tuner status``: a table of studies, their progress and their workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from explainers.errors import InvalidInput, LimeTunerError
from studies.queries import activity, overview
from studies.results.explained_class import classes_line
from studies.results.fidelity import compromise_lines
from studies.results.front import front_document
from studies.results.runtime_doubt import doubtful_seconds
from studies.results.stagnation import is_stagnant
from studies.storage import describe
from tuner.cli.options import AsJson, StorageOptions, takes_groups
from tuner.cli.output import console, rounded, table, within_height, write_json
from tuner.cli.results.front import shown_front
from tuner.options import OUTPUT, WHAT

if TYPE_CHECKING:
    from rich.console import RenderableType

    from explainers.metrics import Faithfulness
    from studies.queries import StudyActivity, StudyOverview
    from studies.results.fidelity import Fidelity

__all__ = ["status"]

_EVERY = 2.0  # seconds between two updates
_FIDELITY = "R², insertion − deletion"


@takes_groups
def status(
    where: StorageOptions,
    study: Annotated[
        str | None,
        typer.Option("--study", help="Only studies with this prefix.", rich_help_panel=WHAT),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Keep the table up to date until Ctrl-C.", rich_help_panel=OUTPUT
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What each study has: trials, best, default, workers, failures.

    Seconds are modelled, times are UTC. A study is stagnant when its best is so many trials
    old that others need the time more. A worker that has given no sign of life for a while is
    silent: its trial is run again.
    """
    url = where.storage
    if watch and as_json:
        raise InvalidInput("--watch shows a table that changes, --json one document: give one")
    if watch and not console.is_terminal:
        raise InvalidInput("--watch needs a terminal: leave it out, or ask again with --json")
    if watch:
        _watch(url, study)
        return
    rows, activities = _look(url, study)
    if as_json:
        write_json({row.study: _document(row, activities[row.study]) for row in rows})
    else:
        console.print(_view(url, study, rows, activities))


def _look(url: str, study: str | None) -> tuple[list[StudyOverview], dict[str, StudyActivity]]:
    rows = overview(url, study)
    return rows, activity(url, rows)


def _watch(url: str, study: str | None) -> None:
    """Update the table until Ctrl-C; shows an error and retries if the database is away."""
    view = _fitting(url, study)
    with Live(view, console=console, auto_refresh=False) as live:
        try:
            while True:
                live.refresh()
                time.sleep(_EVERY)
                try:
                    view = _fitting(url, study)
                except LimeTunerError as error:
                    live.update(Group(view, str(error)))
                else:
                    live.update(view)
        except KeyboardInterrupt:  # the way to end it
            return


def _fitting(url: str, study: str | None) -> RenderableType:
    """The table with as many studies as the terminal has room for."""
    rows, activities = _look(url, study)
    count = 1 + max(len(rows), len(_lines(rows, activities)))  # one more: the explained classes
    return within_height(lambda most: _view(url, study, rows, activities, most), count, console)


def _document(row: StudyOverview, activity: StudyActivity) -> dict[str, Any]:
    return {
        "trials": row.trials,
        "best": {
            "number": row.best_number, "score": row.best_score, "iou": row.best_iou,
            "runtime_seconds": row.best_seconds, "runtime_ratio": row.best_ratio,
            **_explains(row.best_faithful, row.best_fidelity, row.compromise),
        },
        "default": {
            "iou": row.default_iou, "runtime_seconds": row.default_seconds,
            **_explains(row.default_faithful, row.default_fidelity),
        },
        "front": None if row.front is None else front_document(row.front),
        "reliability": row.reliability,
        "runtime_doubt": row.runtime_doubt,
        "class": row.explained and row.explained.to_json(),
        "coverage": row.coverage,
        "last_activity": row.last_activity and str(row.last_activity),
        "last_improvement": {
            "trial": row.best_number,
            "at": activity.improved and str(activity.improved),
            "trials_since": activity.since_best,
            "stagnant": is_stagnant(row.finished, row.best_number),
        },
        "workers": list(activity.workers),
        "running": [
            {
                "trial": each.number, "worker": each.worker, "heard_seconds": each.heard,
                "silent": each.silent,
            }
            for each in activity.running
        ],
        "failures": [
            {
                "trial": each.number, "worker": each.worker, "reason": each.reason,
                "at": each.at and str(each.at),
            }
            for each in activity.failures
        ],
    }  # fmt: skip


def _view(
    url: str,
    study: str | None,
    rows: list[StudyOverview],
    activities: dict[str, StudyActivity],
    most: int | None = None,
) -> RenderableType:
    """The table and the lines below it.

    Args:
        most: studies and lines that there is room for; those at work come first. The explained
            classes need one more than there are. ``None`` for all.
    """
    if not rows:
        scope = "" if study is None else f" named {study}/…"
        return Text(f"{describe(url)} has no studies{scope}: run lime-tuner tune")
    fronts = any(row.front is not None for row in rows)
    scored = any(row.best_iou is not None for row in rows)
    judged = any(row.best_fidelity is not None for row in rows)
    of_reference = [
        (title, values)
        for title, values in (
            ("share", [row.coverage for row in rows]),
            ("reliability", [row.reliability for row in rows]),
        )
        if any(value is not None for value in values)
    ]
    ious = ["default IoU", "best IoU"] if scored or not judged else []
    fidelity = [f"default {_FIDELITY}", f"best {_FIDELITY}"] if judged else []
    shown = table(
        f"{describe(url)} (modelled seconds, UTC)",
        "study", "finished", "running", "failed", *ious, *fidelity, "default s", "best s",
        *(title for title, _ in of_reference), "best since", "last activity",
        *(["front"] if fronts else []),
        leave_out=(
            "reliability", "share", "front", "best since", "default s", "last activity", "failed",
            "running", *(fidelity if scored else []),
        ),
    )  # fmt: skip
    lines = _lines(rows, activities)
    kept = [row.study for row in sorted(rows, key=lambda row: not row.trials.get("RUNNING"))][:most]
    for number, row in enumerate(rows):
        if row.study not in kept:
            continue
        shown.add_row(
            row.study,
            str(row.finished),
            str(row.trials.get("RUNNING", 0)),
            str(row.trials.get("FAIL", 0)),
            *([rounded(row.default_iou, 3), rounded(row.best_iou, 3)] if ious else []),
            *([_judged(row.default_fidelity), _judged(row.best_fidelity)] if fidelity else []),
            rounded(row.default_seconds, 2),
            rounded(row.best_seconds, 2),
            *(rounded(values[number], 2) for _, values in of_reference),
            _since(row, activities[row.study]),
            "" if row.last_activity is None else f"{row.last_activity:%m-%d %H:%M}",
            *([shown_front(row.front)] if fronts else []),
        )
    classes = classes_line({row.study: row.explained for row in rows})
    if most is None or most > max(len(rows), len(lines)):
        lines = [*([classes] if classes else []), *lines]
    else:
        hidden = {"studies": len(rows) - len(kept), "lines": len(lines[most:])}
        counted = [f"{count} more {name}" for name, count in hidden.items() if count]
        what = ", ".join([*counted, *(["the explained classes"] if classes else [])])
        lines = [*lines[:most], *([f"and {what}"] if what else [])]
    return Group(shown, *(Text(line) for line in lines))


def _since(row: StudyOverview, activity: StudyActivity) -> str:
    if activity.improved is None:
        return ""
    stagnant = ", stagnant" * is_stagnant(row.finished, row.best_number)
    return (
        f"#{row.best_number}, {activity.improved:%m-%d %H:%M}, {activity.since_best} ago{stagnant}"
    )


def _lines(rows: list[StudyOverview], activities: dict[str, StudyActivity]) -> list[str]:
    """Lines on running trials, the last failure of each study, compromises, doubtful seconds."""
    lines = []
    for row in rows:
        for trial in activities[row.study].running:
            who = trial.worker or "a worker"
            if trial.heard is None:
                heard = "silent from the start"
            else:
                heard = f"{'silent, ' * trial.silent}heard {trial.heard:.0f} s ago"
            lines.append(f"{who}: {row.study} trial {trial.number}, {heard}")
    for row in rows:
        failures = activities[row.study].failures
        if failures:
            last = failures[-1]
            lines.append(
                f"{row.study}: {len(failures)} failed, the last, trial {last.number}: {last.reason}"
            )
    compromises = [row.study for row in rows if row.compromise]
    doubts = doubtful_seconds({row.study: row.runtime_doubt for row in rows})
    return lines + compromise_lines(compromises) + doubts


def _explains(
    faithful: Faithfulness | None, fidelity: Fidelity | None, compromise: bool = False
) -> dict[str, Any]:
    """What is known of a trial's explanations, as in ``tune --json``."""
    if faithful is not None:
        return {"faithful": faithful.to_json()}
    if fidelity is None:
        return {}
    return {"fidelity": fidelity.to_json(), "compromise": compromise}


def _judged(found: Fidelity | None) -> str:
    return "" if found is None else f"{found.r2:.3f}, {found.gain:.3f}"
