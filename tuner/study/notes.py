"""The pictures, note and plot that the dashboard shows of a study, updated while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from explainers.errors import LimeTunerError
from explainers.lime import LimeParameters, explanation_mask
from studies.dashboard import (
    DEFAULTS_PICTURE,
    PHOTOGRAPH_PICTURE,
    ScoredTrial,
    explanation_picture,
    is_installed,
    name_score,
    photograph_picture,
    runtime_plot,
    save_note,
    save_plot,
    study_note,
    trial_picture,
)
from studies.results.attributes import DEFAULTS_ORIGIN, PICTURES
from studies.results.best_trial import best_trial, front_of, has_front, trial_score, weight_of
from studies.results.front import FrontPoint, pareto_front
from studies.results.score import score
from studies.results.trial_record import TrialRecord
from studies.storage.artifacts import Artifacts, add_picture
from studies.storage.reconnecting import UNREACHABLE, unreachable_reason
from tuner.problem import TuningTask

__all__ = ["PICTURES", "StudyNotes"]

_PLOT = "iou-against-seconds"
_logger = logging.getLogger(__name__)


class _NotBanked(LimeTunerError):
    """An explanation would need new predictions."""


class _BankedAnswers:
    """A predictor that refuses, so that drawing a picture uses cached predictions only."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def predict_proba(self, images: NDArray[np.uint8], /) -> NoReturn:
        raise _NotBanked(f"{len(images)} answers are not banked")


