"""The objective that needs no reference."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, PredictionCache, Segmentation
from explainers.metrics import (
    Faithfulness,
    insertion_minus_deletion,
    surrogate_r2,
)
from explainers.metrics.explanation import lime_explanation
from explainers.references import Reference
from studies.catalog.demo import DEMO_SEEDS, draw_scene
from studies.results.trial_record import TrialRecord
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.scenes import RUNTIME_MODEL, SMALL_SPACE, tiny_task
from tests.tuner.tiny import tiny_picture
from tuner.problem import FAITHFUL, FaithfulnessMeter, TuningSettings, TuningTask
from tuner.tuning import run_study

_PARAMETERS = LimeParameters(
    segmentation=Segmentation.of("slic", n_segments=8, compactness=20),
    num_samples=64,
    top_labels=1,
)


def test_three_measures_count_alike() -> None:
    assert Faithfulness(0.6, 0.3, 0.9).value == pytest.approx(0.6)
    assert Faithfulness(-5.0, -0.2, 0.9).value == pytest.approx(0.3)
    assert Faithfulness(0.6, 0.3, math.nan).value == pytest.approx(0.45)
    assert Faithfulness(0.6, 0.3, math.nan).to_json()["stability"] is None


def test_one_measure_does_not_pay_for_another() -> None:
    baseline = Faithfulness(0.5, 0.4, 0.9)
    assert Faithfulness(0.8, 0.5, 0.1).shortfall(baseline) == 0
    assert Faithfulness(0.8, 0.42, 1.0).shortfall(baseline) == pytest.approx(0.09)
    assert Faithfulness(0.3, 0.3, 1.0).shortfall(baseline) == pytest.approx(1.2)
    assert Faithfulness(0.9, -0.2, 1.0).shortfall(baseline) == pytest.approx(1.95)


@pytest.mark.parametrize("steps", [7, 28])
def test_the_meter_measures_as_the_metrics_do_and_asks_once(
    steps: int, tiny_classifier: Classifier
) -> None:
    task = tiny_task(tiny_classifier)
    meter = FaithfulnessMeter(task)
    found = meter.measure(_PARAMETERS, range(2), steps)
    r2s, gains = [], []
    for seed in range(2):
        explanation = lime_explanation(
            task.explain(_PARAMETERS, seed), task.explained, _PARAMETERS, seed
        )
        surrogate = explanation.surrogate
        assert surrogate is not None
        r2s.append(
            surrogate_r2(
                surrogate.segments, surrogate.weights, surrogate.intercept,
                _PARAMETERS.hide_color, task.explained, task.image, task.source, task.cache,
            )
        )  # fmt: skip
        gains.append(
            insertion_minus_deletion(
                task.source.predict_proba, task.image, explanation.ranking, task.explained, steps
            )
        )
    assert (found.r2, found.gain) == pytest.approx((np.mean(r2s), np.mean(gains)), abs=1e-6)
    assert 0 <= found.stability <= 1
    asked = task.cache.counts.new
    assert meter.measure(_PARAMETERS, range(2), steps) == found
    assert task.cache.counts.new == asked
    usual, own = (meter.measure(each, [0], 7).gain for each in (LimeParameters(), _PARAMETERS))
    assert meter.lead(_PARAMETERS) == pytest.approx(own - usual, abs=1e-6)


def test_who_wins_is_measured_on_more_seeds(tiny_classifier: Classifier) -> None:
    study = optuna.create_study(study_name="x/house", direction="maximize")
    settings = TuningSettings(
        trials=6, seeds=2, sampler="tpe", objective=FAITHFUL, space=SMALL_SPACE
    )
    run_study(study, tiny_task(tiny_classifier), settings)
    best, seeds = -math.inf, []
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        record = TrialRecord.from_attributes(trial.user_attrs)
        assert record is not None
        assert trial.value is not None
        if trial.value > best and record.parameters != LimeParameters():
            best = trial.value
            seeds.append(len(record.seeds))
    assert seeds
    assert set(seeds) == {6}


def test_an_image_may_have_no_reference(demo_classifier: Classifier) -> None:
    scene = draw_scene("key", DEMO_SEEDS["key"])
    none = Reference.none(scene.mask.shape)
    assert not none.exists
    assert not Reference.from_json(none.to_json()).exists
    assert Reference(scene.mask, "masks").exists
    task = TuningTask(scene.image, demo_classifier, none, PredictionCache(), RUNTIME_MODEL)
    assert set(task.view(_PARAMETERS.segmentation).upper_bounds) == {1.0}
    with pytest.raises(InvalidInput, match="no reference"):
        task.iou(_PARAMETERS, 0)


def test_a_record_without_agreement_is_plain_json() -> None:
    measured = Faithfulness(0.6, 0.3, math.nan)
    record = TrialRecord(_PARAMETERS, math.nan, [], range(2), 1.0, 0.1, {}, 8, faithful=measured)
    attributes = record.to_attributes()
    assert attributes["iou"] is None
    json.dumps(attributes, allow_nan=False)
    again = TrialRecord.from_attributes(attributes)
    assert again is not None
    assert math.isnan(again.iou)
    assert again.faithful is not None
    assert again.faithful.to_json() == measured.to_json()


_BOX = """
from tests.tuner.tiny import make

