"""Dissected networks, to and from the tables beside the studies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from dissection.class_truth import ClassTruth
from dissection.describe import LayerDescription, Unit
from dissection.evidence import MaskEvidence
from studies.records import records
from studies.records.tables import DissectedLayerRow, DissectionRow, EvidenceRow, UnitRow

__all__ = [
    "Dissection", "RecordedEvidence", "add_dissection", "add_evidence", "latest_dissections",
]  # fmt: skip

_LONGEST = 255  # of a concept in the table; the list beside it has all of it
_UNITS = 20  # of an image whose numbers are kept


@dataclass(frozen=True)
class RecordedEvidence:
    """What is kept of a :class:`dissection.evidence.MaskEvidence`.

    Attributes:
        concepts: share of the evidence for the class that lies inside the mask, by concept.
    """

    key: str
    layer: str
    inside_share: float
    sentence: str
    concepts: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Dissection:
    """A dissected network.

    Attributes:
        at: UTC.
        model: what the network is called, and told from others by.
        layers: in the order they were asked for.
        probe: name of the folder of probing images.
        concept_list: name of the list; ``concepts`` is its length.
        classifier_sha256, probe_sha256, images, concepts: ``None`` where labels were read from
            another program's table.
        sheets: by (layer, unit), JPEG files of the images that activate a unit most.
        evidence: of tuned explanations by the same network, where they were joined.
    """

    at: datetime
    model: str
    layers: tuple[LayerDescription, ...]
    probe: str
    concept_list: str
    similarity: str
    settings: Mapping[str, Any]
    package_versions: Mapping[str, str]
    classifier_sha256: str | None = None
    probe_sha256: str | None = None
    images: int | None = None
    concepts: int | None = None
    sheets: Mapping[tuple[str, int], bytes] = field(default_factory=dict)
    evidence: tuple[RecordedEvidence, ...] = ()


def add_dissection(storage: str, dissection: Dissection) -> None:
    """Record a network, all of it or nothing.

    Raises:
        StorageError: the database cannot be written.
    """
    row = DissectionRow(
        at=dissection.at.astimezone(timezone.utc).replace(tzinfo=None),
        model=dissection.model,
        classifier_sha256=dissection.classifier_sha256,
        probe=dissection.probe,
        probe_sha256=dissection.probe_sha256,
        images=dissection.images,
        concept_list=dissection.concept_list,
        concepts=dissection.concepts,
        similarity=dissection.similarity,
        settings=json.dumps(dict(dissection.settings), sort_keys=True),
        package_versions=json.dumps(dict(dissection.package_versions), sort_keys=True),
        layers=[
            DissectedLayerRow(
                position=position,
                layer=layer.layer,
                level=layer.level,
                by_size=json.dumps(layer.by_size) if layer.by_size else None,
                truth=None if layer.truth is None else json.dumps(asdict(layer.truth)),
                units=[
                    _unit_row(unit, dissection.sheets.get((layer.layer, unit.number)))
                    for unit in layer.units
                ],
            )
            for position, layer in enumerate(dissection.layers)
        ],
    )
    with records(storage) as engine, Session(engine) as session:
        session.add(row)
        session.commit()


def add_evidence(storage: str, model: str, found: Mapping[int, Sequence[MaskEvidence]]) -> None:
    """Record what units of the newest dissection of a network say inside masks.

    Args:
        found: by the number of the image's row (:func:`studies.records.compared_images`), one for
            each layer. What was recorded of the same layer and image is replaced.

    Raises:
        StorageError: the database cannot be written.
    """
    newest = sqlalchemy.select(sqlalchemy.func.max(DissectionRow.id)).where(
        DissectionRow.model == model
    )
    query = sqlalchemy.select(DissectedLayerRow).where(
        DissectedLayerRow.dissection_id == newest.scalar_subquery()
    )
    with records(storage) as engine, Session(engine) as session:
        for layer in session.scalars(query).all():
            mine = {
                image: each
                for image, several in found.items()
                for each in several
                if each.layer == layer.layer
            }
            for row in [row for row in layer.evidence if row.image_id in mine]:
                layer.evidence.remove(row)
            session.flush()  # before rows of the same images are added
            layer.evidence += [_evidence_row(image, each) for image, each in mine.items()]
        session.commit()


def latest_dissections(storage: str) -> list[Dissection]:
    """The newest of every network, by the networks' names.

    Raises:
        StorageError: the database cannot be read.
    """
    newest = sqlalchemy.select(sqlalchemy.func.max(DissectionRow.id)).group_by(DissectionRow.model)
    query = sqlalchemy.select(DissectionRow).where(DissectionRow.id.in_(newest))
    with records(storage) as engine, Session(engine) as session:
        rows = session.scalars(query.order_by(DissectionRow.model)).all()
        return [_dissection(row) for row in rows]


def _unit_row(unit: Unit, sheet: bytes | None) -> UnitRow:
    return UnitRow(
        unit=unit.number,
        concept=None if unit.concept is None else unit.concept[:_LONGEST],
        similarity=unit.similarity,
        gap=unit.gap,
        p=unit.p,
        q=unit.q,
        stability=unit.stability,
        survives=unit.survives,
        concepts=json.dumps(list(zip(unit.concepts, unit.scores, strict=True))),
        sheet_jpeg=sheet,
    )


def _dissection(row: DissectionRow) -> Dissection:
    return Dissection(
        at=row.at.replace(tzinfo=timezone.utc),
        model=row.model,
        layers=tuple(
            LayerDescription(
                row.model,
                layer.layer,
                tuple(_unit(unit) for unit in layer.units),
                layer.level,
                by_size=tuple(
                    (int(images), float(share))
                    for images, share in json.loads(layer.by_size or "[]")
                ),
                truth=None if layer.truth is None else ClassTruth(**json.loads(layer.truth)),
            )
            for layer in row.layers
        ),
        probe=row.probe,
        concept_list=row.concept_list,
        similarity=row.similarity,
        settings=json.loads(row.settings),
        package_versions=json.loads(row.package_versions),
        classifier_sha256=row.classifier_sha256,
        probe_sha256=row.probe_sha256,
        images=row.images,
        concepts=row.concepts,
        sheets={
            (layer.layer, unit.unit): unit.sheet_jpeg
            for layer in row.layers
            for unit in layer.units
            if unit.sheet_jpeg is not None
        },
        evidence=tuple(
            RecordedEvidence(
                found.image.key, layer.layer, found.inside_share, found.sentence,
                json.loads(found.concepts),
            )
            for layer in row.layers
            for found in layer.evidence
        ),
    )  # fmt: skip


def _evidence_row(image: int, found: MaskEvidence) -> EvidenceRow:
    units = [
        (u.unit, u.concept, u.inside, u.outside, u.effect, u.evidence_inside, u.evidence_outside)
        for u in found.units[:_UNITS]
    ]
    return EvidenceRow(
        image_id=image,
        inside_share=found.inside_share,
        sentence=found.sentence,
        concepts=json.dumps(dict(found.concept_shares)),
        units=json.dumps(units),
    )


def _unit(row: UnitRow) -> Unit:
    found = json.loads(row.concepts)
    return Unit(
        row.unit,
        tuple(str(concept) for concept, _ in found),
        tuple(float(score) for _, score in found),
        row.p,
        row.q,
        row.stability,
        row.survives,
    )
