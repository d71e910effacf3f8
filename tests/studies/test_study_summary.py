"""What a study has found, also while workers go on finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from explainers.lime import LimeParameters
from studies.results.summary import image_document, summarise
from studies.results.trial_record import TrialRecord
from studies.storage import open_storage
from tests.studies.study_samples import random_studies


def _finish(study: optuna.Study, value: float, parameters: LimeParameters) -> None:
    trial = study.ask()
    record = TrialRecord(parameters, value, [value], [0], 1.0, 0.5, {}, 7)
    for name, found in record.to_attributes().items():
        trial.set_user_attr(name, found)
    study.tell(trial, value)


def test_nothing_found_yet(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    random_studies(url, "a", ("x",), trials=0)
    study = optuna.load_study(study_name="a/x", storage=open_storage(url))
    assert summarise(study) is None
    assert image_document(study)["best"] is None


def test_a_better_trial_that_ends_while_the_study_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    random_studies(url, "a", ("x",), trials=3)
    study = optuna.load_study(study_name="a/x", storage=open_storage(url))
    elsewhere = optuna.load_study(study_name="a/x", storage=open_storage(url))
    better = LimeParameters(num_samples=99)
    read = study.get_trials

    def read_as_another_ends(*args: Any, **kwargs: Any) -> list[optuna.trial.FrozenTrial]:
        found = read(*args, **kwargs)
        monkeypatch.setattr(study, "get_trials", read)
        _finish(elsewhere, 2.0, better)
        return found

    monkeypatch.setattr(study, "get_trials", read_as_another_ends)
    found = summarise(study)
    assert found is not None
    assert found.parameters == better
    assert found.best["number"] == 3
