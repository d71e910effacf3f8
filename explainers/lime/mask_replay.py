"""Forecasting the masks of many settings from predictions that exist already.

Once a superpixel map has predictions, ``num_features``, fewer samples, the distance metric and the
strength of a Ridge surrogate cost only linear algebra. :func:`replay` works out all of them from
one weighted Gram matrix each. It follows lime's formulas without lime's code, so it is a forecast
for choosing what to try; what is stored is always lime's own explanation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explainers.lime.surrogate import distances_to_first, forward_selection, lime_kernel
from explainers.masks import MASK_RULE, MaskRule

_FORWARD_SELECTION_UP_TO = 6
_LEAST_ALPHA = 1e-8  # stands for 0: ordinary least squares may be singular
# With more superpixels there are fewer rows than unknowns: the dual problem is the small one.
MANY_SUPERPIXELS = 200


@dataclass(frozen=True)
class FlatSetting:
    """A setting that needs no new prediction.

    Attributes:
        num_samples: rows used, the first of those that were drawn.
        num_features: ``None`` for all.
        distance_metric: a name of scikit-learn's.
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
    mask_rule: MaskRule = MASK_RULE,
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
        mask_rule: how masks are read; its ``min_weight`` is not looked at.

    Yields:
        (setting, IoU in [0, 1]).
    """
    for metric in metrics:
        counts = [c for c in samples if only is None or (metric, c) in only]
        if not counts:
            continue
        weights = lime_kernel(distances_to_first(rows, metric))
        for count in counts:
            block = _block(
                rows[:count], answers[:count], weights[:count], inside, outside, features, alphas,
                mask_rule,
            )  # fmt: skip
            for feature_count, ious in zip(features, block, strict=True):
                if ious is None:
                    continue  # rounding would decide in lime's own code, so no forecast is made
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
    mask_rule: MaskRule,
) -> list[list[float] | None]:
    """IoU by number of features and alpha, for one set of weighted rows."""
    reference = int(inside.sum())
    problem = RidgeProblem(x, y, weights)
    heaviest = np.argsort(-np.abs(problem.everything([0.01])[0]), kind="stable")
    greedy = [k for k in features if k is not None and k <= _FORWARD_SELECTION_UP_TO]
    path = forward_selection(x, y, weights, max(greedy)) if greedy else None
    block: list[list[float] | None] = []
    for count in features:
        if count is not None and count <= _FORWARD_SELECTION_UP_TO:
            if path is None:
                block.append(None)
                continue
            used = path[:count]
        else:
            used = heaviest[: len(heaviest) if count is None else count]
        if len(used) == x.shape[1]:
            coefficients = problem.everything(alphas)[:, used]
        else:
            coefficients = problem.among(used, alphas)
        order = np.argsort(-np.abs(coefficients), axis=1, kind="stable")
        positive = np.take_along_axis(coefficients, order, axis=1) > 0
        # get_image_and_mask takes the heaviest of the positive ones, or those of the heaviest.
        counted = positive if mask_rule.positive_only else np.ones_like(positive)
        read = positive & (np.cumsum(counted, axis=1) <= mask_rule.num_features)
        hit = np.where(read, inside[used][order], 0).sum(axis=1)
        missed = np.where(read, outside[used][order], 0).sum(axis=1)
        block.append((hit / (reference + missed)).tolist())
    return block


class RidgeProblem:
    """Weighted Ridge, centred as scikit-learn's, for any strength and any choice of columns.

    With B and c the centred rows and labels, each times the root of its weight, the coefficients
    are (BᵀB + α)⁻¹ Bᵀc, an n × n system, or Bᵀ (BBᵀ + α)⁻¹ c, an S × S one.

    Args:
        x: (S, n) 0/1.
        y: (S,) probabilities.
        weights: (S,), not negative.
    """

    def __init__(
        self, x: NDArray[np.integer], y: NDArray[np.floating], weights: NDArray[np.float64]
    ) -> None:
        total = weights.sum()
        rows, labels = x.astype(np.float64), y.astype(np.float64)
        root = np.sqrt(weights)
        self._rows = (rows - weights @ rows / total) * root[:, None]
        self._labels = (labels - weights @ labels / total) * root
        self._many = x.shape[1] > MANY_SUPERPIXELS

    @cached_property
    def _gram(self) -> NDArray[np.float64]:
        return np.asarray(self._rows.T @ self._rows)

    @cached_property
    def _spectrum(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values, vectors = np.linalg.eigh(self._rows @ self._rows.T)
        return values.clip(min=0.0), vectors

    def everything(self, alphas: Sequence[float]) -> NDArray[np.float64]:
        """(A, n) coefficients of all columns, one row for each strength.

        With many columns the dual problem, which is S × S, is solved.
        """
        if not self._many:
            return _ridge(self._gram, self._rows.T @ self._labels, alphas)
        strengths = np.maximum(np.asarray(alphas, dtype=np.float64), _LEAST_ALPHA)
        values, vectors = self._spectrum
        dual = (vectors.T @ self._labels / (values + strengths[:, None])) @ vectors.T
        return np.asarray(dual @ self._rows)

    def among(self, used: NDArray[np.int64], alphas: Sequence[float]) -> NDArray[np.float64]:
        """(A, k) coefficients of a fit to some columns only; ``used`` are their (k,) numbers."""
        some = self._rows[:, used]
        gram = some.T @ some if self._many else self._gram[np.ix_(used, used)]
        return _ridge(gram, some.T @ self._labels, alphas)


def _ridge(
    gram: NDArray[np.float64], target: NDArray[np.float64], alphas: Sequence[float]
) -> NDArray[np.float64]:
    """(n, n) BᵀB and (n,) Bᵀc → (A, n) coefficients, one row for each strength."""
    strengths = np.maximum(np.asarray(alphas, dtype=np.float64), _LEAST_ALPHA)
    systems = gram + strengths[:, None, None] * np.eye(len(gram))
    right = np.broadcast_to(target[:, None], (len(strengths), len(target), 1))
    return np.asarray(np.linalg.solve(systems, right)[..., 0], dtype=np.float64)
