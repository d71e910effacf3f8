"""What ``tune`` refuses of scopes, objectives and portfolios, before anything is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explainers.errors import InvalidInput
from tuner.cli.catalog_scope import CatalogScope

if TYPE_CHECKING:
    from tuner.cli.search import TuneRequest

__all__ = ["check_objective", "check_scope", "portfolio_members", "scope_of"]


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


def check_objective(request: TuneRequest) -> None:
    """Refuse an unknown objective, and what needs a reference where there is none."""
    from tuner.faithfulness import FAITHFUL, OBJECTIVES

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


def check_scope(request: TuneRequest, images: int) -> None:
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
