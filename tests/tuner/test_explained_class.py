"""A study of a class explains that class: in trials, forecasts, prices, exports and elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidInput
from explainers.lime import FlatSetting, LimeParameters, PredictionCache, Segmentation
from explainers.masks import intersection_over_union
from explainers.references import Reference
from studies.catalog.demo import DEMO_SEEDS, draw_scene
from studies.export import read_pickle
from studies.storage import open_storage
from tests.tuner.command_line import FEW_MAPS, Cli
from tests.tuner.scenes import RUNTIME_MODEL, SMALL_SPACE
from tuner.objectives import make_objective
from tuner.problem import TuningSettings, TuningTask
from tuner.samplers import Candidate, Candidates
from tuner.study import run_trial
from tuner.tuning import open_study

RED, GREEN, NEITHER = range(3)
IMAGE = np.full((24, 24, 3), 100, dtype=np.uint8)
IMAGE[2:14, 2:10] = (220, 30, 30)
IMAGE[4:12, 14:22] = (30, 200, 30)
PARAMETERS = LimeParameters(
    segmentation=Segmentation.of("felzenszwalb", scale=50, sigma=0.5, min_size=20),
    hide_color=127,
    num_samples=64,
    num_features=1,
)


class RedGreen:
    """How much of a picture is red, and how much green; red is twice as convincing."""

    fingerprint = "red-green"

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[np.float64]:
        pixels = images.astype(float)
        red = ((pixels[..., 0] - pixels[..., 1]) > 100).mean(axis=(1, 2))
        green = ((pixels[..., 1] - pixels[..., 0]) > 100).mean(axis=(1, 2))
        return np.stack([2 * red, green, 1 - 2 * red - green], axis=1)


def task_of(class_index: int | None) -> TuningTask:
    assert PARAMETERS.segmentation is not None
    superpixels = PARAMETERS.segmentation(IMAGE)
    mask = superpixels == superpixels[8, 18]  # the green one
    return TuningTask(
        image=IMAGE, source=RedGreen(), reference=Reference(mask, "given"),
        cache=PredictionCache(), runtime_model=RUNTIME_MODEL, class_index=class_index,
    )  # fmt: skip


def test_the_mask_is_the_class_s_own_and_equals_stock_lime_s() -> None:
    found = {label: task_of(label).iou(PARAMETERS, 3) for label in (None, RED, GREEN, NEITHER)}
    assert found[GREEN] == 1.0
    task = task_of(GREEN)
    stock = LimeImageExplainer(random_state=3).explain_instance(
        IMAGE, RedGreen().predict_proba, **task.about(PARAMETERS).as_kwargs()
    )
    _, mask = stock.get_image_and_mask(GREEN, num_features=5, hide_rest=False)
    assert intersection_over_union(mask > 0, task.reference.mask) == 1.0
    assert found[RED] == found[NEITHER] == found[None] == 0.0


def test_the_likeliest_class_is_explained_as_ever() -> None:
    unasked, asked = task_of(None), task_of(NEITHER)
    assert (asked.label, asked.explained, unasked.explained) == (None, NEITHER, NEITHER)
    assert asked.about(PARAMETERS) == PARAMETERS
    assert task_of(GREEN).about(PARAMETERS) == replace(PARAMETERS, labels=(1,), top_labels=None)
    with pytest.raises(InvalidInput, match=r"class 3 does not exist: .* 0 to 2"):
        _ = task_of(3).label


def test_parameters_made_for_a_class_serve_another() -> None:
    green = PARAMETERS.about(GREEN)
    assert (green.label, PARAMETERS.label) == (GREEN, None)
    assert task_of(None).about(green) == replace(PARAMETERS, top_labels=1)
    assert task_of(RED).about(green).labels == (RED,)
    assert LimeParameters().about(GREEN).are_default
    assert not green.are_default
    inside = replace(PARAMETERS, segmentation=Segmentation.of("slic", n_segments=5, compactness=5))
    assert SMALL_SPACE.trial_values(inside.about(GREEN)) == {
        **(SMALL_SPACE.trial_values(inside) or {}), "top_labels": 1,
    }  # fmt: skip


def test_one_label_is_priced_where_five_were() -> None:
    fit = task_of(None).runtime(PARAMETERS).fit
    assert task_of(GREEN).runtime(PARAMETERS).fit == pytest.approx(fit / 5)


def test_trials_store_what_was_explained_and_forecasts_are_of_the_same_class() -> None:
    task = task_of(GREEN)
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    trial.set_user_attr("lime_parameters", PARAMETERS.to_json())
    run_trial(
        trial, make_objective(study, task, TuningSettings(trials=1, seeds=2, default_seeds=2))
    )
    stored = LimeParameters.from_json(trial.user_attrs["lime_parameters"])
    assert stored == PARAMETERS.about(GREEN)
    assert trial.user_attrs["iou_per_seed"] == [1.0, 1.0]

    candidates = Candidates(task, replace(SMALL_SPACE, num_features=(1,), regressor=("lime",)), 0.1)
    candidate = Candidate(PARAMETERS.segmentation, "grey")
    forecast = {s: iou for s, iou, _ in candidates.replayed_seed(task, candidate, 64, 0)}
    assert forecast[FlatSetting(64, 1, "cosine", 1.0)] == 1.0


@pytest.fixture
def catalogue(here: Path) -> list[str]:
    """A house that the catalogue calls a key."""
    scene = draw_scene("house", DEMO_SEEDS["house"])
    Image.fromarray(scene.image).save("house.png")
    Image.fromarray(scene.mask).save("mask.png")
    (here / "c.toml").write_text(
        'model = "demo"\nreference = "masks"\n[geometry]\ncrop = 128\n'
        '[[image]]\nkey = "house"\nfile = "house.png"\nmask = "mask.png"\nclass_name = "key"\n'
    )
    return ["--catalog", "c.toml"]


def test_from_a_catalogue_s_class_to_stock_lime(catalogue: list[str], cli: Cli) -> None:
    few = [*FEW_MAPS, "--seeds", "1", "--target", "catalog"]
    (image,) = json.loads(cli.ok("tune", *catalogue, *few, "--trials", "1", "--json"))[
        "images"
    ].values()
    key = image["class"]["index"]
    assert (image["class"]["name"], image["class"]["asked"]) == ("key", True)
    assert image["default"]["parameters"]["labels"] == [key]

    # A worker that knows the database only explains the same class.
    study = optuna.load_study(study_name="c/house", storage=open_storage("sqlite:///lime-tuner.db"))
    study.set_user_attr("plan", {**study.user_attrs["plan"], "trials": 2})
    assert cli.ok("worker", "--idle-exit", "0").strip() == "1 trials"
    assert {
        LimeParameters.from_json(t.user_attrs["lime_parameters"]).label for t in study.trials
    } == {key}
    assert "house: key" in cli.ok("status")
    assert json.loads(cli.ok("status", "--json"))["c/house"]["class"]["name"] == "key"

    code, _, stderr = cli("export", *catalogue, "-o", "p.pkl")
    assert code == 0
    assert "cannot grade" in stderr
    kwargs = read_pickle(Path("p.pkl"))["house"]
    assert (kwargs["labels"], kwargs["top_labels"]) == ((key,), None)
    once = ["--seeds", "1", "--baseline-seeds", "0"]
    verified = json.loads(cli.ok("verify", "p.pkl", *catalogue, *once, "--json"))
    assert verified["images"]["house"]["label"] == "key"
    assert "top_labels" in cli.refused(
        "submit", "p.pkl", *catalogue, "--url", "http://127.0.0.1:1", "--dry-run"
    )


@pytest.mark.parametrize("facts", [{"label": 0}, {"labels": {"house": 0}}])
def test_trials_of_before_are_not_mixed_with_those_of_the_class(facts: dict[str, Any]) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="c/house", storage=storage, direction="maximize")
    study.set_user_attr("class_index", 0)
    with pytest.raises(InvalidInput, match=r"likeliest class, not of class .*--study"):
        open_study("c/house", storage, {"class_index": 0, **facts})
    (name,) = facts
    facts = {"class_index": 0, name: None if name == "label" else {}}
    assert open_study("c/house", storage, facts).user_attrs == facts
