"""Makes samplers by name."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping

import optuna

from explainers.errors import InvalidInput
from tuner.problem import CatalogTask, Constraint, SearchSpace, SearchTask
from tuner.samplers.catalog import CatalogSampler
from tuner.samplers.ceiling import CeilingSampler, Search
from tuner.samplers.front import front_sampler

__all__ = ["SAMPLERS", "derived_seed", "make_sampler"]

_START_UP_TRIALS = 10

_Make = Callable[
    [SearchTask, SearchSpace, float, int, bool, Constraint | None], optuna.samplers.BaseSampler
]


def derived_seed(base: int, key: str, finished: int) -> int:
    """A seed for one process of one study.

    It depends on the number of finished trials, because with the first seed a resumed study would
    draw the start-up trials again.
    """
    digest = hashlib.sha256(f"{base}/{key}/{finished}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _ceiling(
    task: SearchTask,
    space: SearchSpace,
    weight: float,
    seed: int,
    pareto: bool,
    constraint: Constraint | None,
) -> optuna.samplers.BaseSampler:
    if isinstance(task, CatalogTask):
        return CatalogSampler(task, space, runtime_weight=weight, seed=seed)
    if pareto:
        return front_sampler(task, space, runtime_weight=weight, seed=seed, constraint=constraint)
    search = Search.of(task, space, weight, seed, constraint=constraint)
    return CeilingSampler(space, [search], seed)


def _tpe(
    task: SearchTask,
    space: SearchSpace,
    weight: float,
    seed: int,
    pareto: bool,
    constraint: Constraint | None,
) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, n_startup_trials=_START_UP_TRIALS
        )


def _random(
    task: SearchTask,
    space: SearchSpace,
    weight: float,
    seed: int,
    pareto: bool,
    constraint: Constraint | None,
) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: Mapping[str, _Make] = {"ceiling": _ceiling, "tpe": _tpe, "random": _random}
"""Functions of (task, space, runtime weight, seed, whether there are two objectives, constraint) by
name. Optuna's samplers take any number of objectives, and learn of a constraint by the scores."""


def make_sampler(
    name: str,
    task: SearchTask,
    space: SearchSpace,
    *,
    runtime_weight: float,
    base_seed: int,
    key: str,
    finished: int,
    pareto: bool = False,
    constraint: Constraint | None = None,
) -> optuna.samplers.BaseSampler:
    """A sampler for one study (Optuna's keep state and cannot be shared).

    Args:
        key: name of the study, which its seed depends on.
        finished: number of finished trials.
        pareto: whether the objectives are IoU and seconds instead of the score.
        constraint: what is taken off the score of settings that explain too little.

    Raises:
        InvalidInput: the name is unknown.
    """
    if name not in SAMPLERS:
        raise InvalidInput(f"sampler '{name}' is unknown: use one of {', '.join(SAMPLERS)}")
    # The ceiling sampler draws per trial number and must not change its seed on resuming.
    seed = derived_seed(base_seed, key, 0 if name == "ceiling" else finished)
    return SAMPLERS[name](task, space, runtime_weight, seed, pareto, constraint)
