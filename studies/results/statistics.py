"""Bootstrap intervals and permutation tests for a handful of images, by SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.stats when it is first used
from numpy.typing import NDArray

__all__ = ["Correlation", "GroupDifference", "Interval", "correlation", "difference", "mean"]

_RESAMPLES = 10_000
_CONFIDENCE = 0.95
# All orders are tried for up to 7 images, and 20,000 otherwise: ten images have 3.6 million.
_EXACT_UP_TO, _PERMUTATIONS = 7, 20_000
_SPLITS_UP_TO = 200_000  # all splits into two groups are tried up to this number

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over images and its 95 % bootstrap interval (percentiles, Efron 1979).

    Attributes:
        size: number of images; with one, low and high equal its value.
    """

    mean: float
    low: float
    high: float
    size: int


@dataclass(frozen=True)
class GroupDifference:
    """Difference of the means of two groups, with a permutation test.

    Attributes:
        difference: mean of the first group minus mean of the second.
        p: two-sided: the share of all splits of the images into groups of these sizes whose means
            differ at least as much.
        exact: whether all splits were tried, not a sample.
        sizes: number of images in each group.
    """

    difference: float
    p: float
    exact: bool
    sizes: tuple[int, int]


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation and the two-sided p of a permutation test.

    Attributes:
        exact: whether all orders were tried, not a sample.
        size: number of images.
    """

    rho: float
    p: float
    exact: bool
    size: int


def mean(values: Sequence[float]) -> Interval:
    """Return the mean of the finite values, one per image; others are left out.

    The interval does not depend on the order of the values.
    """
    known = _finite(values)
    if not len(known):
        return Interval(math.nan, math.nan, math.nan, 0)
    found = float(known.mean())
    if len(known) == 1 or np.ptp(known) == 0:
        return Interval(found, found, found, len(known))
    limits = scipy.stats.bootstrap(
        (known,),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=_CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(found, float(limits.low), float(limits.high), len(known))


def difference(first: Sequence[float], second: Sequence[float]) -> GroupDifference:
    """Compare the means of two groups of images; ``p`` is ``nan`` where one has fewer than two."""
    a, b = _finite(first), _finite(second)
    sizes = (len(a), len(b))
    gap = float(a.mean() - b.mean()) if all(sizes) else math.nan
    if min(sizes) < 2:
        return GroupDifference(gap, math.nan, exact=True, sizes=sizes)
    exact = math.comb(sum(sizes), len(a)) <= _SPLITS_UP_TO

    def distance(x: _Floats, y: _Floats, axis: int) -> _Floats:
        # Rounded, as splits that differ only by rounding errors are ties.
        gaps: _Floats = np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)).round(12)
        return gaps

    return GroupDifference(gap, _p((a, b), distance, "independent", exact), exact, sizes)


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Return the rank correlation over images; pairs with a ``nan`` are left out.

    It is ``nan`` for fewer than three pairs, and where one side does not vary.
    """
    pairs = np.array(list(zip(x, y, strict=True)), dtype=np.float64).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    size = len(pairs)
    if size < 3 or (np.ptp(pairs, axis=0) == 0).any():
        return Correlation(math.nan, math.nan, exact=True, size=size)
    a, b = scipy.stats.rankdata(pairs, axis=0).T - (size + 1) / 2
    exact = size <= _EXACT_UP_TO

    def strength(ranks: _Floats, axis: int) -> _Floats:
        agreement: _Floats = np.abs(np.sum(ranks * b, axis=axis))
        return agreement

    rho = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return Correlation(rho, _p((a,), strength, "pairings", exact), exact, size)


def _p(
    data: tuple[_Floats, ...], statistic: Callable[..., _Floats], kind: str, exact: bool
) -> float:
    """Return the share of permutations whose statistic is at least that of the data."""
    return float(
        scipy.stats.permutation_test(
            data,
            statistic,
            permutation_type=kind,
            vectorized=True,
            alternative="greater",
            n_resamples=np.inf if exact else _PERMUTATIONS,
            rng=np.random.default_rng(0),
        ).pvalue
    )


def _finite(values: Sequence[float]) -> _Floats:
    known: _Floats = np.sort(np.asarray(list(values), dtype=np.float64))
    return known[np.isfinite(known)]