_made = make()

def classify(images):
    return _made.predict_proba(images)

classify.crop, classify.resize = 64, None
"""


@pytest.mark.usefixtures("tiny_catalogue")
def test_a_black_box_from_images_to_a_verified_pickle(here: Path, cli: Cli) -> None:
    from PIL import Image

    (here / "faithful_box.py").write_text(_BOX)
    (here / "pictures").mkdir()
    image, mask = tiny_picture("key")
    Image.fromarray(image).save(here / "pictures" / "key.png")
    box = ["--model", "function:faithful_box:classify", "--catalog", "pictures"]
    fast = ["--trials", "3", "--seeds", "2", "--most-runtime", "0.1", *FEW_MAPS]

    line = cli.refused("tune", *box, *fast)
    assert "--objective faithful" in line
    tuned = json.loads(cli.ok("tune", *box, *fast, "--objective", "faithful", "--json"))
    best = tuned["images"]["key"]["best"]
    assert best["iou"] is None
    assert best["score"] >= tuned["images"]["key"]["default"]["score"]
    assert set(best["faithful"]) == {"r2", "gain", "stability"}
    assert best["parameters"]["num_samples"] <= 100
    (here / "drawn").mkdir()
    Image.fromarray(mask).save(here / "drawn" / "key.png")
    more = ["--trials", "4", "--reference", "drawn"]
    code, _, stderr = cli("tune", *box, *fast, *more)
    assert code == 2
    assert "made with objective=faithful, not agreement" in stderr
    seen = json.loads(cli.ok("status", "--json"))["pictures/key"]
    assert seen["best"]["faithful"] == best["faithful"]
    assert seen["default"]["faithful"] == tuned["images"]["key"]["default"]["faithful"]
    assert f"{best['faithful']['r2']:.3f}" in cli.ok("status")
    cli.ok("export", "--catalog", "pictures", "-o", "p.pkl")
    verified = json.loads(cli.ok("verify", "p.pkl", *box, "--seeds", "1", "--json"))
    assert verified["avg_iou"] is None
    assert np.isfinite(verified["avg_r2"])
    assert verified["defaults"]["images"]["key"]["insertion_minus_deletion"] > -1
    cli.ok("report", "--study", "pictures", "-o", "found")
    own = ["--catalog", "demo", "--images", "key", "--objective", "faithful"]
    for wrong in (
        ["--sampler", "ceiling"], ["--constrain", "fidelity"], ["--scope", "catalog"], ["--pareto"],
    ):  # fmt: skip
        assert "needs a reference" in cli.refused("tune", *own, *wrong, status=(2,))
    assert "agreement or faithful" in cli.refused(
        "tune", "--catalog", "demo", "--objective", "beauty", status=(2,)
    )
