"""Pure functions over a recorded comparison: by method, by image, by type and by complexity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from explainers.metrics import CAMS, LIME_DEFAULT, LIME_TUNED, MEASURES
from studies.records.comparisons import ComparedImage, ComparisonRun
from studies.results.statistics import (
    Correlation,
    GroupDifference,
    Interval,
    correlation,
    difference,
    mean,
)

__all__ = [
    "COMPLEXITIES", "ComplexityTrend", "TypeDifference", "agreement_matrix", "agreement_with_cams",
    "by_complexity", "by_method", "by_type", "lost_fidelity", "methods_of", "values_of",
]  # fmt: skip

COMPLEXITIES: Mapping[str, Callable[[ComparedImage], float]] = {
    "edge density": lambda image: image.comparison.facts.edge_density,
    "superpixels": lambda image: float(image.comparison.facts.superpixels),
    "entropy of the classifier's answer": lambda image: image.comparison.facts.entropy,
}
"""Three measures of the complexity of a picture."""


@dataclass(frozen=True)
class TypeDifference:
    """Agreement of LIME explanations with the CAMs, by type of image.

    Attributes:
        test: of inanimate minus animate.
    """

    method: str
    animate: Interval
    inanimate: Interval
    test: GroupDifference


@dataclass(frozen=True)
class ComplexityTrend:
    """Rank correlation of a measure of complexity with the agreement of LIME and the CAMs."""

    method: str
    complexity: str
    found: Correlation


def methods_of(run: ComparisonRun) -> list[str]:
    """List the methods of a run: CAMs, LIME, then others; not every image need have each."""
    found = dict.fromkeys(
        each.explanation.method for image in run.images for each in image.comparison.explanations
    )
    order = [*CAMS, LIME_DEFAULT, LIME_TUNED]
    return sorted(found, key=lambda m: order.index(m) if m in order else len(order))


def values_of(run: ComparisonRun, method: str, measure: str) -> list[float]:
    """Return a measure of a method for each image; ``nan`` where it is missing."""
    return [_measures(image).get(method, {}).get(measure, math.nan) for image in run.images]


def _measures(image: ComparedImage) -> dict[str, Mapping[str, float]]:
    """Return an image's measures, by method and name of the measure."""
    return {each.explanation.method: each.measures for each in image.comparison.explanations}


def by_method(run: ComparisonRun) -> dict[str, dict[str, Interval]]:
    """Return mean and interval of every measure, by method and name of the measure."""
    return {
        method: {name: mean(values_of(run, method, name)) for name in MEASURES}
        for method in methods_of(run)
    }


def agreement_matrix(run: ComparisonRun) -> dict[tuple[str, str], Interval]:
    """Return the mean IoU of the masks of every two methods."""
    methods = methods_of(run)
    return {
        (a, b): mean([i.comparison.agreement.get((a, b), math.nan) for i in run.images])
        for a in methods
        for b in methods
    }


def agreement_with_cams(image: ComparedImage, method: str) -> float:
    """Return the mean IoU of a method's mask with the CAMs' masks; ``nan`` without CAMs."""
    found = [
        iou
        for (first, second), iou in image.comparison.agreement.items()
        if first == method and second in CAMS and second != method
    ]
    return float(np.mean(found)) if found else math.nan


def by_type(run: ComparisonRun) -> list[TypeDifference]:
    """Compare the agreement of LIME and the CAMs on animate and on inanimate images."""
    found = []
    for method in _limes(run):
        animate, inanimate = (
            [agreement_with_cams(image, method) for image in run.images if image.type == type_]
            for type_ in ("animate", "inanimate")
        )
        test = difference(inanimate, animate)
        found.append(TypeDifference(method, mean(animate), mean(inanimate), test))
    return found


def by_complexity(run: ComparisonRun) -> list[ComplexityTrend]:
    """Correlate the agreement of LIME and the CAMs with the complexity of images."""
    return [
        ComplexityTrend(
            method,
            name,
            correlation(
                [measured(image) for image in run.images],
                [agreement_with_cams(image, method) for image in run.images],
            ),
        )
        for method in _limes(run)
        for name, measured in COMPLEXITIES.items()
    ]


def lost_fidelity(image: ComparedImage) -> list[str]:
    """List the measures in which the tuned explanation is less faithful than lime's defaults.

    They are the held-out R² of the surrogate, and insertion minus deletion: superpixels can be so
    coarse that the mask agrees with the reference but explains little.
    """
    by_name = _measures(image)
    tuned, baseline = by_name.get(LIME_TUNED), by_name.get(LIME_DEFAULT)
    if tuned is None or baseline is None:
        return []
    lost = []
    if tuned["r2"] < baseline["r2"]:
        lost.append(f"held-out R² {tuned['r2']:.2f} < {baseline['r2']:.2f}")
    gain, least = (m["insertion"] - m["deletion"] for m in (tuned, baseline))
    if gain < least:
        lost.append(f"insertion minus deletion {gain:.2f} < {least:.2f}")
    return lost


def _limes(run: ComparisonRun) -> Sequence[str]:
    return [method for method in methods_of(run) if method in (LIME_DEFAULT, LIME_TUNED)]
