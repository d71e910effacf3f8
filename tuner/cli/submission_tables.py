"""Tables of what is submitted, of its answer, and of a score board."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tuner.cli.output import console, table

if TYPE_CHECKING:
    from studies.predicted import Prediction
    from studies.records import Submitted
    from studies.score_board import BoardRow
    from studies.submission import Answer
    from tuner.cli.parcel import Parcel

__all__ = ["show_answer", "show_board", "show_parcel"]

_MOST_EARLIER = 10


def show_parcel(parcel: Parcel, destination: str) -> None:
    """What is about to be sent, image by image."""
    shown = table(
        str(parcel.file), "image", "samples", "batch", "superpixels", "features",
        "predicted IoU", "predicted s",
    )  # fmt: skip
    for key, values in parcel.parameters.items():
        found, segmentation = parcel.found.get(key), values["segmentation_fn"]
        shown.add_row(
            key,
            str(values["num_samples"]),
            str(values["batch_size"]),
            "lime's own" if segmentation is None else str(segmentation["algorithm"]),
            str(values["num_features"]),
            "" if found is None else _number(found.iou, 3),
            "" if found is None else _number(found.seconds, 2),
        )
    mean = parcel.predicted
    if mean is not None:
        shown.add_section()
        shown.add_row("mean", "", "", "", "", _number(mean.iou, 3), _number(mean.seconds, 2))
    console.print(shown)
    console.print(f"sha256 {hashlib.sha256(parcel.data).hexdigest()}")
    console.print(f"to {destination}", markup=False, soft_wrap=True)
    if mean is None:
        unknown = ", ".join(key for key in parcel.parameters if key not in parcel.found)
        whose = f"the parameters of {unknown}" if parcel.found else "this file's parameters"
        console.print(f"no prediction: {whose} were not tuned here", markup=False, soft_wrap=True)


def show_answer(
    answer: Answer, predicted: Prediction | None, server: str, earlier: Sequence[Submitted]
) -> None:
    """An answer beside what was predicted, and what the server has answered before.

    Args:
        earlier: oldest first.
    """
    shown = table(server, "", "IoU", "s")
    shown.add_row("answer", _number(answer.avg_iou, 4), _number(answer.avg_time, 3))
    if predicted is not None:
        shown.add_row("predicted", _number(predicted.iou, 4), _number(predicted.seconds, 3))
    console.print(shown)
    if not earlier:
        return
    before = table(
        "earlier answers (UTC)", "submitted", "IoU", "s", "predicted IoU", "predicted s"
    )
    for each in earlier[-_MOST_EARLIER:]:
        before.add_row(
            f"{each.at:%Y-%m-%d %H:%M}",
            _number(each.avg_iou, 4),
            _number(each.avg_time, 3),
            _number(each.predicted_iou, 4),
            _number(each.predicted_time, 3),
        )
    console.print(before)


def show_board(
    rows: Sequence[BoardRow], ours: Sequence[datetime | None], server: str
) -> None:
    """A score board in its own order.

    Args:
        ours: when each line was submitted by us; ``None`` for lines of others.
    """
    if not rows:
        console.print(f"{server} has no result yet", markup=False)
        return
    shown = table(server, "team", "IoU", "s", "submitted", "")
    for row, at in zip(rows, ours, strict=True):
        shown.add_row(
            row.team,
            _number(row.iou, 4),
            _number(row.seconds, 3),
            row.submitted,
            "" if at is None else f"ours, submitted at {at:%Y-%m-%d %H:%M} UTC",
        )
    console.print(shown)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
