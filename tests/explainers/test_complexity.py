"""Complexity of pictures and answers where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from explainers.metrics.localisation import edge_density, entropy


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
