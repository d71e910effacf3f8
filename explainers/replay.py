"""Masks of many cheap settings from answers that are already there.

Once a superpixel map has answers, ``num_features``, fewer samples, the distance metric and the
strength of a Ridge surrogate cost only linear algebra. :func:`replay` works out all of them from
one weighted Gram matrix each. It follows lime's formulas without lime's code, so it is a forecast
for choosing what to try; what is stored is always lime's own explanation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sklearn.metrics
from numpy.typing import NDArray

from explainers.masks import MASK_RULE
from explainers.surrogate import forward_selection

__all__ = ["FlatSetting", "replay"]

_KERNEL_WIDTH = 0.25
_FORWARD_SELECTION_UP_TO = 6


@dataclass(frozen=True)
class FlatSetting:
    """A setting that needs no new answer.

    Attributes:
        num_features: ``None`` for all.
        alpha: strength of the Ridge surrogate; 0 is ordinary least squares.
    """

    num_samples: int
    num_features: int | None
    distance_metric: str
    alpha: float


def replay(
    rows: NDArray[np.integer],
    answers: NDArray[np.floating],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    samples: Sequence[int],
    features: Sequence[int | None],
    metrics: Sequence[str],
    alphas: Sequence[float],
) -> Iterator[tuple[FlatSetting, float]]:
    """IoU of the mask that each combination of settings would give for one explainer seed.

    Args:
        rows: (S, n) 0/1, the first row all ones.
        answers: (S,) probabilities of the explained class.
        inside, outside: (n,) pixels of each superpixel in and out of the reference.
        samples: how many of the first rows to use; lime's rows are prefix-stable.
        features: values of ``num_features``; ``None`` for all.
        metrics: distance metrics.
        alphas: strengths of the Ridge surrogate.

    Yields:
        (setting, IoU in [0, 1]).
    """
    reference = int(inside.sum())
    superpixels = rows.shape[1]
    greedy = [k for k in features if k is not None and k <= _FORWARD_SELECTION_UP_TO]
    for metric in metrics:
        distances = sklearn.metrics.pairwise_distances(
            rows, rows[0].reshape(1, -1), metric=metric
        ).ravel()
        weights = np.sqrt(np.exp(-(distances**2) / _KERNEL_WIDTH**2))
        for count in samples:
            x, y, w = rows[:count], answers[:count], weights[:count]
            gram, target = _weighted_gram(x, y, w)
            path = forward_selection(x, y, w, max(greedy)) if greedy else None
            heaviest = np.argsort(-np.abs(_ridge(gram, target, 0.01)), kind="stable")
            for feature_count in features:
                if feature_count is not None and feature_count <= _FORWARD_SELECTION_UP_TO:
                    if path is None:
                        continue  # lime's own code would decide by rounding; not worth a forecast
                    used = path[:feature_count]
                else:
                    used = heaviest[: superpixels if feature_count is None else feature_count]
                sub_gram, sub_target = gram[np.ix_(used, used)], target[used]
                for alpha in alphas:
                    coefficients = _ridge(sub_gram, sub_target, max(alpha, 1e-8))
                    order = np.argsort(-np.abs(coefficients), kind="stable")
                    chosen = used[order[coefficients[order] > 0][: MASK_RULE.num_features]]
                    union = reference + int(outside[chosen].sum())
                    setting = FlatSetting(count, feature_count, metric, alpha)
                    yield setting, int(inside[chosen].sum()) / union


def _weighted_gram(
    x: NDArray[np.integer], y: NDArray[np.floating], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centred weighted normal equations, as scikit-learn's Ridge builds them."""
    total = weights.sum()
    rows = x.astype(np.float64)
    centred: NDArray[np.float64] = rows - weights @ rows / total
    weighted = centred * weights[:, None]
    labels = y.astype(np.float64)
    return weighted.T @ centred, weighted.T @ (labels - weights @ labels / total)


def _ridge(
    gram: NDArray[np.float64], target: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    solution = np.linalg.solve(gram + alpha * np.eye(len(gram)), target)
    return np.asarray(solution, dtype=np.float64)
