"""Writes the pickle of ``lime-tuner export``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from explainers.messages import shortened
from studies.catalog.names import CATALOG_KEY, catalog_study
from studies.export import export_pickle, ungraded
from studies.queries import best_parameters, overview, study_attributes
from studies.results.attributes import LABELS
from studies.storage import describe
from tuner.cli.context import chosen_catalog
from tuner.cli.options import CatalogOptions, ClassifierOptions
from tuner.cli.output import errors
from tuner.problem.spec import PLAN

if TYPE_CHECKING:
    from studies.results.front import Choice

__all__ = ["check_made_with", "made_with", "run_export"]


def check_made_with(storage: str, prefix: str, given: ClassifierOptions) -> None:
    """Compare the classifier that is given with the one that studies were made with.

    Raises:
        InvalidInput: it is another one.
    """
    wanted = {
        name: value
        for name in ("model", "weights", "cam_layer")
        if (value := getattr(given, name)) is not None
    }
    if not wanted:
        return
    for study, plan in _plans(storage, prefix).items():
        for name, value in wanted.items():
            planned = plan.get(name, value)
            if planned != value and not _same_file(planned, value):
                option = f"--{name.replace('_', '-')}"
                raise InvalidInput(
                    f"study '{study}' was made with {option} {planned or '(none)'}, not {value}: "
                    f"give that, or another --study"
                )


def made_with(storage: str, prefix: str, given: ClassifierOptions) -> ClassifierOptions:
    """The classifier of the studies, where none is given and all of them have the same one."""
    if given.model is not None:
        return given
    known = {
        (plan.get("model"), plan.get("weights"), plan.get("cam_layer"))
        for plan in _plans(storage, prefix).values()
    }
    if len(known) != 1:
        return given
    ((model, weights, layer),) = known
    return replace(
        given, model=model, weights=given.weights or weights, cam_layer=given.cam_layer or layer
    )


def _plans(storage: str, prefix: str) -> dict[str, dict[str, Any]]:
    """What each study was planned with, by its name; empty where it stores no plan."""
    names = [row.study for row in overview(storage, prefix)]
    return {
        study: facts.get(PLAN) or {} for study, facts in study_attributes(storage, names).items()
    }


def _same_file(one: str | None, other: str) -> bool:
    return one is not None and Path(one).resolve() == Path(other).resolve()


def run_export(
    storage: str,
    *,
    catalog_source: str,
    study: str | None,
    output: Path,
    fill_defaults: bool,
    images: str | None = None,
    choice: Choice | None = None,
    scope: str | None = None,
) -> dict[str, str]:
    """Write the pickle, and return the parameters by key, as JSON texts.

    Args:
        images: keys, separated by commas; ``None`` for all of the catalogue.
        choice: how a trial of each study is chosen; ``None`` for the best.
        scope: ``image`` or ``catalog``; ``None`` for ``image``, or ``catalog`` if the study has
            nothing else.

    Raises:
        InvalidInput: an image of the catalogue has no finished trial, or none that fits the choice.
    """
    labels: dict[str, int] = {}
    catalog = chosen_catalog(CatalogOptions(catalog=catalog_source, images=images))
    prefix = study or catalog.name
    best = best_parameters(storage, prefix, choice)
    catalog_setting = best.pop(CATALOG_KEY, None)
    if scope not in (None, "image", "catalog"):
        raise InvalidInput(f"--scope {scope}: use image or catalog")
    if scope == "catalog" and catalog_setting is None:
        raise InvalidInput(
            f"study '{prefix}' has no setting for all images: run lime-tuner tune --scope catalog"
        )
    if catalog_setting is not None and (scope == "catalog" or not (best or scope)):
        best = dict.fromkeys(catalog.keys, catalog_setting)
        name = catalog_study(prefix)
        labels = study_attributes(storage, [name])[name].get(LABELS, {})
    missing = [key for key in catalog.keys if key not in best]
    if len(missing) == len(catalog.keys):
        raise _of_nothing(storage, prefix, catalog.name, best)
    if missing and not fill_defaults:
        raise InvalidInput(
            f"study '{prefix}' has no finished trial for {', '.join(missing)}: run lime-tuner "
            "tune for them, check --study and --catalog, or pass --fill-defaults"
        )
    if missing:
        errors.print(f"lime-tuner: lime's defaults for {', '.join(missing)}", markup=False)
    parameters = {
        key: LimeParameters.from_json(best[key]) if key in best else LimeParameters()
        for key in catalog.keys
    }
    parameters |= {key: parameters[key].about(label) for key, label in labels.items()
                   if key in parameters}  # fmt: skip
    export_pickle(parameters, output)
    if warning := ungraded({key: value.label for key, value in parameters.items()}):
        errors.print(f"lime-tuner: {warning}", markup=False)
    return {key: value.to_json() for key, value in parameters.items()}


def _of_nothing(storage: str, prefix: str, catalog: str, keys: Iterable[str]) -> InvalidInput:
    """The error for a study that has nothing for any image of a catalogue."""
    images = sorted(keys)
    if images:
        return InvalidInput(
            f"study '{prefix}' is of {shortened(images)}, no images of the catalogue '{catalog}': "
            "give its own with --catalog"
        )
    names = sorted({row.study.partition("/")[0] for row in overview(storage, None)})
    if prefix in names:
        return InvalidInput(
            f"study '{prefix}' has no finished trial of an image yet: run lime-tuner tune first"
        )
    return InvalidInput(
        f"no study in {describe(storage)} is named '{prefix}' or '{prefix}/…': it has "
        f"{shortened(names) or 'none'}; check --study and --storage"
    )
