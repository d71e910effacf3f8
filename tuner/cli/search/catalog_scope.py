"""``lime-tuner tune --scope catalog``: one setting for all images of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from studies.catalog.names import catalog_study
from studies.results.attributes import TRANSFER
from studies.storage import open_storage
from tuner.cli.output import console, errors, rounded, table, work_progress
from tuner.problem.spec import Machine, StudySpec
from tuner.tuning import result_of
from tuner.workers.catalog import run_catalog

__all__ = ["run_catalog_scope", "show_catalog_summary"]


def run_catalog_scope(prefix: str, specs: Sequence[StudySpec], machine: Machine) -> dict[str, Any]:
    """Search, and return the document of ``tune --scope catalog --json``.

    Args:
        prefix: prefix of the study's name.
    """
    open_storage(machine.storage).close()
    trials = specs[0].settings.trials
    with work_progress(prefix) as advance:
        best: list[float] = []

        def on_trial(trial: FrozenTrial) -> None:
            if trial.value is not None and trial.state.name == "COMPLETE":
                best[:] = [max([*best, float(trial.value)])]
            shown = f"best {best[0]:.3f}" if best else "starting"
            advance(shown, trial.number + 1, trials)

        def on_fold(done: int, of: int) -> None:
            advance("cross-validation", done, of)

        run_catalog(catalog_study(prefix), specs, machine, on_trial, on_fold)
    return catalog_summary(machine.storage, prefix)


def catalog_summary(storage: str, prefix: str) -> dict[str, Any]:
    """The result of a catalogue's study, as JSON values."""
    study = optuna.load_study(
        study_name=catalog_study(prefix), storage=open_storage(storage, write=False)
    )
    result = result_of(study)
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    return {
        "study": prefix,
        "scope": "catalog",
        "aggregate": study.user_attrs["aggregate"],
        "trials": result.trials,
        "pruned": result.pruned,
        **{
            name: {
                **found,
                "iou_per_image": trials[found["number"]].user_attrs.get("iou_per_image", {}),
            }
            for name, found in (("best", result.best), ("default", result.default))
        },
        "reference_areas": study.user_attrs.get("reference_areas", {}),
        "transfer": study.user_attrs.get(TRANSFER),
    }


def show_catalog_summary(summary: dict[str, Any]) -> None:
    """Show the summary as a table: IoU on tuning seeds, modelled seconds."""
    best, default = summary["best"], summary["default"]
    shown = table(
        f"{summary['study']}: one setting for {len(best['iou_per_image'])} images, chosen by "
        f"{summary['aggregate']} in {summary['trials']} trials (tuning seeds)",
        "image", "reference's share", "default IoU", "IoU",
    )  # fmt: skip
    # A mask of the whole picture has this IoU, so a setting must exceed it to mean anything.
    areas = summary["reference_areas"]
    for key, iou in sorted(best["iou_per_image"].items()):
        baseline = default["iou_per_image"].get(key)
        area = areas.get(key)
        shown.add_row(
            key,
            rounded(area, 3),
            rounded(baseline, 3),
            f"{iou:.3f}",
        )
    shown.add_section()
    mean_area = sum(areas.values()) / max(1, len(areas))
    shown.add_row("mean", f"{mean_area:.3f}", f"{default['iou']:.3f}", f"{best['iou']:.3f}")
    shown.add_row(
        "modelled seconds", "", f"{default['runtime_seconds']:.2f}",
        f"{best['runtime_seconds']:.2f}",
    )  # fmt: skip
    console.print(shown)
    if areas and best["iou"] <= mean_area:
        errors.print(
            f"marking every whole picture would have an IoU of {mean_area:.3f} here, no less than "
            "this setting: --aggregate q25 looks for one that is good where references are small"
        )
    transfer = summary["transfer"]
    if transfer is None:
        errors.print("--folds 5 shows how far this carries over to other images")
        return
    left_out, gap = transfer["left_out"], transfer["gap"]
    console.print(
        f"on images left out ({transfer['folds']} folds): IoU {left_out['mean']:.3f} "
        f"({left_out['low']:.3f} to {left_out['high']:.3f}); transfer gap {gap['mean']:+.3f} "
        f"({gap['low']:+.3f} to {gap['high']:+.3f}, 95 % bootstrap interval over "
        f"{gap['size']} images)"
    )
