"""What is foretold of arms from a few that were measured."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from explainers.classifier import Classifier
from tests.tuner.scenes import SMALL_SPACE, demo_task
from tuner.arms import Arm, Arms
from tuner.feasibility import Feasibility


@pytest.fixture
def arms(demo_classifier: Classifier) -> Arms:
    made = Arms(demo_task(demo_classifier, "key"), SMALL_SPACE, 0.1)
    made.look_at(float("inf"))
    return made


def _trial(arms: Arms, arm: Arm, gain: float) -> FrozenTrial:
    values = arms.values(arm, 32, SMALL_SPACE.num_features[0])
    return create_trial(
        state=TrialState.PRUNED,
        params=values,
        distributions={name: CategoricalDistribution([value]) for name, value in values.items()},
        user_attrs={
            "fidelity": {"r2": 0.5, "gain": gain},
            "default_fidelity": {"r2": 0.25, "gain": 0.5},
        },
    )


def test_arms_like_those_that_met_it_are_likelier_to(arms: Arms) -> None:
    ordered = sorted(arms.possible(), key=arms.patterns)
    few, many = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
    measured = [*few[::2], *many[::2]]
    trials = [_trial(arms, arm, 0.75 if arm in many else 0.0) for arm in measured]
    found = Feasibility(arms, trials)
    chances = found.of([*few[1::2], *many[1::2]])
    assert np.all((chances >= 0) & (chances <= 1))
    assert chances[: len(few[1::2])].mean() < 0.25
    assert chances[len(few[1::2]) :].mean() > 0.75


def test_without_measured_trials_nothing_is_held_against_an_arm(arms: Arms) -> None:
    possible = arms.possible()
    unmeasured = create_trial(state=TrialState.COMPLETE, value=0.5)
    assert Feasibility(arms, [unmeasured] * 5).of(possible).tolist() == [1.0] * len(possible)
    assert Feasibility(arms, []).of([]).tolist() == []
