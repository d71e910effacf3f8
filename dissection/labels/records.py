"""Writing dissected networks to the tables beside the studies, and reading them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from dissection.labels.units import ClassTruth, LayerDescription, Unit
from studies.records import records
from studies.records.tables import DissectedLayerRow, DissectionRow, UnitRow

__all__ = ["Dissection", "RecordedEvidence", "add_dissection", "latest_dissections"]

_LONGEST = 255  # characters of a concept in its column; the JSON list has all of them

# Columns with the name and the value of an attribute.
_DISSECTION = (
    "model", "classifier_sha256", "probe", "probe_sha256", "images", "concept_list", "concepts",
    "similarity",
)  # fmt: skip
_DOCUMENTS = ("settings", "package_versions")  # JSON objects
_LABEL = ("p", "q", "stability", "survives")


@dataclass(frozen=True)
class RecordedEvidence:
    """The recorded part of a :class:`dissection.evidence.MaskEvidence`.

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
        at: time, in UTC.
        model: name of the network, which identifies it.
        layers: in the order in which they were chosen.
        probe: name of the folder of probing images.
        concept_list: name of the list; ``concepts`` is its length.
        classifier_sha256, probe_sha256, images, concepts: ``None`` where labels were read from
            another program's table.
        sheets: JPEG files of the images that activate a unit most, by (layer, unit).
        evidence: for tuned explanations of the same network, where they were joined.
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
    """Record a dissected network in one transaction.

    Raises:
        StorageError: the database cannot be written.
    """
    documents = {
        name: json.dumps(dict(getattr(dissection, name)), sort_keys=True) for name in _DOCUMENTS
    }
    row = DissectionRow(
        at=dissection.at.astimezone(timezone.utc).replace(tzinfo=None),
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
        **_same(dissection, _DISSECTION),
        **documents,
    )
    with records(storage) as engine, Session(engine) as session:
        session.add(row)
        session.commit()


def latest_dissections(storage: str) -> list[Dissection]:
    """The newest dissection of every network, sorted by the networks' names.

    Raises:
        StorageError: the database cannot be read.
    """
    newest = sqlalchemy.select(sqlalchemy.func.max(DissectionRow.id)).group_by(DissectionRow.model)
    query = sqlalchemy.select(DissectionRow).where(DissectionRow.id.in_(newest))
    with records(storage) as engine, Session(engine) as session:
        rows = session.scalars(query.order_by(DissectionRow.model)).all()
        return [_dissection(row) for row in rows]


def _same(source: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def _unit_row(unit: Unit, sheet: bytes | None) -> UnitRow:
    return UnitRow(
        unit=unit.number,
        concept=None if unit.concept is None else unit.concept[:_LONGEST],
        similarity=unit.similarity,
        gap=unit.gap,
        concepts=json.dumps(list(zip(unit.concepts, unit.scores, strict=True))),
        sheet_jpeg=sheet,
        **_same(unit, _LABEL),
    )


def _unit(row: UnitRow) -> Unit:
    pairs = json.loads(row.concepts)
    concepts = tuple(str(concept) for concept, _ in pairs)
    scores = tuple(float(score) for _, score in pairs)
    return Unit(row.unit, concepts, scores, **_same(row, _LABEL))


def _layer(model: str, row: DissectedLayerRow) -> LayerDescription:
    by_size = tuple((int(size), float(share)) for size, share in json.loads(row.by_size or "[]"))
    truth = None if row.truth is None else ClassTruth(**json.loads(row.truth))
    units = tuple(_unit(unit) for unit in row.units)
    return LayerDescription(model, row.layer, units, row.level, by_size, truth)


def _dissection(row: DissectionRow) -> Dissection:
    return Dissection(
        at=row.at.replace(tzinfo=timezone.utc),
        layers=tuple(_layer(row.model, layer) for layer in row.layers),
        sheets={
            (layer.layer, unit.unit): unit.sheet_jpeg
            for layer in row.layers
            for unit in layer.units
            if unit.sheet_jpeg is not None
        },
        evidence=tuple(
            RecordedEvidence(
                each.image.key, layer.layer, each.inside_share, each.sentence,
                json.loads(each.concepts),
            )
            for layer in row.layers
            for each in layer.evidence
        ),
        **_same(row, _DISSECTION),
        **{name: json.loads(getattr(row, name)) for name in _DOCUMENTS},
    )  # fmt: skip
