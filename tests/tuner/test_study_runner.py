"""The runner of a study's trials, when others interfere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from explainers.lime import PredictionCache
from explainers.references import Reference
from studies.storage import open_storage
from tests.explainers.numpy_classifiers import QuarterColours, picture
from tests.tuner.scenes import RUNTIME_MODEL, SMALL_SPACE
from tuner.problem import TuningSettings, TuningTask
from tuner.study import StudyRunner
from tuner.tuning import open_study


@pytest.mark.parametrize("when", ["before its last word", "in the middle"])
def test_a_trial_that_was_taken_for_dead_is_let_be(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    reference = np.zeros((48, 40), dtype=bool)
    reference[:24, :20] = True
    task = TuningTask(
        image=picture(5, 48, 40), source=QuarterColours(6), reference=Reference(reference, "masks"),
        cache=PredictionCache(), runtime_model=RUNTIME_MODEL,
    )  # fmt: skip
    study = open_study("a/picture", open_storage(url), {})
    others = optuna.load_study(study_name="a/picture", storage=open_storage(url))
    taken: list[int] = []

    def take(number: int) -> None:
        if not taken:
            taken.append(number)
            others.tell(number, state=TrialState.FAIL)

    if when == "in the middle":
        iou = TuningTask.iou

        def iou_and_take(self: TuningTask, *args: object, **kwargs: object) -> float:
            take(0)
            return iou(self, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(TuningTask, "iou", iou_and_take)
    runner = StudyRunner(
        study, task, TuningSettings(trials=3, seeds=2, space=SMALL_SPACE, sampler="random"),
        on_score=lambda trial, _: take(trial.number),
    )  # fmt: skip
    runner.begin()
    for _ in range(3):
        runner.one_trial()
    states = [t.state for t in others.get_trials()]
    assert states[0] == TrialState.FAIL
    assert TrialState.FAIL not in states[1:3]

    def wrong(*args: object, **kwargs: object) -> float:
        raise KeyError("no such thing")

    monkeypatch.setattr("tuner.study.runner.run_trial", wrong)
    with pytest.raises(KeyError):
        runner.one_trial()
