"""Running trials of one study, one by one: what goes first, and when it is over."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from explainers.lime import LimeParameters
from studies.results.attributes import DEFAULTS_ORIGIN, RETRIES
from studies.results.best_trial import best_trial
from studies.results.stagnation import is_stagnant
from studies.storage.reconnecting import UNREACHABLE, fail_stale_trials
from tuner.objectives import make_objective
from tuner.problem import CatalogTask, SearchTask, TuningSettings
from tuner.samplers import STARTERS, enqueue_first, enqueue_portfolio, make_sampler
from tuner.study.log import BestLog, accounted
from tuner.study.trial import run_trial

__all__ = ["StudyRunner", "finished_trials", "has_room", "is_done"]

_logger = logging.getLogger(__name__)
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Finished trials that go before lime's defaults. The ceiling sampler starts with trials that cost
# next to nothing; the others need an incumbent that a costly first trial can be stopped against.
_DEFAULTS_AFTER = {"ceiling": 8}
# With two objectives a trial competes only with faster ones, so running the defaults first prunes
# nothing; but something that is better and faster saves scoring them on further seeds.
_FRONT_AFTER = 8


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have a result."""
    return study.get_trials(deepcopy=False, states=_FINISHED)


class StudyRunner:
    """Runs trials of a study one by one, of one image or of a catalogue.

    Interrupting keeps every finished trial; the one in progress is marked as failed. For the
    arguments see :func:`tuner.tuning.run_study`.
    """

    def __init__(
        self,
        study: optuna.Study,
        task: SearchTask,
        settings: TuningSettings,
        on_trial: Callable[[FrozenTrial], None] | None = None,
        on_score: Callable[[optuna.Trial, Sequence[float]], None] | None = None,
    ) -> None:
        self.study, self._task, self._settings = study, task, settings
        self._on_trial, self._on_score = on_trial, on_score
        self._running: list[int] = []
        self._failed_here = False
        self._best = BestLog(study)
        self._objective = make_objective(study, task, settings)

    def begin(
        self,
        other_incumbents: Sequence[LimeParameters] = (),
        portfolio: Sequence[LimeParameters] = (),
    ) -> None:
        """Enqueue what goes first, and make the sampler; before any other call.

        Args:
            other_incumbents: incumbents of other images.
            portfolio: tried before them.
        """
        study, settings = self.study, self._settings
        new = not study.get_trials(deepcopy=False)
        self._enqueue_defaults()
        if new:
            # One trial is the defaults'.
            enqueue_portfolio(study, settings.space, portfolio, most=settings.trials - 1)
            enqueue_portfolio(study, settings.space, self._objective.starters(), "starter")
            first = [*other_incumbents, *(() if settings.sampler in _DEFAULTS_AFTER else STARTERS)]
            enqueue_first(study, self._task, settings.space, first, settings.runtime_weight)
        if study.study_name:
            study.sampler = make_sampler(
                settings.sampler,
                self._task,
                settings.space,
                runtime_weight=settings.runtime_weight,
                base_seed=settings.seed,
                key=study.study_name,
                finished=len(finished_trials(study)),
                pareto=settings.pareto,
            )

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Run trials until the study is done, its time is over, or it is to stop.

        Args:
            stop: asked between trials.

        Returns:
            Whether it came to its end: lime's defaults are among its trials then.
        """
        timeout = self._settings.timeout
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        # A failed trial does not count, so the number is checked before each.
        while not is_done(self.study, self._settings) and time.monotonic() < deadline:
            if stop():
                return False
            self.one_trial()
        self.finish()
        return True

    def one_trial(self) -> None:
        """One more; waiting ones first.

        A trial that others took for dead, because the machine was asleep, is lost: they have failed
        it, and it is tried again.
        """
        self._running.clear()
        self._failed_here = False
        fail_stale_trials(self.study)
        try:
            self.study.optimize(self._run_trial, n_trials=1, callbacks=[self._after])
        except KeyboardInterrupt:
            for number in self._running:
                self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
            raise
        except Exception as error:  # Optuna tells what others did to a trial in several ways
            # ... and stumbles over its own error when a trial's end cannot be written.
            stumbled = isinstance(error, (AssertionError, UnboundLocalError))
            lost = error.__context__ if stumbled else None
            if isinstance(lost, UNREACHABLE):
                raise lost  # noqa: B904
            if not self._taken_for_dead():
                raise
            _logger.warning(
                "%s: trial %s was taken for dead and is tried again; was this machine asleep?",
                self.study.study_name, *self._running,
            )  # fmt: skip
            self._running.clear()

    def _taken_for_dead(self) -> bool:
        """Whether the trial that is being run here was failed, though it did not fail here."""
        if self._failed_here or not self._running:
            return False
        trials = self.study.get_trials(deepcopy=False)
        return all(t.state == TrialState.FAIL for t in trials if t.number in self._running)

    def finish(self) -> None:
        """Time or answers may be spent before it is the defaults' turn; there is no result without
        them."""
        while self._enqueue_defaults(now=True):
            self.one_trial()

    def _enqueue_defaults(self, *, now: bool = False) -> bool:
        """Make lime's defaults the next trial when it is their turn, or theirs was cut off.

        They decide little and cost more than any other trial.

        Returns:
            Whether they are enqueued.
        """
        settings, trials = self._settings, self.study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.user_attrs.get("origin") == DEFAULTS_ORIGIN:
                if trial.state == TrialState.COMPLETE:
                    return False
                if trial.state == TrialState.WAITING:
                    return True
                if trial.state == TrialState.RUNNING and not now:
                    return False  # in another process; should that be killed, they come at the end
        after = _DEFAULTS_AFTER.get(settings.sampler, _FRONT_AFTER if settings.pareto else 0)
        if isinstance(self._task, CatalogTask):
            after = settings.trials  # a thousand samples of every image decide nothing here
        finished = sum(t.state in _FINISHED for t in trials)
        if not now and finished < min(after, settings.trials - 1):
            return False
        defaults = LimeParameters()
        self.study.enqueue_trial(
            settings.space.trial_values(defaults) or {},
            user_attrs={"origin": DEFAULTS_ORIGIN, "lime_parameters": defaults.to_json()},
        )
        return True

    def _run_trial(self, trial: optuna.Trial) -> list[float]:
        self._running[:] = [trial.number]
        self._failed_here = True
        sampler = self.study.sampler
        try:
            with accounted(self.study.study_name, trial):
                values = run_trial(
                    trial,
                    self._objective,
                    getattr(sampler, "notes", dict),
                    lambda: getattr(sampler, "replayed", 0),
                )
                if self._on_score is not None:
                    self._on_score(trial, values)
        except (optuna.TrialPruned, optuna.exceptions.UpdateFinishedTrialError):
            self._failed_here = False
            raise
        self._failed_here = False
        return values

    def _after(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._running.clear()
        self._best.after(trial)
        if self._on_trial is not None:
            self._on_trial(trial)
        if not is_done(study, self._settings):
            self._enqueue_defaults()


def has_room(study: optuna.Study, settings: TuningSettings) -> bool:
    """Whether one more trial is wanted when others run some at the same time.

    Two that look at the same moment may both begin the last one, so a study may end with a trial
    more for each of its workers. What a dead worker has left is tried again even if others have
    begun trials in its stead; it may have been the best.
    """
    trials = study.get_trials(deepcopy=False)
    waiting = next((t for t in trials if t.state == TrialState.WAITING), None)
    if waiting is not None and RETRIES in waiting.system_attrs and settings.answers is None:
        return True
    taken = sum(t.state in (*_FINISHED, TrialState.RUNNING) for t in trials)
    return (settings.beyond or taken < settings.trials) and not is_done(study, settings)


def is_done(study: optuna.Study, settings: TuningSettings) -> bool:
    """Whether the study has its trials, or has spent its answers.

    One that may go beyond its trials is done when they bring nothing any more.
    """
    trials = study.get_trials(deepcopy=False)
    if settings.answers is not None:
        # Failed trials count here: their answers were paid for.
        spent = sum(int(t.user_attrs.get("answers", 0)) for t in trials)
        if spent >= settings.answers:
            return True
    finished = sum(t.state in _FINISHED for t in trials)
    if finished < settings.trials:
        return False
    if not settings.beyond:
        return True
    best = best_trial(study)
    return is_stagnant(finished, None if best is None else best.number)
