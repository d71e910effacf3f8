"""Units of a layer → concepts, with how sure each label is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dissection.class_truth import ClassTruth, class_truth
from dissection.probing_size import agreement_by_size
from dissection.significance import bootstrap_labels, false_discovery_rates, p_values
from dissection.similarity import Probing, SimilarityMethod, score_units, top_concepts
from explainers.errors import InvalidInput

__all__ = ["LayerDescription", "Unit", "describe_layer"]


@dataclass(frozen=True)
class Unit:
    """A unit as tables show it.

    Attributes:
        concepts: the best, best first; empty for a dead unit.
        scores: of these.
        p: of the first; ``None`` where it was not computed.
        q: ``p`` adjusted for all units of the layer (Benjamini-Hochberg).
        stability: share of bootstrap samples that give the same first concept.
        survives: ``q`` is within the level asked for; ``None`` where there is no ``q``.
    """

    number: int
    concepts: tuple[str, ...]
    scores: tuple[float, ...]
    p: float | None = None
    q: float | None = None
    stability: float | None = None
    survives: bool | None = None

    @property
    def dead(self) -> bool:
        """It answers all images equally."""
        return not self.concepts

    @property
    def concept(self) -> str | None:
        """Its label."""
        return self.concepts[0] if self.concepts else None

    @property
    def similarity(self) -> float | None:
        """Of its label."""
        return self.scores[0] if self.scores else None

    @property
    def gap(self) -> float | None:
        """From the first concept to the second; ``None`` where there is no second."""
        return self.scores[0] - self.scores[1] if len(self.scores) > 1 else None


@dataclass(frozen=True, eq=False)
class LayerDescription:
    """A layer of a network, unit by unit.

    Attributes:
        model, layer: names.
        level: of false discoveries that ``Unit.survives`` stands for.
        marginal: (C,) float64 of the similarity, where it has one; scores further units of the
            layer with the same numbers.
        by_size: (number of probing images, share of the labels that so many give already).
        truth: of a layer whose units stand for classes.
    """

    model: str
    layer: str
    units: tuple[Unit, ...]
    level: float = 0.05
    marginal: torch.Tensor | None = None
    by_size: tuple[tuple[int, float], ...] = ()
    truth: ClassTruth | None = None


def describe_layer(
    model: str,
    layer: str,
    probing: Probing,
    concepts: Sequence[str],
    method: SimilarityMethod,
    *,
    top: int = 5,
    level: float = 0.05,
    permutations: int = 1000,
    bootstrap: int = 20,
    seed: int = 0,
    class_names: Sequence[str] = (),
    told: Callable[[str, float], None] = lambda what, share: None,
) -> LayerDescription:
    """Label every unit of a layer.

    Args:
        probing: of the layer's units and of ``concepts``.
        top: concepts kept of each unit.
        level: of false discoveries, in (0, 1).
        permutations: orders of the images drawn for the p-values; 0: none.
        bootstrap: samples of the images drawn for the stability and, once, for how labels change
            with the number of images; 0: none.
        class_names: of the network, to compare with where the layer has a unit for each.
        told: called with what is done and the share that is.

    Raises:
        InvalidInput: names of concepts and their features differ in number; too few images.
    """
    if len(concepts) != len(probing.texts):
        raise InvalidInput(
            f"{len(concepts)} concepts have {len(probing.texts)} text features: both must come "
            "from the same list"
        )
    if top < 1 or permutations < 0 or bootstrap < 0 or not 0 < level < 1:
        raise InvalidInput(
            f"top={top}, permutations={permutations}, bootstrap={bootstrap}, level={level}: top "
            "must be at least 1, the next two not below 0, the level between 0 and 1"
        )
    scores, numbers, marginal = top_concepts(
        method, probing, top, told=lambda share: told("similarity", share)
    )
    p = q = stability = np.full(len(numbers), np.nan)
    if permutations:
        p = p_values(
            method, probing, scores[:, 0], numbers[:, 0], marginal=marginal,
            permutations=permutations, seed=seed, told=lambda share: told("p-values", share),
        )  # fmt: skip
        q = false_discovery_rates(p)
    if bootstrap:
        labels = bootstrap_labels(
            method, probing, rounds=bootstrap, seed=seed + 1,
            told=lambda share: told("stability", share),
        )  # fmt: skip
        stability = (labels == numbers[:, 0].cpu().numpy()).mean(axis=0)
    units = tuple(
        _unit(number, *row, level=level, concepts=concepts)
        for number, row in enumerate(
            zip(scores.tolist(), numbers.tolist(), p, q, stability, strict=True)
        )
    )
    truth = None
    if len(class_names) == len(units):
        all_scores = score_units(method, probing, marginal=marginal)
        truth = class_truth(all_scores, concepts, class_names)
    by_size = agreement_by_size(method, probing, numbers[:, 0], seed=seed + 2) if bootstrap else ()
    return LayerDescription(model, layer, units, level, marginal, by_size, truth)


def _unit(
    number: int,
    scores: Sequence[float],
    numbers: Sequence[int],
    p: float,
    q: float,
    stability: float,
    *,
    level: float,
    concepts: Sequence[str],
) -> Unit:
    if numbers[0] < 0:
        return Unit(number, (), ())
    return Unit(
        number,
        tuple(concepts[index] for index in numbers),
        tuple(scores),
        _known(p),
        _known(q),
        _known(stability),
        None if np.isnan(q) else bool(q <= level),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
