"""The queue: bounded, one a team, recorded before answered, and it outlives failures."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from studies.web.evaluator import EvaluationRefused, EvaluatorDied, Limits
from studies.web.grading.evaluations import Evaluations, QueueFull, StillWaiting, Submission
from tests.studies.web.grading.tasks import FakeEvaluator, good


class _Kept(list[str]):
    """Whose results were recorded; may refuse."""

    failing = False

    def __call__(self, submission: Submission, result: dict[str, Any]) -> None:
        if self.failing:
            raise OSError("disk full")
        assert not submission.answer.done()
        self.append(submission.team)


def _submission(team: str, samples: int = 20) -> Submission:
    return Submission(team, good(num_samples=samples), "0" * 64)


def _queue(slots: int = 1, capacity: int = 2) -> tuple[Evaluations, list[FakeEvaluator], _Kept]:
    made, kept = [FakeEvaluator() for _ in range(slots)], _Kept()
    return Evaluations(list(made), Limits(), capacity, kept), made, kept


def _seconds(future: Future[Any]) -> Any:
    return future.result(timeout=10)


def test_in_order_and_recorded_before_answered() -> None:
    queue, (slot,), kept = _queue(capacity=3)
    slot.gate.clear()
    queue.start()
    answers = [queue.add(_submission("a", 100))]
    assert slot.busy.wait(5)
    answers += [queue.add(_submission(team, 200)) for team in "bcd"]
    with pytest.raises(QueueFull):
        queue.add(_submission("e"))
    with pytest.raises(StillWaiting):
        queue.add(_submission("a"))
    with pytest.raises(StillWaiting):
        queue.add(_submission("d"))
    slot.gate.set()
    results = [_seconds(answer) for answer in answers]
    assert kept == ["a", "b", "c", "d"]
    assert [next(iter(r.values()))["iou"] for r in results] == [0.01, 0.02, 0.02, 0.02]
    assert _seconds(queue.add(_submission("a")))  # its turn is over, so it may come again
    queue.stop()


def test_a_failure_is_answered_and_the_next_one_works() -> None:
    queue, (slot,), kept = _queue()
    queue.start()
    for failure in (EvaluationRefused("too slow"), EvaluatorDied("gone"), ValueError("a bug")):
        slot.failure = failure
        with pytest.raises(type(failure)):
            _seconds(queue.add(_submission("a")))
    slot.failure = None
    kept.failing = True
    with pytest.raises(OSError, match="disk full"):  # not stored, so not answered
        _seconds(queue.add(_submission("a")))
    kept.failing = False
    assert _seconds(queue.add(_submission("a")))
    assert kept == ["a"]
    queue.stop()
    assert slot.started >= 5  # made ready before the first, and again after every one


def test_two_slots_work_at_the_same_time() -> None:
    queue, slots, _ = _queue(slots=2)
    for slot in slots:
        slot.gate.clear()
    queue.start()
    answers = [queue.add(_submission(team)) for team in "ab"]
    assert all(slot.busy.wait(5) for slot in slots)
    for slot in slots:
        slot.gate.set()
    assert all(_seconds(answer) for answer in answers)
    queue.stop()


def test_stopping_leaves_nobody_waiting() -> None:
    queue, (slot,), _ = _queue()
    slot.gate.clear()
    queue.start()
    running = queue.add(_submission("a"))
    assert slot.busy.wait(5)
    waiting = queue.add(_submission("b"))
    queue.stop()
    assert slot.killed
    assert running.done()
    with pytest.raises(EvaluatorDied):
        _seconds(waiting)
    with pytest.raises(EvaluatorDied):
        queue.add(_submission("c"))
