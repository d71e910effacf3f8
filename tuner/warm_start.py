"""What won on the other images of a catalogue, to be tried early on the next one."""

from __future__ import annotations

from collections.abc import Iterable

import optuna

from explainers.lime_parameters import LimeParameters
from tuner.objective import score
from tuner.search_space import SearchSpace
from tuner.task import TuningTask

__all__ = ["enqueue_winners"]

_TRIED = 3


def enqueue_winners(
    study: optuna.Study,
    task: TuningTask,
    space: SearchSpace,
    winners: Iterable[LimeParameters],
    runtime_weight: float,
) -> int:
    """Enqueue the few winners that could do best here; ordinary trials, stopped like any other.

    Of all winners those with the highest ceiling on this image's superpixels are taken, one for
    each superpixel algorithm and parameters. Looking costs no classifier answer.

    Returns:
        How many were enqueued.
    """
    hopeful: dict[object, tuple[float, dict[str, object]]] = {}
    for parameters in dict.fromkeys(winners):
        values = space.trial_values(parameters)
        if values is None or parameters == LimeParameters():
            continue
        ceiling = task.view(parameters.segmentation).ceiling(parameters.num_features)
        upper = score(ceiling, task.runtime_ratio(parameters), runtime_weight)
        known = hopeful.get(parameters.segmentation)
        if known is None or known[0] < upper:
            hopeful[parameters.segmentation] = (upper, values)
    chosen = sorted(hopeful.values(), key=lambda pair: -pair[0])[:_TRIED]
    for _, values in chosen:
        study.enqueue_trial(values, user_attrs={"origin": "won on another image"})
    return len(chosen)
