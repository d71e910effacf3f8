"""The queue in front of the slots: bounded, first come first served, one a team at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from explainers.errors import LimeTunerError
from studies.web.evaluator import EvaluatorDied
from studies.web.grading.limits import Limits

__all__ = ["Evaluations", "QueueFull", "SlotLike", "StillWaiting", "Submission"]

_RESTART_SECONDS = 5.0
_STOPPING = "the server is being stopped"
_logger = logging.getLogger(__name__)

Result = dict[str, dict[str, Any]]


class QueueFull(LimeTunerError):
    """There are as many submissions waiting as may wait."""


class StillWaiting(LimeTunerError):
    """The team has a submission that is not answered yet."""


class SlotLike(Protocol):
    """What the queue needs of a :class:`studies.web.evaluator.process.Slot`."""

    def start(self) -> None:
        """Get ready."""

    def evaluate(
        self, parameters: Mapping[str, Mapping[str, Any]], limits: Limits
    ) -> dict[str, dict[str, Any]]:
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
    """Threads, one a slot, that take submissions from the queue.

    Args:
        keep: called with a submission and its result before anybody is answered, so that what was
            answered is never lost.
    """

    def __init__(
        self,
        slots: list[SlotLike],
        limits: Limits,
        capacity: int,
        keep: Callable[[Submission, Result], None],
    ) -> None:
        self._slots, self._limits, self._capacity, self._keep = slots, limits, capacity, keep
        self._waiting: deque[Submission] = deque()
        self._teams: set[str] = set()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), daemon=True) for slot in slots
        ]

    def start(self) -> None:
        """Get the slots ready, and begin.

        Raises:
            EvaluatorDied: a slot cannot be made ready.
        """
        for slot in self._slots:
            slot.start()
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
        for slot in self._slots:
            slot.kill()
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

    def _work(self, slot: SlotLike) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopped.is_set():
                    self._changed.wait()
                if self._stopped.is_set():
                    return
                submission = self._waiting.popleft()
            self._evaluate(slot, submission)
            self._get_ready(slot)

    def _evaluate(self, slot: SlotLike, submission: Submission) -> None:
        result: Result | None = None
        failure: Exception | None = None
        try:
            # From here on nobody who goes away can cancel it: what is begun is graded.
            if not submission.answer.set_running_or_notify_cancel():
                return
            result = slot.evaluate(submission.parameters, self._limits)
            self._keep(submission, result)
        except Exception as error:  # noqa: BLE001 - answered, and the next submission goes on
            failure = EvaluatorDied(_STOPPING) if self._stopped.is_set() else error
        finally:
            with self._changed:
                self._teams.discard(submission.team)
        if failure is not None:
            submission.answer.set_exception(failure)
        elif result is not None:
            submission.answer.set_result(result)

    def _get_ready(self, slot: SlotLike) -> None:
        """So that the next submission need not wait for imports."""
        if self._stopped.is_set():
            return
        try:
            slot.start()
        except EvaluatorDied as error:
            if self._stopped.is_set():
                return
            _logger.error("a slot cannot be made ready: %s", error)
            with self._changed:
                self._changed.wait(_RESTART_SECONDS)
