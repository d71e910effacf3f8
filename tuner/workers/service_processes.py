"""The worker processes of a service: started, watched, started again, and ended."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field

from explainers.errors import InvalidInput, LimeTunerError
from tuner.workers.service import ServicePlan

__all__ = ["ServiceProcesses"]

_LOOK_SECONDS = 0.5
_SHORT_LIFE, _LONGEST_PAUSE = 30.0, 60.0
_GOODBYE_SECONDS = 15.0
_logger = logging.getLogger("lime_tuner.serve")


@dataclass(eq=False)
class _Place:
    """Where one process is, and when the next may be, should it die."""

    process: subprocess.Popen[str] | None = None
    started: float = 0.0
    pause: float = 0.0
    not_before: float = field(default=0.0)


class ServiceProcesses:
    """Keeps so many worker processes alive."""

    def __init__(self, plan: ServicePlan, workers: int) -> None:
        self._plan = plan
        self._places = [_Place() for _ in range(workers)]
        self._over = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def alive(self) -> int:
        """How many there are now."""
        return sum(p.process is not None and p.process.poll() is None for p in self._places)

    def start(self) -> None:
        """Start them all; returns when the first one is ready.

        Raises:
            LimeTunerError: it cannot work; says why.
        """
        if not self._places:
            return
        first = self._places[0]
        self._launch(first)
        assert first.process is not None
        assert first.process.stdout is not None
        line = first.process.stdout.readline()
        try:
            said = json.loads(line)
        except ValueError as error:
            raise LimeTunerError("a worker process did not start: see the lines above") from error
        if "error" in said:
            kind = InvalidInput if said["exit_status"] == 2 else LimeTunerError
            raise kind(said["error"])
        for place in self._places[1:]:
            self._launch(place)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def renew(self) -> None:
        """Let them end after their trials; others follow, with connections of their own."""
        for place in self._places:
            if place.process is not None:
                place.process.terminate()

    def stop(self) -> None:
        """Let them end after their trials; who takes too long is killed, and loses that trial."""
        self._over.set()
        if self._watcher is not None:
            self._watcher.join()
        processes = [p.process for p in self._places if p.process is not None]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _GOODBYE_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _launch(self, place: _Place) -> None:
        # A group of its own: Ctrl-C is for the server, which tells them.
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner.workers.service_main"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        place.process, place.started = process, time.monotonic()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already, which is noticed
            process.stdin.write(json.dumps(asdict(self._plan)) + "\n")
            process.stdin.flush()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            now = time.monotonic()
            for place in self._places:
                process = place.process
                if process is not None and process.poll() is not None:
                    lived = now - place.started
                    place.pause = (
                        0.0 if lived > _SHORT_LIFE else min(_LONGEST_PAUSE, 2 * place.pause + 1)
                    )
                    place.not_before, place.process = now + place.pause, None
                    for stream in (process.stdin, process.stdout):
                        if stream is not None:
                            with contextlib.suppress(OSError):
                                stream.close()
                    _logger.warning(
                        "worker %d ended with status %s; another one follows", process.pid,
                        process.returncode,
                    )  # fmt: skip
                if place.process is None and now >= place.not_before:
                    self._launch(place)
