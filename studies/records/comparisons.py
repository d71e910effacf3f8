"""Write comparisons of explanations to our tables and read them; pictures are stored as PNG."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import sqlalchemy
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy.orm import Session

from explainers import lime, metrics, references  # as modules: their names load torch when used
from explainers.images import array_digest
from studies.records.schema import records, same_named
from studies.records.tables import (
    ComparisonRow,
    ExplanationRow,
    ImageRow,
    OtherClassRow,
    ReferenceMaskRow,
    RunRow,
)

__all__ = [
    "ComparedImage", "ComparisonRun", "add_compared_image", "add_comparison", "begin_comparison",
    "compared_images", "finish_comparison", "latest_comparison",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class ComparedImage:
    """An image of a catalogue with its comparison.

    Attributes:
        type: ``animate``, ``inanimate`` or ``None``.
        catalog_class: the class that the catalogue names, if it names one.
        pixels: (H, W, 3) uint8.
        class_names: of ``comparison.facts.top_classes``, in order.
        reference: (H, W) bool.
        reliability: of the reference, in [0, 1]; ``None`` where it was not estimated.
        doubt: why the reference is doubtful; empty if it is not.
        class_name: of the class that is explained; empty for the likeliest.
    """

    key: str
    type: str | None
    catalog_class: str | None
    pixels: NDArray[np.uint8]
    class_names: tuple[str, ...]
    reference: NDArray[np.bool_]
    reference_rule: str
    comparison: metrics.Comparison
    reliability: float | None = None
    doubt: str = ""
    class_name: str = ""

    @property
    def explained(self) -> str:
        """Name of the class that is explained."""
        return self.class_name or self.class_names[0]


@dataclass(frozen=True, eq=False)
class ComparisonRun:
    """One run of ``compare``.

    Attributes:
        at: UTC.
        seed: the first seed of LIME.
        arguments: the options of the command, as JSON values.
    """

    at: datetime
    catalog: str
    study: str
    classifier: str
    classifier_sha256: str
    device: str
    seed: int
    arguments: Mapping[str, Any]
    package_versions: Mapping[str, str]
    images: tuple[ComparedImage, ...]


def add_comparison(storage: str, run: ComparisonRun) -> None:
    """Record a run with all its images in one transaction.
    Raises:
        StorageError: the database cannot be written.
    """
    row = _run_row(run, finished=True)
    row.images = [_image_row(number, image) for number, image in enumerate(run.images)]
    with records(storage) as engine, Session(engine) as session:
        session.add(row)
        session.commit()


def begin_comparison(storage: str, run: ComparisonRun) -> tuple[int, Mapping[str, ComparedImage]]:
    """Record a run without its images, or find the newest interrupted run to continue.

    That run has the same study, catalogue, classifier, device, seed, arguments and versions.

    Returns:
        The id of the run's row, for :func:`add_compared_image` and :func:`finish_comparison`, and
        the images it already has, by key.

    Raises:
        StorageError: the database cannot be written.
    """
    row = _run_row(run, finished=False)
    same = [getattr(RunRow, name) == getattr(row, name) for name in _IDENTITY]
    query = sqlalchemy.select(RunRow).where(*same).order_by(RunRow.id.desc()).limit(1)
    with records(storage) as engine, Session(engine) as session:
        found = session.scalars(query).first()
        if found is None:
            session.add(row)
            session.commit()
            return row.id, {}
        return found.id, {image.key: _image(image) for image in found.images}


def add_compared_image(storage: str, run: int, position: int, image: ComparedImage) -> None:
    """Record an image of a run, in place of an earlier record of that image.

    Args:
        run: id of the run's row.
        position: of the image in the run.

    Raises:
        StorageError: the database cannot be written.
    """
    query = sqlalchemy.select(ImageRow).where(ImageRow.run_id == run, ImageRow.key == image.key)
    with records(storage) as engine, Session(engine) as session:
        for old in session.scalars(query).all():
            session.delete(old)
        session.flush()
        row = _image_row(position, image)
        row.run_id = run
        session.add(row)
        session.commit()


def finish_comparison(storage: str, run: int, others_share: float | None = None) -> None:
    """Mark a run as finished.

    Args:
        run: id of the run's row.
        others_share: share of the machine that other processes used meanwhile, in [0, 1].

    Raises:
        StorageError: the database cannot be written.
    """
    with records(storage) as engine, Session(engine) as session:
        row = session.get_one(RunRow, run)
        row.finished = True
        # It may be added to the arguments, as no finished run is looked up by its arguments.
        row.arguments = json.dumps(
            {**json.loads(row.arguments), "others_share": others_share}, sort_keys=True
        )
        session.commit()


def latest_comparison(storage: str, study: str | None = None) -> ComparisonRun | None:
    """Return the newest finished run, of a study prefix when one is given.

    Where none is finished, return the newest run that has an image; ``None`` if there is none.
    """
    query = sqlalchemy.select(RunRow).where(RunRow.command == "compare", RunRow.images.any())
    if study is not None:
        query = query.where(RunRow.study == study)
    query = query.order_by(RunRow.finished.desc(), RunRow.id.desc()).limit(1)
    with records(storage) as engine, Session(engine) as session:
        row = session.scalars(query).first()
        if row is None:
            return None
        return ComparisonRun(
            **same_named(row, ComparisonRun)
            | {
                "at": row.at.replace(tzinfo=timezone.utc),
                "arguments": json.loads(row.arguments),
                "package_versions": json.loads(row.package_versions),
                "images": tuple(_image(image) for image in row.images),
            }
        )


def compared_images(storage: str, classifier_sha256: str) -> dict[int, ComparedImage]:
    """Return the images of a classifier's newest finished run, by the ids of their rows."""
    query = (
        sqlalchemy.select(RunRow)
        .where(
            RunRow.command == "compare", RunRow.finished, RunRow.images.any(),
            RunRow.classifier_sha256 == classifier_sha256,
        )
        .order_by(RunRow.id.desc())
        .limit(1)
    )  # fmt: skip
    with records(storage) as engine, Session(engine) as session:
        row = session.scalars(query).first()
        return {} if row is None else {image.id: _image(image) for image in row.images}


