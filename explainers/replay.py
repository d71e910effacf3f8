"""Masks of many cheap settings from answers that are already there.

Once a superpixel map has answers, ``num_features``, fewer samples, the distance metric and the
strength of a Ridge surrogate cost only linear algebra. :func:`replay` works out all of them from
one weighted Gram matrix each. It follows lime's formulas without lime's code, so it is a forecast
for choosing what to try; what is stored is always lime's own explanation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sklearn.metrics
from numpy.typing import NDArray

from explainers.masks import MASK_RULE
from explainers.surrogate import forward_selection

__all__ = ["FlatSetting", "replay"]

_KERNEL_WIDTH = 0.25
_FORWARD_SELECTION_UP_TO = 6
_LEAST_ALPHA = 1e-8  # stands for 0: ordinary least squares may be singular


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
    only: Collection[tuple[str, int]] | None = None,
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
        only: pairs of metric and number of samples to look at; all when ``None``.

    Yields:
        (setting, IoU in [0, 1]).
    """
    for metric in metrics:
        counts = [c for c in samples if only is None or (metric, c) in only]
        if not counts:
            continue
        distances = sklearn.metrics.pairwise_distances(
            rows, rows[0].reshape(1, -1), metric=metric
        ).ravel()
        weights = np.sqrt(np.exp(-(distances**2) / _KERNEL_WIDTH**2))
        for count in counts:
            block = _block(
                rows[:count], answers[:count], weights[:count], inside, outside, features, alphas
            )
            for feature_count, ious in zip(features, block, strict=True):
                if ious is None:
                    continue  # lime's own code would decide by rounding; not worth a forecast
                for alpha, iou in zip(alphas, ious, strict=True):
                    yield FlatSetting(count, feature_count, metric, alpha), iou


def _block(
    x: NDArray[np.integer],
    y: NDArray[np.floating],
    weights: NDArray[np.float64],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    features: Sequence[int | None],
    alphas: Sequence[float],
) -> list[list[float] | None]:
    """IoU by number of features and alpha, for one set of weighted rows."""
    reference = int(inside.sum())
    gram, target = _weighted_gram(x, y, weights)
    greedy = [k for k in features if k is not None and k <= _FORWARD_SELECTION_UP_TO]
    path = forward_selection(x, y, weights, max(greedy)) if greedy else None
    heaviest = np.argsort(-np.abs(_ridge(gram, target, [0.01])[0]), kind="stable")
    block: list[list[float] | None] = []
    for count in features:
        if count is not None and count <= _FORWARD_SELECTION_UP_TO:
            if path is None:
                block.append(None)
                continue
            used = path[:count]
        else:
            used = heaviest[: len(heaviest) if count is None else count]
        coefficients = _ridge(gram[np.ix_(used, used)], target[used], alphas)
        order = np.argsort(-np.abs(coefficients), axis=1, kind="stable")
        positive = np.take_along_axis(coefficients, order, axis=1) > 0
        # get_image_and_mask takes the heaviest of the positive ones.
        read = positive & (np.cumsum(positive, axis=1) <= MASK_RULE.num_features)
        hit = np.where(read, inside[used][order], 0).sum(axis=1)
        missed = np.where(read, outside[used][order], 0).sum(axis=1)
        block.append((hit / (reference + missed)).tolist())
    return block


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
    gram: NDArray[np.float64], target: NDArray[np.float64], alphas: Sequence[float]
) -> NDArray[np.float64]:
    """(A, n) coefficients, one row for each strength."""
    strengths = np.maximum(np.asarray(alphas, dtype=np.float64), _LEAST_ALPHA)
    systems = gram + strengths[:, None, None] * np.eye(len(gram))
    right = np.broadcast_to(target[:, None], (len(strengths), len(target), 1))
    return np.asarray(np.linalg.solve(systems, right)[..., 0], dtype=np.float64)
