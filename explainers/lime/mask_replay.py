"""Forecasting the masks of many settings from predictions that exist already.

Once a superpixel map has predictions, ``num_features``, fewer samples, the distance metric and the
strength of a Ridge surrogate cost only linear algebra. :func:`replay` works out all of them from
one weighted Gram matrix each. It follows lime's formulas without lime's code, so it is a forecast
for choosing what to try; what is stored is always lime's own explanation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explainers.lime.surrogate import (
    distances_to_first,
    forward_selection,
    lime_kernel,
    locality,
)
from explainers.masks import MASK_RULE, MaskRule

_FORWARD_SELECTION_UP_TO = 6
_LEAST_ALPHA = 1e-8  # stands for 0: ordinary least squares may be singular
_NO_VARIANCE = 1e-12  # of probabilities, whose squares' last digit is about 1e-14
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


class HeldOut:
    """Perturbations that a surrogate was not fitted to, to measure its R² on.

    Args:
        rows: (H, n) 0/1.
        answers: (H,) probabilities of the explained class.
    """

    def __init__(self, rows: NDArray[np.integer], answers: NDArray[np.floating]) -> None:
        weights = locality(rows)
        self._rows = rows.astype(np.float64)
        self._weights = weights / weights.sum()
        self._answers = answers.astype(np.float64)
        mean = self._weights @ self._answers
        self._variance = float(self._weights @ (self._answers - mean) ** 2)

    def r2(
        self, used: NDArray[np.int64], coefficients: NDArray[np.float64], problem: RidgeProblem
    ) -> NDArray[np.float64]:
        """R² of several fits to the same columns, weighted by lime's default locality.

        Args:
            used: (k,) numbers of the columns.
            coefficients: (A, k).
            problem: which the fits solve.

        Returns:
            (A,), at most 1; ``nan`` where the answers are all the same.
        """
        if not self._variance > _NO_VARIANCE:
            return np.full(len(coefficients), np.nan)
        predicted = problem.predicted(self._rows, used, coefficients)
        errors = (self._answers - predicted) ** 2 @ self._weights
        return np.asarray(1.0 - errors / self._variance)


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
    held_out: HeldOut | None = None,
) -> Iterator[tuple[FlatSetting, float, float]]:
    """IoU of the mask, and R² of the surrogate, of each combination of settings for one seed.

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
        held_out: of another seed, for the R².

    Yields:
        (setting, IoU in [0, 1], held-out R²); the R² is ``nan`` without ``held_out``.
    """
    for metric in metrics:
        counts = [c for c in samples if only is None or (metric, c) in only]
        if not counts:
            continue
        weights = lime_kernel(distances_to_first(rows, metric))
        for count in counts:
            block = _block(
                rows[:count], answers[:count], weights[:count], inside, outside, features, alphas,
                mask_rule, held_out,
            )  # fmt: skip
            for feature_count, found in zip(features, block, strict=True):
                if found is None:
                    continue  # rounding would decide in lime's own code, so no forecast is made
                for alpha, iou, r2 in zip(alphas, *found, strict=True):
                    yield FlatSetting(count, feature_count, metric, alpha), iou, r2


def _block(
    x: NDArray[np.integer],
    y: NDArray[np.floating],
    weights: NDArray[np.float64],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    features: Sequence[int | None],
    alphas: Sequence[float],
    mask_rule: MaskRule,
    held_out: HeldOut | None,
) -> list[tuple[list[float], list[float]] | None]:
    """IoU and R² by number of features and alpha, for one set of weighted rows."""
    reference = int(inside.sum())
    problem = RidgeProblem(x, y, weights)
    heaviest = np.argsort(-np.abs(problem.everything([0.01])[0]), kind="stable")
    greedy = [k for k in features if k is not None and k <= _FORWARD_SELECTION_UP_TO]
    path = forward_selection(x, y, weights, max(greedy)) if greedy else None
    unknown = [math.nan] * len(alphas)
    block: list[tuple[list[float], list[float]] | None] = []
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
        r2 = unknown if held_out is None else held_out.r2(used, coefficients, problem).tolist()
        block.append(((hit / (reference + missed)).tolist(), r2))
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
        self._means, self._label = weights @ rows / total, float(weights @ labels / total)
        self._rows = (rows - self._means) * root[:, None]
        self._labels = (labels - self._label) * root
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

    def predicted(
        self, rows: NDArray[np.float64], used: NDArray[np.int64], coefficients: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(A, H) answers that fits to some columns foretell for (H, n) rows; see :meth:`among`."""
        intercepts = self._label - coefficients @ self._means[used]
        return np.asarray(coefficients @ rows[:, used].T + intercepts[:, None])


def _ridge(
    gram: NDArray[np.float64], target: NDArray[np.float64], alphas: Sequence[float]
) -> NDArray[np.float64]:
    """(n, n) BᵀB and (n,) Bᵀc → (A, n) coefficients, one row for each strength."""
    strengths = np.maximum(np.asarray(alphas, dtype=np.float64), _LEAST_ALPHA)
    systems = gram + strengths[:, None, None] * np.eye(len(gram))
    right = np.broadcast_to(target[:, None], (len(strengths), len(target), 1))
    return np.asarray(np.linalg.solve(systems, right)[..., 0], dtype=np.float64)
