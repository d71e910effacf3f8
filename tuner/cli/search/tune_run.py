"""Runs ``lime-tuner tune``: checks the request, searches, and sums up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from explainers.errors import InvalidInput
from studies.queries import overview
from studies.storage import absolute_url, check_storage, holds_studies, open_storage, sqlite_path
from tuner.cli.context import Workplace
from tuner.cli.job import Job, logged
from tuner.cli.options import MachineOptions
from tuner.cli.output import errors
from tuner.cli.search.catalog_scope import run_catalog_scope
from tuner.cli.search.study_watcher import StudyWatcher
from tuner.cli.search.tune_specs import SpecRequest, specs_of
from tuner.cli.search.tune_summary import summary_of
from tuner.cli.servers.calibration import known_calibration
from tuner.problem import Aggregate
from tuner.problem.spec import Machine, StudySpec
from tuner.study.cross_validation import folds_of
from tuner.workers.jobs import run_studies, run_studies_until, settle
from tuner.workers.pool import LocalPool, WorkerPool, cluster_pool

__all__ = ["TuneRequest", "run_tuning"]


@dataclass(frozen=True, kw_only=True)
class TuneRequest(SpecRequest):
    """What ``tune`` was asked for.

    Attributes:
        machine: the processes that run trials.
        log: file to log to; ``None`` for no log.
    """

    machine: MachineOptions
    log: Path | None = None

    def check(self, images: int) -> None:
        """Refuse options that cannot be combined.

        Args:
            images: number of images.

        Raises:
            InvalidInput: says what was given, and what to give.
        """
        super().check(images)
        Aggregate.parse(self.settings.aggregate)
        if not self.settings.of_catalog:
            return
        if images < 2:
            raise InvalidInput(
                "--scope catalog needs at least two images: leave it out to tune one image"
            )
        if self.settings.folds:
            folds_of(["" for _ in range(images)], self.settings.folds)
        given = {"--cluster": self.machine.cluster, "--workers above 1": self.machine.workers > 1}
        for name, value in given.items():
            if value:
                raise InvalidInput(
                    f"{name} does not go with --scope catalog, which is one study in one process: "
                    "leave it out"
                )


def run_tuning(workspace: Workplace, request: TuneRequest) -> dict[str, Any]:
    """Check the request, search, and return the document of ``tune --json``."""
    # Everything that can be wrong is checked before the first file is written.
    request.check(len(workspace.catalog.keys))
    check_storage(request.storage, write=True)
    calibration = None
    if request.calibrated is not None:
        calibration = known_calibration(request.storage, request.calibrated)
    if request.settings.of_catalog:
        machine = _machine(workspace, request, request.machine.workers)
        specs, machine = specs_of(workspace, request, machine, calibration)
        return run_catalog_scope(request.study, specs, machine)
    with _pool(workspace, request) as pool:
        machine = _machine(workspace, request, pool.workers)
        specs, machine = specs_of(workspace, request, machine, calibration)
        names = _run(request, specs, machine, pool)
    return summary_of(request.storage, request.study, names)


def _machine(workspace: Workplace, request: TuneRequest, workers: int) -> Machine:
    """The machine settings of each worker."""
    asked, spec = request.machine, workspace.classifier.spec
    assert spec is not None
    # On a cluster, assume one core for each worker.
    shared = 1 if asked.cluster else max(1, (os.cpu_count() or 1) // workers)
    alone = workers == 1 and not asked.cluster
    return Machine(
        storage=absolute_url(request.storage) if asked.cluster else request.storage,
        assets=workspace.assets,
        device=spec.get("device"),
        engine=asked.engine,
        threads=asked.threads or (torch.get_num_threads() if alone else shared),
        log=None if asked.cluster else request.log,
    )


@contextmanager
def _pool(workspace: Workplace, request: TuneRequest) -> Iterator[WorkerPool]:
    """The worker pool; local processes load the classifier while this process prepares."""
    asked = request.machine
    if asked.cluster is None:
        most = asked.workers
        if request.settings.until is None:
            most = min(most, len(workspace.catalog.keys))
        pool = LocalPool(most)
        assert workspace.classifier.spec is not None
        pool.begin(workspace.classifier.spec)
        yield pool
    else:
        one_host = sqlite_path(request.storage) is not None
        with cluster_pool(asked.cluster, one_host=one_host) as cluster:
            yield cluster


def _run(
    request: TuneRequest, specs: list[StudySpec], machine: Machine, pool: WorkerPool
) -> list[str]:
    """Search, and return the keys of the images to show."""
    settings, url = request.settings, request.storage
    names = [spec.key for spec in specs]
    studies = [spec.name for spec in specs]
    before = _finished(url, request.study, studies)
    open_storage(url).close()  # creates the tables before the workers start
    todo = [s for s in specs if settings.beyond or before.get(s.name, 0) < settings.trials]
    already = sum(before.values())
    if already:
        errors.print(
            f"resuming {request.study}: {already} finished trials are there; --trials "
            f"{settings.trials} is the total per image"
        )
    watcher = StudyWatcher(url, dict(zip(studies, names, strict=True)), settings.trials, before)
    job = Job("tune", url, request.study)
    with logged(job, request.log, {**request.logged_values(), "images": names}), watcher:
        if settings.until is None:
            run_studies(todo, machine, pool)
        elif todo:
            run_studies_until(todo, machine, pool, settings.until)
            if datetime.now() < settings.until:
                done = "brings" if settings.beyond else "is left to do that brings"
                errors.print(
                    f"over before {settings.until:%H:%M}: no further trial {done} anything"
                )
        if request.machine.cluster and todo:
            settle(url, {spec.name for spec in todo})
    return names


def _finished(storage: str, prefix: str, studies: list[str]) -> dict[str, int]:
    """Number of finished trials by name of the study; ``prefix`` begins their names."""
    if not holds_studies(storage):
        return {}
    return {row.study: row.finished for row in overview(storage, prefix) if row.study in studies}
