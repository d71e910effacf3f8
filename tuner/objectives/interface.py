"""The interface of objectives, as the loop in :mod:`tuner.study.trial` calls it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import optuna

from explainers.lime import LimeParameters
from tuner.objectives.draft import Measured, TrialDraft
from tuner.problem import SearchTask, TuningSettings, TuningTask

__all__ = ["Objective"]


class Objective(ABC):
    """Scores the trials of one study, one trial at a time.

    A trial is measured on instances, an image with an explainer seed each: all images with one seed
    before any with the next. Methods that return a text return why the trial ends here, or an empty
    text if it goes on. Trials that came with their parameters (lime's defaults) are never stopped.

    Attributes:
        name: the value of ``tune --objective``.
        draft: the trial that is being measured.
        wanted: number of explainer seeds to measure it on; may grow.
    """

    name: ClassVar[str]
    draft: TrialDraft
    wanted: int

    def __init__(self, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> None:
        self.study, self.task, self.settings = study, task, settings

    @classmethod
    def of(cls, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> Objective:
        """The instance, possibly of a subclass, for one study."""
        return cls(study, task, settings)

    def starters(self) -> Sequence[LimeParameters]:
        """Parameters that a new study tries first, where its search space contains them."""
        return ()

    def begin(self, draft: TrialDraft) -> None:
        """Begin with another trial; subclasses also look up the score to beat."""
        self.draft = draft
        self.clear()

    @abstractmethod
    def clear(self) -> None:
        """Discard all measurements of the trial."""

    def screen(self, replayed: int) -> str:
        """Called before the trial is explained in full, but not for preset parameters.

        Args:
            replayed: how many samples the sampler's forecast has used already.
        """
        return ""

    @abstractmethod
    def measure(self, key: str, task: TuningTask, seed: int) -> None:
        """Explain one image with one explainer seed.

        Raises:
            ValueError, FloatingPointError, numpy.linalg.LinAlgError: scikit-learn refuses the
                parameters.
        """

    def after_instance(self) -> str:
        """Called after each image."""
        return ""

    def after_seed(self) -> str:
        """Called after all images with one seed."""
        return ""

    def verdict(self) -> str:
        """Called after all seeds."""
        return ""

    def report(self, value: float, step: int) -> None:
        """Report a running score to Optuna, for its dashboard."""
        self.draft.trial.report(value, step)

    @property
    @abstractmethod
    def running_score(self) -> float:
        """The score of the measurements so far."""

    @abstractmethod
    def values(self) -> list[float]:
        """The trial's values, one for each direction of the study."""

    @abstractmethod
    def measured(self) -> Measured:
        """The measurements to be stored."""
