"""Counting units by concept in layers and networks, and comparing networks by their concepts.

Everything counts *labelled units*, chosen by a rule that every table names:

``all``         every living unit;
``surviving``   those whose label survives the correction for false discoveries;
``top:N``       the N units of each layer whose labels are most similar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, entropy

from dissection.labels.categories import CATEGORIES, category
from dissection.labels.records import Dissection
from dissection.labels.units import LayerDescription, Unit
from explainers.errors import InvalidInput

__all__ = [
    "ALL", "SURVIVING", "LayerConcepts", "Overlap", "best_rule", "category_shares",
    "concept_counts", "counted_units", "dissection_document", "layer_concepts", "overlap",
]  # fmt: skip

ALL, SURVIVING = "all", "surviving"


@dataclass(frozen=True)
class LayerConcepts:
    """Concepts of a layer's counted units.

    Attributes:
        units: number of counted units, all of them living.
        dead: number of dead units.
        counts: counted units by concept, most units first.
        effective: exp of the entropy of units over concepts: the number of equally frequent
            concepts of the same entropy.
        specialisation: counted units per distinct concept; 1 where each has its own.
        highest: the most similar counted unit.
    """

    layer: str
    units: int
    dead: int
    counts: Mapping[str, int]
    effective: float
    specialisation: float
    highest: Unit | None

    @property
    def distinct(self) -> int:
        """Number of different concepts of the counted units."""
        return len(self.counts)

    def most(self, count: int) -> str:
        """The ``count`` concepts of most units with their numbers of units, as text."""
        return ", ".join(f"{name} ({units})" for name, units in list(self.counts.items())[:count])


@dataclass(frozen=True)
class Overlap:
    """Concepts that two networks share.

    Attributes:
        shared, only_first, only_second: names, those of most units first.
        jaccard: share of the shared concepts among all of both.
        low, high: 95 % interval of ``jaccard`` (Wilson 1927), taking the concepts of both for a
            sample of all possible ones. Resampling units would be wrong: units drawn twice name
            fewer concepts, so the estimate would lie outside of its own interval.
    """

    shared: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    jaccard: float
    low: float
    high: float


def counted_units(layer: LayerDescription, rule: str) -> list[Unit]:
    """The units that a rule counts, in order of number.

    Raises:
        InvalidInput: there is no such rule, or it needs p-values and the layer has none.
    """
    if rule == ALL:
        return layer.living
    if rule == SURVIVING:
        if any(unit.survives is None for unit in layer.living):
            raise InvalidInput(
                f"layer '{layer.layer}' of {layer.model} has no p-values, so none of its labels "
                "can be said to survive: count all units, or top:N"
            )
        return [unit for unit in layer.living if unit.survives]
    kind, _, count = rule.partition(":")
    if kind != "top" or not count.isdecimal() or int(count) < 1:
        raise InvalidInput(f"rule '{rule}' counts no units: use {ALL}, {SURVIVING} or top:N")
    best = sorted(layer.living, key=lambda unit: -(unit.similarity or 0.0))[: int(count)]
    return sorted(best, key=lambda unit: unit.number)


def best_rule(layers: Sequence[LayerDescription]) -> str:
    """``surviving`` where every layer has p-values, else ``all``."""
    known = all(unit.survives is not None for layer in layers for unit in layer.living)
    return SURVIVING if known else ALL


def concept_counts(layers: Sequence[LayerDescription], rule: str = ALL) -> dict[str, int]:
    """Units by concept, most units first; equal ones in alphabetical order."""
    counts = Counter(
        unit.concept for layer in layers for unit in counted_units(layer, rule) if unit.concept
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def layer_concepts(layer: LayerDescription, rule: str = ALL) -> LayerConcepts:
    """Count the concepts of a layer's units."""
    counted, counts = counted_units(layer, rule), concept_counts([layer], rule)
    return LayerConcepts(
        layer=layer.layer,
        units=len(counted),
        dead=len(layer.units) - len(layer.living),
        counts=counts,
        effective=float(np.exp(entropy(list(counts.values())))) if counts else 0.0,
        specialisation=len(counted) / len(counts) if counts else 0.0,
        highest=max(counted, key=lambda unit: unit.similarity or 0.0, default=None),
    )


def dissection_document(dissection: Dissection) -> dict[str, Any]:
    """Labels and counts of a network as a JSON object."""
    rule = best_rule(dissection.layers)
    layers = {}
    for layer in dissection.layers:
        learned, described = layer_concepts(layer, rule), layer.to_json()
        labels = [{"unit": unit.pop("number"), **unit} for unit in described["units"]]
        layers[layer.layer] = {
            "units": len(labels),
            "dead": learned.dead,
            "labelled": learned.units,
            "distinct": learned.distinct,
            "truth": described["truth"],
            "by_size": described["by_size"],
            "labels": labels,
        }
    counts = concept_counts(dissection.layers, rule)
    return {"counted": rule, "concepts": counts, "layers": layers}


def overlap(
    first: Sequence[LayerDescription], second: Sequence[LayerDescription], rule: str = ALL
) -> Overlap:
    """Compare the concepts of two networks, or parts of them."""
    one, other = Counter(concept_counts(first, rule)), Counter(concept_counts(second, rule))
    order = sorted(one + other, key=lambda name: (-one[name] - other[name], name))
    shared = tuple(name for name in order if name in one and name in other)
    jaccard = low = high = 0.0
    if order:
        test = binomtest(len(shared), len(order))
        interval = test.proportion_ci(0.95, method="wilson")
        jaccard, low, high = float(test.statistic), float(interval.low), float(interval.high)
    return Overlap(
        shared,
        tuple(name for name in order if name not in other),
        tuple(name for name in order if name not in one),
        jaccard,
        low,
        high,
    )


def category_shares(layer: LayerDescription, rule: str = ALL) -> Mapping[str, float]:
    """Share of the counted units by :func:`~dissection.labels.category`; they sum to 1."""
    counted = counted_units(layer, rule)
    kinds = Counter(category(unit.concept) for unit in counted if unit.concept)
    return {name: kinds[name] / len(counted) if counted else 0.0 for name in CATEGORIES}
