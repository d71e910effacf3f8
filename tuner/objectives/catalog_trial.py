"""One trial of a catalogue's study: a setting, scored on every image and explainer seed in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from explainers.lime_parameters import LimeParameters
from tuner.objectives.draft import TrialDraft, failure_reason
from tuner.problem import CatalogTask, Rival, TuningSettings
from tuner.samplers import BestSoFar, paired

__all__ = ["best_so_far", "run_catalog_trial"]

_LEAST_INSTANCES = 5


def run_catalog_trial(
    trial: optuna.Trial,
    study: optuna.Study,
    task: CatalogTask,
    settings: TuningSettings,
    notes: Callable[[], Mapping[str, Any]] | None = None,
    replayed: Callable[[], int] = lambda: 0,
) -> float:
    """Suggest, refuse by the ceilings, explain instance by instance; the score.

    An instance is an image with an explainer seed; all images come with one seed before any comes
    with the next. The score is the aggregate over images of their mean IoU, minus the price of
    the mean runtime.

    Trials that carry ``lime_parameters`` from the start (lime's defaults) are never stopped.

    Args:
        notes: further attributes of the trial, asked for when it is stored.
        replayed: samples whose answers the proposal has seen on every image's first seed; asked
            for once the parameters are suggested. What is known to be worth a trial is not given
            up on the first few images.

    Raises:
        optuna.TrialPruned: it cannot beat the best trial; what it found is stored.
    """
    draft = TrialDraft.of(trial, task, settings.space)
    parameters, preset = draft.parameters, draft.preset
    foreseen = not preset and replayed() >= parameters.num_samples
    price = settings.runtime_weight * draft.ratio
    best = best_so_far(study, settings.runtime_weight)
    ious: dict[str, list[float]] = {}

    def value() -> float:
        return task.aggregate.of([float(np.mean(some)) for some in ious.values()]) - price

    def record(reason: str = "") -> float:
        """Store what was found so far; the score."""
        per_image = {key: float(np.mean(some)) for key, some in ious.items()}
        complete = min((len(some) for some in ious.values()), default=0)
        complete = complete if len(ious) == len(task.tasks) else 0
        draft.store(
            float(np.mean(list(per_image.values()))) if per_image else 0.0,
            [float(np.mean([some[seed] for some in ious.values()])) for seed in range(complete)],
            complete,
            reason=reason,
            extra={
                "iou_per_image": {key: round(v, 6) for key, v in per_image.items()},
                **({} if notes is None else notes()),
            },
        )
        return value() if ious else -price

    if draft.unusable:
        return record(draft.unusable)
    try:
        wanted = settings.seeds if not preset else min(settings.default_seeds, settings.seeds)
        seed = 0
        while seed < wanted:
            for key, one in task.tasks.items():
                ious.setdefault(key, []).append(one.iou(parameters, seed))
                if not preset and best is not None and not (foreseen and seed == 0):
                    why = _hopeless(task, parameters, ious, price, best, settings)
                    if why:
                        record(why)
                        raise optuna.TrialPruned
            trial.report(value(), step=seed)
            seed += 1
            wins = not preset and best is not None and value() > best.score
            if wins and seed == wanted and wanted < settings.confirm_seeds:
                wanted += 1  # it was chosen on the first seeds
    except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
        # scikit-learn refuses some combinations (NaN weights, say): worth nothing, not fatal.
        ious.clear()
        return record(failure_reason(error))
    return record()


def _hopeless(
    task: CatalogTask,
    parameters: LimeParameters,
    ious: Mapping[str, Sequence[float]],
    price: float,
    best: BestSoFar,
    settings: TuningSettings,
) -> str:
    """Why a setting cannot win any more; empty when it still can."""
    means = {key: float(np.mean(some)) for key, some in ious.items()}
    instances = sum(len(some) for some in ious.values())
    if len(means) < len(task.tasks):
        ceilings = [
            one.view(parameters.segmentation).ceiling(parameters.num_features)
            for key, one in task.tasks.items()
            if key not in means
        ]
        bound = task.aggregate.of([*means.values(), *ceilings])
        if bound - price < best.score:
            return f"ceilings allow {bound:.3f} after {len(means)} images"
    if instances < _LEAST_INSTANCES or task.aggregate.quantile is not None:
        return ""
    moved = paired({key: [v - price for v in some] for key, some in ious.items()}, best.per_image)
    if moved is not None and settings.stopping.after_seeds(moved, 0.0, Rival(best.score)):
        return f"cannot win after {instances} instances"
    return ""


def best_so_far(study: optuna.Study, weight: float) -> BestSoFar | None:
    """The best complete trial; ``None`` before there is one."""
    try:
        best = study.best_trial
    except ValueError:  # Optuna's way of saying that no trial is complete
        return None
    price = weight * float(best.user_attrs.get("runtime_ratio", 0.0))
    per_image = best.user_attrs.get("iou_per_image", {})
    return BestSoFar(study.best_value, {key: v - price for key, v in per_image.items()})
