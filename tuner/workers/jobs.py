"""Studies run to their end, by this process or by several."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial

from studies.queries import overview
from studies.storage import grace_seconds, heartbeat_seconds, open_storage
from tuner.log_file import join_log
from tuner.problem.spec import Machine, StudySpec
from tuner.study.opening import OpenedStudy, opened_study
from tuner.workers.pool import WorkerPool
from tuner.workers.worker import Worker

__all__ = ["create", "run_studies", "run_studies_until", "run_to_end", "settle"]

_NO_TIME = 1e-9  # seconds
_logger = logging.getLogger(__name__)


def create(machine: Machine, spec: StudySpec) -> None:
    """Create a study; nothing is run."""
    with opened_study(spec, machine):
        pass


def run_to_end(machine: Machine, spec: StudySpec, stop: Callable[[], bool] = lambda: False) -> bool:
    """Run a study to its trials, or until its time or answers are spent; what it finds is stored.

    Lime's defaults are always one of the trials, and run even where nothing else fits the time.

    Args:
        stop: asked between trials.

    Returns:
        Whether it came to its end.
    """
    with opened_study(spec, machine) as (study, task):
        opened = OpenedStudy.of(spec, study, task, machine)
        ended = opened.runner.run(stop)
        opened.notes.write()
    return ended


def run_studies(specs: Sequence[StudySpec], machine: Machine, pool: WorkerPool) -> None:
    """Run studies, each to its end.

    All are created first, so that workers elsewhere can begin with any.
    """
    # The same processes do both, and keep the classifier that they have loaded.
    pool.run(partial(create, machine), specs)
    pool.run(partial(run_to_end, machine), specs)


def run_studies_until(
    specs: Sequence[StudySpec], machine: Machine, pool: WorkerPool, until: datetime
) -> None:
    """Run trials of all studies until that time, or until none of them is worth another.

    Every study gets its share, in turns; then they go on where it pays off, if their plan says so.
    Several workers may run trials of one study at the same time.

    Args:
        until: by this machine's clock, without a time zone. A machine that slept through it ends
            when it wakes up.
    """
    pool.run(partial(create, machine), specs)
    names = frozenset(spec.name for spec in specs)
    pool.run(partial(_work_until, machine, names), [until] * pool.workers)
    # There is no result without lime's defaults; a short run may end before it is their turn.
    compared = {row.study for row in overview(machine.storage, None) if row.default_iou is not None}
    late = [
        replace(spec, settings=replace(spec.settings, until=None, timeout=_NO_TIME))
        for spec in specs
        if spec.name not in compared
    ]
    pool.run(partial(run_to_end, machine), late)


def _work_until(machine: Machine, studies: frozenset[str], until: datetime) -> int:
    join_log(machine.log)
    # Catalogue and classifier are what the studies say.
    return Worker(
        machine=machine,
        only=studies,
        stop=lambda: datetime.now() >= until,
        idle_exit=0.0,
        on_message=_logger.warning,
    ).run()


def settle(url: str, studies: Collection[str]) -> None:
    """Wait until trials of workers that were lost are known to be dead, and fail them."""
    deadline = time.monotonic() + grace_seconds() + 2 * heartbeat_seconds()
    with closing(open_storage(url)) as storage:
        while time.monotonic() < deadline:
            rows = [row for row in overview(url, None) if row.study in studies]
            running = [row.study for row in rows if row.trials.get("RUNNING")]
            if not running:
                return
            for study in running:
                storage.fail_stale_trials(study)
            time.sleep(1)
