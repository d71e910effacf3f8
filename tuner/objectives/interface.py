"""What an objective is asked while the loop of :mod:`tuner.study.trial` measures a trial."""

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
    """What the trials of one study are worth; measures one trial at a time.

    A trial is measured on instances: an image with an explainer seed, all images with one seed
    before any with the next. Methods that return a text say why the trial ends here; it is empty
    where the trial goes on. Trials that came with their parameters (lime's defaults) are never
    stopped.

    Attributes:
        name: of ``tune --objective``.
        draft: the trial that is being measured.
        wanted: explainer seeds that it is to be measured on; may grow.
    """

    name: ClassVar[str]
    draft: TrialDraft
    wanted: int

    def __init__(self, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> None:
        self.study, self.task, self.settings = study, task, settings

    @classmethod
    def of(cls, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> Objective:
        """The objective as a study needs it."""
        return cls(study, task, settings)

    def starters(self) -> Sequence[LimeParameters]:
        """What a new study tries first, as far as its space holds that."""
        return ()

    def begin(self, draft: TrialDraft) -> None:
        """Turn to another trial, and look up what it has to beat."""
        self.draft = draft
        self.clear()

    @abstractmethod
    def clear(self) -> None:
        """Forget what was measured of the trial."""

    def screen(self, replayed: int) -> str:
        """Before the trial is explained in full; not asked of lime's defaults.

        Args:
            replayed: samples whose predictions the proposal has seen already.
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
        """After each image."""
        return ""

    def after_seed(self) -> str:
        """After all images with one seed."""
        return ""

    def verdict(self) -> str:
        """After all seeds."""
        return ""

    def report(self, value: float, step: int) -> None:
        """Show a running score to who watches."""
        self.draft.trial.report(value, step)

    @property
    @abstractmethod
    def running_score(self) -> float:
        """Of what was measured so far."""

    @abstractmethod
    def values(self) -> list[float]:
        """What the study is told, one value for each of its directions."""

    @abstractmethod
    def measured(self) -> Measured:
        """What is stored."""
