"""The formulas behind what is probed next, on points small enough to work out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tuner.samplers.gaussian_process import expected_improvement, gaussian_process, standardised


@pytest.mark.parametrize(("lead", "deviation"), [(0.2, 0.1), (0.0, 0.3), (-0.1, 0.05)])
def test_expected_improvement_is_the_integral(lead: float, deviation: float) -> None:
    mean, _ = quad(lambda z: z * norm.pdf(z, lead, deviation), 0, lead + 12 * deviation)
    found = expected_improvement(np.array([lead]), np.array([deviation]))
    assert found[0] == pytest.approx(mean, abs=1e-9)


def test_without_doubt_the_lead_is_the_improvement() -> None:
    found = expected_improvement(np.array([0.2, -0.2, 0.0]), np.zeros(3))
    assert found.tolist() == [0.2, 0.0, 0.0]


def test_far_from_all_points_their_mean_is_expected_and_little_known() -> None:
    x = np.linspace(-1, 1, 12)[:, None]
    y = 0.5 + 0.1 * np.sin(3 * x[:, 0])
    mean, deviation = gaussian_process(x, y, np.array([x[5], [1e6]]))
    assert mean == pytest.approx([y[5], y.mean()], abs=0.01)
    assert deviation[0] < 0.02 < deviation[1]


def test_units_do_not_matter_to_standardised_features() -> None:
    features = np.random.default_rng(0).normal(size=(9, 3))
    found = standardised(features)
    assert found.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert found.std(axis=0) == pytest.approx(1)
    assert standardised(features * [1.5, 0.7, 1000] + 4) == pytest.approx(found)
    assert standardised(np.ones((4, 1))).tolist() == [[0.0]] * 4
