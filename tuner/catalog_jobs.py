"""The tuning of a whole catalogue in this process: one study, made from the jobs of its images."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studies.attributes import TRANSFER
from tuner.freed_memory import keep_freed_memory
from tuner.jobs import TuneJob

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tuner.catalog_task import CatalogTask
    from tuner.trial import TuningSettings

__all__ = ["CatalogJob", "run_catalog_job"]


@dataclass(frozen=True)
class CatalogJob:
    """Everything to tune a catalogue with.

    Attributes:
        study: its name.
        jobs: of each image, alike in all but the image.
        aggregate: see ``tuner.catalog_task.Aggregate``.
        folds: of a cross-validation over images; 0 for none.
        most_runtime: see ``tuner.catalog_study.affordable``.
    """

    study: str
    jobs: tuple[TuneJob, ...]
    aggregate: str
    folds: int
    most_runtime: float


def run_catalog_job(
    job: CatalogJob,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    on_fold: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Run the study to its trials, then cross-validate; everything is in the storage."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    import optuna
    import torch

    from explainers.perturbation_bank import PerturbationBank
    from studies.assets import cache_folder
    from studies.storage import open_storage
    from tuner.catalog_study import catalog_facts, run_catalog_study
    from tuner.cross_validation import cross_validate
    from tuner.loading import kept_classifier
    from tuner.tuning import open_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
    first = job.jobs[0]
    torch.set_num_threads(first.threads)
    keep_freed_memory()
    with (
        closing(PerturbationBank(first.bank or cache_folder() / "bank")) as bank,
        closing(open_storage(first.storage)) as storage,
    ):
        task = _catalog_task(job, bank)
        settings = _settings(job)
        facts = catalog_facts(
            task,
            kept_classifier(first.classifier_spec),
            settings,
            catalog=_catalog_name(first),
            rule=first.reference["rule"],
            most_runtime=job.most_runtime,
            calibration=first.calibration,
        )
        study = open_study(job.study, storage, facts)
        result = run_catalog_study(study, task, settings, on_trial, first.plan.first())
        known = study.user_attrs.get(TRANSFER, {})
        if job.folds and (known.get("folds"), known.get("best")) != (
            job.folds, result.best["number"],
        ):  # fmt: skip
            transfer = cross_validate(task, settings, result.parameters, job.folds, on_fold)
            study.set_user_attr(
                TRANSFER, {**transfer.to_json(), "best": int(result.best["number"])}
            )


def _catalog_task(job: CatalogJob, bank: Any) -> CatalogTask:
    from explainers.masks import MASK_RULE, MaskRule
    from explainers.reference import Reference
    from studies.assets import load_study_image
    from studies.catalog import load_catalog
    from tuner.catalog_task import Aggregate, CatalogTask
    from tuner.loading import kept_classifier, kept_engine
    from tuner.runtime_model import RuntimeModel
    from tuner.task import TuningTask

    tasks = {}
    # Where the study goes on, its first price list does: scores must compare.
    stored = _stored_runtime_model(job)
    for each in job.jobs:
        classifier = kept_classifier(each.classifier_spec)
        catalog = load_catalog(each.catalog)
        image = load_study_image(
            catalog, catalog.only((each.key,)).images[0], classifier.geometry, each.assets
        )
        tasks[each.key] = TuningTask(
            image=image.pixels,
            source=kept_engine(classifier, each.engine, image.pixels),
            reference=Reference.from_json(each.reference),
            bank=bank,
            runtime_model=RuntimeModel.from_json(stored or each.runtime_model),
            mask_rule=MASK_RULE if each.mask_rule is None else MaskRule(**each.mask_rule),
            threads=each.threads,
            class_index=each.class_index,
        )
    return CatalogTask(tasks, Aggregate.parse(job.aggregate))


def _stored_runtime_model(job: CatalogJob) -> str | None:
    from studies.overview import study_attributes

    found = study_attributes(job.jobs[0].storage, [job.study]).get(job.study, {})
    model = found.get("runtime_model")
    return None if model is None else str(model)


def _catalog_name(job: TuneJob) -> str:
    from studies.catalog import load_catalog

    return load_catalog(job.catalog).name


def _settings(job: CatalogJob) -> TuningSettings:
    from tuner.catalog_study import affordable
    from tuner.trial import TuningSettings

    first = job.jobs[0]
    return TuningSettings(
        trials=first.trials,
        seeds=first.seeds,
        confirm_seeds=first.seeds + 2,
        runtime_weight=first.runtime_weight,
        sampler=first.sampler,
        timeout=first.timeout,
        answers=first.answers,
        seed=first.seed,
        space=affordable(first.space, job.most_runtime),
    )
