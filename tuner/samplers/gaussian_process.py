"""A Gaussian process, and the improvement that it makes one expect: arrays in, arrays out.

Of n points the values are known, m are asked about, each has d features:

    y = f(x) + e,   f ~ GP(0, s² · Matérn(|x - x'| / l)) with nu = 5/2,   e ~ N(0, v)

See Rasmussen and Williams 2006, Gaussian Processes for Machine Learning: chapter 2 (regression),
section 4.2.1 (the Matérn class) and section 5.4.1 (s², l and v by the marginal likelihood).
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

__all__ = ["expected_improvement", "gaussian_process", "standardised"]

# Starting values and bounds. s² and v are squared scores (deviations of 0.1 and 0.03 at first), l
# is in standard deviations of a feature.
_SIGNAL, _SIGNAL_BOUNDS = 0.01, (1e-4, 1.0)
_LENGTH, _LENGTH_BOUNDS = 2.0, (0.3, 30.0)
_NOISE, _NOISE_BOUNDS = 0.001, (1e-5, 0.05)
_LEAST_DEVIATION = 1e-9  # where nothing is uncertain, the lead itself is the improvement


def standardised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, d) features, each with mean 0 and deviation 1, or constant as before."""
    spread = features.std(axis=0)
    centred: NDArray[np.float64] = features - features.mean(axis=0)
    return centred / np.where(spread > 0, spread, 1.0)


def expected_improvement(
    lead: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """E[max(0, z)] of normal z = lead + deviation · N(0, 1): lead · Φ(r) + deviation · φ(r), where
    r = lead / deviation.

    See Jones, Schonlau and Welch 1998, Efficient Global Optimization of Expensive Black-Box
    Functions.

    Args:
        lead: (m,) means, less the value to beat.
        deviation: (m,) standard deviations.

    Returns:
        (m,) improvements, at least 0.
    """
    ratio = lead / np.maximum(deviation, _LEAST_DEVIATION)
    gain: NDArray[np.float64] = lead * norm.cdf(ratio) + deviation * norm.pdf(ratio)
    return np.maximum(gain, 0.0)


def gaussian_process(
    x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of what would be observed at further points.

    Args:
        x: (n, d) features, standardised.
        y: (n,) scores.
        at: (m, d) features of the points that are asked about.

    Returns:
        (m,) means and (m,) standard deviations, both of y: the noise counts.
    """
    kernel = ConstantKernel(_SIGNAL, _SIGNAL_BOUNDS) * Matern(
        _LENGTH, _LENGTH_BOUNDS, nu=2.5
    ) + WhiteKernel(_NOISE, _NOISE_BOUNDS)
    process = GaussianProcessRegressor(kernel, random_state=0)
    centre = float(y.mean())
    with warnings.catch_warnings():
        # Said of a value that ends at its bound, too: a dozen points often cannot tell.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(x, y - centre)
    mean, deviation = process.predict(at, return_std=True)
    return mean + centre, deviation
