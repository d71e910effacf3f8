"""What ``submit`` sends: a pickle that is whole, with what its studies promise, and its tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput
from explainers.lime import LIME_ARGUMENTS
from studies.catalog import load_catalog
from studies.export import check_kwargs, parameters_digest, plain_kwargs, read_pickle
from studies.records import Submitted
from studies.results.predicted import Prediction, mean_prediction, predictions
from studies.submission.client import Answer
from studies.submission.score_board import BoardRow
from tuner.cli.output import console, table
from tuner.cli.results.export import DEFAULT_PICKLE, run_export

__all__ = ["Submission", "pack", "show_answer", "show_board", "show_submission"]

_MOST_EARLIER = 10


@dataclass(frozen=True)
class Submission:
    """A pickle that can be sent.

    Attributes:
        parameters: its keyword arguments by image, as plain values.
        study: prefix of the studies that know any of it.
        found: predictions by image, of those that have one.
        predicted: the mean; ``None`` when an image has none.
    """

    file: Path
    data: bytes
    parameters: Mapping[str, Mapping[str, Any]]
    study: str | None
    found: Mapping[str, Prediction]
    predicted: Prediction | None

    def check_cutoff(self, cutoff: float) -> str | None:
        """A warning where a cut-off cannot be checked, for lack of predictions.

        Args:
            cutoff: seconds for all images together.

        Raises:
            InvalidInput: those that have a prediction take longer already.
        """
        seconds = sum(each.seconds for each in self.found.values())
        if seconds > cutoff:
            raise InvalidInput(
                f"{self.file} is predicted to take {seconds:.1f} s for all images, more than the "
                f"cut-off of {cutoff:g} s: tune with a larger --runtime-weight"
            )
        if self.predicted is None:
            return f"the cut-off of {cutoff:g} s is not checked: not every image has a prediction"
        return None

    def worse_than(self, last: Submitted) -> str:
        """What would be lost; empty when nothing is, as far as is known."""
        if self.predicted is None:
            return ""
        losses = []
        if self.predicted.iou < last.avg_iou:
            losses.append(f"IoU {self.predicted.iou:.4f} after {last.avg_iou:.4f}")
        if self.predicted.seconds > last.avg_time:
            losses.append(f"{self.predicted.seconds:.3f} s after {last.avg_time:.3f} s")
        if not losses:
            return ""
        return (
            f"this is predicted to be worse than the last answer ({', '.join(losses)}), and the "
            "server keeps only the newest"
        )

    def answered(self, url: str, answer: Answer) -> Submitted:
        """The record of it and its answer."""
        return Submitted(
            at=datetime.now(timezone.utc),
            url=url,
            parameters_sha256=parameters_digest(self.parameters),
            parameters=self.parameters,
            study=self.study,
            predicted_iou=None if self.predicted is None else self.predicted.iou,
            predicted_time=None if self.predicted is None else self.predicted.seconds,
            avg_iou=answer.avg_iou,
            avg_time=answer.avg_time,
        )

    def document(self, url: str, answer: Answer | None) -> dict[str, Any]:
        """Of ``submit --json``; results by the server's own names."""
        mean = self.predicted
        return {
            "url": url,
            "file": str(self.file),
            "parameters_sha256": parameters_digest(self.parameters),
            "prediction": mean and {"avg_iou": mean.iou, "avg_time": mean.seconds},
            "answer": answer and {"avg_iou": answer.avg_iou, "avg_time": answer.avg_time},
            "dry_run": answer is None,
        }


def pack(file: Path | None, *, catalog_source: str, study: str | None, storage: str) -> Submission:
    """Export where there is no file, read it, and refuse it where anything is wrong.

    Raises:
        InvalidInput: an image or an argument is missing, too many, or nothing for stock lime.
        UnsafePickle, StorageError: see ``verify`` and ``export``.
    """
    catalog = load_catalog(catalog_source)
    prefix = study or catalog.name
    exported = file is None
    if file is None:
        file = DEFAULT_PICKLE
        run_export(
            storage, catalog_source=catalog_source, study=study, output=file, fill_defaults=False
        )
    document = read_pickle(file)
    complaints = _complaints(document, catalog.keys)
    if complaints:
        raise InvalidInput(
            f"{file} cannot be submitted, {len(complaints)} things are wrong with it; the first: "
            f"{complaints[0]}"
        )
    found = predictions(storage, prefix, document)
    return Submission(
        file=file,
        data=file.read_bytes(),
        parameters={key: plain_kwargs(kwargs) for key, kwargs in document.items()},
        study=prefix if exported or found else None,
        found=found,
        predicted=mean_prediction(found, catalog.keys),
    )


def _complaints(document: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """What ``verify`` refuses, and what it would fill in or leave out: a server may not."""
    complaints = [f"{key}: is not in the catalogue" for key in document if key not in keys]
    complaints += [
        f"{key}: has no {name}, every image needs all ten arguments"
        for key, kwargs in document.items()
        for name in LIME_ARGUMENTS
        if name not in kwargs
    ]
    return complaints + [str(each) for each in check_kwargs(document, keys) if each.fatal]


def show_submission(sent: Submission, destination: str) -> None:
    """What is about to be sent, image by image."""
    shown = table(
        str(sent.file), "image", "samples", "batch", "superpixels", "features",
        "predicted IoU", "predicted s",
    )  # fmt: skip
    for key, values in sent.parameters.items():
        prediction, segmentation = sent.found.get(key), values["segmentation_fn"]
        shown.add_row(
            key,
            str(values["num_samples"]),
            str(values["batch_size"]),
            "lime's own" if segmentation is None else str(segmentation["algorithm"]),
            str(values["num_features"]),
            "" if prediction is None else _number(prediction.iou, 3),
            "" if prediction is None else _number(prediction.seconds, 2),
        )
    mean = sent.predicted
    if mean is not None:
        shown.add_section()
        shown.add_row("mean", "", "", "", "", _number(mean.iou, 3), _number(mean.seconds, 2))
    console.print(shown)
    console.print(f"sha256 {hashlib.sha256(sent.data).hexdigest()}")
    console.print(f"to {destination}", soft_wrap=True)
    if mean is None:
        unknown = ", ".join(key for key in sent.parameters if key not in sent.found)
        whose = f"the parameters of {unknown}" if sent.found else "this file's parameters"
        console.print(f"no prediction: {whose} were not tuned here", soft_wrap=True)


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
    before = table("earlier answers (UTC)", "submitted", "IoU", "s", "predicted IoU", "predicted s")
    for each in earlier[-_MOST_EARLIER:]:
        before.add_row(
            f"{each.at:%Y-%m-%d %H:%M}",
            _number(each.avg_iou, 4),
            _number(each.avg_time, 3),
            _number(each.predicted_iou, 4),
            _number(each.predicted_time, 3),
        )
    console.print(before)


def show_board(rows: Sequence[BoardRow], ours: Sequence[datetime | None], server: str) -> None:
    """A score board in its own order.

    Args:
        ours: when each line was submitted by us; ``None`` for lines of others.
    """
    if not rows:
        console.print(f"{server} has no result yet")
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
