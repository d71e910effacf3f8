"""``lime-tuner tune`` at work: checked, searched, summed up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tuner.cli.catalog_scope import run_catalog_scope
from tuner.cli.context import Workplace
from tuner.cli.job import Job, logged
from tuner.cli.output import errors
from tuner.cli.study_watcher import StudyWatcher
from tuner.cli.tune_checks import check_request
from tuner.cli.tune_jobs import jobs_of
from tuner.cli.tune_summary import summary_of

if TYPE_CHECKING:
    from tuner.cli.tune_request import TuneRequest
    from tuner.crew import Crew
    from tuner.jobs import TuneJob

__all__ = ["run_tuning"]


def run_tuning(place: Workplace, request: TuneRequest) -> dict[str, Any]:
    """Check everything, then search; the document of ``tune --json``."""
    from studies.storage import check_storage
    from tuner.cli.calibrated import known_calibration

    # Everything that can be wrong is looked at before the first file is written.
    check_request(request, len(place.catalog.keys))
    check_storage(request.storage, write=True)
    calibration = None
    if request.calibrated is not None:
        calibration = known_calibration(request.storage, request.calibrated)
    if request.scope is not None:
        return run_catalog_scope(
            request.scope, request.study, jobs_of(place, request, calibration, request.workers)
        )
    with _crew(place, request) as crew:
        jobs = jobs_of(place, request, calibration, crew.workers)
        names = _run(request, jobs, crew)
    return summary_of(request.storage, request.study, names)


@contextmanager
def _crew(place: Workplace, request: TuneRequest) -> Iterator[Crew]:
    """Who does it; its processes load what they need while this one prepares."""
    from studies.storage import sqlite_path
    from tuner.crew import LocalCrew, cluster_crew

    if request.cluster is None:
        most = request.workers if request.until else min(request.workers, len(place.catalog.keys))
        crew = LocalCrew(most)
        assert place.classifier.spec is not None
        crew.begin(place.classifier.spec)
        yield crew
    else:
        one_host = sqlite_path(request.storage) is not None
        with cluster_crew(request.cluster, one_host=one_host) as cluster:
            yield cluster


def _run(request: TuneRequest, jobs: list[TuneJob], crew: Crew) -> list[str]:
    """Search; the keys of what there is to be shown."""
    from studies.storage import open_storage
    from tuner.jobs import run_jobs, run_until, settle

    studies = [job.study for job in jobs]
    names = [job.key for job in jobs]
    before = _counts(request.storage, request.study, studies)
    open_storage(request.storage).close()  # makes its tables once, not every worker at once
    todo = [j for j in jobs if request.beyond or before.get(j.study, 0) < request.trials]
    already = sum(before.values())
    if already:
        errors.print(
            f"resuming {request.study}: {already} finished trials are there; --trials "
            f"{request.trials} is the total per image"
        )
    watcher = StudyWatcher(request.storage, dict(zip(studies, names, strict=True)), request.trials)
    told = {f: v for f, v in vars(request).items() if f not in ("storage", "log", "space")}
    job = Job("tune", request.storage, request.study)
    with logged(job, request.log, {**told, "images": names}), watcher:
        if request.until is None:
            run_jobs(todo, crew)
        elif todo:
            run_until(todo, crew, request.until)
            if datetime.now() < request.until:
                done = "brings" if request.beyond else "is left to do that brings"
                errors.print(f"over before {request.until:%H:%M}: no further trial {done} anything")
        if request.cluster and todo:
            settle(request.storage, {job.study for job in todo})
    return names


def _counts(storage: str, prefix: str, studies: list[str]) -> dict[str, int]:
    """Finished trials by study.

    Args:
        prefix: of the studies' names.
    """
    from studies.queries import overview
    from studies.storage import holds_studies

    if not holds_studies(storage):
        return {}
    return {row.study: row.finished for row in overview(storage, prefix) if row.study in studies}
