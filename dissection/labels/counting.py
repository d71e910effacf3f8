"""Between networks and layers: which concepts, how many units each, what is shared.

Everything counts *labelled units*, chosen by a rule that every table names:

``all``         every living unit;
``surviving``   those whose label survives the correction for false discoveries;
``top:N``       the N units of each layer whose labels are most similar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dissection.categories import CATEGORIES, category
from dissection.describe import LayerDescription, Unit
from explainers.errors import InvalidInput

__all__ = [
    "ALL", "SURVIVING", "LayerConcepts", "Overlap", "best_rule", "category_shares",
    "concept_counts", "counted_units", "layer_concepts", "overlap",
]  # fmt: skip

ALL, SURVIVING = "all", "surviving"


@dataclass(frozen=True)
class LayerConcepts:
    """What a layer has learned.

    Attributes:
        units: living and counted; ``dead`` ones are not among them.
        distinct: different concepts of the counted units.
        effective: exp of the entropy of units over concepts: as many concepts of equal weight
            would be as diverse.
        specialisation: counted units per distinct concept; 1 where each has its own.
        highest: the most similar counted unit.
    """

    layer: str
    units: int
    dead: int
    distinct: int
    effective: float
    specialisation: float
    highest: Unit | None


@dataclass(frozen=True)
class Overlap:
    """Concepts of two networks.

    Attributes:
        shared, only_first, only_second: names, those of most units first.
        jaccard: shared concepts among all of both.
        low, high: 95 % interval of that share, taking the concepts that either names for a sample
            of all it might name (Wilson 1927). Resampling units instead would not do: units drawn
            twice name fewer concepts, and the estimate falls outside of its own interval.
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
        InvalidInput: no such rule, or the layer has no p-values and the rule needs them.
    """
    living = [unit for unit in layer.units if not unit.dead]
    if rule == ALL:
        return living
    if rule == SURVIVING:
        if any(unit.survives is None for unit in living):
            raise InvalidInput(
                f"layer '{layer.layer}' of {layer.model} has no p-values, so none of its labels "
                "can be said to survive: count all units, or top:N"
            )
        return [unit for unit in living if unit.survives]
    kind, _, count = rule.partition(":")
    if kind != "top" or not count.isdecimal() or int(count) < 1:
        raise InvalidInput(f"rule '{rule}' counts no units: use {ALL}, {SURVIVING} or top:N")
    best = sorted(living, key=lambda unit: -(unit.similarity or 0.0))[: int(count)]
    return sorted(best, key=lambda unit: unit.number)


def best_rule(layers: Sequence[LayerDescription]) -> str:
    """``surviving`` where every layer has p-values, else ``all``."""
    known = all(u.survives is not None for layer in layers for u in layer.units if not u.dead)
    return SURVIVING if known else ALL


def concept_counts(layers: Sequence[LayerDescription], rule: str = ALL) -> dict[str, int]:
    """Units by concept, most units first; equal ones in alphabetical order."""
    counts = Counter(
        unit.concept for layer in layers for unit in counted_units(layer, rule) if unit.concept
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def layer_concepts(layer: LayerDescription, rule: str = ALL) -> LayerConcepts:
    """What a layer has learned."""
    counted = counted_units(layer, rule)
    counts = np.array(list(concept_counts([layer], rule).values()), dtype=float)
    shares = counts / counts.sum() if len(counts) else counts
    return LayerConcepts(
        layer=layer.layer,
        units=len(counted),
        dead=sum(unit.dead for unit in layer.units),
        distinct=len(counts),
        effective=float(np.exp(-(shares * np.log(shares)).sum())) if len(counts) else 0.0,
        specialisation=len(counted) / len(counts) if len(counts) else 0.0,
        highest=max(counted, key=lambda unit: unit.similarity or 0.0, default=None),
    )


def overlap(
    first: Sequence[LayerDescription],
    second: Sequence[LayerDescription],
    rule: str = ALL,
) -> Overlap:
    """Which concepts two networks, or parts of them, share."""
    from scipy.stats import binomtest

    one, other = concept_counts(first, rule), concept_counts(second, rule)
    together = {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
    order = sorted(together, key=lambda name: (-together[name], name))
    shared = tuple(name for name in order if name in one and name in other)
    low = high = estimate = 0.0
    if together:
        found = binomtest(len(shared), len(together))
        estimate = float(found.statistic)
        interval = found.proportion_ci(0.95, method="wilson")
        low, high = float(interval.low), float(interval.high)
    return Overlap(
        shared,
        tuple(name for name in order if name not in other),
        tuple(name for name in order if name not in one),
        estimate,
        low,
        high,
    )


def category_shares(layer: LayerDescription, rule: str = ALL) -> Mapping[str, float]:
    """Share of the counted units by :func:`dissection.categories.category`; they sum to 1."""
    counted = counted_units(layer, rule)
    found = Counter(category(unit.concept) for unit in counted if unit.concept)
    return {name: found[name] / len(counted) if counted else 0.0 for name in CATEGORIES}
