"""The score board: the newest grade of every team, as a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

from explainers.foreign_text import one_line
from studies.records.grades import Grade

__all__ = ["ORDERS", "away_page", "board_page", "board_rows"]

_REFRESH_SECONDS = 30
_Key = Callable[[Grade], Any]

ORDERS: dict[str, tuple[str, str, _Key]] = {
    "team": ("Team", "ascending", lambda grade: grade.team.casefold()),
    "iou": ("LIME IoU", "descending", lambda grade: (-grade.avg_iou, grade.avg_time)),
    "time": ("LIME time (s)", "ascending", lambda grade: (grade.avg_time, -grade.avg_iou)),
    "submitted": ("Submitted at", "descending", lambda grade: -grade.at.timestamp()),
}
"""Columns: title, direction and key of the order that a click on the title gives."""


def board_rows(grades: Sequence[Grade]) -> list[dict[str, Any]]:
    """The board as JSON values, in the order of the places.

    Args:
        grades: the best first.
    """
    return [
        {
            "place": place,
            "team": one_line(grade.team),
            "avg_iou": grade.avg_iou,
            "avg_time": grade.avg_time,
            "submitted_at": f"{grade.at.isoformat(timespec='seconds')}Z",
            "submissions": grade.submissions,
        }
        for place, grade in enumerate(grades, start=1)
    ]


def board_page(grades: Sequence[Grade], order: str, lead: str) -> str:
    """The page.

    Args:
        grades: the best first.
        order: one of :data:`ORDERS`; anything else is the order of the places.
    """
    order = order if order in ORDERS else "iou"
    places = {grade.team: place for place, grade in enumerate(grades, start=1)}
    best_iou = max((grade.avg_iou for grade in grades), default=0.0)
    best_time = min((grade.avg_time for grade in grades), default=0.0)
    rows = [
        {
            "place": places[grade.team],
            "team": one_line(grade.team),
            "iou": f"{grade.avg_iou:.4f}",
            "time": f"{grade.avg_time:.3f}",
            "best_iou": grade.avg_iou == best_iou,
            "best_time": grade.avg_time == best_time,
            "at": grade.at.isoformat(timespec="seconds"),
            "day": f"{grade.at:%Y-%m-%d}",
            "clock": f"{grade.at:%H:%M}",
        }
        for grade in sorted(grades, key=ORDERS[order][2])
    ]
    return _page(rows=rows, order=order, lead=lead, away="")


def away_page(reason: str) -> str:
    """The page while the grades cannot be read; it looks again, and becomes the other one."""
    return _page(rows=[], order="iou", lead="", away=reason)


def _page(**facts: Any) -> str:
    import jinja2

    source = resources.files("studies.web.grading") / "score_board.html.j2"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(source.read_text("utf-8")).render(
        columns=[
            {"key": key, "title": title, "direction": direction}
            for key, (title, direction, _) in ORDERS.items()
        ],
        refresh=_REFRESH_SECONDS,
        **facts,
    )
