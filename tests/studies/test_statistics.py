"""Intervals and tests on samples small enough to count by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.results.statistics import correlation, difference, mean


def test_exact_test_counts_the_splits() -> None:
    # Of the 20 ways to take three of six, two are as far apart as the two ends.
    found = difference([1, 2, 3], [10, 11, 12])
    assert (found.difference, found.sizes, found.exact) == (-9.0, (3, 3), True)
    assert found.p == pytest.approx(2 / 20)
    # Three against two: ten ways, and no other sets both ones apart.
    assert difference([0, 0, 0], [1, 1]).p == pytest.approx(1 / 10)
    assert difference([0.3, 0.5], [0.5, 0.3]).p == 1.0


def test_large_groups_are_sampled_and_say_so() -> None:
    found = difference(list(range(20)), list(range(5, 25)))
    assert not found.exact
    assert found == difference(list(range(20)), list(range(5, 25)))
    assert 0.005 < found.p < 0.08


def test_correlation_of_known_orders() -> None:
    assert correlation([1, 2, 3, 4], [2, 3, 5, 9]).rho == pytest.approx(1.0)
    # All 24 orders: this one and its mirror image.
    assert correlation([1, 2, 3, 4], [2, 3, 5, 9]).p == pytest.approx(2 / 24)
    assert correlation([1, 2, 3, 4], [3, 2, 5, 9]).rho == pytest.approx(0.8)
    assert not correlation(range(10), range(10)).exact
    assert correlation(range(10), range(10)).p < 0.001
    assert math.isnan(correlation([1, 2, 3], [5, 5, 5]).rho)
    assert math.isnan(correlation([1, 2], [1, 2]).p)
    assert correlation([1, 2, 3, math.nan], [3, 2, 1, 0]).size == 3


def test_means_have_intervals_around_them() -> None:
    found = mean([0.2, 0.4, 0.6, 0.8])
    assert found.mean == pytest.approx(0.5)
    assert 0.2 <= found.low < 0.4
    assert 0.6 < found.high <= 0.8
    assert found == mean([0.8, 0.2, 0.6, 0.4, math.nan])
    assert mean([0.7]) == mean([0.7, math.nan])
    assert (mean([0.7]).low, mean([0.7]).high, mean([0.7]).size) == (0.7, 0.7, 1)
    assert mean([]).size == 0
    assert math.isnan(mean([math.nan]).mean)
    assert math.isnan(difference([], [1.0]).p)


_VALUES = st.integers(0, 40).map(lambda n: n / 40)  # far enough apart for ties to be ties


@given(st.lists(_VALUES, min_size=1, max_size=6), st.lists(_VALUES, max_size=6))
def test_swapping_the_groups_swaps_the_sign(first: list[float], second: list[float]) -> None:
    one, other = difference(first, second), difference(second, first)
    assert math.isnan(one.difference) == (not second)
    if min(len(first), len(second)) < 2:
        assert math.isnan(one.p)
        return
    assert one.difference == pytest.approx(-other.difference)
    assert one.p == pytest.approx(other.p)
    assert 0 < one.p <= 1
