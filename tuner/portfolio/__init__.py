"""Portfolios: a few parameter sets, at least one of which does well on nearly every image."""

from __future__ import annotations

from tuner.portfolio.portfolio import (
    PORTFOLIO,
    Contender,
    Portfolio,
    ScoredContenders,
    choose,
    distinct,
    load_portfolio,
)
from tuner.portfolio.scores import probed_candidates, score_candidates, stored_candidates

__all__ = [
    "PORTFOLIO", "Contender", "Portfolio", "ScoredContenders", "choose", "distinct",
    "load_portfolio", "probed_candidates", "score_candidates", "stored_candidates",
]  # fmt: skip
