"""Joining a storage's tuned explanations with the units of the network that they explain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import sqlalchemy
from sqlalchemy.orm import Session

from dissection.evidence.mask_evidence import MaskEvidence, mask_evidence
from dissection.labels import Dissection, best_rule, counted_units, latest_dissections
from dissection.probing import has_feature_maps
from explainers.classifiers import Classifier
from explainers.metrics import LIME_TUNED
from studies.records import ComparedImage, compared_images, records
from studies.records.tables import DissectedLayerRow, DissectionRow, EvidenceRow

__all__ = ["join_explanations"]

_UNITS = 20  # of an image and layer that are recorded


def join_explanations(storage: str, classifier: Classifier) -> int:
    """Record, for each tuned explanation in the newest comparison of a dissected network, the units
    and concepts with evidence for the class inside its mask.

    Where there are p-values, only labels that survive count.

    Returns:
        Number of images that were joined; 0 where there is no comparison, or no dissection.

    Raises:
        StorageError: the storage cannot be read or written.
    """
    dissected = [
        each
        for each in latest_dissections(storage)
        if each.classifier_sha256 == classifier.fingerprint
    ]
    images = compared_images(storage, classifier.fingerprint) if dissected else {}
    joined = set()
    for dissection in dissected:
        labels = _labels(classifier, dissection) if images else {}
        evidence = {row: _of_image(classifier, labels, image) for row, image in images.items()}
        joined |= {row for row, of_layers in evidence.items() if of_layers}
        _record(storage, dissection.model, evidence)
    return len(joined)


def _labels(classifier: Classifier, dissection: Dissection) -> dict[str, list[str | None]]:
    """Label of every unit, ``None`` where it does not count, by layer with feature maps."""
    rule = best_rule(dissection.layers)
    labels = {}
    for layer in dissection.layers:
        if has_feature_maps(classifier, layer.layer):
            counted = {unit.number: unit.concept for unit in counted_units(layer, rule)}
            labels[layer.layer] = [counted.get(unit.number) for unit in layer.units]
    return labels


def _of_image(
    classifier: Classifier, labels: Mapping[str, Sequence[str | None]], image: ComparedImage
) -> list[MaskEvidence]:
    """Evidence in each layer; empty if the image has no tuned explanation with a usable mask."""
    explanations = (each.explanation for each in image.comparison.explanations)
    tuned = next((each for each in explanations if each.method == LIME_TUNED), None)
    if tuned is None or not tuned.mask.any() or tuned.mask.all():
        return []
    return [
        mask_evidence(
            classifier, image.pixels, tuned.mask, layer, tuned.class_index,
            key=image.key, concepts=concepts,
        )
        for layer, concepts in labels.items()
    ]  # fmt: skip


def _record(storage: str, model: str, evidence: Mapping[int, Sequence[MaskEvidence]]) -> None:
    """Record evidence beside the newest dissection of a network.

    Args:
        evidence: by number of the image's row, one for each layer. It replaces earlier records of
            the same layer and image.
    """
    newest = sqlalchemy.select(sqlalchemy.func.max(DissectionRow.id)).where(
        DissectionRow.model == model
    )
    query = sqlalchemy.select(DissectedLayerRow).where(
        DissectedLayerRow.dissection_id == newest.scalar_subquery()
    )
    with records(storage) as engine, Session(engine) as session:
        for layer in session.scalars(query).all():
            rows = [
                _row(image, each)
                for image, of_layers in evidence.items()
                for each in of_layers
                if each.layer == layer.layer
            ]
            replaced = {row.image_id for row in rows}
            layer.evidence = [row for row in layer.evidence if row.image_id not in replaced]
            session.flush()  # deletes, before rows of the same images are added
            layer.evidence += rows
        session.commit()


def _row(image: int, evidence: MaskEvidence) -> EvidenceRow:
    units = [
        (u.unit, u.concept, u.inside, u.outside, u.effect, u.evidence_inside, u.evidence_outside)
        for u in evidence.units[:_UNITS]
    ]
    return EvidenceRow(
        image_id=image,
        inside_share=evidence.inside_share,
        sentence=evidence.sentence,
        concepts=json.dumps(dict(evidence.concept_shares)),
        units=json.dumps(units),
    )
