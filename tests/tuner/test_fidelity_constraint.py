"""Under the constraint nothing wins that explains less than lime's defaults."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from studies.results.trial_record import TrialRecord
from tests.tuner.scenes import SMALL_SPACE, tiny_task
from tuner.objectives import Fidelity, default_fidelity, fidelity_of
from tuner.problem import TuningSettings
from tuner.tuning import open_study, run_study, study_facts

FREE = TuningSettings(trials=12, seeds=3, space=SMALL_SPACE, seed=1)
BOUND = replace(FREE, constrain="fidelity")


def test_what_is_missing_decides() -> None:
    baseline = Fidelity(0.5, 0.25)
    assert Fidelity(0.5, 0.5).shortfalls(baseline) == {"r2": 0.0, "gain": -0.25}
    assert Fidelity(0.25, 0.25).shortfalls(baseline) == {"r2": 0.25, "gain": 0.0}


@pytest.mark.parametrize("sampler", ["ceiling", "random"])
def test_winners_are_as_faithful_as_the_defaults(sampler: str, tiny_classifier: Classifier) -> None:
    task = tiny_task(tiny_classifier, "key")
    baseline = default_fidelity(task)

    study = open_study("s", None, {"reference": task.reference.to_json()})
    run_study(study, task, replace(BOUND, sampler=sampler))
    record = TrialRecord.from_attributes(study.best_trial.user_attrs)
    assert record is not None
    bound = fidelity_of(task, record.parameters, range(3))
    if study.best_trial.user_attrs["lime_parameters"] != LimeParameters().to_json():
        assert max(bound.shortfalls(baseline).values()) <= 1e-6
        assert study.best_trial.user_attrs["feasible"] is True
    refused = [t for t in study.trials if t.user_attrs.get("feasible") is False]
    assert refused
    for trial in refused:
        assert trial.state == TrialState.PRUNED
        assert "lime's defaults" in trial.user_attrs["reason"]
        assert max(trial.constraints.values()) > 0


def test_a_study_keeps_its_constraint(tiny_classifier: Classifier) -> None:
    task = tiny_task(tiny_classifier)
    storage = optuna.storages.InMemoryStorage()

    def facts(settings: TuningSettings) -> dict[str, object]:
        return study_facts(task, tiny_classifier, settings, catalog="demo", key="house")

    open_study("s", storage, facts(BOUND))
    open_study("s", storage, facts(BOUND))
    with pytest.raises(InvalidInput, match="constraints"):
        open_study("s", storage, facts(FREE))
