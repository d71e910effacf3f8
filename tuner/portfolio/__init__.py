"""The few parameter sets of which one nearly always does well."""

from __future__ import annotations

from tuner.portfolio.portfolio import (
    PORTFOLIO,
    SHIPPED,
    Contender,
    Portfolio,
    ScoredContenders,
    choose,
    distinct,
    load_portfolio,
)
from tuner.portfolio.scores import probed_candidates, score_candidates, stored_candidates

__all__ = [
    "PORTFOLIO", "SHIPPED", "Contender", "Portfolio", "ScoredContenders", "choose", "distinct",
    "load_portfolio", "probed_candidates", "score_candidates", "stored_candidates",
]  # fmt: skip
