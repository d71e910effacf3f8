"""What a new study tries first: what won on other images, or cheap settings that often do well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import optuna

from explainers.lime_parameters import LimeParameters
from explainers.segmentation import Segmentation
from tuner.objective import score
from tuner.search_space import SearchSpace
from tuner.task import SearchTask

__all__ = ["STARTERS", "enqueue_first", "enqueue_portfolio", "faithful_starters"]

_TRIED = 3

STARTERS: Sequence[LimeParameters] = tuple(
    LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=count, compactness=20, sigma=0),
        num_samples=64,
        top_labels=1,
    )
    for count in (8, 12, 18, 27)
)
"""A rival that costs 64 answers a seed, against which dear trials are stopped soon. For samplers
that start with random draws: on three photographs it halved what 40 trials of TPE cost."""


def enqueue_first(
    study: optuna.Study,
    task: SearchTask,
    space: SearchSpace,
    candidates: Iterable[LimeParameters],
    runtime_weight: float,
) -> int:
    """Enqueue the few that could do best here; ordinary trials, stopped like any other.

    Of all candidates those with the highest ceiling on this image's superpixels are taken, one for
    each superpixel algorithm and parameters. Looking costs no classifier answer.

    Returns:
        How many were enqueued.
    """
    hopeful: dict[object, tuple[float, str, dict[str, object]]] = {}
    for parameters in dict.fromkeys(candidates):
        values = space.trial_values(parameters)
        if values is None or parameters == LimeParameters():
            continue
        ceiling = task.view(parameters.segmentation).ceiling(parameters.num_features)
        upper = score(ceiling, task.runtime_ratio(parameters), runtime_weight)
        known = hopeful.get(parameters.segmentation)
        if known is None or known[0] < upper:
            origin = "starter" if parameters in STARTERS else "won on another image"
            hopeful[parameters.segmentation] = (upper, origin, values)
    chosen = sorted(hopeful.values(), key=lambda pair: -pair[0])[:_TRIED]
    for _, origin, values in chosen:
        study.enqueue_trial(values, user_attrs={"origin": origin})
    return len(chosen)


def faithful_starters(space: SearchSpace) -> list[LimeParameters]:
    """For ``--objective faithful``: even superpixels from coarse to fine, all of them weighed.

    A surrogate that may use every superpixel, fitted to several times as many samples, predicts
    best; which fineness and colour ranks best depends on the image.
    """
    samples = min(200, space.num_samples[1])
    return [
        LimeParameters(
            segmentation=Segmentation.of("slic", n_segments=count, compactness=20, sigma=0),
            hide_color=color,
            num_samples=samples,
            batch_size=5,
            top_labels=1,
        )
        for count, color in ((18, 0), (18, None), (33, 127), (33, 0), (10, None), (50, None))
    ]


def enqueue_portfolio(
    study: optuna.Study,
    space: SearchSpace,
    members: Iterable[LimeParameters],
    origin: str = "portfolio",
) -> int:
    """Enqueue every member that the space holds, in order; ordinary trials, like any other.

    Together they are worth more than each of them, so none is left out by its ceiling.

    Returns:
        How many were enqueued.
    """
    fitting = [values for one in members if (values := space.trial_values(one)) is not None]
    for values in fitting:
        study.enqueue_trial(values, user_attrs={"origin": origin})
    return len(fitting)
