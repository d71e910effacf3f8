"""A progress bar over the trials of a study, for notebooks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm

from studies.results.best_trial import best_trial, trial_score, weight_of

__all__ = ["TrialBar", "few_words", "is_interactive", "trial_bar"]

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def is_interactive() -> bool:
    """Whether somebody types the commands: in a notebook, in IPython, at Python's prompt."""
    return hasattr(sys, "ps1")


class TrialBar:
    """Shows what is being done, and the best score so far.

    Args:
        bar: tqdm's; ``None`` shows nothing.
    """

    def __init__(self, bar: Any | None) -> None:
        self._bar = bar
        self._study: optuna.Study | None = None

    def phase(self, text: str) -> None:
        """Say what is being done now."""
        if self._bar is not None:
            self._bar.set_description_str(text)

    def begin(self, study: optuna.Study) -> None:
        """Count the trials of a study, also those that it has already."""
        self._study = study
        self.phase(study.study_name)
        self._count()

    def on_trial(self, trial: FrozenTrial) -> None:
        """Count a trial that has just ended, unless it failed."""
        if trial.state in _FINISHED:
            self._count()

    def _count(self) -> None:
        if self._bar is None or self._study is None:
            return
        trials = self._study.get_trials(deepcopy=False, states=_FINISHED)
        best = best_trial(self._study)
        score = None if best is None else trial_score(best, weight_of(self._study.user_attrs))
        if score is not None:
            self._bar.set_postfix_str(f"best score {score:.3f}", refresh=False)
        self._bar.update(len(trials) - self._bar.n)
        self._bar.refresh()


@contextmanager
def few_words() -> Iterator[None]:
    """Keep Optuna from writing a line for each trial, which it does unless told otherwise."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def trial_bar(trials: int, shown: bool | None) -> Iterator[TrialBar]:
    """A bar for so many trials.

    Args:
        shown: ``None`` shows it where somebody types the commands, unless ``TQDM_DISABLE`` is set.
    """
    if not (is_interactive() if shown is None else shown):
        yield TrialBar(None)
        return
    asked = {} if shown is None else {"disable": False}
    with tqdm(total=trials, unit="trial", **asked) as bar:
        yield TrialBar(bar)
