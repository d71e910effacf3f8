"""The score, and when a trial may be stopped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.objective import cannot_win, score

UNIT = st.floats(0, 1)


def test_defaults_pay_the_whole_weight() -> None:
    assert score(0.5, 1.0, 0.1) == pytest.approx(0.4)
    assert score(0.5, 0.0, 0.1) == 0.5


@given(UNIT, st.floats(0, 10), st.floats(0, 10), st.floats(0, 1))
def test_penalty_is_monotone_in_seconds(iou: float, a: float, b: float, weight: float) -> None:
    fast, slow = sorted((a, b))
    assert score(iou, fast, weight) >= score(iou, slow, weight)


@given(st.lists(UNIT, min_size=1, max_size=20), UNIT)
def test_nothing_is_stopped_without_a_rival_or_evidence(values: list[float], price: float) -> None:
    assert not cannot_win(values, price, None)
    assert not cannot_win(values[:1], price, 1.0)


@given(st.lists(UNIT, min_size=2, max_size=20), st.floats(0, 0.2), UNIT)
def test_a_trial_that_leads_is_never_stopped(
    values: list[float], price: float, best: float
) -> None:
    mean = sum(values) / len(values)
    if mean - price >= best:
        assert not cannot_win(values, price, best)


def test_a_hopeless_trial_is_stopped_and_a_noisy_one_is_not() -> None:
    assert cannot_win([0.30, 0.31, 0.29], 0.01, 0.6)
    assert not cannot_win([0.30, 0.90, 0.40], 0.01, 0.6)
