"""What studies promise for a pickle's parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from explainers.lime import LimeParameters, Regressor, Segmentation
from studies.results.predicted import Prediction, mean_prediction, predictions
from studies.results.trial_record import TrialRecord
from studies.storage import open_storage

TUNED = LimeParameters(
    segmentation=Segmentation.of("slic", n_segments=12, compactness=10), num_samples=64,
    regressor=Regressor.of("Ridge", alpha=0.1), top_labels=1,
)  # fmt: skip
OTHER = replace(TUNED, num_samples=65)

Trial = tuple[LimeParameters, float, float, float]


def add_study(url: str, name: str, *trials: Trial, pruned: tuple[Trial, ...] = ()) -> None:
    """Trials of (parameters, score, IoU, seconds)."""
    study = optuna.create_study(study_name=name, storage=open_storage(url), direction="maximize")
    for parameters, score, iou, seconds in (*trials, *pruned):
        record = TrialRecord(parameters, iou, [iou], [0], seconds, 0.5, {}, 7)
        state = optuna.trial.TrialState.COMPLETE
        if (parameters, score, iou, seconds) in pruned:
            state = optuna.trial.TrialState.PRUNED
        study.add_trial(
            optuna.trial.create_trial(state=state, value=score, user_attrs=record.to_attributes())
        )
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))


def test_the_best_finished_trial_with_these_arguments_counts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    add_study(
        url, "p/cat", (TUNED, 0.5, 0.55, 2.0), (TUNED, 0.7, 0.75, 1.0), (OTHER, 0.9, 0.95, 3.0),
        (TUNED, 0.6, 0.65, 1.5), pruned=((TUNED, 0.99, 0.99, 0.1),),
    )  # fmt: skip
    add_study(url, "p/dog", (OTHER, 0.4, 0.25, 3.0))
    add_study(url, "q/dog", (TUNED, 0.4, 0.35, 4.0))
    kwargs = {key: TUNED.as_kwargs() for key in ("cat", "dog", "cow")}
    found = predictions(url, "p", kwargs)
    assert found == {"cat": Prediction(0.75, 1.0)}
    assert mean_prediction(found, ("cat", "dog")) is None
    kwargs["dog"] = OTHER.as_kwargs()
    found = predictions(url, "p", kwargs)
    assert mean_prediction(found, ("cat", "dog")) == pytest.approx(Prediction(0.5, 2.0))
    kwargs["cat"]["random_seed"] = 3
    assert set(predictions(url, "p", kwargs)) == {"dog"}


def test_a_trial_of_another_version_is_no_match(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    add_study(url, "p/cat", (TUNED, 0.5, 0.55, 2.0))
    study = optuna.load_study(study_name="p/cat", storage=open_storage(url))
    attributes = {"lime_parameters": '{"from_the_future": 1}', "iou": 1.0, "runtime_seconds": 0.0}
    study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs=attributes))
    study.add_trial(optuna.trial.create_trial(value=2.0, user_attrs={"iou": 1.0}))
    assert predictions(url, "p", {"cat": TUNED.as_kwargs()}) == {"cat": Prediction(0.55, 2.0)}


def test_no_storage_has_no_predictions_and_is_not_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'no.db'}"
    assert predictions(url, "p", {"cat": TUNED.as_kwargs()}) == {}
    assert list(tmp_path.iterdir()) == []
