"""A catalogue's study: one setting for all images, searched in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from optuna.trial import FrozenTrial

from studies.results.attributes import TRANSFER
from studies.storage import open_storage
from tuner.problem import Aggregate, CatalogTask
from tuner.problem.spec import Machine, StudySpec
from tuner.study.catalog import catalog_facts, run_catalog_study, with_stored_prices
from tuner.study.cross_validation import cross_validate
from tuner.study.loading import load_task, open_cache, prepare_process
from tuner.tuning import open_study

__all__ = ["run_catalog"]


def run_catalog(
    name: str,
    specs: Sequence[StudySpec],
    machine: Machine,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    on_fold: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Run the study to its trials, then cross-validate; everything is in the storage.

    Args:
        name: of the study.
        specs: of each image, alike in all but the image.
    """
    prepare_process(machine)
    first = specs[0]
    settings = first.settings
    with (
        closing(open_cache(machine)) as cache,
        closing(open_storage(machine.storage)) as storage,
    ):
        loaded = [load_task(spec, machine, cache) for spec in specs]
        task = CatalogTask(
            {each.spec.key: each.task for each in loaded}, Aggregate.parse(settings.aggregate)
        )
        facts = catalog_facts(
            task, loaded[0].classifier, settings, catalog=loaded[0].catalog.name,
            rule=first.reference["rule"], calibration=first.calibration,
        )  # fmt: skip
        study = open_study(name, storage, facts)
        task = with_stored_prices(task, study)
        result = run_catalog_study(study, task, settings, on_trial, settings.first())
        known = study.user_attrs.get(TRANSFER, {})
        folds, best = settings.folds, int(result.best["number"])
        if folds and (known.get("folds"), known.get("best")) != (folds, best):
            transfer = cross_validate(task, settings, result.parameters, folds, on_fold)
            study.set_user_attr(TRANSFER, {**transfer.to_json(), "best": best})
