"""The tuning of one catalogue image as a plain value that any process can run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.plan import PLAN, StudyPlan
from tuner.search_space import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from numpy.typing import NDArray

    from explainers.classifier import Classifier
    from explainers.engines import Engine
    from explainers.lime_parameters import LimeParameters
    from tuner.task import TuningTask
    from tuner.trial import TuningSettings

__all__ = ["TuneJob", "run_job", "run_jobs", "winners_of"]


# glibc gives every large tensor back to the kernel, which then clears fresh pages for the next
# layer: up to half of a small network's time. Keeping 32 MB blocks costs some memory instead.
# Other C libraries ignore these names.
_WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


@dataclass(frozen=True)
class TuneJob:
    """Everything a worker needs to tune one image; picklable.

    Attributes:
        classifier_spec: keyword arguments of ``explainers.zoo.load_classifier``.
        engine: see ``explainers.engines.ENGINES``.
        reference: as ``Reference.to_json()`` gives it.
        threads: for torch in the worker, so that workers do not fight for the cores.
        trials ... space: see ``tuner.tuning.TuningSettings``.
        mask_rule: arguments of ``MaskRule``; those of our own where ``None``.
        calibration: which one the runtime model comes from, as ``Calibration.identity`` says.
    """

    catalog: str
    key: str
    study: str
    storage: str
    assets: Path | None
    bank: Path
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
    mask_rule: dict[str, Any] | None = None
    calibration: dict[str, str] | None = None
    pareto: bool = False

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
            pareto=self.pareto,
        )


@lru_cache(maxsize=1)
def _classifier(spec: tuple[tuple[str, Any], ...]) -> Classifier:
    """A worker tunes several images with one classifier."""
    from explainers.zoo import load_classifier

    return load_classifier(**dict(spec))


_engines: dict[tuple[str, str, tuple[int, ...]], Engine] = {}


def _engine(classifier: Classifier, name: str, image: NDArray[np.uint8]) -> Engine:
    """... and one engine for each size of image."""
    from explainers.engines import make_engine
    from studies.assets import cache_folder

    key = (classifier.fingerprint, name, image.shape)
    if key not in _engines:
        _engines.clear()
        _engines[key] = make_engine(classifier, name, image=image, cache=cache_folder() / "engines")
    return _engines[key]


@dataclass(frozen=True, eq=False)
class _Opened:
    """A job's study, ready to be run."""

    study: optuna.Study
    task: TuningTask
    settings: TuningSettings


@contextmanager
def _opened(job: TuneJob) -> Iterator[_Opened]:
    """Load what a job names, and create its study or open it, with its plan."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    import optuna
    import torch

    from explainers.masks import MASK_RULE, MaskRule
    from explainers.perturbation_bank import PerturbationBank
    from explainers.reference import Reference
    from studies.assets import load_study_image
    from studies.catalog import load_catalog
    from studies.storage import open_storage
    from tuner.runtime_model import RuntimeModel
    from tuner.task import TuningTask
    from tuner.tuning import TuningSettings, open_study, study_facts

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
    torch.set_num_threads(job.threads)
    classifier = _classifier(tuple(sorted(job.classifier_spec.items())))
    catalog = load_catalog(job.catalog)
    entry = catalog.only((job.key,)).images[0]
    image = load_study_image(catalog, entry, classifier.geometry, job.assets)
    bank = PerturbationBank(job.bank)
    try:
        task = TuningTask(
            image=image.pixels,
            source=_engine(classifier, job.engine, image.pixels),
            reference=Reference.from_json(job.reference),
            bank=bank,
            runtime_model=RuntimeModel.from_json(job.runtime_model),
            mask_rule=MASK_RULE if job.mask_rule is None else MaskRule(**job.mask_rule),
        )
        settings = TuningSettings(
            trials=job.trials,
            seeds=job.seeds,
            confirm_seeds=3 * job.seeds,
            runtime_weight=job.runtime_weight,
            sampler=job.sampler,
            timeout=job.timeout,
            answers=job.answers,
            seed=job.seed,
            space=job.space,
            constrain_fidelity=job.constrain_fidelity,
            pareto=job.pareto,
        )
        facts = study_facts(
            task,
            classifier,
            settings,
            catalog=catalog.name,
            key=job.key,
            class_index=job.class_index,
            calibration=job.calibration,
        )
        study = open_study(job.study, open_storage(job.storage), facts, pareto=job.pareto)
        plan = job.plan.to_json()
        if study.user_attrs.get(PLAN) != plan:
            study.set_user_attr(PLAN, plan)
        yield _Opened(study, task, settings)
    finally:
        bank.close()


def begin_job(job: TuneJob) -> str:
    """Create the job's study; nothing is run. Returns the image's key."""
    with _opened(job):
        return job.key


def run_job(job: TuneJob) -> str:
    """Tune one image; the result is in the storage. Returns the image's key."""
    from studies.storage import artifact_folder
    from tuner.study_notes import StudyNotes
    from tuner.tuning import run_study

    with _opened(job) as opened:
        winners = winners_of(job.storage, job.study) if job.warm_start else []
        notes = StudyNotes(opened.study, opened.task, artifact_folder(job.storage))
        run_study(
            opened.study, opened.task, opened.settings, notes.on_trial, winners, notes.on_score
        )
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


def run_jobs(jobs: list[TuneJob], workers: int) -> None:
    """Run jobs in this process, or in some worker processes through joblib (loky).

    All studies are created first, so that workers elsewhere can begin with any.
    """
    if workers <= 1 or len(jobs) <= 1:
        for work in (begin_job, run_job):
            for job in jobs:
                work(job)
        return
    import joblib

    with _environment(_WORKER_ENVIRONMENT):
        # The same processes do both, and keep the classifier that they have loaded.
        for work in (begin_job, run_job):
            joblib.Parallel(n_jobs=min(workers, len(jobs)), backend="loky", batch_size=1)(
                joblib.delayed(work)(job) for job in jobs
            )


@contextmanager
def _environment(additions: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes started within inherit; what the user has set goes before."""
    added = {name: value for name, value in additions.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
