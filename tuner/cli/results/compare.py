"""``lime-tuner compare``: class activation maps against LIME, measured and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from dissection.evidence import join_explanations
from explainers.cam import check_method
from explainers.engines import make_engine
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, PredictionCache
from explainers.machine_load import LoadMeter
from explainers.metrics import CAMS, LIME_TUNED
from explainers.metrics import compare as compare_methods
from explainers.references import parse_heat_map_rule
from studies.catalog.assets import cache_folder
from studies.export import FIRST_FRESH_SEED
from studies.queries import best_parameters, study_attributes
from studies.records import (
    ComparedImage,
    ComparisonRun,
    add_compared_image,
    begin_comparison,
    finish_comparison,
)
from studies.report import gather
from studies.results.fidelity import ConstraintCost
from studies.storage import open_storage
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.options import (
    AsJson,
    CatalogOptions,
    ClassifierOptions,
    EngineOptions,
    ReferenceOptions,
    StudyOptions,
    takes_groups,
)
from tuner.cli.output import console, errors, shown_if_interrupted, work_progress, write_json
from tuner.cli.results.comparison_tables import (
    comparison_document,
    show_comparison,
    show_constraint_costs,
)
from tuner.cli.results.objectives import compare_objectives, show_objectives
from tuner.options import BUDGET, WHAT
from tuner.tuning import package_versions

__all__ = ["compare", "run_comparison"]


@takes_groups
def compare(
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    engine: EngineOptions,
    where: StudyOptions,
    reference: ReferenceOptions,
    rule: Annotated[
        str,
        typer.Option(
            help="Makes masks of all heat maps: a fraction of the maximum, top10 ...",
            rich_help_panel=WHAT,
        ),
    ] = "0.3",
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Heat maps; may be repeated.  [default: the usual three]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=2, help="Explainer seeds that stability is measured on.", rich_help_panel=BUDGET
        ),
    ] = 3,
    classes: Annotated[
        int,
        typer.Option(
            min=1,
            max=5,
            help="Explain so many of each image's likeliest classes.",
            rich_help_panel=WHAT,
        ),
    ] = 1,
    other: Annotated[
        str | None,
        typer.Option(
            help="Prefix of studies of another objective: only show how far the two choose alike.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare class activation maps with LIME, default and tuned.

    Grad-CAM, Score-CAM and Ablation-CAM, LIME's defaults and tuned LIME on every image:
    seconds, deletion and insertion, held-out R², stability, localisation, and how far the masks
    agree. Recorded beside the studies, for the report and anyone's SQL, image by image: an
    interrupted comparison goes on with the same command.
    """
    methods = tuple(dict.fromkeys(method or CAMS))
    for name in methods:
        check_method(name)
    parse_heat_map_rule(rule)
    url = where.storage
    open_storage(url).close()  # fail before the work if it cannot be written
    workspace = open_workplace(catalog, classifier)
    prefix = where.study or workspace.catalog.name
    if other is not None:
        document = compare_objectives(
            workspace, url, (prefix, other), reference.reference, seeds, engine.engine
        )
        if as_json:
            write_json(document)
        else:
            show_objectives(document)
        return
    run = run_comparison(
        workspace,
        url,
        study=prefix,
        reference=reference.reference,
        rule=rule,
        methods=methods,
        seeds=seeds,
        classes=classes,
        engine=engine.engine,
    )
    joined = join_explanations(url, workspace.classifier)
    costs = _constraint_costs(url, run)
    if as_json:
        write_json(comparison_document(run, costs))
    else:
        show_comparison(run)
        show_constraint_costs(costs)
        if joined:
            console.print(f"joined with the units of the dissected network: {joined} images")


