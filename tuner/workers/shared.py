"""Studies of one storage whose trials are run here, and perhaps elsewhere at the same time.

Any number of workers, on any number of machines, share nothing but the database. Optuna's storage
is the coordination: a trial belongs to who created it, a heartbeat says that it is alive, and the
trial of a worker that died is tried again by another.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from explainers.errors import InvalidInput
from explainers.lime import PredictionCache
from studies.full_disk import is_full, no_space
from studies.queries import StudyOverview, study_attributes
from studies.storage import describe, open_storage, sqlite_path
from studies.storage.reconnecting import UNREACHABLE, ReconnectingStorage
from tuner.problem.settings import TuningSettings
from tuner.problem.spec import Machine, StudySpec, stored_settings
from tuner.study import has_room, is_done
from tuner.study.loading import open_cache, prepare_process
from tuner.study.opening import Mismatch, OpenedStudy, join_study
from tuner.workers.needs import Need, needs

__all__ = ["SharedStudies"]

_KEPT_TASKS = 12  # studies that a worker keeps in memory; beginning with one again takes seconds
_logger = logging.getLogger(__name__)


class SharedStudies:
    """Runs trials of a storage's studies.

    Args:
        on_message: called with one line when something happens that a person wants to know.

    Attributes:
        refused: why this machine may not work on a study, by its name.
    """

    def __init__(self, machine: Machine, on_message: Callable[[str], None]) -> None:
        self.machine, self._on_message = machine, on_message
        self.refused: dict[str, str] = {}
        self._kept: OrderedDict[str, tuple[OpenedStudy, PredictionCache]] = OrderedDict()
        self._done: dict[str, TuningSettings] = {}
        self._storage: ReconnectingStorage | None = None

    @property
    def storage(self) -> ReconnectingStorage:
        """One for all studies, as a server has a hundred connections or so for everybody."""
        if self._storage is None:
            self._storage = open_storage(self.machine.storage)
        return self._storage

    @property
    def known(self) -> frozenset[str]:
        """Names of the studies of which something is kept in memory."""
        return frozenset({*self._kept, *self._done, *self.refused})

    def close(self) -> None:
        """Close the storage and what is kept of studies."""
        self._close_kept()
        if self._storage is not None:
            self._storage.close()
            self._storage = None

    def give_up(self) -> None:
        """After trouble: let the trial that was running be found dead, and join studies again."""
        self._close_kept()
        if self._storage is not None:
            with contextlib.suppress(*UNREACHABLE):
                self._storage.close()  # ends its heartbeats; it connects again when it is used

    def forget(self, name: str) -> None:
        """Let go of everything about a study; another one may get its name, or its id."""
        if name in self.known:
            self._close_kept(name)
            self._done.pop(name, None)
            self.refused.pop(name, None)
            if self._storage is not None:
                self._storage.forget_trials()

    def _close_kept(self, name: str | None = None) -> None:
        for each in [name] if name is not None else list(self._kept):
            if each in self._kept:
                self._kept.pop(each)[1].close()

    def needs(self, rows: Sequence[StudyOverview]) -> list[Need]:
        """Which of some studies have room for a trial, the neediest first; refused ones, too."""
        names = [row.study for row in rows]
        plans = self._plans(study_attributes(self.machine.storage, names))
        # A study may be done before it has its trials, when its answers are spent.
        done = {name for name, plan in self._done.items() if plans.get(name) == plan}
        return [need for need in needs(rows, plans) if need.lost or need.study not in done]

    def _plans(self, attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, TuningSettings]:
        """The settings of studies, by name; a damaged plan is refused, the others go on."""
        plans = {}
        for name, stored in attributes.items():
            try:
                plan = stored_settings(stored)
            except InvalidInput as error:
                self._refuse(name, error)
                continue
            if plan is not None:
                plans[name] = plan
        return plans

    def fail_stale_trials(self, rows: Sequence[StudyOverview]) -> None:
        """Fail what dead workers have left in some studies; before a trial the runner does it."""
        for row in rows:
            if row.trials.get("RUNNING"):
                self.storage.fail_stale_trials(row.study)

    def run(self, name: str, *, most: int, seconds: float, stop: Callable[[], bool]) -> int:
        """Run some trials of a study.

        Args:
            most: trials.
            seconds: after which none is begun.
            stop: asked between trials.

        Returns:
            How many were run; none where the study is refused, or the database went away.

        Raises:
            StorageError: the storage's disk is full.
        """
        count, until = 0, time.monotonic() + seconds
        try:
            opened = self._join(name)
            if opened is None:
                return 0
            study, settings = opened.study, opened.stored.settings
            while (
                count < most
                and time.monotonic() < until
                and not stop()
                and has_room(study, settings)
            ):
                opened.runner.one_trial()
                count += 1
            if is_done(study, settings):
                opened.notes.write()
                self._done[name] = stored_settings(study.user_attrs) or settings
        except UNREACHABLE as error:
            url = self.machine.storage
            if is_full(error, sqlite_path(url)):
                raise no_space(describe(url)) from error
            # The trial is left to its heartbeat; what was kept is not predicted again.
            _logger.warning("%s: a trial was given up (%s)", name, type(error).__name__)
            self.give_up()
            return 0
        return count

    def finish(self, name: str) -> None:
        """Run lime's defaults where a study does not have them yet, and write its note."""
        opened = self._join(name)
        if opened is not None:
            opened.runner.finish()
            opened.notes.write()

    def _join(self, name: str) -> OpenedStudy | None:
        """The study, ready to be run; kept for the next time. ``None`` where it is refused."""
        stored = study_attributes(self.machine.storage, [name]).get(name, {})
        try:
            spec = StudySpec.from_attributes(name, stored)
            if spec is None:
                raise InvalidInput("the study has no plan any more")
        except InvalidInput as error:
            self._refuse(name, error)
            return None
        try:
            return self._opened(spec)
        except Mismatch as error:
            self._refuse(name, error)
            return None

    def _opened(self, spec: StudySpec) -> OpenedStudy:
        opened, cache = self._kept.pop(spec.name, (None, None))
        if opened is None or cache is None or opened.stored != spec:
            if cache is not None:
                cache.close()
            prepare_process(self.machine)
            cache = open_cache(self.machine)
            try:
                opened = join_study(spec, self.machine, self.storage, cache)
            except BaseException:
                cache.close()
                raise
        self._kept[spec.name] = opened, cache
        while len(self._kept) > _KEPT_TASKS:
            self._close_kept(next(iter(self._kept)))
        return opened

    def _refuse(self, name: str, error: InvalidInput) -> None:
        if name not in self.refused:
            self.refused[name] = str(error)
            self._on_message(f"{name}: {error}")
