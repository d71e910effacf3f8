"""What ``tune`` refuses, before anything is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explainers.errors import InvalidInput
from tuner.cli.catalog_scope import CatalogScope

if TYPE_CHECKING:
    from tuner.cli.tune_request import TuneRequest

__all__ = ["check_request", "portfolio_members", "scope_of"]

_MOST_PROCESSES, _MOST_SEEDS = 1_000, 10_000
"""As in ``lime-tuner.toml``; torch crashes with a million threads."""


def portfolio_members(source: str | None, storage: str) -> tuple[str, ...]:
    """Its members, as JSON texts."""
    if source is None:
        return ()
    from tuner.portfolio import load_portfolio

    return tuple(member.to_json() for member in load_portfolio(source, storage).members)


def scope_of(scope: str, aggregate: str, folds: int, most_runtime: float) -> CatalogScope | None:
    """What ``--scope`` and the options that belong to it mean; ``None`` for a study an image."""
    if scope not in ("image", "catalog"):
        raise InvalidInput(f"--scope {scope}: use image or catalog")
    if scope == "catalog":
        return CatalogScope(aggregate, folds, most_runtime)
    if folds or aggregate != "mean":
        raise InvalidInput("--folds and --aggregate belong to --scope catalog: add it")
    return None


def check_request(request: TuneRequest, images: int) -> None:
    """Refuse numbers out of range, unknown names, and what does not go together.

    Args:
        images: how many there are.

    Raises:
        InvalidInput: says what was given, and what to give.
    """
    from tuner.samplers import SAMPLERS
    from tuner.tuning import TuningSettings

    TuningSettings(
        trials=request.trials, seeds=request.seeds, runtime_weight=request.runtime_weight,
        timeout=request.timeout, answers=request.answers,
    )  # fmt: skip
    if request.seeds > _MOST_SEEDS:
        raise InvalidInput(f"{request.seeds} seeds: give {_MOST_SEEDS} at most")
    counts = {"workers": request.workers, "threads": request.threads}
    for name, count in counts.items():
        if count is not None and not 1 <= count <= _MOST_PROCESSES:
            given = "at least 1" if count < 1 else f"{_MOST_PROCESSES} at most"
            raise InvalidInput(f"{count} {name}: give {given}")
    if request.sampler not in SAMPLERS:
        raise InvalidInput(
            f"sampler '{request.sampler}' is unknown: use one of {', '.join(SAMPLERS)}"
        )
    if not 0 <= request.min_reliability <= 1:
        raise InvalidInput(f"--min-reliability {request.min_reliability}: give 0 to 1")
    if request.constrain not in (None, "fidelity"):
        raise InvalidInput(f"--constrain {request.constrain}: fidelity is the only constraint")
    if request.target not in ("top1", "catalog"):
        raise InvalidInput(f"--target {request.target}: use top1 or catalog")
    if request.until is not None and request.timeout is not None:
        raise InvalidInput("--until shares one night among all images, --timeout is for each: "
                           "give one of them")  # fmt: skip
    _check_objective(request)
    if request.scope is not None:
        _check_scope(request, images)


def _check_objective(request: TuneRequest) -> None:
    """Refuse an unknown objective, and what needs a reference where there is none."""
    from tuner.objectives import FAITHFUL, OBJECTIVES

    if request.objective not in OBJECTIVES:
        raise InvalidInput(f"--objective {request.objective}: use {' or '.join(OBJECTIVES)}")
    if request.objective != FAITHFUL:
        return
    given = {
        "--sampler ceiling": request.sampler == "ceiling",
        "--constrain": request.constrain,
        "--scope catalog": request.scope,
        "--pareto": request.pareto,
        "--calibrated": request.calibrated,
        "--min-reliability": request.min_reliability,
    }
    for name, value in given.items():
        if value:
            raise InvalidInput(
                f"{name} needs a reference, which --objective faithful does without: leave it out"
            )


def _check_scope(request: TuneRequest, images: int) -> None:
    """Refuse what one study for all images cannot do."""
    assert request.scope is not None
    request.scope.check(images)
    given = {
        "--constrain": request.constrain, "--pareto": request.pareto, "--until": request.until,
        "--cluster": request.cluster, "--workers above 1": request.workers > 1,
    }  # fmt: skip
    for name, value in given.items():
        if value:
            raise InvalidInput(
                f"{name} does not go with --scope catalog, which is one study in one process: "
                "leave it out"
            )
