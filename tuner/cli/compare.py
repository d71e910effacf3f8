"""``lime-tuner compare``: class activation maps against LIME, measured and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explainers.errors import InvalidInput
from tuner.cli import options
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.output import console, errors, table, work_progress, write_json
from tuner.cli.settings import setting

if TYPE_CHECKING:
    from explainers.lime_parameters import LimeParameters
    from studies.constraint_cost import ConstraintCost
    from studies.records import ComparedImage, ComparisonRun

__all__ = ["compare", "run_comparison", "show_comparison", "show_constraint_costs"]


def compare(
    catalog: options.Catalog = None,
    assets: options.Assets = None,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = None,
    cam_layer: options.CamLayer = None,
    engine: options.Engine = None,
    images: options.Images = None,
    study: options.Study = None,
    reference: options.ReferenceRule = None,
    rule: Annotated[
        str, typer.Option(help="Makes masks of all heat maps: a fraction of the maximum, top10 ...")
    ] = "0.3",
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="Heat maps; may be repeated.  [default: the usual three]"),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=2, help="Explainer seeds that stability is measured on.")
    ] = 3,
    classes: Annotated[
        int,
        typer.Option(min=1, max=5, help="Explain so many of each image's likeliest classes."),
    ] = 1,
    storage: options.Storage = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare Grad-CAM, Score-CAM, Ablation-CAM, LIME's defaults and tuned LIME on every image.

    Seconds, deletion and insertion, held-out R², stability, localisation, and how far the masks
    agree. Recorded beside the studies, for the report and anyone's SQL.
    """
    from explainers.comparison import CAMS
    from explainers.heat_map_rules import parse_heat_map_rule
    from explainers.heat_maps import check_method
    from studies.records import add_comparison
    from studies.storage import DEFAULT_STORAGE, open_storage

    methods = tuple(dict.fromkeys(method or CAMS))
    for name in methods:
        check_method(name)
    parse_heat_map_rule(rule)
    url = setting("storage", storage, DEFAULT_STORAGE)
    open_storage(url)  # a storage that cannot be written is told before the work
    place = open_workplace(
        catalog=catalog, assets=assets, model=model, weights=weights, device=device,
        cam_layer=cam_layer, images=images,
    )  # fmt: skip
    run = run_comparison(
        place,
        url,
        study=setting("study", study) or place.catalog.name,
        reference=setting("reference", reference),
        rule=rule,
        methods=methods,
        seeds=seeds,
        classes=classes,
        engine=setting("engine", engine, "auto"),
    )
    add_comparison(url, run)
    costs = _constraint_costs(url, run)
    if as_json:
        write_json(_document(run, costs))
    else:
        show_comparison(run)
        show_constraint_costs(costs)


