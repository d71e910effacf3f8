"""Studies of one image: better than the defaults, resumable, deterministic, honest."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from lime.lime_image import LimeImageExplainer
from optuna.trial import TrialState
from PIL import Image

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput, UnusableReference
from explainers.lime import LimeParameters, explanation_mask
from explainers.masks import intersection_over_union
from studies.results.attributes import STUDY_ATTRIBUTES, TRIAL_ATTRIBUTES
from studies.results.trial_record import TrialRecord
from tests.tuner.scenes import (
    IMAGE,
    MASK,
    RUNTIME_MODEL,
    SMALL_SPACE,
    outcome,
    tiny_task,
    tune_house,
)
from tests.tuner.tiny import tiny_picture
from tuner import tune
from tuner.samplers import SAMPLERS
from tuner.study.identity import stored_reference
from tuner.tuning import TuningSettings, open_study, run_study

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_best_is_never_worse_than_the_defaults(
    tiny_classifier: Classifier, sampler: str
) -> None:
    result = tune_house(tiny_classifier, sampler=sampler)
    assert result.trials == 12
    defaults = result.study.trials[result.default["number"]]
    assert defaults.number == (8 if sampler == "ceiling" else 0)
    assert LimeParameters.from_json(defaults.user_attrs["lime_parameters"]) == LimeParameters()
    assert result.default["score"] <= result.score
    assert all(TrialRecord.from_attributes(t.user_attrs) for t in result.study.trials)
    attributes = result.study.best_trial.user_attrs
    assert set(TRIAL_ATTRIBUTES) <= set(attributes)
    assert set(STUDY_ATTRIBUTES) <= set(result.study.user_attrs)
    expected = attributes["iou"] - 0.1 * attributes["runtime_ratio"]
    assert result.study.best_value == pytest.approx(expected)


def test_the_ceiling_sampler_beats_the_defaults_by_far(tiny_classifier: Classifier) -> None:
    result = tune_house(tiny_classifier, trials=20, seeds=5)
    assert result.iou > result.default["iou"] + 0.1
    assert result.best["runtime_ratio"] < 0.5


def test_the_result_goes_straight_into_stock_lime(tiny_classifier: Classifier) -> None:
    result = tune_house(tiny_classifier)
    kwargs = pickle.loads(pickle.dumps(result.parameters.as_kwargs()))
    explanation = LimeImageExplainer(random_state=0).explain_instance(
        IMAGE, tiny_classifier.predict_proba, **kwargs
    )
    stock = intersection_over_union(explanation_mask(explanation), MASK)
    assert stock == pytest.approx(result.study.best_trial.user_attrs["iou_per_seed"][0], abs=1e-6)


def test_same_seed_same_study_also_when_resumed(
    tiny_classifier: Classifier, tmp_path: Path
) -> None:
    whole = tune_house(tiny_classifier)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    tune_house(tiny_classifier, trials=9, storage=url, study="a/b")
    resumed = tune_house(tiny_classifier, storage=url, study="a/b")
    names = [t.params for t in resumed.study.trials]
    assert len(names) == 12
    # The sampler's seed is the study's name; the in-memory study has another.
    again = tune_house(tiny_classifier, study="a/b")
    assert outcome(again) == outcome(resumed)
    assert outcome(whole) == outcome(tune_house(tiny_classifier))


def test_interrupting_keeps_finished_trials_and_leaves_none_running(
    tiny_classifier: Classifier, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"

    def interrupt(trial: optuna.trial.FrozenTrial) -> None:
        if trial.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_house(tiny_classifier, storage=url, study="s", on_trial=interrupt)
    resumed = tune_house(tiny_classifier, storage=url, study="s")
    states = [t.state for t in resumed.study.trials]
    assert states.count(TrialState.RUNNING) == 0
    assert resumed.trials == 12


def test_an_interruption_while_a_trial_ends_is_one(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = optuna.storages.InMemoryStorage()
    real, ends = storage.set_trial_state_values, []

    def interrupted(trial: int, state: TrialState, *values: Any, **more: Any) -> bool:
        ends.append(state)
        if len(ends) == 2:  # Optuna then stumbles over a variable of its own
            raise KeyboardInterrupt
        return real(trial, state, *values, **more)

    monkeypatch.setattr(storage, "set_trial_state_values", interrupted)
    study = optuna.create_study(study_name="s/house", storage=storage, direction="maximize")
    with pytest.raises(KeyboardInterrupt):
        run_study(
            study, tiny_task(tiny_classifier),
            TuningSettings(trials=3, seeds=1, sampler="random", space=SMALL_SPACE),
        )  # fmt: skip
    assert TrialState.RUNNING not in [trial.state for trial in study.trials]


@pytest.mark.parametrize("budget", [{"timeout": 1e-6}, {"answers": 1}, {"trials": 1}])
def test_the_defaults_are_run_even_where_nothing_else_fits(
    tiny_classifier: Classifier, budget: dict[str, Any]
) -> None:
    result = tune_house(tiny_classifier, **budget)
    numbers = [t.number for t in result.study.trials]
    assert numbers == list(range(result.trials))
    assert result.trials <= 2
    parameters = json.loads(LimeParameters().to_json())
    assert result.default["parameters"] == parameters
    assert result.study.trials[-1].user_attrs["origin"] == "lime defaults"
    more = tune_house(tiny_classifier, trials=12)
    assert sum(t.user_attrs.get("origin") == "lime defaults" for t in more.study.trials) == 1


def test_a_study_of_something_else_is_not_polluted(
    tiny_classifier: Classifier, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    tune_house(tiny_classifier, trials=2, storage=url, study="s")
    with pytest.raises(InvalidInput, match="runtime_weight"):
        tune_house(tiny_classifier, trials=3, storage=url, study="s", runtime_weight=0.5)
    other, mask = tiny_picture("cat")
    with pytest.raises(InvalidInput, match="image_sha256"):
        tune(
            other, tiny_classifier, mask, trials=3, seeds=3, space=SMALL_SPACE,
            runtime_model=RUNTIME_MODEL, storage=url, study="s",
        )  # fmt: skip


def test_one_superpixel_is_a_low_score_with_its_reason(tiny_classifier: Classifier) -> None:
    space = SMALL_SPACE.fix(
        ["segmentation=felzenszwalb", "felzenszwalb.scale=100000", "felzenszwalb.min_size=99999"]
    )
    result = tune_house(tiny_classifier, trials=4, space=space)
    worthless = [t for t in result.study.trials if "superpixel" in t.user_attrs.get("reason", "")]
    assert len(worthless) == 3
    assert all(t.value is not None and t.value <= 0 for t in worthless)
    assert result.parameters == LimeParameters()


def test_a_trial_whose_ceiling_cannot_win_asks_no_answer(tiny_classifier: Classifier) -> None:
    task = tiny_task(tiny_classifier)
    study = open_study("s", None, {"reference": task.reference.to_json()})
    settings = TuningSettings(trials=25, seeds=3, sampler="random", space=SMALL_SPACE, seed=3)
    run_study(study, task, settings)
    refused = [t for t in study.trials if "ceiling" in t.user_attrs.get("reason", "")]
    assert refused
    assert all(t.state == TrialState.PRUNED and t.user_attrs["seeds"] == [] for t in refused)


def test_no_answer_is_asked_twice_by_a_second_study(
    tiny_classifier: Classifier, tmp_path: Path
) -> None:
    first, second = tiny_task(tiny_classifier, cache=tmp_path), None
    settings = TuningSettings(trials=8, seeds=3, space=SMALL_SPACE, constrain="none")
    facts = {"reference": first.reference.to_json()}
    run_study(open_study("s", None, facts), first, settings)
    first.cache.close()
    second = tiny_task(tiny_classifier, cache=tmp_path)
    run_study(open_study("s", None, facts), second, settings)
    assert first.cache.counts.new > 0
    assert second.cache.counts.new == 0
    assert second.cache.counts.needed == first.cache.counts.needed


def test_the_mask_of_a_photograph_follows_it(tiny_classifier: Classifier) -> None:
    side = IMAGE.shape[0]
    wide = np.pad(IMAGE, ((0, 0), (30, 30), (0, 0)))
    mask = np.pad(MASK, ((0, 0), (30, 30)))
    turned = Image.fromarray(np.rot90(wide))
    turned.getexif()[0x0112] = 6
    for picture in (Image.fromarray(wide), turned):
        result = tune(
            picture, tiny_classifier, mask, trials=1, seeds=1, space=SMALL_SPACE,
            runtime_model=RUNTIME_MODEL,
        )  # fmt: skip
        stored = stored_reference("image", result.study.user_attrs)
        assert stored is not None
        assert stored.mask.shape == (side, side)
        assert np.array_equal(stored.mask, MASK)


def test_wrong_references_are_refused(tiny_classifier: Classifier) -> None:
    with pytest.raises(UnusableReference, match="empty"):
        tune(IMAGE, tiny_classifier, np.zeros_like(MASK))
    with pytest.raises(InvalidInput, match="shape"):
        tune(IMAGE, tiny_classifier, np.eye(30, dtype=bool), runtime_model=RUNTIME_MODEL)
    with pytest.raises(InvalidInput, match="trials"):
        tune_house(tiny_classifier, trials=0)
