"""Runs the trials of one study one by one: which go first, and when the study is done."""

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
# How many trials finish before lime's defaults are run. The ceiling sampler starts with very cheap
# trials; the others need the defaults as an incumbent, or no expensive first trial could be pruned.
_DEFAULTS_AFTER = {"ceiling": 8}
# With two objectives a trial competes only with faster ones, so running the defaults first prunes
# nothing. Run later, the defaults need no further seeds once a better and faster trial is there.
_FRONT_AFTER = 8


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The complete and the pruned trials of a study."""
    return study.get_trials(deepcopy=False, states=_FINISHED)


class StudyRunner:
    """Runs the trials of one study, of an image or of a catalogue, one by one.

    Interrupting keeps every finished trial and marks the running one as failed. For the arguments
    see :func:`tuner.tuning.run_study`.
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
        """Enqueue the trials that go first and make the sampler; call before anything else.

        Args:
            other_incumbents: incumbents of other images.
            portfolio: tried before them.
        """
        study, settings = self.study, self._settings
        new = not study.get_trials(deepcopy=False)
        self._enqueue_defaults()
        if new:
            # One trial is reserved for the defaults.
            enqueue_portfolio(study, settings.space, portfolio, most=settings.trials - 1)
            enqueue_portfolio(study, settings.space, self._objective.starters(), "starter")
            first = [*other_incumbents, *(() if settings.sampler in _DEFAULTS_AFTER else STARTERS)]
            enqueue_first(study, self._task, settings.space, first, settings.runtime_weight)
        study.sampler = make_sampler(
            settings.sampler,
            self._task,
            settings.space,
            runtime_weight=settings.runtime_weight,
            base_seed=settings.seed,
            key=study.study_name,
            finished=len(finished_trials(study)),
            pareto=settings.pareto,
            constraint=settings.constraint,
        )

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Run trials until the study is done, its time is over, or ``stop`` says so.

        Args:
            stop: called before each trial.

        Returns:
            ``False`` if stopped; otherwise lime's defaults are among the finished trials.
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
        """Run one trial; waiting ones go first.

        If other workers took this trial for dead and failed it, because this machine was asleep,
        its result is lost and it is tried again.
        """
        self._running.clear()
        self._failed_here = False
        if self._settings.constraint is not None:
            # Before the trial, whose answers these are not: trials are compared with the defaults.
            _ = self._task.tasks[""].faithfulness_of_defaults
        fail_stale_trials(self.study)
        try:
            self.study.optimize(self._run_trial, n_trials=1, callbacks=[self._after])
        except KeyboardInterrupt:
            self._give_up()
            raise
        except Exception as error:
            # When another worker has ended the trial, Optuna raises one of several errors. When a
            # trial's end cannot be written, or Ctrl-C comes meanwhile, it fails on its own while
            # it handles that.
            stumbled = isinstance(error, (AssertionError, UnboundLocalError))
            lost = error.__context__ if stumbled else None
            if isinstance(lost, KeyboardInterrupt):
                self._give_up()
            if isinstance(lost, (*UNREACHABLE, KeyboardInterrupt)):
                raise lost  # noqa: B904
            if not self._taken_for_dead():
                raise
            _logger.warning(
                "%s: trial %s was taken for dead and is tried again; was this machine asleep?",
                self.study.study_name, *self._running,
            )  # fmt: skip
            self._running.clear()

    def _give_up(self) -> None:
        """Mark the trial that was interrupted here as failed."""
        for number in self._running:
            self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _taken_for_dead(self) -> bool:
        """Whether another worker has marked the trial that runs here as failed."""
        if self._failed_here or not self._running:
            return False
        trials = self.study.get_trials(deepcopy=False)
        return all(t.state == TrialState.FAIL for t in trials if t.number in self._running)

    def finish(self) -> None:
        """Run lime's defaults if they are missing, even after the budget is spent: a study has no
        result without them."""
        while self._enqueue_defaults(now=True):
            self.one_trial()

    def _enqueue_defaults(self, *, now: bool = False) -> bool:
        """Enqueue lime's defaults when it is their turn, or when their trial was cut off.

        They cost more than any other trial and rarely win, so they do not go first everywhere.

        Args:
            now: enqueue them whether or not it is their turn.

        Returns:
            Whether they are waiting in the queue now.
        """
        settings, trials = self._settings, self.study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.user_attrs.get("origin") == DEFAULTS_ORIGIN:
                if trial.state == TrialState.COMPLETE:
                    return False
                if trial.state == TrialState.WAITING:
                    return True
                if trial.state == TrialState.RUNNING and not now:
                    return False  # in another process; if that is killed, finish() runs them
        after = _DEFAULTS_AFTER.get(settings.sampler, _FRONT_AFTER if settings.pareto else 0)
        if isinstance(self._task, CatalogTask):
            after = settings.trials  # last: they take a thousand samples of every image
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
    """Whether to begin one more trial, while other workers may be running some.

    Two workers that check at the same moment may both begin the last trial, so a study may end with
    one extra trial per worker. The trial of a dead worker is retried even if others have begun
    enough trials since; it may be the best.
    """
    trials = study.get_trials(deepcopy=False)
    waiting = next((t for t in trials if t.state == TrialState.WAITING), None)
    if waiting is not None and RETRIES in waiting.system_attrs and settings.answers is None:
        return True
    taken = sum(t.state in (*_FINISHED, TrialState.RUNNING) for t in trials)
    return (settings.beyond or taken < settings.trials) and not is_done(study, settings)


def is_done(study: optuna.Study, settings: TuningSettings) -> bool:
    """Whether the study has its number of trials, or has spent its predictions.

    With ``settings.beyond`` it goes on after that number until its best no longer improves.
    """
    trials = study.get_trials(deepcopy=False)
    if settings.answers is not None:
        # Failed trials count here, too: their predictions were computed.
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
