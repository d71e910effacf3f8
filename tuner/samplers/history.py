"""What is known of a study's candidates from its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from tuner.samplers.candidates import Candidate, Candidates

__all__ = ["NOTHING", "REPLAYED_SEEDS", "KnownCandidate", "TrialReader", "known_candidates"]

NOTHING = -1.0  # value of a forecast without any setting
REPLAYED_SEEDS = 10  # fewer than a new best is scored on, so that its later seeds are unbiased
# Forecasts are a maximum over hundreds of settings and few seeds, hence biased upwards.
_PRIOR_SHORTFALL_COUNTS = 0.5


class TrialReader:
    """Reads scores and forecasts from the trials of a study whose one objective is the score."""

    def score(self, trial: FrozenTrial) -> float | None:
        """The score of a complete trial, or the last running score of a pruned one."""
        return trial.value

    def forecast(self, trial: FrozenTrial) -> float | None:
        """The score that was forecast when the trial was proposed; ``None`` without a forecast."""
        stored: float | None = trial.user_attrs.get("foretold")
        return stored

    def probed(self, value: Any) -> float:
        """The forecast of a stored probe."""
        return float(value)

    def best_of(self, trials: Sequence[FrozenTrial]) -> float:
        """The best score of the complete trials; -1 without any."""
        complete = (t for t in trials if t.state == TrialState.COMPLETE)
        return max((self.score(t) or 0.0 for t in complete), default=-1.0)


@dataclass(frozen=True)
class KnownCandidate:
    """What is known of a candidate.

    Attributes:
        samples, seeds: size of the largest probe or trial, whose predictions are cached.
        value: the best score of its trials and probes.
        shortfall: mean difference of its trials' forecasts and their scores.
    """

    samples: int
    seeds: int
    value: float
    shortfall: float = 0.0


def known_candidates(
    trials: Sequence[FrozenTrial], candidates: Candidates, reader: TrialReader
) -> dict[Candidate, KnownCandidate]:
    """What probes and trials have found out about each candidate."""
    known: dict[Candidate, KnownCandidate] = {}

    def note(candidate: Candidate | None, samples: int, seeds: int, value: float) -> None:
        if candidate is None:
            return
        old = known.get(candidate)
        if old is not None:
            samples, seeds = max((samples, seeds), (old.samples, old.seeds), key=math.prod)
            value = max(old.value, value)
        known[candidate] = KnownCandidate(samples, seeds, value)

    shortfalls: dict[Candidate, list[float]] = {}
    best = -1.0
    for trial in trials:
        for values, samples, seeds, value in trial.user_attrs.get("probed", ()):
            note(candidates.of(values), samples, seeds, reader.probed(value))
        scored, forecast = reader.score(trial), reader.forecast(trial)
        candidate = candidates.of(trial.params)
        seeds = min(len(trial.user_attrs.get("iou_per_seed", ())), REPLAYED_SEEDS)
        if seeds and scored is not None and trial.params:
            note(candidate, int(trial.params["num_samples"]), seeds, scored)
        # A trial that was stopped is at most as good as the best so far.
        complete = trial.state == TrialState.COMPLETE
        reached = scored if complete and scored is not None else best
        if candidate is not None and candidate in known and forecast is not None:
            shortfalls.setdefault(candidate, []).append(max(0.0, forecast - reached))
        best = max(best, reached)
    every = [shortfall for each in shortfalls.values() for shortfall in each]
    prior = _PRIOR_SHORTFALL_COUNTS * float(np.mean(every)) if every else 0.0

    def updated(candidate: Candidate, each: KnownCandidate) -> KnownCandidate:
        own = shortfalls.get(candidate, [])
        return replace(each, shortfall=(sum(own) + prior) / (len(own) + 1))

    return {candidate: updated(candidate, each) for candidate, each in known.items()}
