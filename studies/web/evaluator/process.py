"""Start, watch and kill the processes that evaluate submissions."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from explainers.errors import LimeTunerError
from studies.web.evaluator.task import Limits

__all__ = ["EvaluationRefused", "EvaluatorDied", "EvaluatorProcess", "Result"]

Result = dict[str, dict[str, Any]]
"""By image key: ``iou``, ``time`` in seconds, ``label``."""
_LOOK_SECONDS = 0.05
_READY_SECONDS = 180.0
_LINES_KEPT = 20
# Environment variables that the process gets. No other, as they may hold tokens and passwords.
_INHERITED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH", "TORCH_HOME",
    "LIME_TUNER_CACHE", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
_ROOT = Path(__file__).resolve().parents[3]


class EvaluationRefused(LimeTunerError):
    """There is no result because of the submission itself."""

    exit_status = 2


class EvaluatorDied(LimeTunerError):
    """The process could not be started, or ended for a reason other than the submission."""


class EvaluatorProcess:
    """Owns one process at a time; each process evaluates only one submission.

    Not thread-safe: a thread of :class:`studies.web.grading.evaluations.Evaluations` owns it. Only
    :meth:`kill` may be called from another thread.

    Args:
        task: folder that :func:`studies.web.evaluator.write_task` has written.
    """

    def __init__(self, task: Path) -> None:
        self._task = task
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=_LINES_KEPT)
        self._ready = False

    def start(self) -> int:
        """Start a process, unless one is ready, and wait until it is ready for a submission.

        Returns:
            The process id.

        Raises:
            EvaluatorDied: it cannot be started; the message says why.
        """
        if self._ready and self._process is not None and self._process.poll() is None:
            return self._process.pid
        self.kill()
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["TQDM_DISABLE"] = "1"
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")])
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "studies.web.evaluator", str(self._task)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, text=True, start_new_session=True,
        )  # fmt: skip
        self._answers, self._errors = queue.Queue(), deque(maxlen=_LINES_KEPT)
        for follow, stream, into in (
            (_pass_on, self._process.stdout, self._answers),
            (_remember, self._process.stderr, self._errors),
        ):
            threading.Thread(target=follow, args=(stream, into), daemon=True).start()
        try:
            line = self._answers.get(timeout=_READY_SECONDS)
        except queue.Empty:
            line = None
        if line is None or not json.loads(line).get("ready"):
            self.kill()
            raise EvaluatorDied(f"the evaluating process did not start: {self._last_words()}")
        self._ready = True
        return self._process.pid

    def evaluate(self, parameters: Mapping[str, Mapping[str, Any]], limits: Limits) -> Result:
        """Return the result of :func:`studies.web.evaluator.evaluation.evaluate`.

        The process is ended afterwards, and killed when it exceeds a limit.

        Raises:
            EvaluationRefused: cut-off, memory, too many superpixels, or lime failed.
            EvaluatorDied: the process ended for another reason.
        """
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._ready = False
        job = {
            "parameters": parameters, "superpixels": limits.superpixels,
            "memory_mb": limits.memory_mb,
        }  # fmt: skip
        deadline = time.monotonic() + limits.cutoff
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            return self._result(self._process, deadline, limits)
        except BrokenPipeError as error:
            raise EvaluatorDied(f"the evaluating process is gone: {self._last_words()}") from error
        finally:
            self.kill()

    def _result(self, process: subprocess.Popen[str], deadline: float, limits: Limits) -> Result:
        line = self._line_within(process.pid, deadline, limits)
        if line is None:
            status = process.wait()
            if status < 0:  # the kernel's out-of-memory killer, or a crash at the memory limit
                raise EvaluationRefused(
                    f"the evaluating process ended with signal {-status}: ask for less memory"
                )
            raise EvaluatorDied(
                f"the evaluating process ended with status {status}: {self._last_words()}"
            )
        document = json.loads(line)
        if document.get("memory"):
            raise _needs_memory(limits)
        if "images" not in document:
            raise EvaluationRefused(str(document.get("refused", "no reason given")))
        images: Result = document["images"]
        return images

    def _line_within(self, pid: int, deadline: float, limits: Limits) -> str | None:
        """Return the process's answer; ``None`` when it ended without one.

        Raises:
            EvaluationRefused: it takes too long, or too much memory.
        """
        while True:
            try:
                return self._answers.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise EvaluationRefused(
                        f"the evaluation took longer than the cut-off of {limits.cutoff:g} s and "
                        "was stopped: use fewer samples or fewer superpixels"
                    ) from None
            if _megabytes(pid) > limits.memory_mb:
                raise _needs_memory(limits)

    def kill(self) -> None:
        """End the process at once, if there is one."""
        process, self._ready = self._process, False
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]

    def _last_words(self) -> str:
        return self._errors[-1][:200] if self._errors else "it said nothing"


def _needs_memory(limits: Limits) -> EvaluationRefused:
    return EvaluationRefused(
        f"the evaluation needs more than {limits.memory_mb} MB and was stopped: use a smaller "
        "batch_size, fewer samples or fewer superpixels"
    )


def _megabytes(pid: int) -> float:
    """Return the resident memory of a process; 0 if it has ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


def _pass_on(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _remember(stream: IO[str], lines: deque[str]) -> None:
    with stream:
        lines.extend(line.strip() for line in stream if line.strip())
