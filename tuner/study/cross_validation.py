"""How well a catalogue's setting transfers: chosen without an image, what does it give there?"""

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

_FIRST_FRESH_SEED, _FRESH_SEEDS = 1_000_003, 3  # none that trials spend


@dataclass(frozen=True)
class Transfer:
    """What cross-validation over images has found.

    Attributes:
        tuned: IoU by key of the setting that was chosen with all images.
        left_out: of the setting that was chosen without the image.
        parameters: that the folds chose, as JSON texts.
    """

    folds: int
    tuned: dict[str, float]
    left_out: dict[str, float]
    parameters: tuple[str, ...]

    @property
    def gap(self) -> Interval:
        """By how much a setting does better on images that helped to choose it."""
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
    """Keys dealt out like cards, so that folds differ by one image at most.

    Raises:
        InvalidInput: fewer than two folds, or more than images.
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
    """Search anew without each fold's images, and score what is chosen on them.

    The searches share the cache, so most of their answers are there.

    Args:
        chosen: by the search with all images.
        on_progress: called with the folds that are done, and how many there are.
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
