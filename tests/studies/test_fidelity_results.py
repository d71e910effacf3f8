"""What a constraint costs, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.results.fidelity import ConstraintCost, constraint_cost


def _trial(iou: float, ratio: float, feasible: bool | None, reason: str = "") -> FrozenTrial:
    attributes: dict[str, Any] = {"iou": iou, "runtime_ratio": ratio, "reason": reason}
    if feasible is not None:
        attributes["feasible"] = feasible
    refused = feasible is False
    return create_trial(
        state=TrialState.PRUNED if refused else TrialState.COMPLETE,
        value=None if refused else iou - 0.1 * ratio,
        user_attrs=attributes,
    )


def test_the_best_that_was_refused_is_what_it_costs() -> None:
    trials = [
        _trial(0.25, 1.0, None),
        _trial(0.5, 0.5, True),
        _trial(0.75, 0.5, False, "coarse"),
        _trial(0.8, 9.0, False, "slow too"),  # a better IoU at a worse score
    ]
    found = constraint_cost(trials, 0.1)
    assert found == ConstraintCost(0.5, 0.75, 2, "coarse")
    assert found.cost == pytest.approx(0.25)


def test_a_compromise_that_won_costs_nothing() -> None:
    compromise = _trial(0.75, 0.5, True)
    compromise.user_attrs.update(feasible=False, penalty=0.125)
    trials = [_trial(0.5, 0.5, True), compromise]
    assert constraint_cost(trials, 0.1) == ConstraintCost(0.75, 0.75, 1, "")
    compromise.user_attrs["penalty"] = 0.375
    assert constraint_cost(trials, 0.1) == ConstraintCost(0.5, 0.75, 1, "")


def test_nothing_is_lost_where_the_winner_meets_it() -> None:
    trials = [_trial(0.5, 0.5, True), _trial(0.4, 0.5, False, "worse"), _trial(0.3, 0.1, None)]
    assert constraint_cost(trials, 0.1) == ConstraintCost(0.5, 0.5, 1, "")


def test_without_a_complete_trial_there_is_nothing_to_say() -> None:
    assert constraint_cost([_trial(0.5, 0.5, False)], 0.1) is None
