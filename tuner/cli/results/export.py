"""``lime-tuner export`` and ``verify``: write a pickle for stock lime, and test one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from explainers.machine_load import LoadMeter, busy_sentence
from explainers.masks import MASK_RULE
from explainers.messages import shortened
from explainers.references import Reference
from studies.catalog import load_catalog
from studies.catalog.names import CATALOG_KEY, catalog_study
from studies.export import (
    FIRST_FRESH_SEED,
    VerificationCase,
    check_kwargs,
    explained_class,
    export_pickle,
    read_pickle,
    settings_digest,
    summary,
    ungraded,
    verify_image,
)
from studies.queries import best_parameters, overview, study_attributes
from studies.records import add_verification
from studies.results.attributes import LABELS
from studies.storage import DEFAULT_STORAGE, describe, holds_studies
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.options import (
    AsJson,
    Calibrated,
    CatalogOption,
    CatalogOptions,
    ClassifierOptions,
    RecordOptions,
    ReferenceOptions,
    StudyOptions,
    takes_groups,
)
from tuner.cli.output import console, errors, table, work_progress, write_json
from tuner.cli.results.front import choice_of
from tuner.cli.servers.calibration import known_calibration

if TYPE_CHECKING:
    from studies.results.front import Choice

__all__ = ["export", "run_export", "run_verification", "show_verification", "verify"]

DEFAULT_PICKLE = Path("explain_params.pkl")


@takes_groups
def export(
    where: StudyOptions,
    catalog: CatalogOption,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The pickle to write.")
    ] = DEFAULT_PICKLE,
    fill_defaults: Annotated[
        bool,
        typer.Option("--fill-defaults", help="Lime's defaults for images without a result."),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(help="Of each study the best IoU within so many modelled seconds an image."),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(help="Choose anew by another runtime weight.  [default: the study's own]"),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            help="image: each its own. catalog: what tune --scope catalog found, for all.  "
            "[default: image, or catalog where the study has nothing else]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the best parameters of every image as a pickle for stock lime.

    --budget and --weight choose among the trials that are there, without a new search. Studies made
    with tune --pareto have looked for something good at every speed.
    """
    written = run_export(
        where.storage,
        catalog_source=catalog.catalog,
        study=where.study,
        output=output,
        fill_defaults=fill_defaults,
        choice=choice_of(budget, weight),
        scope=scope,
    )
    if as_json:
        write_json({"file": str(output), "images": written})
    else:
        console.print(f"wrote {output}: parameters of {len(written)} images")


def run_export(
    storage: str,
    *,
    catalog_source: str,
    study: str | None,
    output: Path,
    fill_defaults: bool,
    choice: Choice | None = None,
    scope: str | None = None,
) -> dict[str, str]:
    """Write the pickle, and return the parameters by key, as JSON texts.

    Args:
        choice: how a trial of each study is chosen; ``None`` for the best.
        scope: ``image`` or ``catalog``; ``None`` for ``image``, or ``catalog`` if the study has
            nothing else.

    Raises:
        InvalidInput: an image of the catalogue has no finished trial, or none that fits the choice.
    """
    labels: dict[str, int] = {}
    catalog = load_catalog(catalog_source)
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


@takes_groups
def verify(
    file: Annotated[Path, typer.Argument(help="A pickle of LIME parameters, anybody's.")],
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    reference: ReferenceOptions,
    record: RecordOptions,
    seeds: Annotated[int, typer.Option(help="Fresh explainer seeds per image.")] = 5,
    baseline_seeds: Annotated[
        int | None,
        typer.Option(
            help="Seeds for lime's defaults in the same run; 0 leaves them out.  "
            "[default: 2, at most --seeds]"
        ),
    ] = None,
    calibrated: Calibrated = None,
    as_json: AsJson = False,
) -> None:
    """Run stock lime with a pickle's parameters: fresh process, fresh seeds, real clock."""
    if seeds < 1 or (baseline_seeds is not None and baseline_seeds < 0):
        raise InvalidInput(f"--seeds {seeds}: give at least 1")
    document = read_pickle(file)  # before the classifier loads, so that a wrong path fails at once
    workspace = open_workplace(catalog, classifier)
    result = run_verification(
        workspace,
        file,
        document,
        reference=reference.reference,
        seeds=seeds,
        baseline_seeds=min(seeds, 2) if baseline_seeds is None else baseline_seeds,
        storage=record.storage,
        calibrated=calibrated,
    )
    if as_json:
        write_json(result)
    else:
        show_verification(result)


