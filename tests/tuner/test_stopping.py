"""When a trial may be stopped."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tuner.problem import RUNGS, BoundsStopping, Incumbent

UNIT = st.floats(0, 1)
STOPPING = BoundsStopping()


@given(UNIT, UNIT)
def test_one_seed_decides_nothing(iou: float, price: float) -> None:
    assert not STOPPING.after_seeds([iou], price, Incumbent(1.0))


@given(st.lists(UNIT, min_size=2, max_size=20), st.floats(0, 0.2), UNIT)
def test_a_trial_that_leads_is_never_stopped(ious: list[float], price: float, best: float) -> None:
    if sum(ious) / len(ious) - price >= best:
        assert not STOPPING.after_seeds(ious, price, Incumbent(best))
        assert not any(STOPPING.after_samples(ious, n, price, Incumbent(best)) for n, _ in RUNGS)


def test_a_hopeless_trial_is_stopped_and_a_noisy_one_is_not() -> None:
    assert STOPPING.after_seeds([0.30, 0.31, 0.29], 0.01, Incumbent(0.6))
    assert not STOPPING.after_seeds([0.30, 0.90, 0.40], 0.01, Incumbent(0.6))


def test_few_samples_are_given_more_room_than_many() -> None:
    ious = [0.5, 0.5, 0.5]
    assert not STOPPING.after_samples(ious, 32, 0.0, Incumbent(0.6))
    assert STOPPING.after_samples(ious, 128, 0.0, Incumbent(0.6))
    assert not STOPPING.after_samples(ious[:1], 32, 0.0, Incumbent(0.7))
    assert STOPPING.after_samples(ious, 32, 0.0, Incumbent(0.7))


def test_looks_only_ever_ask_for_more() -> None:
    assert list(RUNGS) == sorted(RUNGS)
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(RUNGS))
