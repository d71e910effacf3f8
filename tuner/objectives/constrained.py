"""Measures whether a trial that is about to win explains less than lime's defaults do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explainers.lime import LimeParameters, draw_rows, effective_samples
from studies.results.attributes import FIDELITY
from studies.results.fidelity import Fidelity
from tuner.objectives.draft import TrialDraft
from tuner.problem import Constraint, TuningTask

__all__ = ["explains_less", "foreseen_penalty", "note_defaults"]

_MOST_SEEDS = 3
_UNCERTAIN = 0.05  # of a lead that is measured with few steps


def foreseen_penalty(draft: TrialDraft, task: TuningTask, constraint: Constraint) -> float:
    """At least what a trial's score will lose for its gain, from few answers about one seed.

    The gain is what binds; a low R² is found by :func:`explains_less`.
    """
    missing = -task.meter.lead(draft.parameters) - constraint.margin
    return constraint.penalty(missing - _UNCERTAIN)


def explains_less(
    draft: TrialDraft, task: TuningTask, constraint: Constraint, seeds: int
) -> tuple[float, str]:
    """What a trial's score loses for what its explanations lack, and in words what they lack.

    The measurements are stored as user attributes, and not as Optuna's constraints: by these no
    compromise could be Optuna's best trial.

    Args:
        seeds: number of explainer seeds that the trial was scored on.

    Returns:
        (penalty, words): 0 and an empty text where nothing is missing.
    """
    measured = range(min(seeds, _MOST_SEEDS))
    own = task.meter.measure(draft.parameters, measured)
    defaults = task.faithfulness_of_defaults
    missing = constraint.missing(own, defaults)
    penalty = sum(map(constraint.penalty, missing.values()))
    trial = draft.trial
    trial.set_user_attr(FIDELITY, _fidelity(task, draft.parameters, measured).to_json())
    trial.set_user_attr("feasible", not penalty)
    words = {
        "r2": f"held-out R² {own.r2:.2f}, lime's defaults {defaults.r2:.2f}",
        "gain": f"insertion minus deletion {own.gain:.2f}, lime's defaults {defaults.gain:.2f}",
    }
    return penalty, "; ".join(words[name] for name, value in missing.items() if value > 0)


def note_defaults(draft: TrialDraft, task: TuningTask) -> None:
    """Store the measures of lime's defaults with their own trial."""
    draft.trial.set_user_attr(FIDELITY, _fidelity(task, draft.parameters, range(1)).to_json())


def _fidelity(task: TuningTask, parameters: LimeParameters, seeds: Sequence[int]) -> Fidelity:
    measured = task.meter.measure(parameters, seeds)
    superpixels = task.view(parameters.segmentation).superpixels
    rows = draw_rows(np.random.RandomState(0), parameters.num_samples, superpixels)
    return Fidelity(
        measured.r2,
        measured.gain,
        task.meter.marked(parameters, seeds),
        effective_samples(rows, parameters.distance_metric),
    )
