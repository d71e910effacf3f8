"""Where attributions lie: masks and maps with answers known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from explainers.errors import InvalidInput
from explainers.metrics import (
    background_reliance,
    centre_distance,
    energy_inside,
    mask_stability,
    pointing_game,
    rank_stability,
)
from explainers.metrics.localisation import edge_density, entropy

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


# Agreement between seeds, on masks and weights whose agreement is known.


def test_masks() -> None:
    a, b, c = (np.zeros(6, dtype=bool).reshape(2, 3) for _ in range(3))
    a[0, :2] = b[0, 1:] = c[1] = True
    assert mask_stability([a, a]) == 1.0
    assert mask_stability([a, b]) == 1 / 3
    assert mask_stability([a, b, c]) == pytest.approx(1 / 9)  # 1/3, 0, 0
    assert math.isnan(mask_stability([a]))


def test_ranks() -> None:
    rising = np.array([0.1, 0.2, 0.4, 0.8])
    assert rank_stability([rising, rising**2]) == pytest.approx(1.0)
    assert rank_stability([rising, -rising]) == pytest.approx(-1.0)
    assert rank_stability([rising, np.zeros(4)]) == 0.0
    # Two neighbours changed: 1 - 6 Σd² / n(n² - 1) = 1 - 12/60.
    assert rank_stability([rising, rising[[1, 0, 2, 3]]]) == pytest.approx(0.8)
    assert math.isnan(rank_stability([]))


# Complexity of pictures and answers where it is known.


def test_entropy_in_bits() -> None:
    assert entropy(np.array([1.0, 0.0, 0.0])) == 0.0
    assert entropy(np.full(8, 1 / 8, dtype=np.float32)) == pytest.approx(3.0)
    assert entropy(np.array([0.5, 0.25, 0.25])) == pytest.approx(1.5)


def test_edges_are_counted_once_each() -> None:
    flat = np.full((64, 64, 3), 90, dtype=np.uint8)
    assert edge_density(flat) == 0.0
    halves = flat.copy()
    halves[:, 32:] = 200
    halves[:, 32] = 145  # or the edge would lie between two columns, and both would count
    # One column of pixels, but for the border that the detector leaves out.
    assert edge_density(halves) == pytest.approx(1 / 64, abs=0.1 / 64)
    stripes = halves.copy()
    stripes[:, 48:] = 90
    stripes[:, 48] = 145
    assert edge_density(stripes) == pytest.approx(2 / 64, abs=0.2 / 64)
