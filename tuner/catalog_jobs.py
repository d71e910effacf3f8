"""The tuning of a whole catalogue in this process: one study, made from the jobs of its images."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studies.attributes import TRANSFER
from tuner.freed_memory import keep_freed_memory
from tuner.jobs import TuneJob

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tuner.problem import TuningSettings

__all__ = ["CatalogJob", "run_catalog_job"]


@dataclass(frozen=True)
class CatalogJob:
    """Everything to tune a catalogue with.

    Attributes:
        study: its name.
        jobs: of each image, alike in all but the image.
        aggregate: see ``tuner.problem.catalog_task.Aggregate``.
        folds: of a cross-validation over images; 0 for none.
        most_runtime: see ``tuner.study.catalog.affordable``.
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
    from tuner.loading import kept_classifier, load_catalog_image
    from tuner.problem import Aggregate, CatalogTask
    from tuner.study.catalog import catalog_facts, run_catalog_study, with_stored_prices
    from tuner.study.cross_validation import cross_validate
    from tuner.tuning import open_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
    first = job.jobs[0]
    torch.set_num_threads(first.threads)
    keep_freed_memory()
    classifier = kept_classifier(first.classifier_spec)
    with (
        closing(PerturbationBank(first.bank or cache_folder() / "bank")) as bank,
        closing(open_storage(first.storage)) as storage,
    ):
        tasks = {}
        for each in job.jobs:
            catalog, image = load_catalog_image(each.catalog, each.key, classifier, each.assets)
            tasks[each.key] = each.task(classifier, image.pixels, bank)
        task = CatalogTask(tasks, Aggregate.parse(job.aggregate))
        settings = _settings(job)
        facts = catalog_facts(
            task,
            classifier,
            settings,
            catalog=catalog.name,
            rule=first.reference["rule"],
            most_runtime=job.most_runtime,
            calibration=first.calibration,
        )
        study = open_study(job.study, storage, facts)
        task = with_stored_prices(task, study)
        result = run_catalog_study(study, task, settings, on_trial, first.plan.first())
        known = study.user_attrs.get(TRANSFER, {})
        if job.folds and (known.get("folds"), known.get("best")) != (
            job.folds, result.best["number"],
        ):  # fmt: skip
            transfer = cross_validate(task, settings, result.parameters, job.folds, on_fold)
            study.set_user_attr(
                TRANSFER, {**transfer.to_json(), "best": int(result.best["number"])}
            )


def _settings(job: CatalogJob) -> TuningSettings:
    from tuner.problem import TuningSettings
    from tuner.study.catalog import affordable

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
