"""A worker: runs trials of whatever studies of a storage need them most, until it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from studies.queries import overview
from studies.storage.reconnecting import UNREACHABLE, until_reachable
from tuner.problem.spec import Machine
from tuner.study.opening import Mismatch
from tuner.workers.needs import neediest
from tuner.workers.shared import SharedStudies

__all__ = ["Mismatch", "Worker"]

_SLICE_TRIALS, _SLICE_SECONDS = 5, 30.0
_IDLE_PAUSE = 2.0


@dataclass(eq=False)
class Worker:
    """Runs trials.

    Attributes:
        prefix: only studies ``PREFIX/...``. only: of these, those of that name, if given.
        stop: asked between trials.
        idle_exit: seconds without work after which it ends; ``None`` waits for ever.
        on_message: called with one line when something happens that a person wants to know.
        refused: why this machine may not work on a study, by its name.
    """

    machine: Machine
    prefix: str | None = None
    only: frozenset[str] | None = None
    stop: Callable[[], bool] = lambda: False
    idle_exit: float | None = None
    on_message: Callable[[str], None] = lambda line: None
    pause: Callable[[float], object] = time.sleep
    refused: dict[str, str] = field(default_factory=dict)
    trials: int = 0

    def run(self) -> int:
        """Work until stopped, or idle for too long; how many trials were run.

        Raises:
            Mismatch: there is work, and this machine may do none of it.
            StorageError: the storage's disk is full.
        """
        studies = SharedStudies(self.machine, self.on_message)
        self.refused = studies.refused
        idle_since = time.monotonic()
        while not self.stop():
            try:
                name = until_reachable(
                    lambda: self._next(studies),
                    stop=self.stop, on_message=self.on_message, pause=self.pause,
                )  # fmt: skip
            except UNREACHABLE:  # only when it is to stop
                break
            if name is None:
                if self.idle_exit is not None and time.monotonic() - idle_since > self.idle_exit:
                    break
                self.pause(_IDLE_PAUSE)
                continue
            self.trials += studies.run(
                name, most=_SLICE_TRIALS, seconds=_SLICE_SECONDS, stop=self.stop
            )
            idle_since = time.monotonic()
        studies.close()
        return self.trials

    def _next(self, studies: SharedStudies) -> str | None:
        """The study that needs a trial most."""
        rows = overview(self.machine.storage, self.prefix, only=self.only)
        wanted = studies.needs(rows)
        name = neediest(wanted, studies.refused)
        if name is None:
            studies.fail_stale_trials(rows)
            if wanted:
                raise Mismatch(
                    f"{len(wanted)} studies need work, and this machine may do none of it; the "
                    f"first: {studies.refused[wanted[0].study]}"
                )
        return name
