"""Logs new bests, and records who runs a trial and why it fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.trial import FrozenTrial, TrialState

from explainers.messages import one_line
from studies.full_disk import is_full
from studies.results.attributes import FAILURE, WORKER
from studies.storage import this_worker
from studies.storage.reconnecting import UNREACHABLE, unreachable_reason

__all__ = ["BestLog", "accounted"]

_LONGEST = 300  # characters of a reason
_logger = logging.getLogger(__name__)


@contextmanager
def accounted(study: str, trial: optuna.Trial) -> Iterator[None]:
    """Store with a trial the worker that runs it and, if it fails inside, the reason."""
    trial.set_user_attr(WORKER, this_worker())
    try:
        yield
    except optuna.TrialPruned:
        raise
    except (Exception, KeyboardInterrupt) as error:
        reason = _reason(error)
        _logger.info("%s: trial %d failed: %s", study, trial.number, reason)
        if not isinstance(error, UNREACHABLE) or is_full(error):  # that may still fit
            try:
                trial.set_user_attr(FAILURE, reason)
            except UNREACHABLE as unwritten:
                _logger.info("the database does not know why: %s", type(unwritten).__name__)
        raise


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, UNREACHABLE):
        return f"the database cannot be used: {unreachable_reason(error)}"
    return one_line(f"{type(error).__name__}: {error}", _LONGEST)


class BestLog:
    """Logs each trial that is better than all earlier ones of its study."""

    def __init__(self, study: optuna.Study) -> None:
        self._study, self._best = study, float("-inf")

    def after(self, trial: FrozenTrial) -> None:
        """Call with every trial that ended in this process."""
        values = trial.values or []
        if trial.state != TrialState.COMPLETE or len(values) != 1 or values[0] <= self._best:
            return
        self._best = self._study.best_value  # other workers may have found a better one
        if values[0] >= self._best:
            iou = trial.user_attrs.get("iou")  # missing where there is no reference
            agreement = "" if iou is None else f", IoU {iou:.4f}"
            _logger.info(
                "%s: trial %d is the best so far: score %.4f%s, %.3f s",
                self._study.study_name, trial.number, values[0], agreement,
                trial.user_attrs.get("runtime_seconds", 0.0),
            )  # fmt: skip