def run_verification(
    workspace: Workplace,
    file: Path,
    document: dict[str, dict[str, Any]],
    *,
    reference: str | None,
    seeds: int,
    baseline_seeds: int,
    storage: str | None,
    calibrated: str | None = None,
) -> dict[str, Any]:
    """Run stock lime, and return the document of ``verify --json``.

    It has an entry ``defaults`` if these were measured, too.

    Args:
        calibrated: name of a calibration, whose mask rule is used if it has one.

    Raises:
        InvalidInput: the pickle has something that stock lime cannot work with, or there is no
            such calibration.
    """
    complaints = check_kwargs(document, workspace.catalog.keys, graded=False)
    for complaint in complaints:
        errors.print(f"{file.name}: {complaint}")
    fatal = [complaint for complaint in complaints if complaint.fatal]
    if fatal:
        raise InvalidInput(
            f"{file} cannot be verified, {len(fatal)} entries are wrong; the first: {fatal[0]}"
        )
    url = storage or DEFAULT_STORAGE
    mask_rule = MASK_RULE
    if calibrated is not None:
        mask_rule = known_calibration(url, calibrated).mask_rule or MASK_RULE
    loaded = workspace.load_images()
    blind = reference is None and workspace.has_no_reference
    references = (
        {image.key: Reference.none(image.pixels.shape[:2]) for image in loaded}
        if blind
        else workspace.references(
            loaded, reference, lambda image: explained_class(document[image.key])
        )
    )
    rule = reference or workspace.catalog.reference
    objects = {} if blind or rule == "masks" else workspace.object_masks(loaded)
    spec = workspace.classifier.spec
    assert spec is not None
    verdicts, defaults = [], []
    fresh = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + seeds)
    baseline = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + baseline_seeds)
    load = LoadMeter()
    with work_progress("stock lime") as advance:
        for number, image in enumerate(loaded):
            advance(image.key, number, len(loaded))
            case = VerificationCase(
                key=image.key,
                image=image.pixels,
                reference=references[image.key].mask,
                kwargs=document[image.key],
                classifier_spec=spec,
                mask_rule=mask_rule,
                has_reference=not blind,
                object_mask=objects.get(image.key),
            )
            verdict, baseline_verdict = verify_image(case, fresh, baseline)
            verdicts.append(verdict)
            if baseline_verdict is not None:
                defaults.append(baseline_verdict)
    numbered = [verdict.key for verdict in verdicts if verdict.never_hidden]
    if numbered:
        errors.print(
            f"{file.name}: {', '.join(numbered)}: the superpixels are not numbered from 0, so lime "
            "never hides the last one, and a feature has no pixel: give slic start_label=0",
            markup=False,
        )
    others = load.others_share()
    busy = busy_sentence(others)
    if busy is not None:
        errors.print(busy)
    result = summary(verdicts)
    if defaults:
        result["defaults"] = summary(defaults)
    result["seeds"] = seeds
    result["others_share"] = None if others is None else round(others, 3)
    result["reference"] = "none" if blind else rule
    # Reports show IoU and seconds of verifications, so record it beside studies, if there are any.
    if holds_studies(url) and not blind:
        add_verification(
            url,
            pickle_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            catalog=workspace.catalog.name,
            classifier_sha256=workspace.classifier.fingerprint,
            reference=result["reference"],
            seeds=seeds,
            result=result,
            settings={image.key: settings_digest(document[image.key]) for image in loaded},
        )
    return result


def show_verification(result: dict[str, Any]) -> None:
    """Show the result as a table: stock lime, fresh seeds, wall-clock seconds."""
    defaults = result.get("defaults")
    if result["avg_iou"] is None:
        _show_faithfulness(result, defaults)
        return
    columns = ["image", "explained class"]
    columns += ["default IoU", "default s"] if defaults else []
    columns += ["IoU", "± seeds", "s"]
    shown = table(
        f"stock lime, {result['seeds']} fresh seeds, real clock, against {result['reference']}",
        *columns,
    )
    for key, image in result["images"].items():
        baseline = defaults["images"][key] if defaults else None
        row = [key, image["label"]]
        row += [f"{baseline['iou']:.3f}", f"{baseline['time']:.2f}"] if baseline else []
        shown.add_row(
            *row, f"{image['iou']:.3f}", f"{image['iou_std']:.3f}", f"{image['time']:.2f}"
        )
    shown.add_section()
    row = ["mean", ""]
    row += [f"{defaults['avg_iou']:.3f}", f"{defaults['avg_time']:.2f}"] if defaults else []
    shown.add_row(*row, f"{result['avg_iou']:.3f}", "", f"{result['avg_time']:.2f}")
    console.print(shown)
    if defaults:
        console.print(
            f"IoU {result['avg_iou'] - defaults['avg_iou']:+.3f} against lime's defaults, "
            f"{defaults['avg_time'] / result['avg_time']:.1f} times faster"
        )
    if "avg_object_iou" in result:
        before = f" ({defaults['avg_object_iou']:.3f} with lime's defaults)" if defaults else ""
        console.print(f"IoU with the catalogue's own masks {result['avg_object_iou']:.3f}{before}")


def _show_faithfulness(result: dict[str, Any], defaults: dict[str, Any] | None) -> None:
    """Show the result of a verification without reference: faithfulness instead of IoU."""
    names = {"r2": "R²", "insertion_minus_deletion": "insertion − deletion", "time": "s"}
    columns = [f"default {title}" for title in names.values()] if defaults else []
    shown = table(
        f"stock lime, {result['seeds']} fresh seeds, real clock, no reference",
        "image", "explained class", *columns, *names.values(),
    )  # fmt: skip
    for key, image in result["images"].items():
        both = [*([defaults["images"][key]] if defaults else []), image]
        shown.add_row(
            key, image["label"], *(f"{each[name]:.3f}" for each in both for name in names)
        )
    shown.add_section()
    both = [*([defaults] if defaults else []), result]
    shown.add_row("mean", "", *(f"{each[f'avg_{name}']:.3f}" for each in both for name in names))
    console.print(shown)
