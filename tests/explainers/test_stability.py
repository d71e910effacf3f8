"""Agreement between seeds, on masks and weights whose agreement is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from explainers.metrics import mask_stability, rank_stability


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
