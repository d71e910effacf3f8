"""Heat that spreads: on pictures of which it is known what is alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explainers.cam.affinity import GRID, likeness, spread

_SIDE = 8 * GRID


def _halves() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A left half of one feature and colour, a right half of another."""
    features = np.zeros((2, GRID, GRID), np.float32)
    features[0, :, : GRID // 2] = features[1, :, GRID // 2 :] = 1.0
    image = np.full((_SIDE, _SIDE, 3), 40, np.uint8)
    image[:, : _SIDE // 2] = (200, 60, 60)
    return features, image


def _spot() -> NDArray[np.float32]:
    """Heat on a few tiles of the left half."""
    heat = np.zeros((_SIDE, _SIDE), np.float32)
    heat[40:64, 40:64] = 1.0
    return heat


def test_alike_is_symmetric_and_above_zero() -> None:
    alike = likeness(*_halves())
    assert alike.shape == (GRID**2, GRID**2)
    assert np.array_equal(alike, alike.T)
    assert alike.min() > 0


def test_heat_fills_what_is_alike_and_stops_at_its_border() -> None:
    found = spread(_spot(), likeness(*_halves()))
    assert found.shape == (_SIDE, _SIDE)
    assert found.dtype == np.float32
    left, right = found[:, : _SIDE // 2 - 8], found[:, _SIDE // 2 + 8 :]
    assert left.min() > 0.4
    assert right.max() < 0.02


def test_without_likeness_heat_stays() -> None:
    features, image = _halves()
    alike = np.diag(np.full(GRID**2, 1.0)) + 1e-12
    found = spread(_spot(), alike)
    assert found[52, 52] == pytest.approx(1.0)
    assert found[150, 150] < 1e-6
    assert likeness(features, image).shape == alike.shape


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_is_a_map_and_the_same_each_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(5, GRID, GRID)).astype(np.float32)
    image = rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    heat = rng.random((_SIDE, _SIDE), dtype=np.float32)
    found = spread(heat, likeness(features, image))
    assert found.min() == 0
    assert found.max() == pytest.approx(1.0)
    assert np.array_equal(found, spread(heat, likeness(features, image)))


def test_an_empty_map_stays_empty() -> None:
    nothing = np.zeros((_SIDE, _SIDE), np.float32)
    assert not spread(nothing, likeness(*_halves())).any()
