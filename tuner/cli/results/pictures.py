"""``lime-tuner reference``, ``cam`` and ``explain``: pictures of a catalogue in folders."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from lime.lime_image import LimeImageExplainer

from explainers.cam import HEAT_MAP_METHODS, check_method, heat_map
from explainers.errors import InvalidInput
from explainers.images import heat_overlay, mask_overlay, save_png, superpixel_overlay
from explainers.lime import LimeParameters, explained_label, explanation_mask
from explainers.masks import intersection_over_union
from studies.export import check_kwargs, explained_class, read_pickle
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.options import (
    AsJson,
    CatalogOptions,
    ClassifierOptions,
    ReferenceOptions,
    takes_groups,
)
from tuner.cli.output import console, steps_within, table, work_progress, write_json
from tuner.options import OUTPUT, WHAT

if TYPE_CHECKING:
    from explainers.references import Reference
    from studies.catalog.assets import StudyImage

__all__ = ["cam", "explain", "reference", "write_explanations"]

OutputFolder = Annotated[
    Path,
    typer.Option("-o", "--output", help="Folder to write to.", rich_help_panel=OUTPUT),
]


@takes_groups
def reference(
    output: OutputFolder,
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    reference: ReferenceOptions,
    as_json: AsJson = False,
) -> None:
    """Write the reference masks and their overlays.

    They are KEY.png and overlays/KEY.png. Masks made from maps are judged: how far they can be
    trusted, in [0, 1], and why not.
    """
    check_folder(output)
    workspace = open_workplace(catalog, classifier)
    loaded = workspace.load_images()
    _check_apart(output, workspace, loaded)
    found = workspace.references(loaded, reference.reference, with_reliability=True)
    _check_apart(output, workspace, loaded, found.values())
    for image in loaded:
        mask = found[image.key].mask
        save_png(mask, output / f"{image.key}.png")
        save_png(mask_overlay(image.pixels, mask), output / "overlays" / f"{image.key}.png")
    if as_json:
        write_json(
            {
                key: {
                    "rule": r.rule, "sha256": r.sha256, "share": round(r.coverage, 4),
                    "reliability": None if r.reliability is None else r.reliability.to_json(),
                    "doubt": "" if r.reliability is None else r.reliability.doubt,
                }
                for key, r in found.items()
            }
        )  # fmt: skip
        return
    shown = table(f"masks and overlays in {output}", "image", "share", "reliability", "doubt")
    for key, r in found.items():
        reliability = ("", "") if r.reliability is None else (
            f"{r.reliability.score:.2f}", r.reliability.doubt
        )  # fmt: skip
        shown.add_row(key, f"{r.coverage:.2f}", *reliability)
    console.print(shown)


@takes_groups
def cam(
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="gradcam, scorecam, ...; may be repeated, or all.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    output: OutputFolder = Path("heatmaps"),
    as_json: AsJson = False,
) -> None:
    """Write class activation maps, as overlays and raw.

    They are METHOD/KEY.png and METHOD/KEY.npy. Score-CAM asks the classifier once per channel: some
    seconds an image.
    """
    methods = list(HEAT_MAP_METHODS) if method == ["all"] else (method or ["gradcam"])
    for name in methods:
        check_method(name)
    check_folder(output)
    workspace = open_workplace(catalog, classifier)
    loaded = workspace.load_images()
    written: list[str] = []
    total = len(methods) * len(loaded)
    with work_progress("heat maps") as advance:
        for name in methods:
            for image in loaded:
                done = len(written)
                found = heat_map(
                    workspace.classifier,
                    image.pixels,
                    name,
                    progress=steps_within(advance, f"{name} {image.key}", done, total),
                    at_scale=image.at_scale,
                )
                path = output / name / f"{image.key}.png"
                save_png(heat_overlay(image.pixels, found), path)
                np.save(path.with_suffix(".npy"), found)
                written.append(str(path))
                advance(f"{name} {image.key}", len(written), total)
    if as_json:
        write_json({"files": written})
    else:
        console.print(f"wrote {len(written)} heat maps to {output}")


@takes_groups
def explain(
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    reference: ReferenceOptions,
    params: Annotated[
        Path | None,
        typer.Option(
            "--params",
            help="A pickle of parameters; lime's defaults without it.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    output: OutputFolder = Path("explanations"),
    seed: Annotated[int, typer.Option(help="Seed of the explainer.", rich_help_panel=WHAT)] = 0,
    as_json: AsJson = False,
) -> None:
    """Write LIME pictures by stock lime.

    Mask overlays, superpixels, and weights as JSON. With --reference its outline is drawn in white
    and the IoU is reported.
    """
    document = None if params is None else read_pickle(params)
    check_folder(output)
    workspace = open_workplace(catalog, classifier)
    facts = write_explanations(workspace, document, output, seed, reference.reference)
    if as_json:
        write_json(facts)
    else:
        console.print(f"wrote {len(facts)} explanations to {output}")


def write_explanations(
    workspace: Workplace,
    document: dict[str, dict[str, Any]] | None,
    output: Path,
    seed: int,
    reference: str | None,
) -> dict[str, Any]:
    """Explain every image by stock lime, write its pictures, and return facts by key.

    Args:
        document: keyword arguments for lime by key; ``None`` for lime's defaults.
        reference: rule of the reference to draw and to compare with; ``None`` for none.

    Raises:
        InvalidInput: the parameters cannot be used, or the folder holds photographs or masks.
    """
    if document is not None:
        fatal = [c for c in check_kwargs(document, workspace.catalog.keys, graded=False) if c.fatal]
        if fatal:
            raise InvalidInput(f"the parameters cannot be used: {fatal[0]}")
    loaded = workspace.load_images()
    _check_apart(output, workspace, loaded)
    known = {} if reference is None else workspace.references(
        loaded, reference, lambda image: explained_class((document or {}).get(image.key, {}))
    )  # fmt: skip
    _check_apart(output, workspace, loaded, known.values())
    facts: dict[str, Any] = {}
    with work_progress("explaining") as advance:
        for number, image in enumerate(loaded):
            advance(image.key, number, len(loaded))
            kwargs = LimeParameters().as_kwargs() if document is None else document[image.key]
            start = time.perf_counter()
            explanation = LimeImageExplainer(random_state=seed).explain_instance(
                image.pixels, workspace.classifier.predict_proba, **kwargs
            )
            seconds = time.perf_counter() - start
            label = explained_label(explanation)
            mask = explanation_mask(explanation)
            shown = known[image.key].mask if image.key in known else None
            save_png(mask_overlay(image.pixels, mask, reference=shown), output / f"{image.key}.png")
            save_png(
                superpixel_overlay(image.pixels, explanation.segments, mask),
                output / "superpixels" / f"{image.key}.png",
            )
            np.save(output / f"{image.key}.npy", mask)
            weights = [[int(s), float(w)] for s, w in explanation.local_exp[label]]
            facts[image.key] = {
                "label": workspace.classifier.class_name(label),
                "superpixels": len(np.unique(explanation.segments)),
                "surrogate_r2": float(explanation.score),
                "seconds": round(seconds, 3),
                "weights": weights,
            }
            if shown is not None:
                facts[image.key]["iou"] = intersection_over_union(mask, shown)
            (output / f"{image.key}.json").write_text(json.dumps(facts[image.key], indent=2))
    return facts


def check_folder(output: Path) -> None:
    """Make a folder if it does not exist.

    Raises:
        InvalidInput: it is a file, or cannot be made.
    """
    if output.exists() and not output.is_dir():
        raise InvalidInput(f"{output} is a file: give a folder with -o")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"folder {output} cannot be made ({error.strerror})") from error


def _check_apart(
    output: Path,
    workspace: Workplace,
    images: Sequence[StudyImage],
    masks: Iterable[Reference] = (),
) -> None:
    """Refuse to write pictures into the folder of the photographs or over masks.

    Written pictures are named by key, so they could replace photographs or be read as such later.

    Raises:
        InvalidInput: the folder holds photographs of the catalogue, or masks with such names.
    """
    home = workspace.catalog.folder or Path()
    photographs = [image.path for image in images if image.path is not None]
    read = [Path(mask.rule) for mask in masks]
    read += [home / image.entry.mask for image in images if image.entry.mask is not None]
    keys = {image.key for image in images}
    over = [path for path in read if path.stem in keys and path.is_file()]
    for what, files in (("photographs", photographs), ("masks", over)):
        if any(file.parent.samefile(output) for file in files):
            raise InvalidInput(
                f"{output} is the folder of the {what}, where what is written would overwrite "
                "them or be mixed with them: give another folder with -o"
            )
