"""Running a study trial by trial, and the notes that its dashboard shows."""

from __future__ import annotations

from tuner.study.notes import PICTURES, StudyNotes
from tuner.study.runner import StudyRunner, finished_trials, has_room, is_done
from tuner.study.trial import run_trial

__all__ = [
    "PICTURES", "StudyNotes", "StudyRunner", "finished_trials", "has_room", "is_done", "run_trial",
]  # fmt: skip
