"""One trial: what it asks for, when it is stopped, and how often a new best is scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from explainers.classifiers import Classifier
from explainers.lime import LimeParameters, Segmentation
from tests.tuner.scenes import SMALL_SPACE, tiny_task
from tuner.objectives import TrialDraft, make_objective
from tuner.objectives.agreement import confirming_seeds
from tuner.problem import RUNGS, TuningSettings
from tuner.tuning import open_study, run_study

SETTINGS = TuningSettings(
    trials=30, seeds=3, sampler="random", space=SMALL_SPACE, seed=1, constrain="none"
)


def _study(classifier: Classifier, settings: TuningSettings) -> optuna.Study:
    task = tiny_task(classifier)
    study = open_study("s", None, {"reference": task.reference.to_json()})
    run_study(study, task, settings)
    spent = sum(t.user_attrs["answers"] for t in study.trials)
    assert spent == task.cache.counts.new
    return study


def test_an_interim_check_at_few_samples_ends_a_hopeless_trial(tiny_classifier: Classifier) -> None:
    study = _study(tiny_classifier, SETTINGS)
    checked = [t for t in study.trials if " samples of " in t.user_attrs.get("reason", "")]
    assert checked
    for trial in checked:
        samples = int(trial.user_attrs["reason"].split()[3])
        assert trial.state == TrialState.PRUNED
        assert samples * 2 <= trial.params["num_samples"]
        assert trial.user_attrs["answers"] <= 3 * samples
        assert trial.user_attrs["seeds"] == []
        assert trial.intermediate_values[0] < study.best_value
    assert {int(t.user_attrs["reason"].split()[3]) for t in checked} <= {n for n, _ in RUNGS}


def test_interim_checks_do_not_change_what_a_trial_scores(tiny_classifier: Classifier) -> None:
    """A trial that is not stopped asks for no more than it would have without them."""

    class Never:
        def after_samples(self, *_: object) -> bool:
            return False

        def after_seeds(self, *_: object) -> bool:
            return False

    settings = replace(SETTINGS, trials=8, stopping=Never())
    checked = _study(tiny_classifier, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.objectives.agreement.RUNGS", ())
        plain = _study(tiny_classifier, settings)
    assert [t.value for t in checked.trials] == [t.value for t in plain.trials]
    asked = [[t.user_attrs["answers"] for t in study.trials] for study in (checked, plain)]
    assert asked[0] == asked[1]


def test_the_defaults_are_not_scored_on_every_seed(tiny_classifier: Classifier) -> None:
    study = _study(tiny_classifier, replace(SETTINGS, trials=1, default_seeds=2))
    assert study.trials[0].user_attrs["seeds"] == [0, 1]


def test_no_trial_is_started_once_the_answers_are_spent(tiny_classifier: Classifier) -> None:
    study = _study(tiny_classifier, replace(SETTINGS, answers=2600))
    spent = np.cumsum([t.user_attrs["answers"] for t in study.trials])
    assert len(study.trials) < SETTINGS.trials
    assert spent[-1] >= 2600
    assert spent[-2] < 2600


@pytest.mark.parametrize(
    ("spent", "number", "superpixels", "wanted"),
    [
        ([0.5] * 10, 0, 20, 10),  # the first trial is soon outdone
        ([0.5] * 10, 3, 20, 13),
        ([0.5] * 10, 100, 20, 15),  # by then it may not be the best any more
        ([0.5] * 25, 100, 20, 30),
        ([0.5] * 30, 100, 20, 30),  # certain
        ([0.3, 0.7] * 15, 100, 20, 35),  # not certain
        ([0.3, 0.7] * 30, 100, 20, 60),  # ... and never will be
        ([0.3, 0.7] * 5, 0, 8, 15),  # all 256 patterns are soon asked
        ([0.5] * 55, 0, 8, 60),
        ([0.3, 0.7] * 30, 0, 8, 60),
    ],
)
def test_a_new_best_is_scored_until_it_is_not_luck(
    spent: list[float], number: int, superpixels: int, wanted: int
) -> None:
    settings = TuningSettings(seeds=10, confirm_seeds=30)
    assert confirming_seeds(spent, number, superpixels, settings) == wanted


def test_what_was_replayed_is_not_checked_again(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small objects are found all at once: fewer samples say little, and more are known."""
    asked: list[int] = []

    def hopeless(parameters: LimeParameters, seeds: range) -> list[float]:
        asked.append(parameters.num_samples)
        return [0.0] * len(seeds)

    task = tiny_task(tiny_classifier)
    monkeypatch.setattr(task, "ious", hopeless)
    study = optuna.create_study(direction="maximize")
    study.add_trial(optuna.trial.create_trial(value=0.6))
    objective = make_objective(study, task, replace(SETTINGS, runtime_weight=0.0))
    segmentation = Segmentation.of("slic", n_segments=12, compactness=5)
    trial = study.ask()
    parameters = LimeParameters(segmentation=segmentation, num_samples=600)
    trial.set_user_attr("lime_parameters", parameters.to_json())
    objective.begin(TrialDraft.of(trial, task, SMALL_SPACE))
    monkeypatch.setattr(objective, "report", lambda value, step: None)

    def screened(replayed: int) -> str:
        asked.clear()
        return objective.screen(replayed)

    assert (screened(0), asked) == ("cannot win after 32 samples of 1 seeds", [32])
    assert (screened(63), asked) == ("cannot win after 64 samples of 3 seeds", [64])
    assert (screened(192), asked) == ("cannot win after 256 samples of 3 seeds", [256])
    assert (screened(300), asked) == ("", [])
