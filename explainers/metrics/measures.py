"""Measures of explanations, with the direction of better values and the source of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from explainers.images import array_digest
from explainers.lime import (
    HideColor,
    PredictionCache,
    Predictor,
    as_lime_hides,
    explain,
    explained_label,
)
from explainers.masks import intersection_over_union, selected_superpixels
from explainers.metrics.explanation import Explanation, Surrogate
from explainers.metrics.fidelity import (
    Predict,
    deletion_curve,
    dense_weights,
    held_out_r2,
    insertion_curve,
)
from explainers.metrics.localisation import (
    background_reliance,
    centre_distance,
    energy_inside,
    pointing_game,
)


@dataclass(frozen=True)
class Measure:
    """Title, direction and source of a measure.

    Attributes:
        title: for tables and axes.
        higher_is_better: the direction.
        source: paper, or what it is.
    """

    title: str
    higher_is_better: bool
    source: str


MEASURES: Mapping[str, Measure] = {
    "deletion": Measure("deletion area", False, "Petsiuk et al. 2018 (RISE)"),
    "insertion": Measure("insertion area", True, "Petsiuk et al. 2018 (RISE)"),
    "iou": Measure("IoU with the reference", True, "Jaccard 1912"),
    "pointing": Measure("pointing game", True, "Zhang et al. 2018"),
    "energy": Measure("evidence inside the reference", True, "Wang et al. 2020 (Score-CAM)"),
    "background": Measure("evidence on the background", False, "one minus the evidence inside"),
    "centre_distance": Measure("distance of the centres", False, "share of the diagonal"),
    "seconds": Measure("seconds", False, "wall clock"),
    "r2": Measure("held-out R² of the surrogate", True, "lime's score, on fresh perturbations"),
    "mask_stability": Measure("agreement of masks over seeds", True, "mean Jaccard index"),
    "rank_stability": Measure("agreement of weights over seeds", True, "mean Spearman correlation"),
}
"""All measures of :func:`measure` and :func:`measure_surrogate`, by name."""

_HELD_OUT_SEED = 2_000_003  # above the seeds that explainers are given


def measure(
    explanation: Explanation,
    image: NDArray[np.uint8],
    predict: Predict,
    reference: NDArray[np.bool_],
) -> dict[str, float]:
    """The measures of any explanation, by name; ``nan`` where it marks nothing.

    Args:
        image: (H, W, 3) uint8.
        predict: (N, H, W, 3) uint8 → (N, C) probabilities.
        reference: (H, W) bool.
    """
    index, evidence = explanation.class_index, explanation.evidence
    return {
        "deletion": deletion_curve(predict, image, explanation.ranking, index).area,
        "insertion": insertion_curve(predict, image, explanation.ranking, index).area,
        "iou": intersection_over_union(explanation.mask, reference),
        "pointing": pointing_game(explanation.ranking, reference),
        "energy": energy_inside(evidence, reference),
        "background": background_reliance(evidence, reference),
        "centre_distance": centre_distance(evidence, reference),
        "seconds": explanation.seconds,
    }


def measure_surrogate(
    surrogate: Surrogate,
    class_index: int,
    image: NDArray[np.uint8],
    predictor: Predictor,
    cache: PredictionCache,
    seeds: Sequence[int],
) -> dict[str, float]:
    """The measures of LIME's explanations only, by name.

    Args:
        image: (H, W, 3) uint8.
        predictor, cache: the source of predictions, and where they are kept.
        seeds: further explainer seeds, for the stability.
    """
    digest = array_digest(image)
    segments, parameters = surrogate.segments, surrogate.parameters
    superpixels = int(segments.max()) + 1
    masks = [_mask(segments, surrogate.weights)]
    weights = [dense_weights(surrogate.weights, superpixels)]
    for seed in seeds:
        explanation = explain(
            image, predictor, parameters, seed=seed, cache=cache, first_label_only=True,
            image_digest=digest,
        )  # fmt: skip
        local = dict(explanation.local_exp[explained_label(explanation)])
        masks.append(_mask(explanation.segments, local))
        # lime's own superpixels may depend on the seed; numbers then mean different places.
        if np.array_equal(explanation.segments, segments):
            weights.append(dense_weights(local, superpixels))
    return {
        "r2": surrogate_r2(
            segments, surrogate.weights, surrogate.intercept, parameters.hide_color, class_index,
            image, predictor, cache,
        ),
        "mask_stability": mask_stability(masks),
        "rank_stability": rank_stability(weights),
    }  # fmt: skip


def surrogate_r2(
    segments: NDArray[np.int64],
    weights: Mapping[int, float],
    intercept: float,
    hide_color: HideColor,
    class_index: int,
    image: NDArray[np.uint8],
    predictor: Predictor,
    cache: PredictionCache,
) -> float:
    """Held-out R² of a linear model of superpixels (:func:`held_out_r2`), with a fixed seed.

    Args:
        segments: (H, W) labels; where they are not contiguous from 0, what lime never hides is not
            hidden here either.
        weights, intercept: the model's.
        image: (H, W, 3) uint8.
        predictor, cache: the source of predictions, and where they are kept.
    """
    digest = array_digest(image)
    segments, features = as_lime_hides(segments)
    shown = int(segments.max()) + 1 - features  # a column more where something is never hidden

    def ask(rows: NDArray[np.int64]) -> NDArray[np.floating]:
        rows = np.pad(rows, ((0, 0), (0, shown)), constant_values=1)
        return np.asarray(
            cache.predictions(
                predictor, image, segments, hide_color, rows, np.array([class_index]), digest
            )[:, 0]
        )

    return held_out_r2(features, weights, intercept, ask, _HELD_OUT_SEED)


def agreement(explanations: Sequence[Explanation]) -> dict[tuple[str, str], float]:
    """IoU of every two explanations' masks, by their methods."""
    return {
        (a.method, b.method): intersection_over_union(a.mask, b.mask)
        for a in explanations
        for b in explanations
    }


def _mask(segments: NDArray[np.int64], weights: Mapping[int, float]) -> NDArray[np.bool_]:
    ordered = sorted(weights.items(), key=lambda pair: -abs(pair[1]))
    return np.asarray(np.isin(segments, selected_superpixels(ordered)))


def mask_stability(masks: Sequence[NDArray[np.bool_]]) -> float:
    """Mean Jaccard index of all pairs of (H, W) masks, in [0, 1]; higher is better.

    ``nan`` for fewer than two.
    """
    ious = [intersection_over_union(a, b) for a, b in itertools.combinations(masks, 2)]
    return float(np.mean(ious)) if ious else math.nan


def rank_stability(weights: Sequence[NDArray[np.floating]]) -> float:
    """Mean Spearman correlation of all pairs of superpixel weights, in [-1, 1]; higher is better.

    Args:
        weights: (n_superpixels,) each. Equal weights rank nothing: their correlation with any
            other counts as 0.

    Returns:
        ``nan`` for fewer than two.
    """
    ranks = [rankdata(each) - (len(each) + 1) / 2 for each in weights]
    correlations = []
    for a, b in itertools.combinations(ranks, 2):
        scale = float(np.sqrt((a @ a) * (b @ b)))
        correlations.append(float(a @ b) / scale if scale > 0 else 0.0)
    return float(np.mean(correlations)) if correlations else math.nan
