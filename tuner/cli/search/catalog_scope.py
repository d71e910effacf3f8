"""``lime-tuner tune --scope catalog``: one setting for all images of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from explainers.errors import InvalidInput
from studies.catalog.names import catalog_study
from studies.results.attributes import TRANSFER
from studies.results.summary import summarise
from studies.storage import open_storage
from tuner.cli.output import (
    console,
    errors,
    rounded,
    shown_if_interrupted,
    table,
    work_progress,
)
from tuner.problem.spec import Machine, StudySpec
from tuner.workers.catalog import run_catalog

__all__ = ["run_catalog_scope", "show_catalog_summary"]


def run_catalog_scope(prefix: str, specs: Sequence[StudySpec], machine: Machine) -> dict[str, Any]:
    """Search, and return the document of ``tune --scope catalog --json``.

    Args:
        prefix: prefix of the study's name.
    """
    open_storage(machine.storage).close()
    trials = specs[0].settings.trials
    so_far = partial(_show_so_far, machine.storage, prefix)
    with shown_if_interrupted(so_far), work_progress(prefix) as advance:
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


def _show_so_far(storage: str, prefix: str) -> None:
    """Show the summary of an interrupted study; nothing if it has no finished trial."""
    with suppress(InvalidInput, KeyError):  # Optuna's KeyError: it was not even made
        show_catalog_summary(catalog_summary(storage, prefix))


def catalog_summary(storage: str, prefix: str) -> dict[str, Any]:
    """The result of a catalogue's study, as JSON values.

    ``default`` is ``None`` where lime's defaults were not tried.

    Raises:
        InvalidInput: the study has no finished trial.
    """
    study = optuna.load_study(
        study_name=catalog_study(prefix), storage=open_storage(storage, write=False)
    )
    found = summarise(study)
    if found is None:
        raise InvalidInput(f"study '{study.study_name}' has no finished trial yet")
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}

    def of_trial(trial: dict[str, Any]) -> dict[str, Any]:
        per_image = trials[trial["number"]].user_attrs.get("iou_per_image", {})
        return {**trial, "iou_per_image": per_image}

    return {
        "study": prefix,
        "scope": "catalog",
        "aggregate": study.user_attrs["aggregate"],
        "trials": found.trials,
        "pruned": found.pruned,
        "best": of_trial(found.best),
        "default": of_trial(found.default) if found.compared else None,
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
        baseline = default and default["iou_per_image"].get(key)
        shown.add_row(key, rounded(areas.get(key), 3), rounded(baseline, 3), f"{iou:.3f}")
    shown.add_section()
    mean_area = sum(areas.values()) / max(1, len(areas))
    for name, area, value, digits in (
        ("mean", f"{mean_area:.3f}", "iou", 3), ("modelled seconds", "", "runtime_seconds", 2),
    ):  # fmt: skip
        baseline = default and default[value]
        shown.add_row(name, area, rounded(baseline, digits), rounded(best[value], digits))
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