def run_comparison(
    workspace: Workplace,
    storage: str,
    *,
    study: str,
    reference: str | None,
    rule: str,
    methods: tuple[str, ...],
    seeds: int,
    classes: int,
    engine: str,
) -> ComparisonRun:
    """Explain and measure every image of a workplace, and record each as soon as it is done.

    Tuned parameters are those of the best trials of the studies ``STUDY/KEY``. Images recorded by
    an interrupted run are not repeated if picture, reference and parameters are still the same.
    """
    loaded = workspace.load_images()
    tuned = _tuned(storage, study, workspace)
    labels = {key: parameters.label for key, parameters in tuned.items()}
    references = workspace.references(
        loaded, reference, lambda image: labels.get(image.key), with_reliability=True
    )
    parsed, classifier = parse_heat_map_rule(rule), workspace.classifier
    credits = {image.key: image.entry.credit for image in loaded if image.entry.credit}
    run = ComparisonRun(
        at=datetime.now(timezone.utc),
        catalog=workspace.catalog.name,
        study=study,
        classifier=classifier.name,
        classifier_sha256=classifier.fingerprint,
        device=str(classifier.device),
        seed=FIRST_FRESH_SEED,
        arguments={
            "images": [image.key for image in loaded],
            "rule": rule,
            "methods": list(methods),
            "seeds": seeds,
            "classes": classes,
            "engine": engine,
            **({"credits": credits} if credits else {}),
        },
        package_versions=package_versions(),
        images=(),
    )
    number, recorded = begin_comparison(storage, run)
    compared: dict[str, ComparedImage] = {
        image.key: recorded[image.key]
        for image in loaded
        if image.key in recorded
        and _still_holds(
            recorded[image.key], image.pixels, references[image.key].mask, tuned.get(image.key)
        )
    }
    if compared:
        errors.print(
            f"lime-tuner: going on with an interrupted comparison: {len(compared)} of "
            f"{len(loaded)} images are done"
        )
    cache = PredictionCache(cache_folder() / "bank")
    load = LoadMeter()
    try:
        so_far = partial(_show_so_far, run, compared)
        with shown_if_interrupted(so_far), work_progress("comparing") as advance:
            for position, image in enumerate(loaded):
                if image.key in compared:
                    continue
                known = references[image.key]
                advance(f"{image.key}, preparing the engine", position, len(loaded))

                def on_progress(what: str, position: int = position, key: str = image.key) -> None:
                    advance(f"{key}, {what}", position, len(loaded))

                comparison = compare_methods(
                    classifier,
                    image.pixels,
                    known.mask,
                    tuned.get(image.key),
                    source=make_engine(
                        classifier, engine, image=image.pixels, cache=cache_folder() / "engines"
                    ),
                    cache=cache,
                    rule=parsed,
                    seed=FIRST_FRESH_SEED,
                    stability_seeds=seeds - 1,
                    classes=classes,
                    cams=methods,
                    at_scale=image.at_scale,
                    on_progress=on_progress,
                )
                reliability = known.reliability
                compared[image.key] = ComparedImage(
                    key=image.key,
                    type=image.entry.type,
                    catalog_class=image.entry.class_name,
                    pixels=image.pixels,
                    class_names=tuple(
                        classifier.class_name(index) for index, _ in comparison.facts.top_classes
                    ),
                    reference=known.mask,
                    reference_rule=known.rule,
                    comparison=comparison,
                    reliability=None if reliability is None else reliability.score,
                    doubt="" if reliability is None else reliability.doubt,
                    class_name=classifier.class_name(
                        comparison.explanations[0].explanation.class_index
                    ),
                )
                add_compared_image(storage, number, position, compared[image.key])
                advance(image.key, position + 1, len(loaded))
    finally:
        cache.close()
    others = load.others_share()
    finish_comparison(storage, number, others)
    return replace(
        run,
        images=tuple(compared[image.key] for image in loaded),
        arguments={**run.arguments, "others_share": others},
    )


def _show_so_far(run: ComparisonRun, compared: Mapping[str, ComparedImage]) -> None:
    """Show the images that were compared before an interruption."""
    if compared:
        show_comparison(replace(run, images=tuple(compared.values())))


def _still_holds(
    recorded: ComparedImage,
    pixels: NDArray[np.uint8],
    reference: NDArray[np.bool_],
    tuned: LimeParameters | None,
) -> bool:
    """Whether a recorded comparison has the same picture, reference and tuned parameters."""
    was_tuned = [
        each.explanation.surrogate.parameters
        for each in recorded.comparison.explanations
        if each.explanation.method == LIME_TUNED and each.explanation.surrogate is not None
    ]
    return (
        was_tuned == [parameters for parameters in (tuned,) if parameters is not None]
        and np.array_equal(recorded.pixels, pixels)
        and np.array_equal(recorded.reference, reference)
    )


def _tuned(storage: str, study: str, workspace: Workplace) -> dict[str, LimeParameters]:
    """The best parameters by key; prints which images have none."""
    names = {key: f"{study}/{key}" for key in workspace.catalog.keys}
    best = best_parameters(storage, study)
    facts = study_attributes(storage, names.values())
    fingerprint = workspace.classifier.fingerprint
    for key in best:
        made_with = facts.get(f"{study}/{key}", {}).get("classifier", {})
        if key in names and made_with.get("sha256", fingerprint) != fingerprint:
            raise InvalidInput(
                f"study '{study}/{key}' was made with another classifier "
                f"({made_with.get('name')}): give its --model and --weights, or another --study"
            )
    missing = [key for key in names if key not in best]
    if missing:
        errors.print(
            f"lime-tuner: no tuned parameters in study '{study}' for {', '.join(missing)}: "
            "compared without; run lime-tuner tune to have them"
        )
    return {key: LimeParameters.from_json(best[key]) for key in names if key in best}


def _constraint_costs(storage: str, run: ComparisonRun) -> dict[str, ConstraintCost]:
    """By key, what the constraint of a study costs, for studies that have one."""
    keys = {image.key for image in run.images}
    known = study_attributes(storage, [f"{run.study}/{key}" for key in keys])
    if not any(attributes.get("constraints") for attributes in known.values()):
        return {}  # gathering would read every trial and the whole comparison
    costs = {s.key: s.constraint for s in gather(storage, run.study).studies if s.key in keys}
    return {key: cost for key, cost in costs.items() if cost is not None}
