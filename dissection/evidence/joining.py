"""Tuned explanations in a storage, joined with the units of the network that they explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dissection.compare import best_rule, counted_units
from dissection.evidence import MaskEvidence, mask_evidence
from dissection.layers import has_feature_maps
from dissection.records import Dissection, add_evidence, latest_dissections
from explainers.classifier import Classifier
from explainers.comparison import LIME_TUNED
from studies.records import ComparedImage, compared_images

__all__ = ["join_explanations"]


def join_explanations(
    storage: str,
    classifier: Classifier,
    *,
    told: Callable[[str, float], None] = lambda what, share: None,
) -> int:
    """Which units, and so which concepts, speak for the class inside the mask of every tuned
    explanation, in the newest comparison by a network that is dissected too. Recorded.

    Counted as labels are those that survive, where there are p-values.

    Returns:
        How many images were joined; 0 where there is no comparison, or no dissection.

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
        found: dict[int, list[MaskEvidence]] = {}
        for done, (number, image) in enumerate(images.items()):
            evidence = _of_image(classifier, labels, image)
            if evidence:
                found[number] = evidence
                joined.add(number)
            told(f"evidence of {image.key}", (done + 1) / len(images))
        add_evidence(storage, dissection.model, found)
    return len(joined)


def _labels(classifier: Classifier, dissection: Dissection) -> dict[str, list[str | None]]:
    """Concepts of the units that count, for every layer with feature maps."""
    rule = best_rule(dissection.layers)
    found = {}
    for layer in dissection.layers:
        if has_feature_maps(classifier, layer.layer):
            counted = {unit.number: unit.concept for unit in counted_units(layer, rule)}
            found[layer.layer] = [counted.get(unit.number) for unit in layer.units]
    return found


def _of_image(
    classifier: Classifier, labels: Mapping[str, Sequence[str | None]], image: ComparedImage
) -> list[MaskEvidence]:
    tuned = [
        each.explanation
        for each in image.comparison.explanations
        if each.explanation.method == LIME_TUNED
    ]
    if not tuned or not tuned[0].mask.any() or tuned[0].mask.all():
        return []
    return [
        mask_evidence(
            classifier, image.pixels, tuned[0].mask, layer, tuned[0].class_index,
            key=image.key, concepts=concepts,
        )
        for layer, concepts in labels.items()
    ]  # fmt: skip
