"""What ``lime-tuner tune`` shows at its end: the best of every image beside lime's defaults."""

from __future__ import annotations

from typing import Any

from explainers.errors import InvalidInput
from tuner.cli.output import console, table

__all__ = ["show_summary", "summary_of"]


def summary_of(storage: str, prefix: str, keys: list[str]) -> dict[str, Any]:
    """The document of ``tune --json`` from what is stored."""
    import optuna

    from studies.storage import open_storage
    from studies.study_summary import image_document, studies_document

    opened = open_storage(storage, write=False)
    images: dict[str, dict[str, Any]] = {}
    for key in keys:
        found = image_document(optuna.load_study(study_name=f"{prefix}/{key}", storage=opened))
        if found["best"] is None:
            raise InvalidInput(f"study '{prefix}/{key}' has no finished trial yet")
        images[key] = found | {"default": found["default"] or found["best"]}
    return studies_document(prefix, images)


def show_summary(summary: dict[str, Any]) -> None:
    """The same as a table; tuning seeds, modelled seconds."""
    shown = table(
        f"{summary['study']}: best against lime's defaults (tuning seeds, modelled seconds)",
        "image", "trials", "default IoU", "best IoU", "default s", "best s", "reliability",
    )  # fmt: skip
    totals = [0.0] * 4
    for key, found in summary["images"].items():
        best, default = found["best"], found["default"]
        values = [default["iou"], best["iou"], default["runtime_seconds"], best["runtime_seconds"]]
        totals = [t + v for t, v in zip(totals, values, strict=True)]
        shown.add_row(
            key, str(found["trials"]), f"{values[0]:.3f}", f"{values[1]:.3f}",
            f"{values[2]:.2f}", f"{values[3]:.2f}",
            "" if found["reliability"] is None else f"{found['reliability']:.2f}",
        )  # fmt: skip
    count = max(1, len(summary["images"]))
    means = [t / count for t in totals]
    shown.add_section()
    shown.add_row(
        "mean", "", f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:.2f}", f"{means[3]:.2f}"
    )
    console.print(shown)
