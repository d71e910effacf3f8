"""Prepares a pickle for ``submit`` with predictions from its studies, and shows the tables."""

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
from tuner.cli.output import console, rounded, table
from tuner.cli.results.export import DEFAULT_PICKLE, run_export

__all__ = ["Submission", "pack", "show_answer", "show_board", "show_submission"]

_MOST_EARLIER = 10


@dataclass(frozen=True)
class Submission:
    """A pickle that can be sent.

    Attributes:
        data: the file's content.
        parameters: keyword arguments by key of the image, as plain values.
        study: prefix of the studies it comes from; ``None`` if they are unknown.
        found: predictions by key, for images that have one.
        predicted: their mean; ``None`` if an image has none.
    """

    file: Path
    data: bytes
    parameters: Mapping[str, Mapping[str, Any]]
    study: str | None
    found: Mapping[str, Prediction]
    predicted: Prediction | None

    def check_cutoff(self, cutoff: float) -> str | None:
        """Check the predicted seconds against a cut-off.

        Args:
            cutoff: seconds for all images together.

        Returns:
            A warning if an image has no prediction, so that the sum is not known.

        Raises:
            InvalidInput: the predicted seconds exceed the cut-off.
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
        """How the prediction is worse than the last answer; empty if it is not, or not known."""
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
        """The record of this submission and its answer."""
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
        """The document of ``submit --json``, with the server's own names for results."""
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
    """Read a pickle and check it; without a file, export one first.

    Raises:
        InvalidInput: an image or an argument is missing, unknown, or not accepted by stock lime.
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
    """Everything wrong with a pickle, also what ``verify`` would fill in or skip."""
    complaints = [f"{key}: is not in the catalogue" for key in document if key not in keys]
    complaints += [
        f"{key}: has no {name}, every image needs all ten arguments"
        for key, kwargs in document.items()
        for name in LIME_ARGUMENTS
        if name not in kwargs
    ]
    return complaints + [str(each) for each in check_kwargs(document, keys) if each.fatal]


def show_submission(sent: Submission, destination: str) -> None:
    """Show what is about to be sent, image by image."""
    shown = table(
        str(sent.file), "image", "samples", "batch", "superpixels", "features",
        "predicted IoU", "predicted s", leave_out=("batch", "features"),
    )  # fmt: skip
    for key, values in sent.parameters.items():
        prediction, segmentation = sent.found.get(key), values["segmentation_fn"]
        shown.add_row(
            key,
            str(values["num_samples"]),
            str(values["batch_size"]),
            "lime's own" if segmentation is None else str(segmentation["algorithm"]),
            str(values["num_features"]),
            "" if prediction is None else rounded(prediction.iou, 3),
            "" if prediction is None else rounded(prediction.seconds, 2),
        )
    mean = sent.predicted
    if mean is not None:
        shown.add_section()
        shown.add_row("mean", "", "", "", "", rounded(mean.iou, 3), rounded(mean.seconds, 2))
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
    """Show an answer beside its prediction, and the server's earlier answers.

    Args:
        earlier: oldest first.
    """
    shown = table(server, "", "IoU", "s")
    shown.add_row("answer", rounded(answer.avg_iou, 4), rounded(answer.avg_time, 3))
    if predicted is not None:
        shown.add_row("predicted", rounded(predicted.iou, 4), rounded(predicted.seconds, 3))
    console.print(shown)
    if not earlier:
        return
    before = table("earlier answers (UTC)", "submitted", "IoU", "s", "predicted IoU", "predicted s")
    for each in earlier[-_MOST_EARLIER:]:
        before.add_row(
            f"{each.at:%Y-%m-%d %H:%M}",
            rounded(each.avg_iou, 4),
            rounded(each.avg_time, 3),
            rounded(each.predicted_iou, 4),
            rounded(each.predicted_time, 3),
        )
    console.print(before)


def show_board(rows: Sequence[BoardRow], ours: Sequence[datetime | None], server: str) -> None:
    """Show a score board in its own order.

    Args:
        ours: for each row the time of our submission; ``None`` for rows of others.
    """
    if not rows:
        console.print(f"{server} has no result yet")
        return
    shown = table(server, "team", "IoU", "s", "submitted", "")
    for row, at in zip(rows, ours, strict=True):
        shown.add_row(
            row.team,
            rounded(row.iou, 4),
            rounded(row.seconds, 3),
            row.submitted,
            "" if at is None else f"ours, submitted at {at:%Y-%m-%d %H:%M} UTC",
        )
    console.print(shown)
