"""The tuning of one catalogue image as a plain value that any process can run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.heartbeats import grace_seconds, heartbeat_seconds
from tuner.crew import Crew
from tuner.freed_memory import keep_freed_memory
from tuner.loading import kept_classifier, kept_engine, load_catalog_image
from tuner.log_file import join_log
from tuner.plan import PLAN, StudyPlan
from tuner.search_space import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from numpy.typing import NDArray

    from explainers.classifier import Classifier
    from explainers.lime_parameters import LimeParameters
    from explainers.perturbation_bank import PerturbationBank
    from tuner.task import TuningTask
    from tuner.trial import TuningSettings

__all__ = [
    "OpenedJob", "TuneJob", "opened_job", "run_job", "run_jobs", "run_until", "settle",
    "winners_of",
]  # fmt: skip

_NO_TIME = 1e-9  # seconds
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuneJob:
    """Everything a worker needs to tune one image; picklable.

    Attributes:
        classifier_spec: keyword arguments of ``explainers.zoo.load_classifier``.
        engine: see ``explainers.engines.ENGINES``.
        reference: as ``Reference.to_json()`` gives it.
        threads: for torch in the worker, so that workers do not fight for the cores.
        bank: folder of answers; that of the process's own cache where ``None``.
        trials ... space: see ``tuner.tuning.TuningSettings``.
        mask_rule: arguments of ``MaskRule``; those of our own where ``None``.
        calibration: which one the runtime model comes from, as ``Calibration.identity`` says.
        log: file that processes of this machine write to; none where ``None``.
        portfolio: parameters as JSON texts, tried first in a study that is new.
    """

    catalog: str
    key: str
    study: str
    storage: str
    assets: Path | None
    classifier_spec: dict[str, Any]
    engine: str
    class_index: int | None
    reference: dict[str, Any]
    runtime_model: str
    threads: int
    trials: int
    seeds: int
    runtime_weight: float
    sampler: str
    timeout: float | None
    answers: int | None
    warm_start: bool
    constrain_fidelity: bool
    seed: int
    space: SearchSpace
    beyond: bool = False
    bank: Path | None = None
    mask_rule: dict[str, Any] | None = None
    calibration: dict[str, str] | None = None
    log: Path | None = None
    pareto: bool = False
    portfolio: tuple[str, ...] = ()
    objective: str = "agreement"

    @property
    def plan(self) -> StudyPlan:
        """What a worker elsewhere goes by."""
        spec = self.classifier_spec
        return StudyPlan(
            catalog=self.catalog,
            model=str(spec["model"]),
            weights=spec.get("weights"),
            cam_layer=spec.get("cam_layer"),
            trials=self.trials,
            seeds=self.seeds,
            sampler=self.sampler,
            answers=self.answers,
            warm_start=self.warm_start,
            seed=self.seed,
            beyond=self.beyond,
            pareto=self.pareto,
            portfolio=self.portfolio,
        )

    @property
    def settings(self) -> TuningSettings:
        """How its study is run."""
        from tuner.trial import TuningSettings

        return TuningSettings(
            trials=self.trials,
            seeds=self.seeds,
            confirm_seeds=3 * self.seeds,
            runtime_weight=self.runtime_weight,
            sampler=self.sampler,
            timeout=self.timeout,
            answers=self.answers,
            beyond=self.beyond,
            seed=self.seed,
            space=self.space,
            constrain_fidelity=self.constrain_fidelity,
            pareto=self.pareto,
            objective=self.objective,
        )

    def task(
        self, classifier: Classifier, pixels: NDArray[np.uint8], bank: PerturbationBank
    ) -> TuningTask:
        """What its trials need.

        Args:
            pixels: (H, W, 3) uint8 of its image, in the classifier's geometry.
        """
        from explainers.masks import MASK_RULE, MaskRule
        from explainers.reference import Reference
        from tuner.runtime_model import RuntimeModel
        from tuner.task import TuningTask

        return TuningTask(
            image=pixels,
            source=kept_engine(classifier, self.engine, pixels),
            reference=Reference.from_json(self.reference),
            bank=bank,
            runtime_model=RuntimeModel.from_json(self.runtime_model),
            mask_rule=MASK_RULE if self.mask_rule is None else MaskRule(**self.mask_rule),
            threads=self.threads,
            class_index=self.class_index,
        )

    def facts(self, task: TuningTask, classifier: Classifier, catalog: str) -> dict[str, Any]:
        """What its study is made of; see :func:`tuner.tuning.study_facts`.

        Args:
            catalog: its catalogue's name.
        """
        from tuner.tuning import study_facts

        return study_facts(
            task,
            classifier,
            self.settings,
            catalog=catalog,
            key=self.key,
            calibration=self.calibration,
        )


@dataclass(frozen=True, eq=False)
class OpenedJob:
    """A job's study, ready to be run."""

    study: optuna.Study
    task: TuningTask
    settings: TuningSettings


