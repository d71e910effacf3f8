"""``lime-tuner compare --other STUDY``: do two objectives choose alike?"""

from __future__ import annotations

from typing import Any

from explainers.engines import make_engine
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, PredictionCache
from studies.catalog.assets import cache_folder
from studies.export import FIRST_FRESH_SEED
from studies.queries import best_parameters
from tuner.cli.context import Workplace
from tuner.cli.output import console, table, work_progress
from tuner.objectives import Alike, alike, mean_alike
from tuner.problem import TuningTask
from tuner.runtime.calibration import runtime_model_for

__all__ = ["compare_objectives", "show_objectives"]


def compare_objectives(
    workspace: Workplace,
    storage: str,
    prefixes: tuple[str, str],
    reference: str | None,
    seeds: int,
    engine: str,
) -> dict[str, Any]:
    """Compare the best settings of two study prefixes on the images that have both.

    Raises:
        InvalidInput: no image of the catalogue has both, or two studies explain different classes.
    """
    first, second = (best_parameters(storage, prefix) for prefix in prefixes)
    keys = [key for key in workspace.catalog.keys if key in first and key in second]
    if not keys:
        raise InvalidInput(
            f"no image of the catalogue has finished trials in both {prefixes[0]}/… and "
            f"{prefixes[1]}/…: run lime-tuner tune for both objectives"
        )
    chosen = {
        key: (LimeParameters.from_json(first[key]), LimeParameters.from_json(second[key]))
        for key in keys
    }
    for key, (one, other) in chosen.items():
        if one.label != other.label:
            raise InvalidInput(
                f"the studies of '{key}' explain different classes: compare studies of one --target"
            )
    loaded = [image for image in workspace.load_images() if image.key in keys]
    references = workspace.references(loaded, reference, lambda image: chosen[image.key][0].label)
    source = make_engine(
        workspace.classifier, engine, image=loaded[0].pixels, cache=cache_folder() / "engines"
    )
    cache = PredictionCache(cache_folder() / "bank")
    found: dict[str, Alike] = {}
    try:
        with work_progress("comparing") as advance:
            for number, image in enumerate(loaded):
                advance(image.key, number, len(loaded))
                task = TuningTask(
                    image=image.pixels,
                    source=source,
                    reference=references[image.key],
                    cache=cache,
                    runtime_model=runtime_model_for(workspace.classifier, image.pixels),
                    class_index=chosen[image.key][0].label,
                )
                found[image.key] = alike(
                    task,
                    *chosen[image.key],
                    range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + seeds),
                )
    finally:
        cache.close()
    return {
        "studies": list(prefixes),
        "images": {key: each.to_json() for key, each in found.items()},
        "mean": mean_alike(found),
    }


def show_objectives(document: dict[str, Any]) -> None:
    """Show the document as a table."""
    first, second = document["studies"]
    shown = table(
        f"{first} against {second}: best settings, fresh seeds", "image", "IoU of the masks",
        f"IoU, {first}", f"IoU, {second}", f"faithful, {first}", f"faithful, {second}",
    )  # fmt: skip
    for key, found in document["images"].items():
        shown.add_row(
            key,
            f"{found['masks']:.3f}",
            *(f"{iou:.3f}" for iou in found["iou"]),
            *(f"{each['value']:.3f}" for each in found["faithful"]),
        )
    shown.add_section()
    shown.add_row("mean", *(f"{value:.3f}" for value in document["mean"].values()))
    console.print(shown)
