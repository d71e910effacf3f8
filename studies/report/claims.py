"""What public reports of this task claim, and what a comparison says about it.

Every sentence is made from the data; where the data are missing, it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from explainers.metrics import CAMS, LIME_DEFAULT, LIME_TUNED
from studies.analysis import agreement_with_cams, by_complexity, by_type, methods_of, values_of
from studies.records import ComparisonRun
from studies.report.wording import around
from studies.statistics import GroupDifference, Interval, mean

__all__ = ["Claim", "claims"]

_SURPRISING = 0.05
_IMAGES_OF_THE_CLAIM = 10


@dataclass(frozen=True)
class Claim:
    """A claim and the answer of the data.

    Attributes:
        answer: ``supported``, ``contradicted``, ``undecided`` or ``no data``.
        found: sentences with the numbers.
    """

    claimed: str
    answer: str
    found: tuple[str, ...]


def claims(run: ComparisonRun) -> list[Claim]:
    """All claims, answered for this run."""
    made: Sequence[Callable[[ComparisonRun], Claim]] = (
        _types, _extremes, _background, _cams, _complexity,
    )  # fmt: skip
    return [make(run) for make in made]


def _around(found: Interval, digits: int = 2) -> str:
    return around(found, digits) or "no value"


def _decided(found: Interval) -> str:
    """Of a difference that is claimed to be above zero."""
    if not found.size:
        return "no data"
    if found.size > 1 and found.low > 0:
        return "supported"
    return "contradicted" if found.size > 1 and found.high < 0 else "undecided"


def _chance(test: GroupDifference) -> str:
    if math.isnan(test.p):
        return "too few images for a test"
    kind = "exact" if test.exact else "sampled"
    return f"p = {test.p:.2f} ({kind} permutation test)"


def _types(run: ComparisonRun) -> Claim:
    claimed = (
        "Heat maps and LIME agree more on inanimate images than on animate ones (0.476 against "
        "0.283)."
    )
    rows = by_type(run)
    if not rows or not all(rows[0].test.sizes):
        return Claim(claimed, "no data", ("The images are not of both types.",))
    sentences = [
        f"{row.method}: mean IoU {_around(row.inanimate)} on {row.inanimate.size} inanimate and "
        f"{_around(row.animate)} on {row.animate.size} animate images; difference "
        f"{row.test.difference:+.2f}, {_chance(row.test)}."
        for row in rows
    ]
    test = rows[0].test
    answer = "undecided"
    if test.p < _SURPRISING:
        answer = "supported" if test.difference > 0 else "contradicted"
    return Claim(claimed, answer, tuple(sentences))


def _extremes(run: ComparisonRun) -> Claim:
    claimed = "Of the ten images goldfish agrees best and racer worst."
    sentences, orders = [], []
    for method in (LIME_DEFAULT, LIME_TUNED):
        found = {i.key: agreement_with_cams(i, method) for i in run.images}
        order = sorted((k for k, v in found.items() if math.isfinite(v)), key=lambda k: -found[k])
        if len(order) < 2:
            continue
        orders.append(order)
        sentences.append(
            f"{method}: best {order[0]} ({found[order[0]]:.2f}), worst {order[-1]} "
            f"({found[order[-1]]:.2f})"
            + "".join(
                f", {key} is number {order.index(key) + 1} of {len(order)} ({found[key]:.2f})"
                for key in ("goldfish", "racer")
                if key in order and key not in (order[0], order[-1])
            )
            + "."
        )
    if not orders or not {"goldfish", "racer"} <= set(orders[0]):
        return Claim(claimed, "no data", tuple(sentences) or ("Nothing was compared.",))
    if len(orders[0]) < _IMAGES_OF_THE_CLAIM:
        return Claim(claimed, "undecided", tuple(sentences))
    both = (orders[0][0] == "goldfish") + (orders[0][-1] == "racer")
    answer = {2: "supported", 1: "undecided", 0: "contradicted"}[both]
    return Claim(claimed, answer, tuple(sentences))


def _background(run: ComparisonRun) -> Claim:
    claimed = "Class activation maps rely less on the background than LIME."
    cams = [m for m in methods_of(run) if m in CAMS]
    usual = np.array(values_of(run, LIME_DEFAULT, "background"))
    if not cams or not np.isfinite(usual).any():
        return Claim(claimed, "no data", ("LIME's defaults and heat maps were not both run.",))
    sentences = [
        "Share of the positive evidence outside the reference: "
        + ", ".join(
            f"{method} {_around(mean(values_of(run, method, 'background')))}"
            for method in methods_of(run)
        )
        + "."
    ]
    ours = np.mean([values_of(run, method, "background") for method in cams], axis=0)
    gap = mean((usual - ours).tolist())
    sentences.append(
        f"LIME's defaults minus the mean of the maps, image by image: {_around(gap)} on {gap.size} "
        "images. References made from such a map favour the maps."
    )
    return Claim(claimed, _decided(gap), tuple(sentences))


def _cams(run: ComparisonRun) -> Claim:
    claimed = "Score-CAM and Ablation-CAM bring little over Grad-CAM."
    others = [m for m in ("scorecam", "ablationcam") if m in methods_of(run)]
    if not others or "gradcam" not in methods_of(run):
        return Claim(claimed, "no data", ("The three maps were not all computed.",))
    first = np.array(values_of(run, "gradcam", "insertion")) - np.array(
        values_of(run, "gradcam", "deletion")
    )
    sentences, gaps = [], []
    for method in others:
        gain = np.array(values_of(run, method, "insertion")) - np.array(
            values_of(run, method, "deletion")
        )
        gap = mean((gain - first).tolist())
        same = mean([i.comparison.agreement.get(("gradcam", method), math.nan) for i in run.images])
        seconds, usual = (mean(values_of(run, m, "seconds")).mean for m in (method, "gradcam"))
        gaps.append(gap)
        sentences.append(
            f"{method}: insertion minus deletion {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] "
            f"against Grad-CAM's, IoU of the masks {_around(same)}, {seconds / usual:.0f} times "
            f"the time ({seconds:.2f} s)."
        )
    better = [_decided(gap) == "supported" for gap in gaps]
    worse = [_decided(gap) == "contradicted" for gap in gaps]
    answer = "contradicted" if any(better) else "supported" if all(worse) else "undecided"
    return Claim(claimed, answer, tuple(sentences))


def _complexity(run: ComparisonRun) -> Claim:
    claimed = "Agreement falls with the complexity of the image."
    trends = [t for t in by_complexity(run) if t.found.size and math.isfinite(t.found.rho)]
    if not trends:
        return Claim(claimed, "no data", ("There are too few images for a correlation.",))
    sentences = [
        f"{trend.method}: Spearman's correlation of the agreement with {trend.complexity} "
        f"{trend.found.rho:+.2f}, p = {trend.found.p:.2f}, {trend.found.size} images."
        for trend in trends
    ]
    sure = [t.found.rho for t in trends if t.found.p < _SURPRISING]
    answer = "undecided"
    if sure and all(rho < 0 for rho in sure):
        answer = "supported"
    elif sure and all(rho > 0 for rho in sure):
        answer = "contradicted"
    return Claim(claimed, answer, tuple(sentences))
