"""What a study looks like: pictures, plot, note, and the code to take away."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.artifacts.exceptions import ArtifactNotFound
from PIL import Image

from explainers.lime import LimeParameters, Regressor, Segmentation
from explainers.masks import MASK_RULE
from studies.dashboard import (
    ScoredTrial,
    explanation_picture,
    photograph_picture,
    runtime_plot,
    study_note,
)
from studies.export import parameter_code, plain_kwargs
from studies.results.trial_record import TrialRecord
from studies.storage import holds_studies
from studies.storage.artifacts import ArtifactFolder, add_picture, artifact_store

WHITE, GREEN = (255, 255, 255), (50, 255, 80)


def scored(
    number: int,
    iou: float,
    seconds: float,
    parameters: LimeParameters | None = None,
    seeds: int = 2,
) -> ScoredTrial:
    record = TrialRecord(
        parameters or LimeParameters(), iou, [iou] * seeds, range(seeds), seconds, seconds / 10,
        {}, 12,
    )  # fmt: skip
    return ScoredTrial(number, iou - seconds / 100, record)


def has(picture: Any, colour: tuple[int, int, int]) -> Any:
    return (picture == np.array(colour)).all(axis=2)


@pytest.mark.parametrize(("side", "factor"), [(64, 4), (128, 2), (224, 1), (600, 1)])
def test_pictures_show_both_masks_on_a_photograph_of_any_size(side: int, factor: int) -> None:
    image = np.full((side, side + 8, 3), 200, dtype=np.uint8)
    before = image.copy()
    reference, mask = np.zeros((2, side, side + 8), dtype=bool)
    reference[side // 4 : side // 2, side // 4 : side // 2] = True
    mask[: side // 3, : side // 3] = True
    photograph = photograph_picture(image, reference)
    shown = explanation_picture(image, mask, reference)
    assert photograph.shape == shown.shape == (side * factor, (side + 8) * factor, 3)
    inside = reference.repeat(factor, 0).repeat(factor, 1)
    assert has(photograph, WHITE).any()
    assert not (has(photograph, WHITE) & ~inside).any()  # the outline lies within, its edge without
    assert has(photograph, (200, 200, 200)).mean() > 0.8
    assert has(shown, WHITE).any()
    assert has(shown, GREEN).any()
    assert has(shown, (70, 70, 70)).mean() > 0.6  # darkened outside the mask
    assert (image == before).all()


def test_artifacts_are_optunas_own(any_database: str) -> None:
    store = artifact_store(any_database)
    study = optuna.create_study()
    assert "anything" not in store
    with pytest.raises(ArtifactNotFound):
        store.open_reader("anything")
    assert not holds_studies(any_database)  # nothing is made by looking
    trial = study.ask()
    of_study = add_picture(store, study, "photograph", np.zeros((4, 5, 3), dtype=np.uint8))
    of_trial = add_picture(store, trial, "best", np.zeros((4, 5, 3), dtype=np.uint8))
    (meta,) = optuna.artifacts.get_all_artifact_meta(study)
    assert (meta.artifact_id, meta.filename, meta.mimetype) == (
        of_study, "photograph.png", "image/png",
    )  # fmt: skip
    with store.open_reader(of_trial) as file, Image.open(file) as picture:
        assert picture.size == (5, 4)
    if isinstance(store, ArtifactFolder):
        assert sorted(p.name for p in store.folder.iterdir()) == sorted([of_study, of_trial])
    large = bytes(range(256)) * 1000  # more than MariaDB's plain BLOB takes
    for body in (b"first", large):  # the second replaces the first
        store.write("twice", io.BytesIO(body))
        with store.open_reader("twice") as file:
            assert file.read() == body
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        add_picture(store, trial, "late", np.zeros((4, 5, 3), dtype=np.uint8))
    store.remove(of_study)
    store.remove(of_study)  # gone already
    assert of_study not in store
    assert of_trial in store


def test_the_plot_is_plain_and_short() -> None:
    trials = [scored(n, n / 400, 0.1 + n) for n in range(300)]
    figure = runtime_plot(trials, trials[-1], trials[0])
    text = json.dumps(figure, allow_nan=False)
    assert len(text) < 20_000
    names = [trace["name"] for trace in figure["data"]]
    assert names == ["complete trials", "Pareto front", "lime's defaults", "best score"]
    assert figure["data"][-1]["text"] == ["299"]
    assert len(runtime_plot(trials, trials[-1], None)["data"]) == 3


def test_the_note_says_it_all_and_takes_nothing_for_markup() -> None:
    best = scored(4, 0.8125, 0.5, LimeParameters(num_samples=64, hide_color=0))
    attributes = {
        "image_key": "my|cat_*1*", "class_name": "<tabby>", "probability": 0.93,
        "classifier": {"name": "resnet50"}, "runtime_weight": 0.1,
        "reference": {
            "rule": "gradcam@0.3",
            "reliability": {"agreement": 0.9, "kept": 0.02, "lost": 0.8, "standing": 1.0},
        },
    }  # fmt: skip
    note = study_note(
        attributes, best, scored(8, 0.41, 20.0, seeds=1), finished=60, stopped=40,
        pictures={"photograph": "/artifacts/1/a", "best": "/artifacts/1/2/b"},
    )  # fmt: skip
    assert r"## my\|cat\_\*1\*: IoU 0.81 in 0.5 s; lime's defaults 0.41 in 20 s" in note
    assert "![photograph](/artifacts/1/a)" in note
    assert "![best](/artifacts/1/2/b)" in note
    assert "0.812 ± 0.000 (2 seeds)" in note
    assert "0.410 (1 seed)" in note
    assert "60 trials, 40 of them stopped early" in note
    assert "`gradcam@0.3`, reliability 0.24, **doubtful**: the mask alone keeps 2%" in note
    assert r"\<tabby\> (93%), by resnet50" in note
    assert '"num_samples": 64' in note
    tables = [line.count("|") for line in note.splitlines() if line.startswith("|")]
    assert tables == [3, 3, 3] + [4] * 7


def test_a_note_before_the_defaults_and_without_pictures() -> None:
    note = study_note({}, scored(0, 0.5, 166.26), None, finished=1, stopped=0, pictures={})
    assert "IoU 0.50 in 170 s\n" in note
    assert "!" not in note
    assert "None" not in note


@pytest.mark.parametrize(
    "parameters",
    [
        LimeParameters(),
        LimeParameters(Segmentation.of("slic", n_segments=12, compactness=10), hide_color=0),
        LimeParameters(
            Segmentation.of("felzenszwalb", scale=100, sigma=0.5, min_size=50),
            hide_color=(1, 2, 3), labels=(3, 4), top_labels=None, num_features=4, num_samples=64,
            batch_size=32, distance_metric="l2",
            regressor=Regressor.of("HuberRegressor", epsilon=1.5), random_seed=7,
        ),
        LimeParameters(regressor=Regressor.of("LinearRegression")),
    ],
)  # fmt: skip
def test_the_code_runs_and_means_the_parameters(parameters: LimeParameters) -> None:
    called: list[dict[str, Any]] = []

    class Explanation:
        top_labels = (5,)

        def get_image_and_mask(self, label: int, **rule: Any) -> tuple[str, str]:
            assert (label, rule) == (parameters.label or 5, MASK_RULE.as_kwargs())
            return "picture", "mask"

    class Explainer:
        def __init__(self, random_state: int) -> None:
            assert random_state == 0

        def explain_instance(self, image: str, classifier_fn: str, **kwargs: Any) -> Explanation:
            assert (image, classifier_fn) == ("image", "function")
            called.append(kwargs)
            return Explanation()

    code = parameter_code(parameters)
    first, _, rest = code.partition("\n")
    assert first == "from lime.lime_image import LimeImageExplainer"
    assert "as for the study" in rest
    own = {"image": "image", "classifier_fn": "function", "LimeImageExplainer": Explainer}
    exec(rest, own)
    assert (own["picture"], own["mask"]) == ("picture", "mask")
    (kwargs,) = called
    defaults = LimeParameters().as_kwargs()
    assert plain_kwargs({**defaults, **kwargs}) == plain_kwargs(parameters.as_kwargs())
    assert all(value != defaults[name] for name, value in kwargs.items())
