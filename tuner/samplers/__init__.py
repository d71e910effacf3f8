"""Samplers: the default one and Optuna's; and the settings that a new study tries first."""

from __future__ import annotations

from tuner.samplers.candidates import Candidate, Candidates
from tuner.samplers.catalog import CatalogCandidates
from tuner.samplers.forecasts import Neighbourhood, smoothed
from tuner.samplers.front import front_weights
from tuner.samplers.history import TrialReader, known_candidates
from tuner.samplers.registry import SAMPLERS, make_sampler
from tuner.samplers.warm_start import STARTERS, enqueue_first, enqueue_portfolio

__all__ = [
    "SAMPLERS", "STARTERS", "Candidate", "Candidates", "CatalogCandidates", "Neighbourhood",
    "TrialReader", "enqueue_first", "enqueue_portfolio", "front_weights", "known_candidates",
    "make_sampler", "smoothed",
]  # fmt: skip
