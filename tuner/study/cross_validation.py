"""Cross-validation over images: how well does a setting do on images it was not chosen on?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from studies.results.statistics import Interval
from studies.results.statistics import mean as mean_of
from tuner.problem import CatalogTask, TuningSettings
from tuner.study.catalog import run_catalog_study, values_on

__all__ = ["Transfer", "cross_validate", "folds_of"]

_FIRST_FRESH_SEED, _FRESH_SEEDS = 1_000_003, 3  # explainer seeds that no trial uses


@dataclass(frozen=True)
class Transfer:
    """The result of cross-validation over images.

    Attributes:
        folds: number of folds.
        tuned: mean IoU by key, of the setting that was chosen with all images.
        left_out: mean IoU by key, of the setting that was chosen without the image.
        parameters: the settings that the folds chose, as JSON texts.
    """

    folds: int
    tuned: dict[str, float]
    left_out: dict[str, float]
    parameters: tuple[str, ...]

    @property
    def gap(self) -> Interval:
        """How much higher the IoU is on images that helped to choose the setting."""
        return mean_of([self.tuned[key] - found for key, found in self.left_out.items()])

    def to_json(self) -> dict[str, Any]:
        return {
            "folds": self.folds,
            "tuned": asdict(mean_of(list(self.tuned.values()))),
            "left_out": asdict(mean_of(list(self.left_out.values()))),
            "gap": asdict(self.gap),
            "images": {k: [round(self.tuned[k], 6), round(v, 6)] for k, v in self.left_out.items()},
            "parameters": list(self.parameters),
        }


def folds_of(keys: Sequence[str], folds: int) -> list[tuple[str, ...]]:
    """Deal the keys to folds in turn, so that their sizes differ by one at most.

    Raises:
        InvalidInput: fewer than two folds, or more folds than images.
    """
    if not 2 <= folds <= len(keys):
        raise InvalidInput(f"--folds {folds}: give 2 to {len(keys)}, the number of images")
    return [tuple(keys[start::folds]) for start in range(folds)]


def cross_validate(
    task: CatalogTask,
    settings: TuningSettings,
    chosen: LimeParameters,
    folds: int,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Transfer:
    """For each fold, search without its images, and score the chosen setting on them.

    The searches share the task's cache, so most of their predictions are there already.

    Args:
        chosen: the setting that the search with all images chose.
        on_progress: called with the number of folds done and the number of folds.
    """
    seeds = range(_FIRST_FRESH_SEED, _FIRST_FRESH_SEED + _FRESH_SEEDS)
    left_out: dict[str, float] = {}
    found: list[str] = []
    parts = folds_of(list(task.tasks), folds)
    for number, part in enumerate(parts):
        on_progress(number, folds)
        study = optuna.create_study(
            study_name=f"fold {number}",
            direction="maximize",
            pruner=optuna.pruners.NopPruner(),
        )
        rest = task.among([key for key in task.tasks if key not in part])
        result = run_catalog_study(study, rest, replace(settings, beyond=False, answers=None))
        left_out |= values_on(task.among(part), result.parameters, seeds)
        found.append(result.parameters.to_json())
    on_progress(folds, folds)
    return Transfer(folds, values_on(task, chosen, seeds), left_out, tuple(found))