# Columns in which an interrupted run must agree with a new one to be continued.
_IDENTITY = (
    "command", "catalog", "study", "classifier_sha256", "device", "seed", "arguments",
    "package_versions", "finished",
)  # fmt: skip


def _run_row(run: ComparisonRun, *, finished: bool) -> RunRow:
    """Return the row of a run, without images."""
    return RunRow(
        **same_named(run, RunRow)
        | {
            "at": run.at.astimezone(timezone.utc).replace(tzinfo=None),
            "arguments": json.dumps(dict(run.arguments), sort_keys=True),
            "package_versions": json.dumps(dict(run.package_versions), sort_keys=True),
        },
        command="compare",
        finished=finished,
    )


def _image_row(position: int, image: ComparedImage) -> ImageRow:
    comparison, facts = image.comparison, image.comparison.facts
    explained = [each.explanation.class_index for each in comparison.explanations]
    index = explained[0] if explained else facts.top_classes[0][0]
    top = [
        [name, number, probability]
        for name, (number, probability) in zip(image.class_names, facts.top_classes, strict=True)
    ]
    return ImageRow(
        **same_named(facts, ImageRow)
        | same_named(image, ImageRow)
        | {"class_name": image.explained, "top_classes": json.dumps(top)},
        position=position,
        sha256=array_digest(image.pixels),
        picture_png=_png(image.pixels),
        class_index=index,
        reference=ReferenceMaskRow(
            rule=image.reference_rule,
            sha256=references.Reference(image.reference, image.reference_rule).sha256,
            mask_png=_png(image.reference),
            reliability=image.reliability,
            doubt=image.doubt,
        ),
        explanations=[_explanation_row(each) for each in comparison.explanations],
        other_classes=[
            OtherClassRow(class_index=each.class_index, **_columns(each))
            for each in comparison.other_classes
        ],
        comparisons=[
            ComparisonRow(first=first, second=second, iou=iou)
            for (first, second), iou in comparison.agreement.items()
        ],
    )


