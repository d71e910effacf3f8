"""``lime-tuner export`` and ``verify``: write a pickle for stock lime, and test one."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from explainers.errors import InvalidInput
from explainers.machine_load import LoadMeter, busy_sentence
from explainers.masks import MASK_RULE
from explainers.references import Reference
from studies.catalog import load_catalog
from studies.export import (
    FIRST_FRESH_SEED,
    ImageVerdict,
    VerificationCase,
    check_kwargs,
    explained_class,
    read_pickle,
    settings_digest,
    summary,
    verify_image,
)
from studies.queries import overview
from studies.records import add_verification
from studies.storage import DEFAULT_STORAGE, holds_studies
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.options import (
    AsJson,
    Calibrated,
    CatalogOption,
    CatalogOptions,
    ClassifierOptions,
    RecordOptions,
    ReferenceOptions,
    StorageOptions,
    StudyOptions,
    again,
    takes_groups,
)
from tuner.cli.output import (
    console,
    errors,
    shown_if_interrupted,
    table,
    work_progress,
    write_json,
)
from tuner.cli.results.exporting import check_made_with, made_with, run_export
from tuner.cli.results.front import choice_of
from tuner.cli.servers.calibration import known_calibration
from tuner.options import BUDGET, OUTPUT, WHAT

__all__ = ["export", "run_export", "run_verification", "show_verification", "verify"]

DEFAULT_PICKLE = Path("explain_params.pkl")


@takes_groups
def export(
    where: StudyOptions,
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    reference: ReferenceOptions,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The pickle to write.", rich_help_panel=OUTPUT)
    ] = DEFAULT_PICKLE,
    fill_defaults: Annotated[
        bool,
        typer.Option(
            "--fill-defaults",
            help="Lime's defaults for images without a result.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Of each study the best IoU within so many modelled seconds an image.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            help="Choose anew by another runtime weight.  [default: the study's own]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            help="image: each its own. catalog: what tune --scope catalog found, for all.  "
            "[default: image, or catalog where the study has nothing else]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    calibrated: Calibrated = None,
    as_json: AsJson = False,
) -> None:
    """Write the best parameters as a pickle for stock lime.

    One set for every image. --budget and --weight choose among the trials that are there, without a
    new search. Studies made with tune --pareto have looked for something good at every speed. The
    options that tune was given may stay: a --model that is not the studies' is refused, and the
    command that is suggested next has them, too.
    """
    prefix = where.study or load_catalog(catalog.catalog).name
    check_made_with(where.storage, prefix, classifier)
    written = run_export(
        where.storage,
        catalog_source=catalog.catalog,
        study=where.study,
        output=output,
        fill_defaults=fill_defaults,
        images=catalog.images,
        choice=choice_of(budget, weight),
        scope=scope,
    )
    if as_json:
        write_json({"file": str(output), "images": written})
    else:
        console.print(f"wrote {output}: parameters of {len(written)} images")
        classifier = made_with(where.storage, prefix, classifier)
        told = again(catalog, classifier, reference, _recorded(where.storage))
        told += "" if calibrated is None else f" --calibrated {shlex.quote(calibrated)}"
        console.print(f"next: lime-tuner verify {shlex.quote(str(output))}{told}", soft_wrap=True)


def _recorded(storage: str) -> RecordOptions:
    """The option with which ``verify`` records in a storage; it does in the default one anyway."""
    return RecordOptions(storage=None if storage == DEFAULT_STORAGE else storage)


@takes_groups
def verify(
    file: Annotated[Path, typer.Argument(help="A pickle of LIME parameters, anybody's.")],
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    reference: ReferenceOptions,
    record: RecordOptions,
    seeds: Annotated[
        int, typer.Option(help="Fresh explainer seeds per image.", rich_help_panel=BUDGET)
    ] = 5,
    baseline_seeds: Annotated[
        int | None,
        typer.Option(
            help="Seeds for lime's defaults in the same run; 0 leaves them out.  "
            "[default: 2, at most --seeds]",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    calibrated: Calibrated = None,
    as_json: AsJson = False,
) -> None:
    """Run stock lime with a pickle's parameters, and time it.

    In fresh processes, with fresh seeds, by the clock; lime's defaults beside it.
    """
    if seeds < 1 or (baseline_seeds is not None and baseline_seeds < 0):
        raise InvalidInput(f"--seeds {seeds}: give at least 1")
    document = read_pickle(file)  # before the classifier loads, so that a wrong path fails at once
    workspace = open_workplace(catalog, classifier)
    if catalog.images is not None:  # nothing is said about those that were not asked for
        others = {*load_catalog(catalog.catalog).keys} - {*workspace.catalog.keys}
        document = {key: kwargs for key, kwargs in document.items() if key not in others}
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
        console.print(
            f"next: {_after_verification(file, catalog, classifier, record)}", soft_wrap=True
        )


def _after_verification(
    file: Path, catalog: CatalogOptions, classifier: ClassifierOptions, record: RecordOptions
) -> str:
    """The command line that is suggested: a report where there are studies to report on."""
    url = record.storage or DEFAULT_STORAGE
    prefix = load_catalog(catalog.catalog).name
    if holds_studies(url) and overview(url, prefix):
        return "lime-tuner report" + again(
            CatalogOption(catalog=catalog.catalog), StorageOptions(storage=url)
        )
    return f"lime-tuner explain --params {shlex.quote(str(file))}{again(catalog, classifier)}"


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
    verdicts: list[ImageVerdict] = []
    defaults: list[ImageVerdict] = []
    fresh = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + seeds)
    baseline = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + baseline_seeds)
    load = LoadMeter()
    verified = partial(_show_verified, verdicts, defaults, seeds)
    with shown_if_interrupted(verified), work_progress("stock lime") as advance:
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


def _show_verified(
    verdicts: Sequence[ImageVerdict], defaults: Sequence[ImageVerdict], seeds: int
) -> None:
    """Show the images that were verified before an interruption."""
    if verdicts:
        result = {**summary(verdicts), "seeds": seeds, "reference": "interrupted"}
        of_defaults = {"defaults": summary(defaults)} if len(defaults) == len(verdicts) else {}
        show_verification({**result, **of_defaults})


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
        leave_out=("± seeds", "explained class"),
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
        "image", "explained class", *columns, *names.values(), leave_out=("explained class",),
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
