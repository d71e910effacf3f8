"""How far explanations of one picture agree with each other, seed by seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explainers.masks import intersection_over_union

__all__ = ["mask_stability", "rank_stability"]


def mask_stability(masks: Sequence[NDArray[np.bool_]]) -> float:
    """Mean Jaccard index of all pairs of (H, W) masks, in [0, 1]; higher is better.

    ``nan`` for fewer than two.
    """
    found = [intersection_over_union(a, b) for a, b in itertools.combinations(masks, 2)]
    return float(np.mean(found)) if found else math.nan


def rank_stability(weights: Sequence[NDArray[np.floating]]) -> float:
    """Mean Spearman correlation of all pairs of superpixel weights, in [-1, 1]; higher is better.

    Args:
        weights: (n_superpixels,) each. One whose values are all alike ranks nothing: it
            correlates with none, 0.

    Returns:
        ``nan`` for fewer than two.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(each) - (len(each) + 1) / 2 for each in weights]
    found = []
    for a, b in itertools.combinations(ranks, 2):
        scale = float(np.sqrt((a @ a) * (b @ b)))
        found.append(float(a @ b) / scale if scale > 0 else 0.0)
    return float(np.mean(found)) if found else math.nan