def _image(row: ImageRow) -> ComparedImage:
    top = json.loads(row.top_classes)
    facts = metrics.PictureFacts(
        tuple((int(number), float(probability)) for _, number, probability in top),
        row.edge_density,
        row.entropy,
        row.superpixels,
    )
    return ComparedImage(
        **same_named(row, ComparedImage) | {"reference": _picture(row.reference.mask_png) > 127},
        pixels=_picture(row.picture_png),
        class_names=tuple(str(name) for name, _, _ in top),
        reference_rule=row.reference.rule,
        comparison=metrics.Comparison(
            facts,
            tuple(_measured(each, row.class_index) for each in row.explanations),
            {(each.first, each.second): each.iou for each in row.comparisons},
            tuple(_explanation(each, each.class_index) for each in row.other_classes),
        ),
        reliability=row.reference.reliability,
        doubt=row.reference.doubt,
    )


def _explanation_row(measured: metrics.Measured) -> ExplanationRow:
    found = {
        name: None if math.isnan(value) else float(value)
        for name, value in measured.measures.items()
    }
    return ExplanationRow(**_columns(measured.explanation), **found)


def _columns(explanation: metrics.Explanation) -> dict[str, Any]:
    """Return the columns that both tables of explanations have."""
    surrogate = explanation.surrogate
    found = {"method": explanation.method, "mask_png": _png(explanation.mask)}
    if surrogate is None:
        return found | {"map_png": _png((explanation.ranking * 255).round().astype(np.uint8))}
    weights = {str(superpixel): weight for superpixel, weight in surrogate.weights.items()}
    return found | {
        "parameters": surrogate.parameters.to_json(),
        "seed": surrogate.seed,
        "segments_png": _png(surrogate.segments.astype(np.uint16)),
        "weights": json.dumps({"intercept": surrogate.intercept, "weights": weights}),
    }


def _measured(row: ExplanationRow, class_index: int) -> metrics.Measured:
    measures = {
        name: math.nan if value is None else float(value)
        for name in metrics.MEASURES
        if (value := getattr(row, name)) is not None or name not in _OF_SURROGATES
    }
    return metrics.Measured(_explanation(row, class_index, measures["seconds"]), measures)


def _explanation(
    row: ExplanationRow | OtherClassRow, class_index: int, seconds: float = math.nan
) -> metrics.Explanation:
    surrogate = None
    if row.map_png is not None:
        ranking = evidence = _picture(row.map_png) / 255.0
    else:
        assert row.segments_png is not None
        assert row.weights is not None
        assert row.parameters is not None
        assert row.seed is not None
        model = json.loads(row.weights)
        weights = {int(superpixel): float(w) for superpixel, w in model["weights"].items()}
        segments = _picture(row.segments_png).astype(np.int64)
        parameters = lime.LimeParameters.from_json(row.parameters)
        surrogate = metrics.Surrogate(parameters, segments, weights, model["intercept"], row.seed)
        ranking = metrics.superpixel_map(segments, weights)
        evidence = metrics.superpixel_map(segments, weights, density=True)
    return metrics.Explanation(
        method=row.method,
        class_index=class_index,
        ranking=ranking,
        evidence=evidence,
        mask=_picture(row.mask_png) > 127,
        seconds=seconds,
        surrogate=surrogate,
    )


_OF_SURROGATES = ("r2", "mask_stability", "rank_stability")


def _png(picture: NDArray[Any]) -> bytes:
    """Encode a mask, a picture or labels of superpixels as a PNG file."""
    pixels = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _picture(data: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)
