"""A Gaussian process, and the expected improvement of its predictions."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

__all__ = ["expected_improvement", "gaussian_process"]


def expected_improvement(
    lead: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected improvement over zero of normal variables, by mean and standard deviation.

    See Jones, Schonlau and Welch 1998.

    Args:
        lead: (n,) means.
        deviation: (n,) standard deviations.
    """
    ratio = lead / np.maximum(deviation, 1e-9)
    gain: NDArray[np.float64] = lead * norm.cdf(ratio) + deviation * norm.pdf(ratio)
    return np.maximum(gain, 0.0)


def gaussian_process(
    x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions of scikit-learn's Gaussian process with a Matérn 5/2 kernel.

    Args:
        x: (n, features) of the observations.
        y: (n,) observed values.
        at: (m, features) where to predict.

    Returns:
        (m,) means and (m,) standard deviations.
    """
    kernel = ConstantKernel(0.01, (1e-4, 1.0)) * Matern(2.0, (0.3, 30.0), nu=2.5) + WhiteKernel(
        0.001, (1e-5, 0.05)
    )
    process = GaussianProcessRegressor(kernel, random_state=0)
    centre = float(y.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(x, y - centre)
    mean, deviation = process.predict(at, return_std=True)
    return mean + centre, deviation
