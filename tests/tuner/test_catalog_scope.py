"""One setting for a whole catalogue: what it is worth, when it is given up, how it transfers."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import FlatSetting, LimeParameters, PredictionCache, Segmentation
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.scenes import SMALL_SPACE, tiny_task
from tests.tuner.tiny import KEYS, TINY
from tuner.cli.search import catalog_scope
from tuner.problem import MEAN, Aggregate, CatalogTask, SearchSpace, TuningSettings, paired
from tuner.samplers import CatalogCandidates, Neighbourhood
from tuner.study.catalog import run_catalog_study, values_on
from tuner.study.cross_validation import folds_of

_KEYS = ("house", "key", "umbrella")
_SLIC = Segmentation.of("slic", n_segments=8, compactness=20)
_SETTINGS = TuningSettings(
    trials=6, seeds=2, confirm_seeds=3, space=SMALL_SPACE, scope="catalog"
)


def _task(classifier: Classifier, aggregate: Aggregate = MEAN) -> CatalogTask:
    cache = PredictionCache()
    return CatalogTask({key: tiny_task(classifier, key, cache) for key in _KEYS}, aggregate)


def test_aggregates() -> None:
    assert Aggregate.parse("mean").of([0.0, 1.0, 0.5]) == 0.5
    assert Aggregate.parse("worst").of([0.3, 1.0, 0.5]) == 0.3
    assert Aggregate.parse("q25").of([0.0, 1.0, 2.0, 3.0, 4.0]) == 1.0
    for text in ("mean", "q10", "q50"):
        assert Aggregate.parse(text).text == text
    for text in ("q51", "median", "q", ""):
        with pytest.raises(InvalidInput, match="aggregate"):
            Aggregate.parse(text)


def test_a_catalogue_is_seen_as_its_images_together(tiny_classifier: Classifier) -> None:
    task, worst = _task(tiny_classifier), _task(tiny_classifier, Aggregate(0.0))
    views = [one.view(_SLIC) for one in task.tasks.values()]
    together = task.view(_SLIC)
    assert together.upper_bounds == tuple(np.mean([v.upper_bounds for v in views], axis=0))
    assert worst.view(_SLIC).upper_bounds == tuple(np.min([v.upper_bounds for v in views], axis=0))
    assert together.inside.sum() == sum(v.inside.sum() for v in views)
    parameters = LimeParameters(segmentation=_SLIC, num_samples=100)
    ratios = [one.runtime_ratio(parameters) for one in task.tasks.values()]
    assert task.runtime_ratio(parameters) == pytest.approx(np.mean(ratios))
    assert task.runtime(parameters).total == pytest.approx(
        np.mean([one.runtime(parameters).total for one in task.tasks.values()])
    )
    assert set(task.among(["key"]).tasks) == {"key"}
    assert task.among(["key"]).digest != task.digest


def test_images_are_compared_with_themselves() -> None:
    best = {"easy": 0.9, "hard": 0.1}
    # 0.1 better than the best on the easy one, and 0.05 on the hard one.
    assert paired({"easy": [1.0]}, best) == pytest.approx([0.6])
    assert paired({"easy": [1.0], "hard": [0.15]}, best) == pytest.approx([0.6, 0.55])
    assert paired({"new": [1.0]}, best) is None
    assert paired({"easy": [1.0]}, {}) is None


def test_neighbours_are_one_step_away() -> None:
    settings = {
        FlatSetting(n, k, metric, alpha): 0.0
        for n in (16, 32, 64)
        for k in (1, 2, None)
        for metric in ("cosine", "hamming")
        for alpha in (0.1, 1.0)
    }
    found = Neighbourhood(settings).of(FlatSetting(32, None, "cosine", 0.1))
    assert set(found) == {
        FlatSetting(16, None, "cosine", 0.1), FlatSetting(64, None, "cosine", 0.1),
        FlatSetting(32, 2, "cosine", 0.1), FlatSetting(32, None, "hamming", 0.1),
        FlatSetting(32, None, "cosine", 1.0),
    }  # fmt: skip
    assert set(found) <= set(settings)


def test_a_candidates_forecast_is_the_mean_of_its_images(tiny_classifier: Classifier) -> None:
    space = SearchSpace(
        maps={"slic": {"n_segments": (8,), "compactness": (20,)}},
        hide_color=("grey",), num_features=(5,), num_samples=(64, 64),
        distance_metric=("cosine",), regressor=("lime",),
    )  # fmt: skip
    task = _task(tiny_classifier)
    candidates = CatalogCandidates(task, space, 0.1)
    candidates.segment(1e6)
    (candidate,) = candidates.possible()
    forecast = candidates.forecast(candidate, 64, 1, best=-1.0)
    parameters = space.parameters(forecast.settings[0][1])
    asked = task.cache.counts.new
    expected = np.mean(list(values_on(task, parameters, range(1)).values()))
    assert forecast.value == pytest.approx(
        expected - 0.1 * task.runtime_ratio(parameters), abs=1e-9
    )
    assert task.cache.counts.new == asked, "the probe has asked for all of it"


def test_a_setting_is_scored_on_every_image_or_given_up(tiny_classifier: Classifier) -> None:
    task = _task(tiny_classifier)
    study = optuna.create_study(study_name="x/(catalog)", direction="maximize")
    result = run_catalog_study(study, task, _SETTINGS)
    assert result.trials == 6
    assert result.score >= result.default["score"]
    for trial in study.get_trials():
        per_image = trial.user_attrs["iou_per_image"]
        assert set(per_image) <= set(_KEYS)
        if trial.state == optuna.trial.TrialState.COMPLETE:
            assert set(per_image) == set(_KEYS)
            iou = np.mean(list(per_image.values()))
            assert trial.user_attrs["iou"] == pytest.approx(iou, abs=1e-5)
            assert trial.value == pytest.approx(
                iou - 0.1 * trial.user_attrs["runtime_ratio"], abs=1e-5
            )
        else:
            assert trial.user_attrs["reason"]
    best = study.best_trial
    seeds = len(best.user_attrs["seeds"])
    again = values_on(task, result.parameters, range(seeds))
    assert best.user_attrs["iou_per_image"] == pytest.approx(again, abs=1e-5)


def test_the_worst_image_can_decide(tiny_classifier: Classifier) -> None:
    study = optuna.create_study(study_name="x/(catalog)", direction="maximize")
    result = run_catalog_study(study, _task(tiny_classifier, Aggregate(0.0)), _SETTINGS)
    best = study.best_trial
    expected = min(best.user_attrs["iou_per_image"].values())
    assert result.score == pytest.approx(
        expected - 0.1 * best.user_attrs["runtime_ratio"], abs=1e-5
    )


def test_a_setting_for_all_is_cheap() -> None:
    assert SearchSpace().affordable(0.1).num_samples == (16, 100)
    with pytest.raises(InvalidInput, match=r"at least 0\.016"):
        SearchSpace().affordable(0.01)


def test_folds_hold_every_image_once() -> None:
    parts = folds_of("abcdefg", 3)
    assert sorted("".join("".join(part) for part in parts)) == list("abcdefg")
    assert max(map(len, parts)) - min(map(len, parts)) == 1
    for folds in (1, 8):
        with pytest.raises(InvalidInput, match="2 to 7"):
            folds_of("abcdefg", folds)


@pytest.mark.usefixtures("tiny_catalogue")
def test_one_setting_under_every_key(here: Path, cli: Cli) -> None:
    arguments = [
        *TINY, "--engine", "torch", "--images", "house,key,umbrella", "--scope", "catalog",
        "--trials", "3", "--seeds", "1", *FEW_MAPS, "--folds", "3",
    ]  # fmt: skip
    tuned = json.loads(cli.ok("tune", *arguments, "--json"))
    assert tuned["scope"] == "catalog"
    assert set(tuned["best"]["iou_per_image"]) == set(_KEYS)
    transfer = tuned["transfer"]
    assert set(transfer["images"]) == set(_KEYS)
    gaps = [tuned_here - left_out for tuned_here, left_out in transfer["images"].values()]
    assert transfer["gap"]["mean"] == pytest.approx(np.mean(gaps), abs=1e-5)
    assert "transfer gap" in cli.ok("tune", *arguments)

    cli.ok("export", "--catalog", "demo.toml", "-o", "p.pkl")
    document = pickle.loads((here / "p.pkl").read_bytes())
    assert set(document) == set(KEYS)
    assert len({repr(sorted(map(str, kwargs.items()))).split("object at")[0]
                for kwargs in document.values()}) == 1  # fmt: skip
    assert {kwargs["num_samples"] for kwargs in document.values()} == {
        tuned["best"]["parameters"]["num_samples"]
    }
    assert "demo/(catalog)" in cli.ok("status")
    cli.ok("report", "--study", "demo", "-o", "found")
    line = cli.refused("export", "--catalog", "demo.toml", "--scope", "image", status=(2,))
    assert "no finished trial" in line
    line = cli.refused("tune", *arguments, "--aggregate", "q10", status=(2,))
    assert "aggregate=mean" in line


@pytest.mark.usefixtures("tiny_catalogue")
def test_an_interrupted_search_shows_what_there_is(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [
        "tune", *TINY, "--engine", "torch", "--images", "house,key", "--scope", "catalog",
        "--trials", "3", "--seeds", "1", *FEW_MAPS,
    ]  # fmt: skip
    real = catalog_scope.run_catalog
    monkeypatch.setattr(type(catalog_scope.console), "is_terminal", True)
    for trials, shown in ((0, False), (1, True)):

        def interrupted(*given: Any, trials: int = trials) -> None:
            def on_trial(trial: optuna.trial.FrozenTrial) -> None:
                if trial.number + 1 == trials:
                    raise KeyboardInterrupt

            if not trials:
                raise KeyboardInterrupt
            real(*given[:3], on_trial, given[4])

        monkeypatch.setattr(catalog_scope, "run_catalog", interrupted)
        code, out, err = cli(*arguments)
        assert code == 130, err
        assert ("one setting for 2 images" in out) == shown
    default, best = re.search(r"│ mean +│ +0\.\d{3} │ +([\d.]*) │ +([\d.]+) │", out).groups()
    assert (default, bool(best)) == ("", True)  # lime's defaults are the last of three trials


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scope", "all"], "image or catalog"),
        (["--folds", "3"], "--scope catalog"),
        (["--scope", "catalog", "--folds", "11"], "2 to 10"),
        (["--scope", "catalog", "--images", "key"], "two images"),
        (["--scope", "catalog", "--workers", "2"], "--workers above 1"),
        (["--scope", "catalog", "--pareto"], "--pareto does not go with"),
        (["--scope", "catalog", "--aggregate", "most"], "--aggregate most"),
    ],
)
def test_wrong_calls_are_told(here: Path, cli: Cli, arguments: list[str], said: str) -> None:
    assert said in cli.refused("tune", "--catalog", "demo", *arguments, status=(2,))
    assert not list(here.iterdir())
