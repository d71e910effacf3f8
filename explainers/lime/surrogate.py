"""lime's surrogate, with its forward selection done once instead of hundreds of times.

lime's forward selection fits an unpenalised weighted Ridge for every candidate superpixel in every
round. The same choice follows from the weighted Gram matrix: with the chosen columns swept out,
a candidate j raises the explained sum of squares by c_j² / G_jj. Where that choice is not clear
beyond rounding, lime's own code decides, so the selection is always lime's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.metrics
from lime.lime_base import LimeBase
from numpy.typing import NDArray

# Two candidates nearer than this in R² might be ranked otherwise by lime's rounding. Errors of
# either computation are around 1e-13 for the conditioning let through below.
_CLEAR_MARGIN = 1e-9
# A column with less than this share of its variance left is nearly a sum of chosen ones.
_INDEPENDENT = 1e-6

_KERNEL_WIDTH = 0.25  # of LimeImageExplainer(); other explainers of lime have other ones


def lime_kernel(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """lime's exponential kernel: (S,) distances → (S,) weights in (0, 1].

    exp(-d² / (2 · 0.25²)), a Gaussian, written as lime writes it because the last bits count.
    Whoever needs these weights calls this.
    """
    return np.asarray(np.sqrt(np.exp(-(distances**2) / _KERNEL_WIDTH**2)))


def locality(rows: NDArray[np.integer]) -> NDArray[np.float64]:
    """lime's default weights of perturbations, (S, n_superpixels) 0/1 → (S,) float64 in (0, 1].

    Its exponential kernel over the cosine distance to a row of ones, which for k of n superpixels
    shown is 1 - sqrt(k / n).
    """
    return lime_kernel(1.0 - np.sqrt(rows.mean(axis=1)))


def distances_to_first(rows: NDArray[np.integer], metric: str) -> NDArray[np.float64]:
    """(S, n) 0/1 → (S,) distances of all rows to the first, as lime computes them."""
    return np.asarray(
        sklearn.metrics.pairwise_distances(rows, rows[0].reshape(1, -1), metric=metric).ravel()
    )


def effective_samples(rows: NDArray[np.integer], metric: str) -> float:
    """How many equally weighted samples would tell a surrogate as much, from 1 to S.

    (Σw)² / Σw² of lime's weights (Kish 1965, Survey Sampling). With many superpixels nearly all
    weights are nearly zero, and only the first row counts.

    Args:
        rows: (S, n) 0/1, the first row all ones.
    """
    weights = lime_kernel(distances_to_first(rows, metric))
    return float(weights.sum() ** 2 / (weights**2).sum())


def forward_selection(
    data: NDArray[np.integer],
    labels: NDArray[Any],
    weights: NDArray[np.float64],
    num_features: int,
) -> NDArray[np.int64] | None:
    """Greedy selection by weighted R², as lime's ``forward_selection``.

    Args:
        data: (S, n) 0/1 rows.
        labels: (S,) probabilities.
        weights: (S,) sample weights.
        num_features: how many columns to choose.

    Returns:
        (min(num_features, n),) column numbers in the order chosen, or ``None`` when rounding
        could decide, so that lime's own code has to.
    """
    x = data.astype(np.float64)
    y = labels.astype(np.float64)
    total = weights.sum()
    if not total > 0:
        return None
    x -= weights @ x / total
    y = y - weights @ y / total
    weighted = x * weights[:, None]
    gram = weighted.T @ x
    target = weighted.T @ y
    spread = float(weights @ (y * y))
    variance = gram.diagonal().copy()
    if not spread > 1e-12 * total or len(y) <= num_features + 1:
        return None

    chosen: list[int] = []
    free = np.ones(data.shape[1], dtype=bool)
    for _ in range(min(num_features, data.shape[1])):
        left = gram.diagonal()
        if (left[free] < _INDEPENDENT * np.maximum(variance[free], 1e-12 * total)).any():
            return None
        gains = np.full(data.shape[1], -np.inf)
        gains[free] = target[free] ** 2 / left[free] / spread
        best = int(np.argmax(gains))
        gains[best], top = -np.inf, gains[best]
        if free.sum() > 1 and top - gains.max() < _CLEAR_MARGIN:
            return None
        chosen.append(best)
        free[best] = False
        pivot = gram[best, best]
        row = gram[best].copy()
        target = target - row * (target[best] / pivot)
        gram = gram - np.outer(row, row) / pivot
    return np.array(chosen)


class FastLimeBase(LimeBase):  # type: ignore[misc]
    """``LimeBase`` with the same results and a fast forward selection."""

    def forward_selection(
        self,
        data: NDArray[np.integer],
        labels: NDArray[Any],
        weights: NDArray[np.float64],
        num_features: int,
    ) -> NDArray[np.int64]:
        """See :func:`forward_selection`; lime's own code decides where that returns ``None``."""
        selected = forward_selection(data, labels, weights, num_features)
        if selected is None:
            return np.asarray(super().forward_selection(data, labels, weights, num_features))
        return selected
