"""Where attributions lie: masks and maps with answers known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from explainers.errors import InvalidInput
from explainers.metrics import background_reliance, centre_distance, energy_inside, pointing_game

MASK = np.zeros((4, 6), dtype=bool)
MASK[:2, :2] = True


def test_known_maps() -> None:
    spread = np.zeros((4, 6))
    spread[0, 0], spread[3, 5], spread[2, 2] = 3.0, 1.0, -9.0
    assert pointing_game(spread, MASK) == 1.0
    assert pointing_game(spread, ~MASK) == 0.0
    assert energy_inside(spread, MASK) == 0.75
    assert background_reliance(spread, MASK) == 0.25
    # Evidence centred a quarter of the way from (0, 0) to (3, 5), the mask at (0.5, 0.5).
    expected = math.hypot(0.75 - 0.5, 1.25 - 0.5) / math.hypot(4, 6)
    assert centre_distance(spread, MASK) == pytest.approx(expected)
    assert centre_distance(MASK.astype(float), MASK) == 0.0


def test_a_plateau_points_with_its_share() -> None:
    plateau = np.zeros((4, 6))
    plateau[0, :4] = 0.5
    assert pointing_game(plateau, MASK) == 0.5


def test_without_evidence_there_is_no_answer() -> None:
    none = -np.ones((4, 6))
    for measure in (pointing_game, energy_inside, background_reliance, centre_distance):
        assert math.isnan(measure(none, MASK))
        with pytest.raises(InvalidInput, match=r"\(2, 2\)"):
            measure(np.ones((2, 2)), MASK)
    assert math.isnan(centre_distance(np.ones((4, 6)), np.zeros((4, 6), dtype=bool)))


@given(hnp.arrays(np.float32, (4, 6), elements={"min_value": 0, "max_value": 1}))
def test_shares_stay_shares(attribution: np.ndarray) -> None:
    if not attribution.any():
        return
    inside, outside = energy_inside(attribution, MASK), energy_inside(attribution, ~MASK)
    assert inside + outside == pytest.approx(1.0)
    assert 0.0 <= pointing_game(attribution, MASK) <= 1.0
    assert 0.0 <= centre_distance(attribution, MASK) <= 1.0
