"""What a new study tries first: what won on other images, or cheap settings that often do well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import optuna

from explainers.lime_parameters import LimeParameters
from explainers.segmentation import Segmentation
from tuner.objectives import score
from tuner.problem import SearchSpace, SearchTask

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
        if values is None or parameters.are_default:
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
    """For ``--objective faithful``: settings of 13 to 40 superpixels, all of them weighed.

    A surrogate that may use every superpixel, fitted to several times as many samples, predicts
    best; which superpixels rank best depends on the image. Of 44 settings with 240 samples, on five
    photographs, these were the best on one or another in both, held-out R² and insertion minus
    deletion, relative to lime's defaults (the uneven ones with 60 segments, which the grid lacks).
    """
    samples = min(400, space.num_samples[1])  # few trials, so that each had better be certain
    even = {count: Segmentation.of("slic", n_segments=count, compactness=20, sigma=0)
            for count in (15, 27, 40)}  # fmt: skip
    uneven = Segmentation.of("slic", n_segments=50, compactness=5, sigma=0)
    coarse = Segmentation.of("felzenszwalb", scale=100, sigma=1.0, min_size=300)
    return [
        LimeParameters(
            segmentation=segmentation,
            hide_color=color,
            num_samples=samples,
            batch_size=5,
            top_labels=1,
        )
        for segmentation, color in (
            (even[40], None), (even[27], None), (even[15], 127), (uneven, 127), (coarse, 127),
            (even[27], 127), (even[40], 127), (even[15], None),
        )
    ]  # fmt: skip


def enqueue_portfolio(
    study: optuna.Study,
    space: SearchSpace,
    members: Iterable[LimeParameters],
    origin: str = "portfolio",
    most: int | None = None,
) -> int:
    """Enqueue every member that the space holds, in order; ordinary trials, like any other.

    Together they are worth more than each of them, so none is left out by its ceiling.

    Args:
        most: how many at most; all by default.

    Returns:
        How many were enqueued.
    """
    fitting = [values for one in members if (values := space.trial_values(one)) is not None]
    enqueued = fitting[:most]
    for values in enqueued:
        study.enqueue_trial(values, user_attrs={"origin": origin})
    return len(enqueued)