@contextmanager
def opened_job(job: TuneJob) -> Iterator[OpenedJob]:
    """Load what a job names, and create its study or open it, with its plan.

    Raises:
        StorageError: the database is away, or its disk full, also inside the ``with``.
    """
    from studies.patient_storage import trouble_told

    join_log(job.log)
    with trouble_told(job.storage), _loaded(job) as opened:
        yield opened


@contextmanager
def _loaded(job: TuneJob) -> Iterator[OpenedJob]:
    os.environ.setdefault("TQDM_DISABLE", "1")
    import optuna
    import torch

    from explainers.perturbation_bank import PerturbationBank
    from studies.assets import cache_folder
    from studies.storage import open_storage
    from tuner.tuning import as_stored, open_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    classifier = kept_classifier(job.classifier_spec)
    catalog, image = load_catalog_image(job.catalog, job.key, classifier, job.assets)
    with (
        closing(PerturbationBank(job.bank or cache_folder() / "bank")) as bank,
        closing(open_storage(job.storage)) as storage,
    ):
        task = job.task(classifier, image.pixels, bank)
        facts = job.facts(task, classifier, catalog.name)
        study = open_study(job.study, storage, facts, pareto=job.pareto)
        plan = job.plan.to_json()
        if study.user_attrs.get(PLAN) != plan:
            study.set_user_attr(PLAN, plan)
        yield OpenedJob(study, as_stored(task, study), job.settings)


def begin_job(job: TuneJob) -> str:
    """Create the job's study; nothing is run. Returns the image's key."""
    with opened_job(job):
        return job.key


def run_job(job: TuneJob) -> str:
    """Tune one image; the result is in the storage. Returns the image's key."""
    from studies.artifacts import artifact_store
    from tuner.study_notes import StudyNotes
    from tuner.tuning import run_study

    with opened_job(job) as opened:
        winners = winners_of(job.storage, job.study) if job.warm_start else []
        notes = StudyNotes(opened.study, opened.task, artifact_store(job.storage))
        run_study(
            opened.study, opened.task, opened.settings, notes.on_trial, winners, notes.on_score,
            job.plan.first(),
        )  # fmt: skip
        notes.write()
    return job.key


def winners_of(storage: str, study: str) -> list[LimeParameters]:
    """The best parameters of the other images' studies, as far as they have come.

    Args:
        study: ``PREFIX/KEY`` of the image that they are for.
    """
    from explainers.lime_parameters import LimeParameters
    from studies.overview import best_parameters

    prefix, _, own = study.rpartition("/")
    return [
        LimeParameters.from_json(text)
        for key, text in sorted(best_parameters(storage, prefix).items())
        if key != own
    ]


def run_jobs(jobs: Sequence[TuneJob], crew: Crew) -> None:
    """Run jobs, each to its end.

    All studies are created first, so that workers elsewhere can begin with any.
    """
    # The same processes do both, and keep the classifier that they have loaded.
    crew.run(begin_job, jobs)
    crew.run(run_job, jobs)


@dataclass(frozen=True)
class _Shift:
    """What one process does of a night; picklable."""

    jobs: tuple[TuneJob, ...]
    until: datetime


def run_until(jobs: Sequence[TuneJob], crew: Crew, until: datetime) -> None:
    """Run trials of all jobs' studies until that time, or until none of them is worth another.

    Every study gets its share, in turns; then they go on where it pays off, if their plan says so.
    Several workers may run trials of one study at the same time.

    Args:
        until: by this machine's clock, without a time zone. A machine that slept through it ends
            when it wakes up.
    """
    from studies.overview import overview

    crew.run(begin_job, jobs)
    crew.run(_work_shift, [_Shift(tuple(jobs), until)] * crew.workers)
    # There is no result without lime's defaults; a short night may end before it is their turn.
    compared = {row.study for row in overview(jobs[0].storage, None) if row.default_iou is not None}
    late = [replace(job, timeout=_NO_TIME) for job in jobs if job.study not in compared]
    crew.run(run_job, late)


def settle(url: str, studies: Collection[str]) -> None:
    """Wait until trials of workers that were lost are known to be dead, and fail them."""
    from studies.overview import overview
    from studies.patient_storage import bury_dead
    from studies.storage import open_storage

    deadline = time.monotonic() + grace_seconds() + 2 * heartbeat_seconds()
    with closing(open_storage(url)) as storage:
        while time.monotonic() < deadline:
            rows = [row for row in overview(url, None) if row.study in studies]
            running = [row.study for row in rows if row.trials.get("RUNNING")]
            if not running:
                return
            bury_dead(storage, running)
            time.sleep(1)


def _work_shift(shift: _Shift) -> int:
    from tuner.worker import Machine, Worker

    first = shift.jobs[0]
    join_log(first.log)
    spec = first.classifier_spec
    return Worker(
        storage=first.storage,
        machine=Machine(
            assets=first.assets,
            device=spec.get("device"),
            engine=first.engine,
            threads=first.threads,
        ),
        only=frozenset(job.study for job in shift.jobs),
        stop=lambda: datetime.now() >= shift.until,
        idle_exit=0.0,
        told=_logger.warning,
    ).run()
