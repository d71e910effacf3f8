"""The bounded queue of submissions: first come, first served, and one of each team at a time."""

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
    """The largest allowed number of submissions is waiting."""


class StillWaiting(LimeTunerError):
    """The team already has a submission that is not answered yet."""


class RateLimit:
    """Limits the submissions of each team in any hour; kept in memory only."""

    def __init__(self, per_hour: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_hour, self._now = per_hour, now
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def seconds_to_wait(self, team: str) -> int:
        """Count a submission and return 0, or return the seconds until the next one is allowed."""
        with self._lock:
            now, times = self._now(), self._times[team]
            while times and times[0] <= now - _HOUR:
                times.popleft()
            if len(times) >= self._per_hour:
                return max(1, math.ceil(times[0] + _HOUR - now))
            times.append(now)
            return 0


class Evaluator(Protocol):
    """The methods of :class:`studies.web.evaluator.EvaluatorProcess` that the queue calls."""

    def start(self) -> object: ...

    def evaluate(self, parameters: Mapping[str, Mapping[str, Any]], limits: Limits) -> Result: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Submission:
    """A team's submission.

    Attributes:
        parameters: plain, a result of ``checked_submission``.
        upload_sha256: of the uploaded file.
    """

    team: str
    parameters: Mapping[str, Mapping[str, Any]]
    upload_sha256: str
    answer: Future[Result] = field(default_factory=Future)


class Evaluations:
    """The queue, and one thread for each evaluator that takes submissions from it.

    Args:
        keep: called with a submission and its result before the team is answered, so that an
            answered result is never lost.
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
        """Start the evaluators and the threads.

        Raises:
            EvaluatorDied: an evaluator cannot be started.
        """
        for evaluator in self._evaluators:
            evaluator.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Abort running and waiting submissions, and end the threads."""
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
        """Number of submissions in the queue."""
        return len(self._waiting)

    def add(self, submission: Submission) -> Future[Result]:
        """Put a submission into the queue.

        Raises:
            QueueFull, StillWaiting: it is not accepted.
            EvaluatorDied: the server is being stopped.
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
        # From here on a client that disconnects does not cancel its submission.
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
