"""Labelling the units of a layer with concepts, and measuring how reliable each label is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dissection.labelling.significance import false_discovery_rates, p_values
from dissection.labelling.stability import agreement_by_size, bootstrap_labels
from dissection.labels import ClassTruth, LayerDescription, Unit
from dissection.progress import StepProgress
from dissection.similarity import Probing, Similarity, UnitSimilarity, similarity_method
from explainers.errors import InvalidInput

__all__ = ["Labelling", "class_truth", "describe_layer"]


@dataclass(frozen=True)
class Labelling:
    """How units are labelled.

    Attributes:
        top: number of concepts that are kept for each unit.
        permutations: random orders of the images for the p-values; 0: no p-values.
        bootstrap: samples of the images for the stability; 0: no stability, and no comparison of
            labels by number of images.
        level: accepted rate of false discoveries, in (0, 1).

    Raises:
        InvalidInput: a value is outside its range.
    """

    method: Similarity = field(default_factory=lambda: similarity_method("soft_wpmi"))
    top: int = 5
    permutations: int = 1000
    bootstrap: int = 20
    level: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InvalidInput(f"level {self.level}: give a share between 0 and 1, e.g. 0.05")
        if self.top < 1 or self.permutations < 0 or self.bootstrap < 0:
            raise InvalidInput(
                f"top={self.top}, permutations={self.permutations}, bootstrap={self.bootstrap}: "
                "top must be at least 1, the others not below 0"
            )

    @property
    def settings(self) -> dict[str, object]:
        """Settings that are recorded with a dissection, as JSON values."""
        names = ("top", "permutations", "bootstrap", "level", "seed")
        return {"similarity": self.method.name, **{name: getattr(self, name) for name in names}}


def describe_layer(
    model: str,
    layer: str,
    probing: Probing,
    concepts: Sequence[str],
    labelling: Labelling,
    *,
    class_names: Sequence[str] = (),
    on_progress: StepProgress = lambda step, share: None,
) -> LayerDescription:
    """Label every unit of a layer.

    Args:
        probing: tables of the layer's units and of ``concepts``.
        class_names: of the network; compared with the labels where the layer has a unit for each.

    Raises:
        InvalidInput: names of concepts and their features differ in number, or there are too few
            images.
    """
    if len(concepts) != len(probing.texts):
        raise InvalidInput(
            f"{len(concepts)} concepts have {len(probing.texts)} text features: both must come "
            "from the same list"
        )
    method, seed = labelling.method, labelling.seed
    scores, numbers, marginal = method.top_concepts(
        probing, labelling.top, on_progress=partial(on_progress, "similarity")
    )
    labels = numbers[:, 0]
    p = q = stability = np.full(len(labels), np.nan)
    if labelling.permutations:
        p = p_values(
            method, probing, scores[:, 0], labels, marginal=marginal, seed=seed,
            permutations=labelling.permutations, on_progress=partial(on_progress, "p-values"),
        )  # fmt: skip
        q = false_discovery_rates(p)
    by_size: tuple[tuple[int, float], ...] = ()
    if labelling.bootstrap:
        drawn = bootstrap_labels(
            method, probing, rounds=labelling.bootstrap, seed=seed + 1,
            on_progress=partial(on_progress, "stability"),
        )  # fmt: skip
        stability = (drawn == labels.cpu().numpy()).mean(axis=0)
        by_size = agreement_by_size(method, probing, labels, seed=seed + 2)
    units = []
    for number, best in enumerate(numbers.tolist()):
        if best[0] < 0:
            units.append(Unit(number))
            continue
        measures = (float(each[number]) for each in (p, q, stability))
        p_value, rate, stable = (None if np.isnan(value) else value for value in measures)
        units.append(
            Unit(
                number, tuple(concepts[index] for index in best), tuple(scores[number].tolist()),
                p_value, rate, stable, None if rate is None else rate <= labelling.level,
            )
        )  # fmt: skip
    truth = None
    if len(class_names) == len(units):
        truth = class_truth(method.score(probing, marginal=marginal), concepts, class_names)
    return LayerDescription(model, layer, tuple(units), labelling.level, by_size, truth)


def class_truth(
    scores: UnitSimilarity, concepts: Sequence[str], class_names: Sequence[str]
) -> ClassTruth | None:
    """Compare the labels of units that stand for classes with the names of these.

    Args:
        scores: of a layer with a unit for every class, in order.

    Returns:
        ``None`` where no class of a living unit is among the concepts.
    """
    place = {concept.casefold(): number for number, concept in enumerate(concepts)}
    known = {
        unit: place[name.casefold()]
        for unit, name in enumerate(class_names)
        if name.casefold() in place and not bool(scores.dead[unit])
    }
    ranks = []
    for unit, concept in known.items():
        row = scores.similarity[unit]
        better = (row > row[concept]).sum() + (row[:concept] == row[concept]).sum()
        ranks.append(1 + int(better))
    if not ranks:
        return None
    rank = np.array(ranks)
    return ClassTruth(
        len(ranks), float((rank <= 1).mean()), float((rank <= 5).mean()), float(rank.mean())
    )
