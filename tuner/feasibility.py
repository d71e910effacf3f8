"""How likely the explanations of an arm are to be as faithful as those of lime's defaults.

Learnt from the trials whose fidelity was measured; expected improvement is weighed with it, as in
constrained Bayesian optimisation (Gardner et al. 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from tuner.acquisition import gaussian_process
from tuner.arms import Arm, Arms

__all__ = ["Feasibility"]

_FEWEST = 3  # arms that were measured, before anything is foretold


class Feasibility:
    """Of one image's arms.

    Args:
        trials: those so far; without a measured one everything counts as feasible.
    """

    def __init__(self, arms: Arms, trials: Iterable[FrozenTrial]) -> None:
        self._arms = arms
        self._room: dict[Arm, float] = {}
        for trial in trials:
            found = trial.user_attrs.get("fidelity", {})
            usual = trial.user_attrs.get("default_fidelity", {})
            arm = arms.of(trial.params)
            if arm is not None and found and usual:
                room = max(-1.0, min(found[name] - usual[name] for name in usual))
                self._room[arm] = max(room, self._room.get(arm, -1.0))

    def of(self, arms: Sequence[Arm]) -> NDArray[np.float64]:
        """(N,) probabilities of the arms, in [0, 1]."""
        from scipy.stats import norm

        if len(self._room) < _FEWEST or not arms:
            return np.ones(len(arms))
        mean, deviation = gaussian_process(
            np.array([self._arms.features(arm) for arm in self._room]),
            np.array(list(self._room.values())),
            np.array([self._arms.features(arm) for arm in arms]),
        )
        chances: NDArray[np.float64] = norm.cdf(mean / np.maximum(deviation, 1e-9))
        return chances
