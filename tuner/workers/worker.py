"""A worker: runs trials of whatever studies of a storage need them most, until it is stopped.

Any number of workers, on any number of machines, share nothing but the database. Optuna's storage
is the coordination: a trial belongs to who created it, a heartbeat says that it is alive, and the
trial of a worker that died is tried again by another.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from explainers.errors import InvalidInput
from explainers.lime import PredictionCache
from studies.full_disk import is_full, no_space
from studies.queries import overview, study_attributes
from studies.storage import describe, open_storage, sqlite_path
from studies.storage.reconnecting import UNREACHABLE, ReconnectingStorage, until_reachable
from tuner.problem.settings import TuningSettings
from tuner.problem.spec import Machine, StudySpec, stored_settings
from tuner.study import has_room, is_done
from tuner.study.loading import open_cache, prepare_process
from tuner.study.opening import Mismatch, OpenedStudy, join_study
from tuner.workers.needs import neediest, needs

__all__ = ["Mismatch", "Worker"]

_SLICE_TRIALS, _SLICE_SECONDS = 5, 30.0
_IDLE_PAUSE = 2.0
_KEPT_TASKS = 12  # studies that a worker keeps in memory; beginning with one again takes seconds
_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """Runs trials.

    Attributes:
        prefix: only studies ``PREFIX/...``. only: of these, those of that name, if given.
        stop: asked between trials.
        idle_exit: seconds without work after which it ends; ``None`` waits for ever.
        told: called with one line when something happens that a person wants to know.
        refused: why this machine may not work on a study, by its name.
    """

    machine: Machine
    prefix: str | None = None
    only: frozenset[str] | None = None
    stop: Callable[[], bool] = lambda: False
    idle_exit: float | None = None
    told: Callable[[str], None] = lambda line: None
    pause: Callable[[float], object] = time.sleep
    refused: dict[str, str] = field(default_factory=dict)
    trials: int = 0
    _prepared: OrderedDict[str, tuple[OpenedStudy, PredictionCache]] = field(
        default_factory=OrderedDict
    )
    _done: dict[str, TuningSettings] = field(default_factory=dict)
    _opened: ReconnectingStorage | None = None

    def run(self) -> int:
        """Work until stopped, or idle for too long; how many trials were run.

        Raises:
            Mismatch: there is work, and this machine may do none of it.
        """
        idle_since = time.monotonic()
        while not self.stop():
            try:
                found = until_reachable(
                    self._next, stop=self.stop, on_message=self.told, pause=self.pause
                )
            except UNREACHABLE:  # only when it is to stop
                break
            if found is None:
                if self.idle_exit is not None and time.monotonic() - idle_since > self.idle_exit:
                    break
                self.pause(_IDLE_PAUSE)
                continue
            spec, plan = found
            try:
                self.trials += self._slice(spec, plan)
            except Mismatch as error:
                self._refuse(spec.name, error)
            except UNREACHABLE as error:
                url = self.machine.storage
                if is_full(error, sqlite_path(url)):
                    raise no_space(describe(url)) from error
                # The trial is left to its heartbeat; what was kept is not predicted again.
                _logger.warning("%s: a trial was given up (%s)", spec.name, type(error).__name__)
                self._prepared.clear()
            idle_since = time.monotonic()
        while self._prepared:
            self._forget_oldest()
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        return self.trials

    def _storage(self) -> ReconnectingStorage:
        """One for all studies, as a server has a hundred connections or so for everybody."""
        if self._opened is None:
            self._opened = open_storage(self.machine.storage)
        return self._opened

    def _refuse(self, name: str, error: InvalidInput) -> None:
        if name not in self.refused:
            self.refused[name] = str(error)
            self.told(f"{name}: {error}")

    def _next(self) -> tuple[StudySpec, TuningSettings] | None:
        """The study that needs a trial most, and the settings in its plan."""
        url = self.machine.storage
        rows = [
            row for row in overview(url, self.prefix) if self.only is None or row.study in self.only
        ]
        attributes = study_attributes(url, [row.study for row in rows])
        plans = self._plans(attributes)
        # A study may be done before it has its trials, when its answers are spent.
        done = {name for name, plan in self._done.items() if plans.get(name) == plan}
        wanted = [need for need in needs(rows, plans) if need.lost or need.study not in done]
        while (name := neediest(wanted, self.refused)) is not None:
            try:
                spec = StudySpec.from_attributes(name, attributes[name])
            except InvalidInput as error:
                self._refuse(name, error)
                continue
            assert spec is not None  # it has a plan
            return spec, plans[name]
        # While trials are begun the runner does it.
        for row in rows:
            if row.trials.get("RUNNING"):
                self._storage().fail_stale_trials(row.study)
        if wanted:
            raise Mismatch(
                f"{len(wanted)} studies need work, and this machine may do none of it; the first: "
                f"{self.refused[wanted[0].study]}"
            )
        return None

    def _plans(self, attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, TuningSettings]:
        """The settings of studies, by name; a damaged plan is refused, the others go on."""
        plans = {}
        for name, found in attributes.items():
            try:
                plan = stored_settings(found)
            except InvalidInput as error:
                self._refuse(name, error)
                continue
            if plan is not None:
                plans[name] = plan
        return plans

    def _slice(self, spec: StudySpec, plan: TuningSettings) -> int:
        """Some trials of a study; how many."""
        opened = self._join(spec)
        runner, settings = opened.runner, spec.settings
        count, until = 0, time.monotonic() + _SLICE_SECONDS
        while (
            count < _SLICE_TRIALS
            and time.monotonic() < until
            and not self.stop()
            and has_room(runner.study, settings)
        ):
            runner.one_trial()
            count += 1
        if is_done(runner.study, settings):
            opened.notes.write()
            self._done[spec.name] = plan
        return count

    def _join(self, spec: StudySpec) -> OpenedStudy:
        """The study, ready to be run; kept for the next time.

        Raises:
            Mismatch: this machine has not what it was made from.
        """
        opened, cache = self._prepared.pop(spec.name, (None, None))
        if opened is None or cache is None or opened.stored != spec:
            if cache is not None:
                cache.close()
            prepare_process(self.machine)
            cache = open_cache(self.machine)
            try:
                opened = join_study(spec, self.machine, self._storage(), cache)
            except BaseException:
                cache.close()
                raise
        self._prepared[spec.name] = opened, cache
        while len(self._prepared) > _KEPT_TASKS:
            self._forget_oldest()
        return opened

    def _forget_oldest(self) -> None:
        self._prepared.popitem(last=False)[1][1].close()
