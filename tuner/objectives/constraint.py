"""``tune --constrain fidelity``: no tuned setting may explain less than lime's defaults do.

Agreement with a mask can be bought with superpixels so coarse that the explanation says little.
Two measures must not fall below those of the defaults on the same image: the surrogate's R² on
held-out perturbations, and insertion minus deletion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from explainers.lime import LimeParameters
from tuner.objectives.draft import TrialDraft
from tuner.objectives.faithfulness import measure_seed
from tuner.problem import TuningTask

__all__ = ["Fidelity", "default_fidelity", "fidelity_of", "lost_fidelity"]

_MOST_SEEDS = 3


@dataclass(frozen=True)
class Fidelity:
    """Means over explainer seeds; higher is better.

    Attributes:
        r2: the surrogate's R² on held-out perturbations, at most 1.
        gain: insertion area minus deletion area.
    """

    r2: float
    gain: float

    def shortfalls(self, baseline: Fidelity) -> dict[str, float]:
        """By how much each measure is below the baseline; feasible when none is above zero."""
        return {"r2": baseline.r2 - self.r2, "gain": baseline.gain - self.gain}

    def to_json(self) -> dict[str, float]:
        return {name: round(float(value), 6) for name, value in asdict(self).items()}


def fidelity_of(task: TuningTask, parameters: LimeParameters, seeds: Sequence[int]) -> Fidelity:
    """Measure explanations of an image with some seeds; their curves are not cached."""
    measured = [measure_seed(task, parameters, seed) for seed in seeds]
    return Fidelity(
        float(np.mean([each.r2 for each in measured])),
        float(np.mean([each.gain for each in measured])),
    )


@lru_cache(maxsize=1)
def default_fidelity(task: TuningTask) -> Fidelity:
    """The fidelity of lime's defaults on seed 0, the seed that their trial is scored on."""
    return fidelity_of(task, LimeParameters(), range(1))


def lost_fidelity(draft: TrialDraft, task: TuningTask, seeds: int) -> str:
    """How a trial's fidelity falls below that of lime's defaults; empty where it does not.

    The measurements are stored as Optuna's constraints, and as user attributes for the dashboard.

    Args:
        seeds: number of explainer seeds that the trial was scored on.
    """
    own = fidelity_of(task, draft.parameters, range(min(seeds, _MOST_SEEDS)))
    baseline = default_fidelity(task)
    shortfalls = own.shortfalls(baseline)
    for name, value in shortfalls.items():
        draft.trial.set_constraint(name, value)
    draft.trial.set_user_attr("fidelity", own.to_json())
    draft.trial.set_user_attr("default_fidelity", baseline.to_json())
    draft.trial.set_user_attr("feasible", all(value <= 0 for value in shortfalls.values()))
    words = {
        "r2": f"held-out R² {own.r2:.2f}, lime's defaults {baseline.r2:.2f}",
        "gain": f"insertion minus deletion {own.gain:.2f}, lime's defaults {baseline.gain:.2f}",
    }
    return "; ".join(words[name] for name, value in shortfalls.items() if value > 0)
