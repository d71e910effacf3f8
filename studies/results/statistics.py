"""What a handful of images can and cannot show: intervals and exact tests, by scipy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which loads scipy.stats where it is first used
from numpy.typing import NDArray

__all__ = ["Correlation", "GroupDifference", "Interval", "correlation", "difference", "mean"]

_RESAMPLES = 10_000
_CONFIDENCE = 0.95
# Ten images have 10! = 3.6 million orders: too many to try all of them.
_EXACT_UP_TO, _PERMUTATIONS = 7, 20_000
_SPLITS_UP_TO = 200_000

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over images and its 95 % bootstrap interval (percentiles, Efron 1979).

    Attributes:
        size: how many images; with one, the interval is that image.
    """

    mean: float
    low: float
    high: float
    size: int


@dataclass(frozen=True)
class GroupDifference:
    """Mean of one group minus mean of the other, and how surprising that would be by chance.

    Attributes:
        p: two-sided, of a permutation test: the share of the ways to split the images into groups
            of these sizes that differ at least as much.
        exact: all ways were tried, not a sample of them.
        sizes: images in each group.
    """

    difference: float
    p: float
    exact: bool
    sizes: tuple[int, int]


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation and the two-sided p of a permutation test.

    Attributes:
        exact: all orders were tried, not a sample of them.
    """

    rho: float
    p: float
    exact: bool
    size: int


def mean(values: Sequence[float]) -> Interval:
    """The mean of finite values, one per image; those that are ``nan`` are left out.

    The same values give the same interval, in whatever order they come.
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
        # Splits that differ by rounding only are ties.
        gaps: _Floats = np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)).round(12)
        return gaps

    return GroupDifference(gap, _p((a, b), distance, "independent", exact), exact, sizes)


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Rank correlation over images; pairs with a ``nan`` are left out.

    ``nan`` for fewer than three pairs, and where one side does not vary.
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
    """Share of permutations whose statistic is at least as large as that of the data."""
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