def run_comparison(
    place: Workplace,
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
    """Explain and measure every image of a workplace; nothing is recorded.

    Tuned parameters are those of the best trials of the studies ``STUDY/KEY``.
    """
    from datetime import datetime, timezone

    from explainers.comparison import compare as compare_methods
    from explainers.engines import make_engine
    from explainers.heat_map_rules import parse_heat_map_rule
    from explainers.perturbation_bank import PerturbationBank
    from studies.assets import cache_folder
    from studies.records import ComparedImage, ComparisonRun
    from studies.verification import FIRST_FRESH_SEED
    from tuner.tuning import package_versions

    loaded = place.load_images()
    tuned = _tuned(storage, study, place)
    references = place.references(loaded, reference, judged=True)
    parsed, classifier = parse_heat_map_rule(rule), place.classifier
    bank = PerturbationBank(cache_folder() / "bank")
    compared: list[ComparedImage] = []
    try:
        with work_progress("comparing") as advance:
            for number, image in enumerate(loaded):
                known = references[image.key]

                def told(what: str, number: int = number, key: str = image.key) -> None:
                    advance(f"{key}, {what}", number, len(loaded))

                found = compare_methods(
                    classifier,
                    image.pixels,
                    known.mask,
                    tuned.get(image.key),
                    source=make_engine(
                        classifier, engine, image=image.pixels, cache=cache_folder() / "engines"
                    ),
                    bank=bank,
                    rule=parsed,
                    seed=FIRST_FRESH_SEED,
                    stability_seeds=seeds - 1,
                    classes=classes,
                    cams=methods,
                    at_scale=image.at_scale,
                    told=told,
                )
                judged = known.reliability
                compared.append(
                    ComparedImage(
                        key=image.key,
                        type=image.entry.type,
                        catalog_class=image.entry.class_name,
                        pixels=image.pixels,
                        class_names=tuple(
                            classifier.class_name(index) for index, _ in found.facts.top_classes
                        ),
                        reference=known.mask,
                        reference_rule=known.rule,
                        comparison=found,
                        reliability=None if judged is None else judged.score,
                        doubt="" if judged is None else judged.doubt,
                    )
                )
                advance(image.key, number + 1, len(loaded))
    finally:
        bank.close()
    return ComparisonRun(
        at=datetime.now(timezone.utc),
        catalog=place.catalog.name,
        study=study,
        classifier=classifier.name,
        classifier_sha256=classifier.fingerprint,
        device=str(classifier.device),
        seed=FIRST_FRESH_SEED,
        arguments={
            "rule": rule,
            "methods": list(methods),
            "seeds": seeds,
            "classes": classes,
            "engine": engine,
        },
        package_versions=package_versions(),
        images=tuple(compared),
    )


def _tuned(storage: str, study: str, place: Workplace) -> dict[str, LimeParameters]:
    """The best parameters by key; images without are told."""
    from explainers.lime_parameters import LimeParameters
    from studies.overview import best_parameters, study_attributes

    names = {key: f"{study}/{key}" for key in place.catalog.keys}
    found = best_parameters(storage, study)
    facts = study_attributes(storage, names.values())
    fingerprint = place.classifier.fingerprint
    for key in found:
        made_with = facts.get(f"{study}/{key}", {}).get("classifier", {})
        if key in names and made_with.get("sha256", fingerprint) != fingerprint:
            raise InvalidInput(
                f"study '{study}/{key}' was made with another classifier "
                f"({made_with.get('name')}): give its --model and --weights, or another --study"
            )
    missing = [key for key in names if key not in found]
    if missing:
        errors.print(
            f"lime-tuner: no tuned parameters in study '{study}' for {', '.join(missing)}: "
            "compared without; run lime-tuner tune to have them"
        )
    return {key: LimeParameters.from_json(found[key]) for key in names if key in found}


def _constraint_costs(storage: str, run: ComparisonRun) -> dict[str, ConstraintCost]:
    """What the studies' constraint costs, by key; of those that have one."""
    from studies.overview import study_attributes
    from studies.report.facts import gather

    keys = {image.key for image in run.images}
    known = study_attributes(storage, [f"{run.study}/{key}" for key in keys])
    if not any(attributes.get("constraints") for attributes in known.values()):
        return {}  # gathering reads every trial and the whole comparison
    found = {s.key: s.constraint for s in gather(storage, run.study).studies if s.key in keys}
    return {key: cost for key, cost in found.items() if cost is not None}


def _document(run: ComparisonRun, costs: Mapping[str, ConstraintCost]) -> dict[str, Any]:
    return {
        "study": run.study,
        "constraint": {
            key: {
                "iou": cost.iou,
                "iou_without": cost.free_iou,
                "refused": cost.refused,
                "reason": cost.reason,
            }
            for key, cost in costs.items()
        },
        "images": {
            image.key: {
                "type": image.type,
                "class": image.class_names[0],
                "complexity": {
                    "edge_density": image.comparison.facts.edge_density,
                    "entropy": image.comparison.facts.entropy,
                    "superpixels": image.comparison.facts.superpixels,
                },
                "measures": {
                    each.explanation.method: {
                        name: None if value != value else value  # JSON has no NaN
                        for name, value in each.measures.items()
                    }
                    for each in image.comparison.explanations
                },
                "agreement": {
                    f"{first} | {second}": iou
                    for (first, second), iou in image.comparison.agreement.items()
                    if first < second
                },
            }
            for image in run.images
        },
    }


def show_comparison(run: ComparisonRun) -> None:
    """Tables: measures by method, agreement of masks, types and complexity."""
    from explainers.measures import MEASURES
    from studies.analysis import (
        agreement_matrix,
        by_complexity,
        by_method,
        by_type,
        lost_fidelity,
        methods_of,
    )

    methods, count = methods_of(run), len(run.images)
    found = by_method(run)
    shown = table(f"mean over {count} images", "measure", "better", *methods)
    for name, measure in MEASURES.items():
        better = "higher" if measure.higher_is_better else "lower"
        cells = [found[m][name].mean for m in methods]
        shown.add_row(measure.title, better, *(_cell(value) for value in cells))
    console.print(shown)

    agreement = agreement_matrix(run)
    shown = table("IoU of masks, mean over images", "", *methods)
    for first in methods:
        shown.add_row(first, *(_cell(agreement[first, second].mean) for second in methods))
    console.print(shown)

    shown = table(
        "agreement of LIME with the heat maps, mean IoU",
        "", "animate", "inanimate", "difference", "p", "images",
    )  # fmt: skip
    for row in by_type(run):
        test = row.test
        shown.add_row(
            row.method, _cell(row.animate.mean), _cell(row.inanimate.mean),
            _cell(test.difference), _cell(test.p), f"{test.sizes[1]} + {test.sizes[0]}",
        )  # fmt: skip
    console.print(shown)
    shown = table("", "rank correlation of the agreement with", "explanation", "rho", "p", "images")
    for trend in by_complexity(run):
        shown.add_row(
            trend.complexity, trend.method, _cell(trend.found.rho), _cell(trend.found.p),
            str(trend.found.size),
        )  # fmt: skip
    console.print(shown)
    for image in run.images:
        for lost in lost_fidelity(image):
            console.print(f"{image.key}: the tuned explanation is less faithful: {lost}")


def show_constraint_costs(costs: Mapping[str, ConstraintCost]) -> None:
    """A table; nothing where no study has a constraint."""
    if not costs:
        return
    shown = table(
        "what the constraint on fidelity costs (IoU of the studies)",
        "image", "IoU", "IoU without, at least", "refused", "the best that was refused",
    )  # fmt: skip
    for key, cost in costs.items():
        shown.add_row(key, _cell(cost.iou), _cell(cost.free_iou), str(cost.refused), cost.reason)
    console.print(shown)


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
