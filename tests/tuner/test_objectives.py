"""What every objective keeps to, whatever it measures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, PredictionCache, Segmentation
from studies.results.attributes import DEFAULTS_ORIGIN, TRIAL_ATTRIBUTES
from tests.tuner.scenes import SMALL_SPACE, tiny_task
from tuner.objectives import OBJECTIVES, make_objective
from tuner.problem import AGREEMENT, FAITHFUL, CatalogTask, SearchTask, TuningSettings, TuningTask
from tuner.study import StudyRunner, run_trial

_SETTINGS = TuningSettings(trials=8, seeds=2, confirm_seeds=4, space=SMALL_SPACE, sampler="random")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "agreement": (AGREEMENT, {}),
    "front": (AGREEMENT, {"pareto": True}),
    "constrained": (AGREEMENT, {"constrain": "fidelity"}),
    "catalogue": (AGREEMENT, {"constrain": "none"}),
    "faithful": (FAITHFUL, {"sampler": "tpe"}),
}
every_case = pytest.mark.parametrize("case", CASES)


def _of(case: str, classifier: Classifier) -> tuple[SearchTask, TuningSettings, optuna.Study]:
    name, changes = CASES[case]
    task: SearchTask = tiny_task(classifier)
    if case == "catalogue":
        cache = PredictionCache()
        task = CatalogTask({key: tiny_task(classifier, key, cache) for key in ("house", "key")})
    settings = replace(_SETTINGS, objective=name, **changes)
    directions = ["maximize", "minimize"] if settings.pareto else ["maximize"]
    return task, settings, optuna.create_study(study_name=f"s/{case}", directions=directions)


def _run(task: SearchTask, settings: TuningSettings, study: optuna.Study) -> None:
    runner = StudyRunner(study, task, settings)
    runner.begin()
    runner.run()


def test_every_objective_is_held_to_this() -> None:
    assert {name for name, _ in CASES.values()} == set(OBJECTIVES)
    assert all(name == objective.name for name, objective in OBJECTIVES.items())


@every_case
def test_a_study_has_its_defaults_and_says_why_others_were_stopped(
    tiny_classifier: Classifier, case: str
) -> None:
    task, settings, study = _of(case, tiny_classifier)
    _run(task, settings, study)
    assert len(study.trials) >= settings.trials
    for trial in study.trials:
        assert set(TRIAL_ATTRIBUTES) <= set(trial.user_attrs)
        if trial.state == TrialState.COMPLETE:
            assert len(trial.values) == len(study.directions)
            assert all(map(math.isfinite, trial.values))
        else:
            assert trial.user_attrs["reason"]
    (defaults,) = [t for t in study.trials if t.user_attrs.get("origin") == DEFAULTS_ORIGIN]
    assert defaults.state == TrialState.COMPLETE
    assert not defaults.user_attrs.get("reason")


@every_case
def test_the_same_study_again_is_the_same(tiny_classifier: Classifier, case: str) -> None:
    def trials() -> list[tuple[Any, ...]]:
        task, settings, study = _of(case, tiny_classifier)
        _run(task, replace(settings, trials=5), study)
        return [(t.state, t.values, t.params, t.user_attrs["iou_per_seed"]) for t in study.trials]

    assert trials() == trials()


@every_case
@pytest.mark.parametrize("wrong", ["lime refuses it", "too few superpixels"])
def test_what_cannot_be_explained_is_worth_nothing(
    tiny_classifier: Classifier, case: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, settings, study = _of(case, tiny_classifier)
    objective = make_objective(study, task, settings)
    if wrong == "lime refuses it":

        def refuse(*args: object, **kwargs: object) -> Any:
            raise ValueError("Input contains NaN\nand more")

        monkeypatch.setattr(TuningTask, "explain", refuse)
        segmentation, reason = Segmentation.of("slic", n_segments=12, compactness=5), "lime failed"
    else:
        segmentation = Segmentation.of("felzenszwalb", scale=400, min_size=300)
        reason = "superpixels, fewer than the mask can use"
    space = replace(
        SMALL_SPACE,
        maps={segmentation.algorithm: {n: (v,) for n, v in segmentation.parameters}},
        num_features=(1000,),
    )
    if wrong == "too few superpixels":
        task.mask_rule = replace(task.mask_rule, num_features=1000)
    objective.settings = replace(settings, space=space)
    trial = study.ask()
    if settings.pareto:
        with pytest.raises(optuna.TrialPruned):  # being fast would put it on the front
            run_trial(trial, objective)
    else:
        (value,) = run_trial(trial, objective)
        price = settings.runtime_weight * trial.user_attrs["runtime_ratio"]
        assert value == pytest.approx(-price)
    stored = trial.user_attrs
    assert reason in stored["reason"]
    assert "\n" not in stored["reason"]
    assert (stored["seeds"], stored["iou_per_seed"]) == ([], [])


@every_case
def test_given_parameters_are_never_stopped(tiny_classifier: Classifier, case: str) -> None:
    task, settings, study = _of(case, tiny_classifier)
    unbeatable = [1.0, 1e-9] if settings.pareto else [1.0]
    stored = {"iou": 1.0, "runtime_seconds": 1e-9, "runtime_ratio": 0.0}
    study.add_trial(optuna.trial.create_trial(values=unbeatable, user_attrs=stored))
    trial = study.ask()
    parameters = LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=12, compactness=5), num_samples=100
    )
    trial.set_user_attr("lime_parameters", parameters.to_json())
    values = run_trial(trial, make_objective(study, task, settings))
    assert values[0] < 1.0
    assert trial.user_attrs["seeds"]
    assert "reason" not in trial.user_attrs


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("catalogue", {"pareto": True}), ("catalogue", {"constrain": "fidelity"}),
        ("catalogue", {"objective": FAITHFUL}),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    tiny_classifier: Classifier, case: str, changes: dict[str, Any]
) -> None:
    task, settings, study = _of(case, tiny_classifier)
    with pytest.raises(InvalidInput, match="one score"):
        make_objective(study, task, replace(settings, **changes))
