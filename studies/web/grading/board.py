"""The score board: the newest grade of every team, as a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import jinja2

from explainers.messages import one_line
from studies.records.grades import Grade

__all__ = ["ORDERS", "board_page", "board_rows"]

_REFRESH_SECONDS = 30
_TEMPLATE = resources.files("studies.web.grading") / "score_board.html.j2"
_Key = Callable[[Grade], Any]

ORDERS: dict[str, tuple[str, str, _Key]] = {
    "team": ("Team", "ascending", lambda grade: grade.team.casefold()),
    "iou": ("LIME IoU", "descending", lambda grade: (-grade.avg_iou, grade.avg_time)),
    "time": ("LIME time (s)", "ascending", lambda grade: (grade.avg_time, -grade.avg_iou)),
    "submitted": ("Submitted at", "descending", lambda grade: -grade.at.timestamp()),
}
"""By column: its title, and direction and key of the order that a click on the title gives."""


def board_rows(grades: Sequence[Grade]) -> list[dict[str, Any]]:
    """Return the board as JSON values, in the order of the places.

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


def board_page(grades: Sequence[Grade], order: str, lead: str, *, away: str = "") -> str:
    """Render the page.

    Args:
        grades: the best first.
        order: one of :data:`ORDERS`; any other text means "iou".
        lead: sentence above the table.
        away: why the grades cannot be read now; the page reloads itself.
    """
    order = order if order in ORDERS else "iou"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        rows=sorted(enumerate(grades, start=1), key=lambda row: ORDERS[order][2](row[1])),
        best_iou=max((grade.avg_iou for grade in grades), default=None),
        best_time=min((grade.avg_time for grade in grades), default=None),
        order=order, orders=ORDERS, lead=lead, away=away, one_line=one_line,
        refresh=_REFRESH_SECONDS,
    )  # fmt: skip
