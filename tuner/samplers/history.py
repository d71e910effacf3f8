"""What finished trials of a study say about its candidates; reads Optuna's trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from tuner.samplers.candidates import Candidate, Candidates

__all__ = ["NOTHING", "REPLAYED_SEEDS", "KnownCandidate", "TrialReader", "known_candidates"]

NOTHING = -1.0  # what a forecast without any setting is worth
REPLAYED_SEEDS = 10  # fewer than a new best is scored on, so that luck shows
# Forecasts are a maximum over hundreds of settings and few seeds, hence biased upwards.
_PRIOR_SHORTFALL_COUNTS = 0.5
# Under a constraint: skip a candidate after this many infeasible trials.
_INFEASIBLE_TRIALS, _HOPELESS = 2, 2.0


class TrialReader:
    """How a search reads what trials have left; of a study whose one objective is the score."""

    def score(self, trial: FrozenTrial) -> float | None:
        """Of a complete trial, or as far as one came that was stopped."""
        return trial.value

    def forecast(self, trial: FrozenTrial) -> float | None:
        """The score that its proposal hoped for."""
        stored: float | None = trial.user_attrs.get("foretold")
        return stored

    def probed(self, value: Any) -> float:
        """The forecast of a stored probe."""
        return float(value)

    def best_of(self, trials: Sequence[FrozenTrial]) -> float:
        """The best score of the complete ones; -1 without any."""
        complete = (t for t in trials if t.state == TrialState.COMPLETE)
        return max((self.score(t) or 0.0 for t in complete), default=-1.0)


@dataclass(frozen=True)
class KnownCandidate:
    """What is known of a candidate.

    Attributes:
        samples, seeds: predictions that are paid for.
        value: the best score of its trials, or its probe's forecast.
        shortfall: of its trials' scores to their forecasts, on average.
    """

    samples: int
    seeds: int
    value: float
    shortfall: float = 0.0


def known_candidates(
    trials: Sequence[FrozenTrial], candidates: Candidates, reader: TrialReader
) -> dict[Candidate, KnownCandidate]:
    """What probes and trials have found of each candidate."""
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
    infeasible: dict[Candidate, int] = {}
    best = -1.0
    for trial in trials:
        for values, samples, seeds, value in trial.user_attrs.get("probed", ()):
            note(candidates.of(values), samples, seeds, reader.probed(value))
        scored, forecast = reader.score(trial), reader.forecast(trial)
        candidate = candidates.of(trial.params)
        seeds = min(len(trial.user_attrs.get("iou_per_seed", ())), REPLAYED_SEEDS)
        if seeds and scored is not None and trial.params:
            note(candidate, int(trial.params["num_samples"]), seeds, scored)
        if candidate is not None and trial.user_attrs.get("feasible") is False:
            infeasible[candidate] = infeasible.get(candidate, 0) + 1
        # Of a trial that was stopped only this is certain: it is no better than the best.
        complete = trial.state == TrialState.COMPLETE
        reached = scored if complete and scored is not None else best
        if candidate is not None and candidate in known and forecast is not None:
            shortfalls.setdefault(candidate, []).append(max(0.0, forecast - reached))
        best = max(best, reached)
    every = [shortfall for each in shortfalls.values() for shortfall in each]
    prior = _PRIOR_SHORTFALL_COUNTS * float(np.mean(every)) if every else 0.0
    lowest = min((each.value for each in known.values()), default=-1.0)

    def updated(candidate: Candidate, each: KnownCandidate) -> KnownCandidate:
        if infeasible.get(candidate, 0) >= _INFEASIBLE_TRIALS:
            return replace(each, value=lowest, shortfall=_HOPELESS)
        own = shortfalls.get(candidate, [])
        return replace(each, shortfall=(sum(own) + prior) / (len(own) + 1))

    return {candidate: updated(candidate, each) for candidate, each in known.items()}
