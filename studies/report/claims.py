"""Claims of public reports on this task, and whether a comparison supports them.

Every sentence is made from the data, or says that they are missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from explainers.metrics import CAMS, LIME_DEFAULT, LIME_TUNED
from studies.records import ComparisonRun
from studies.report.blocks import Claim
from studies.report.wording import around
from studies.results.analysis import (
    agreement_with_cams,
    by_complexity,
    by_type,
    methods_of,
    values_of,
)
from studies.results.statistics import GroupDifference, Interval, mean

__all__ = ["claims"]

_SURPRISING = 0.05
_IMAGES_OF_THE_CLAIM = 10
_Answer = tuple[str, Sequence[str]]
"""``supported``, ``contradicted``, ``undecided`` or ``no data``; sentences with the numbers."""


def claims(run: ComparisonRun) -> list[Claim]:
    """Answer all claims for a run."""
    return [Claim(claimed, *answer(run)) for claimed, answer in _CLAIMS.items()]


def _around(interval: Interval, digits: int = 2) -> str:
    return around(interval, digits) or "no value"


def _decided(interval: Interval) -> str:
    """Answer the claim that a difference is above zero."""
    if not interval.size:
        return "no data"
    if interval.size > 1 and interval.low > 0:
        return "supported"
    return "contradicted" if interval.size > 1 and interval.high < 0 else "undecided"


def _chance(test: GroupDifference) -> str:
    if math.isnan(test.p):
        return "too few images for a test"
    kind = "exact" if test.exact else "sampled"
    return f"p = {test.p:.2f} ({kind} permutation test)"


def _gain(run: ComparisonRun, method: str) -> NDArray[np.float64]:
    """Return insertion minus deletion, shape (images,)."""
    return np.subtract(values_of(run, method, "insertion"), values_of(run, method, "deletion"))


def _types(run: ComparisonRun) -> _Answer:
    rows = by_type(run)
    if not rows or not all(rows[0].test.sizes):
        return "no data", ["The images are not of both types."]
    sentences = [
        f"{row.method}: mean IoU {_around(row.inanimate)} on {row.inanimate.size} inanimate and "
        f"{_around(row.animate)} on {row.animate.size} animate images; difference "
        f"{row.test.difference:+.2f}, {_chance(row.test)}."
        for row in rows
    ]
    test = rows[0].test
    if not test.p < _SURPRISING:
        return "undecided", sentences
    return "supported" if test.difference > 0 else "contradicted", sentences


def _extremes(run: ComparisonRun) -> _Answer:
    sentences, orders = [], []
    for method in (LIME_DEFAULT, LIME_TUNED):
        agreement = {i.key: agreement_with_cams(i, method) for i in run.images}
        order = sorted(
            (k for k, v in agreement.items() if math.isfinite(v)), key=lambda k: -agreement[k]
        )
        if len(order) < 2:
            continue
        orders.append(order)
        sentences.append(
            f"{method}: best {order[0]} ({agreement[order[0]]:.2f}), worst {order[-1]} "
            f"({agreement[order[-1]]:.2f})"
            + "".join(
                f", {key} is number {order.index(key) + 1} of {len(order)} ({agreement[key]:.2f})"
                for key in ("goldfish", "racer")
                if key in order and key not in (order[0], order[-1])
            )
            + "."
        )
    if not orders or not {"goldfish", "racer"} <= set(orders[0]):
        return "no data", sentences or ["Nothing was compared."]
    if len(orders[0]) < _IMAGES_OF_THE_CLAIM:
        return "undecided", sentences
    both = (orders[0][0] == "goldfish") + (orders[0][-1] == "racer")
    return {2: "supported", 1: "undecided", 0: "contradicted"}[both], sentences


def _background(run: ComparisonRun) -> _Answer:
    cams = [m for m in methods_of(run) if m in CAMS]
    baseline = np.array(values_of(run, LIME_DEFAULT, "background"))
    if not cams or not np.isfinite(baseline).any():
        return "no data", ["LIME's defaults and heat maps were not both run."]
    shares = ", ".join(
        f"{method} {_around(mean(values_of(run, method, 'background')))}"
        for method in methods_of(run)
    )
    ours = np.mean([values_of(run, method, "background") for method in cams], axis=0)
    gap = mean((baseline - ours).tolist())
    return _decided(gap), [
        f"Share of the positive evidence outside the reference: {shares}.",
        f"LIME's defaults minus the mean of the maps, image by image: {_around(gap)} on {gap.size} "
        "images. References made from such a map favour the maps.",
    ]


def _cams(run: ComparisonRun) -> _Answer:
    others = [m for m in ("scorecam", "ablationcam") if m in methods_of(run)]
    if not others or "gradcam" not in methods_of(run):
        return "no data", ["The three maps were not all computed."]
    first = _gain(run, "gradcam")
    sentences, answers = [], []
    for method in others:
        gap = mean((_gain(run, method) - first).tolist())
        same = mean([i.comparison.agreement.get(("gradcam", method), math.nan) for i in run.images])
        seconds, gradcam = (mean(values_of(run, m, "seconds")).mean for m in (method, "gradcam"))
        answers.append(_decided(gap))
        sentences.append(
            f"{method}: insertion minus deletion {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] "
            f"against Grad-CAM's, IoU of the masks {_around(same)}, {seconds / gradcam:.0f} times "
            f"the time ({seconds:.2f} s)."
        )
    # The claim is that they are not better.
    if "supported" in answers:
        return "contradicted", sentences
    return "supported" if set(answers) == {"contradicted"} else "undecided", sentences


def _complexity(run: ComparisonRun) -> _Answer:
    trends = [t for t in by_complexity(run) if t.found.size and math.isfinite(t.found.rho)]
    if not trends:
        return "no data", ["There are too few images for a correlation."]
    sentences = [
        f"{trend.method}: Spearman's correlation of the agreement with {trend.complexity} "
        f"{trend.found.rho:+.2f}, p = {trend.found.p:.2f}, {trend.found.size} images."
        for trend in trends
    ]
    falls = {t.found.rho < 0 for t in trends if t.found.p < _SURPRISING}
    rises = {t.found.rho > 0 for t in trends if t.found.p < _SURPRISING}
    if falls == {True}:
        return "supported", sentences
    return "contradicted" if rises == {True} else "undecided", sentences


_CLAIMS: dict[str, Callable[[ComparisonRun], _Answer]] = {
    "Heat maps and LIME agree more on inanimate images than on animate ones (0.476 against "
    "0.283).": _types,
    "Of the ten images goldfish agrees best and racer worst.": _extremes,
    "Class activation maps rely less on the background than LIME.": _background,
    "Score-CAM and Ablation-CAM bring little over Grad-CAM.": _cams,
    "Agreement falls with the complexity of the image.": _complexity,
}
