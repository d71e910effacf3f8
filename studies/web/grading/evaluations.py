"""The queue in front of the evaluators: bounded, first come first served, one a team at a time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from explainers.errors import LimeTunerError
from studies.web.evaluator import EvaluatorDied, Limits, Result

__all__ = ["Evaluations", "Evaluator", "QueueFull", "RateLimit", "StillWaiting", "Submission"]

_HOUR = 3600.0
_RESTART_SECONDS = 5.0
_STOPPING = "the server is being stopped"
_logger = logging.getLogger(__name__)


class QueueFull(LimeTunerError):
    """There are as many submissions waiting as may wait."""


class StillWaiting(LimeTunerError):
    """The team has a submission that is not answered yet."""


class RateLimit:
    """So many submissions an hour for each team: a sliding window, in memory."""

    def __init__(self, per_hour: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_hour, self._now = per_hour, now
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def seconds_to_wait(self, team: str) -> int:
        """0, and the submission counts; or the seconds after which the next one is taken."""
        with self._lock:
            now, times = self._now(), self._times[team]
            while times and times[0] <= now - _HOUR:
                times.popleft()
            if len(times) >= self._per_hour:
                return max(1, math.ceil(times[0] + _HOUR - now))
            times.append(now)
            return 0


class Evaluator(Protocol):
    """What the queue needs of a :class:`studies.web.evaluator.EvaluatorProcess`."""

    def start(self) -> object:
        """Get ready."""

    def evaluate(self, parameters: Mapping[str, Mapping[str, Any]], limits: Limits) -> Result:
        """Result by image."""

    def kill(self) -> None:
        """Give up at once."""


@dataclass(frozen=True, eq=False)
class Submission:
    """What one team wants evaluated.

    Attributes:
        parameters: plain, as ``checked_submission`` gives them.
        upload_sha256: of the file as it came.
    """

    team: str
    parameters: Mapping[str, Mapping[str, Any]]
    upload_sha256: str
    answer: Future[Result] = field(default_factory=Future)


class Evaluations:
    """Threads, one an evaluator, that take submissions from the queue.

    Args:
        keep: called with a submission and its result before anybody is answered, so that what was
            answered is never lost.
    """

    def __init__(
        self,
        evaluators: list[Evaluator],
        limits: Limits,
        capacity: int,
        keep: Callable[[Submission, Result], None],
    ) -> None:
        self._evaluators, self._limits = evaluators, limits
        self._capacity, self._keep = capacity, keep
        self._waiting: deque[Submission] = deque()
        self._teams: set[str] = set()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(each,), daemon=True) for each in evaluators
        ]

    def start(self) -> None:
        """Get the evaluators ready, and begin.

        Raises:
            EvaluatorDied: one cannot be made ready.
        """
        for evaluator in self._evaluators:
            evaluator.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Give up what runs and what waits."""
        with self._changed:
            self._stopped.set()
            for submission in self._waiting:
                if submission.answer.set_running_or_notify_cancel():
                    submission.answer.set_exception(EvaluatorDied(_STOPPING))
            self._waiting.clear()
            self._changed.notify_all()
        for evaluator in self._evaluators:
            evaluator.kill()
        for thread in self._threads:
            thread.join(timeout=_RESTART_SECONDS)

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return len(self._waiting)

    def add(self, submission: Submission) -> Future[Result]:
        """Put a submission into the queue.

        Raises:
            QueueFull, StillWaiting: it is not taken.
        """
        with self._changed:
            if self._stopped.is_set():
                raise EvaluatorDied(_STOPPING)
            if submission.team in self._teams:
                raise StillWaiting(
                    f"team {submission.team} has a submission that is not answered yet: wait for it"
                )
            if len(self._waiting) >= self._capacity:
                raise QueueFull(f"{len(self._waiting)} submissions are waiting: come back later")
            self._teams.add(submission.team)
            self._waiting.append(submission)
            self._changed.notify()
        return submission.answer

    def _work(self, evaluator: Evaluator) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped.is_set())
                if self._stopped.is_set():
                    return
                submission = self._waiting.popleft()
            self._evaluate(evaluator, submission)
            try:
                if not self._stopped.is_set():
                    evaluator.start()  # so that the next submission need not wait for imports
            except EvaluatorDied as error:
                _logger.error("an evaluator cannot be made ready: %s", error)
                self._stopped.wait(_RESTART_SECONDS)

    def _evaluate(self, evaluator: Evaluator, submission: Submission) -> None:
        result: Result = {}
        failure: Exception | None = None
        # From here on nobody who goes away can cancel it: what is begun is graded.
        begun = submission.answer.set_running_or_notify_cancel()
        try:
            if begun:
                result = evaluator.evaluate(submission.parameters, self._limits)
                self._keep(submission, result)
        except Exception as error:  # noqa: BLE001 - answered, and the next submission goes on
            failure = EvaluatorDied(_STOPPING) if self._stopped.is_set() else error
        with self._changed:
            self._teams.discard(submission.team)
        if failure is not None:
            submission.answer.set_exception(failure)
        elif begun:
            submission.answer.set_result(result)