class StudyNotes:
    """Writes pictures, note and plot of one study; does nothing without optuna-dashboard.

    They are written at each new best and new point of the front, when lime's defaults are done, and
    by :meth:`write`. A failure is logged and never ends the study.

    Args:
        artifacts: store for the pictures.
    """

    def __init__(self, study: optuna.Study, task: TuningTask, artifacts: Artifacts) -> None:
        self._study, self._task = study, task
        self._store = artifacts
        self._reference = task.reference.mask if task.reference.exists else None
        self._active = is_installed()
        self._source = _BankedAnswers(task.source.fingerprint)
        self._shown_next: int | None = None
        self._weight = weight_of(study.user_attrs)

    def on_score(self, trial: optuna.Trial, values: Sequence[float]) -> None:
        """Attach a picture to a trial that will be the best or on the front.

        Called before the trial ends, as a finished trial accepts no attributes.

        Args:
            values: the trial's values, one for each of the study's directions.
        """
        record = TrialRecord.from_attributes(trial.user_attrs)
        if not self._active or record is None or record.reason:
            return
        wins = self._wins(record, values)
        if not wins and not self._reaches_front(trial.number, record):
            return
        self._shown_next = trial.number
        with self._told():
            if wins:
                self._add(trial_picture(trial.number), trial, "explanation", record.parameters)
            elif (picture := self._drawn(record.parameters)) is not None:
                # Kept with the trial only: the note does not show it.
                add_picture(self._store, trial, "explanation", picture)

    def on_trial(self, trial: FrozenTrial) -> None:
        """Rewrite note and plot after a trial that got a picture, and after lime's defaults."""
        if not self._active or trial.state != TrialState.COMPLETE:
            return
        if trial.number == self._shown_next or trial.user_attrs.get("origin") == DEFAULTS_ORIGIN:
            self.write()

    def write(self) -> None:
        """Write note and plot, and the pictures that are missing."""
        if not self._active:
            return
        with self._told():
            self._write()

    def _write(self) -> None:
        trials = self._study.get_trials(deepcopy=False)
        scored = [s for trial in trials if (s := _scored(trial, self._weight)) is not None]
        if not scored:
            return
        best = max(scored, key=lambda each: (each.score, -each.number))
        default_numbers = {
            t.number for t in trials if t.user_attrs.get("origin") == DEFAULTS_ORIGIN
        }
        default = next(
            (each for each in scored if each.number in default_numbers),
            None,
        )
        pictures: dict[str, str | None] = {"photograph": self._photograph()}
        if default is not None:
            parameters = default.record.parameters
            pictures["lime's defaults"] = self._explanation(
                DEFAULTS_PICTURE, "lime-defaults", parameters
            )
        pictures["best"] = self._explanation(
            trial_picture(best.number), "best", best.record.parameters
        )
        note = study_note(
            self._study.user_attrs,
            best,
            default,
            finished=sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials),
            stopped=sum(t.state == TrialState.PRUNED for t in trials),
            pictures={title: path for title, path in pictures.items() if path is not None},
            front=pareto_front(scored) if has_front(self._study) else (),
        )
        name_score(self._study)
        save_note(self._study, note)
        save_plot(self._study, _PLOT, runtime_plot(scored, best, default))

    def _wins(self, record: TrialRecord, values: Sequence[float]) -> bool:
        best = best_trial(self._study)
        beaten = None if best is None else trial_score(best, self._weight)
        one = len(values) == 1
        own = values[0] if one else score(record.iou, record.runtime_ratio, self._weight)
        return beaten is None or own > beaten

    def _reaches_front(self, number: int, record: TrialRecord) -> bool:
        if not has_front(self._study):
            return False
        own = FrontPoint(number, record.iou, record.runtime_seconds, record.runtime_ratio)
        return own in pareto_front([*front_of(self._study), own])

    def _photograph(self) -> str:
        picture_id = self._known(PHOTOGRAPH_PICTURE)
        if picture_id is None:
            picture = photograph_picture(self._task.image, self._reference)
            picture_id = self._keep(PHOTOGRAPH_PICTURE, self._study, "photograph", picture)
        return picture_id

    def _explanation(self, key: str, file: str, parameters: LimeParameters) -> str | None:
        return self._known(key) or self._add(key, self._study, file, parameters)

    def _add(
        self, key: str, owner: optuna.Study | optuna.Trial, file: str, parameters: LimeParameters
    ) -> str | None:
        picture = self._drawn(parameters)
        return None if picture is None else self._keep(key, owner, file, picture)

    def _drawn(self, parameters: LimeParameters) -> NDArray[np.uint8] | None:
        """(H, W, 3) picture of the first seed's explanation; ``None`` if not all is cached."""
        task = self._task
        try:
            explanation = task.explain(parameters, 0, self._source)
        except _NotBanked:
            return None
        mask = explanation_mask(explanation, task.mask_rule)
        return explanation_picture(task.image, mask, self._reference)

    def _known(self, key: str) -> str | None:
        """The path of a stored picture; ``None`` also after the study was renamed or copied."""
        from optuna_dashboard.artifact import get_artifact_path

        path = self._study.user_attrs.get(PICTURES, {}).get(key)
        if path is None or not path.startswith(get_artifact_path(self._study, "")):
            return None
        return path if path.rpartition("/")[2] in self._store else None

    def _keep(
        self,
        key: str,
        owner: optuna.Study | optuna.Trial,
        file: str,
        picture: NDArray[np.uint8],
    ) -> str:
        from optuna_dashboard.artifact import get_artifact_path

        identity = add_picture(self._store, owner, file, picture)
        path: str = get_artifact_path(owner, identity)
        # Earlier bests keep their pictures, but the note shows only the latest best.
        fixed = {PHOTOGRAPH_PICTURE, DEFAULTS_PICTURE}
        known = self._study.user_attrs.get(PICTURES, {})
        kept = {k: v for k, v in known.items() if k in fixed or key in fixed}
        self._study.set_user_attr(PICTURES, {**kept, key: path})
        return path

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except UNREACHABLE as error:  # stay active: the database may be back at the next best
            name = self._study.study_name
            reason = unreachable_reason(error)
            _logger.warning("study '%s': no note was written now: %s", name, reason)
        except (OSError, ImportError, LimeTunerError, optuna.exceptions.OptunaError) as error:
            _logger.warning(
                "study '%s' goes on without pictures for the dashboard: %s",
                self._study.study_name, error,
            )  # fmt: skip
            self._active = False


def _scored(trial: FrozenTrial, weight: float) -> ScoredTrial | None:
    value = trial_score(trial, weight)
    if trial.state != TrialState.COMPLETE or value is None:
        return None
    record = TrialRecord.from_attributes(trial.user_attrs)
    if record is None or record.reason:
        return None
    return ScoredTrial(trial.number, value, record)
