"""The score."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.results.score import score

UNIT = st.floats(0, 1)


def test_defaults_pay_the_whole_weight() -> None:
    assert score(0.5, 1.0, 0.1) == pytest.approx(0.4)
    assert score(0.5, 0.0, 0.1) == 0.5


@given(UNIT, st.floats(0, 10), st.floats(0, 10), st.floats(0, 1))
def test_penalty_is_monotone_in_seconds(iou: float, a: float, b: float, weight: float) -> None:
    fast, slow = sorted((a, b))
    assert score(iou, fast, weight) >= score(iou, slow, weight)
