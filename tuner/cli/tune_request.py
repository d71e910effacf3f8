"""What ``lime-tuner tune`` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.cli.catalog_scope import CatalogScope
    from tuner.problem import SearchSpace

__all__ = ["TuneRequest"]


@dataclass(frozen=True)
class TuneRequest:
    """What ``tune`` was asked for, with defaults filled in."""

    storage: str
    study: str
    reference: str | None
    min_reliability: float
    target: str
    trials: int
    seeds: int
    workers: int
    threads: int | None
    runtime_weight: float
    sampler: str
    engine: str
    timeout: float | None
    answers: int | None
    warm_start: bool
    constrain: str | None
    seed: int
    space: SearchSpace
    calibrated: str | None = None
    until: datetime | None = None
    beyond: bool = False
    cluster: str | None = None
    log: Path | None = None
    pareto: bool = False
    scope: CatalogScope | None = None
    objective: str = "agreement"
    portfolio: tuple[str, ...] = ()
