"""Makes samplers by name."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna

from explainers.errors import InvalidInput
from tuner.problem import CatalogTask, Constraint, SearchSpace, SearchTask
from tuner.samplers.catalog import CatalogSampler
from tuner.samplers.ceiling import CeilingSampler, Search
from tuner.samplers.front import front_sampler

__all__ = ["SAMPLERS", "SamplerRequest", "derived_seed", "make_sampler"]

_START_UP_TRIALS = 10


@dataclass(frozen=True, eq=False)
class SamplerRequest:
    """What a sampler is made for.

    Attributes:
        weight: the study's runtime weight.
        pareto: whether the objectives are IoU and seconds instead of the score.
        constraint: what is taken off the score of settings that explain too little.
    """

    task: SearchTask
    space: SearchSpace
    weight: float
    seed: int
    pareto: bool = False
    constraint: Constraint | None = None


def derived_seed(base: int, key: str, finished: int) -> int:
    """A seed for one process of one study.

    It depends on the number of finished trials, because with the first seed a resumed study would
    draw the start-up trials again.
    """
    digest = hashlib.sha256(f"{base}/{key}/{finished}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _ceiling(asked: SamplerRequest) -> optuna.samplers.BaseSampler:
    task, space, weight, seed = asked.task, asked.space, asked.weight, asked.seed
    if isinstance(task, CatalogTask):
        return CatalogSampler(task, space, runtime_weight=weight, seed=seed)
    if asked.pareto:
        return front_sampler(
            task, space, runtime_weight=weight, seed=seed, constraint=asked.constraint
        )
    search = Search.of(task, space, weight, seed, constraint=asked.constraint)
    return CeilingSampler(space, [search], seed)


def _tpe(asked: SamplerRequest) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=asked.seed, multivariate=True, group=True, n_startup_trials=_START_UP_TRIALS
        )


def _random(asked: SamplerRequest) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=asked.seed)


SAMPLERS: Mapping[str, Callable[[SamplerRequest], optuna.samplers.BaseSampler]] = {
    "ceiling": _ceiling, "tpe": _tpe, "random": _random,
}  # fmt: skip
"""What makes each sampler, by name. Optuna's take any number of objectives, and learn of a
constraint by the scores."""


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
        pareto, constraint: see :class:`SamplerRequest`.

    Raises:
        InvalidInput: the name is unknown.
    """
    if name not in SAMPLERS:
        raise InvalidInput(f"sampler '{name}' is unknown: use one of {', '.join(SAMPLERS)}")
    # The ceiling sampler draws per trial number and must not change its seed on resuming.
    seed = derived_seed(base_seed, key, 0 if name == "ceiling" else finished)
    return SAMPLERS[name](SamplerRequest(task, space, runtime_weight, seed, pareto, constraint))
