"""Candidates, each a superpixel map with a hide colour, and the forecasts from probing them.

A probe computes predictions for a candidate. All other parameters (number of features, surrogate,
distance, fewer samples) then cost only a fit, so every value of them is replayed on the probe.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.lime import (
    FlatSetting,
    HeldOut,
    draw_rows,
    replay,
)
from studies.results.score import score
from tuner.problem import (
    ALL_FEATURES,
    FEW_SUPERPIXELS,
    HIDE_COLORS,
    Constraint,
    MapView,
    SearchSpace,
    SearchTask,
    TuningTask,
)
from tuner.samplers.fidelity import FidelityPenalty
from tuner.samplers.forecasts import Forecast, hopeful_steps
from tuner.samplers.maps import MapSchedule
from tuner.samplers.trial_values import Candidate, TrialValues

__all__ = ["Candidate", "Candidates"]

_PROBE_SEEDS, _PROBE_SEEDS_OF_FEW = 3, 6  # with few superpixels further seeds are free
# After these numbers of seeds, samples and metrics that are far behind are not replayed any more.
_NARROWED_AFTER, _FAR_BEHIND = (3, 8), 0.06
_LEAST_PROBE_SAMPLES, _MOST_PROBE_SAMPLES = 64, 192
_PROBE_SAMPLES_PER_SUPERPIXEL = 5
# After the first probe seed, a candidate whose best setting is this far behind is skipped. The best
# of hundreds of settings on one seed is biased upwards, so hardly any good candidate is lost.
_SKIPPED_BEHIND = 0.03
_SAMPLE_STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1000)


_Replayed = dict[FlatSetting, list[tuple[float, float]]]
"""IoU and held-out R² of each setting, for one seed after another."""


class Candidates(TrialValues):
    """The candidates of one task and search space.

    Args:
        weight: the study's runtime weight.
        constraint: of the study, if it has one; then the task is that of one image.

    Attributes:
        best: the best score so far; set by the caller.
        sample_steps: numbers of samples that are replayed, beside the probe's own.
    """

    sample_steps: Sequence[int] = _SAMPLE_STEPS

    def __init__(
        self,
        task: SearchTask,
        space: SearchSpace,
        weight: float,
        constraint: Constraint | None = None,
    ) -> None:
        super().__init__(task, space)
        self._weight = weight
        self._fidelity: FidelityPenalty | None = None
        if constraint is not None:
            only = next(iter(task.tasks.values()))
            self._fidelity = FidelityPenalty(only, space, constraint)
        self._schedule = MapSchedule(task, space)
        self._possible: list[Candidate] = []
        self._seen: set[tuple[bytes, bytes]] = set()
        self._uppers: dict[Candidate, float] = {}
        self._forecasts: dict[tuple[Candidate, int, int], Forecast] = {}
        self._together: Sequence[Candidates] = (self,)
        self.best = -math.inf

    @staticmethod
    def join(members: Sequence[Candidates]) -> None:
        """Let searches with different runtime weights share their probes.

        A candidate is then skipped only if it is behind the ``best`` of every weight.
        """
        for each in members:
            each._together = tuple(members)

    def segment(self, seconds: float) -> None:
        """Compute superpixel maps until this many modelled seconds are spent in all."""
        while coming := self._schedule.coming(seconds):
            if self._task.threads > 1:
                self._task.expect([segmentation for _, segmentation in coming])
            algorithm, segmentation = coming[0]
            self._schedule.take(algorithm)
            view = self._task.view(segmentation)
            same = (view.inside.tobytes(), view.outside.tobytes())
            upper = -math.inf
            if view.superpixels >= 2 and same not in self._seen:
                self._seen.add(same)
                new = [Candidate(segmentation, color) for color in self._space.hide_color]
                upper = self.upper(new[0])
                self._possible += new
                self._possible.sort(key=lambda candidate: -self.upper(candidate))
            self._schedule.rate(algorithm, upper)

    def possible(self) -> list[Candidate]:
        """The candidates whose maps are computed, highest upper bound first; repeated maps and
        those of a single superpixel are left out."""
        return self._possible

    def view(self, candidate: Candidate) -> MapView:
        """The overlap of a candidate's superpixels with the reference."""
        return self._task.view(candidate.segmentation)

    def upper(self, candidate: Candidate) -> float:
        """The upper bound of the score of all settings of a candidate."""
        if candidate not in self._uppers:
            bound = self.view(candidate).upper_bounds[-1]
            cheapest = self._cheapest_ratio(candidate)
            self._uppers[candidate] = score(bound, cheapest, self._weight)
        return self._uppers[candidate]

    def bound(self, values: Mapping[str, Any]) -> float:
        """The upper bound of the score of a trial with these values."""
        parameters = self._space.parameters(values)
        bound = self._task.view(parameters.segmentation).upper_bound(parameters.num_features)
        return score(bound, self._task.runtime_ratio(parameters), self._weight)

    def ratio(self, candidate: Candidate, samples: int, count: Any) -> float:
        """Runtime of the setting that :meth:`values` gives, relative to lime's defaults."""
        values = self.values(candidate, samples, count)
        return self._task.runtime_ratio(self._space.parameters(values))

    def _cheapest_ratio(self, candidate: Candidate) -> float:
        return self.ratio(candidate, self._space.num_samples[0], ALL_FEATURES)

    # What is known before any prediction

    def features(self, candidate: Candidate) -> list[float]:
        """What a Gaussian process is told of a candidate; the proposer standardises it.

        Upper bounds of one, of three and of as many superpixels as a mask may have, the logarithm
        of their number, and 0 or 1 for each algorithm and colour.
        """
        view = self.view(candidate)
        bounds = view.upper_bounds
        return [
            bounds[0],
            bounds[min(2, len(bounds) - 1)],
            bounds[-1],
            math.log(view.superpixels),
            *(float(candidate.algorithm == name) for name in self._space.maps),
            *(float(candidate.hide_color == name) for name in self._space.hide_color),
        ]

    def first_probe(self, candidate: Candidate) -> int:
        """Number of samples of a first probe; more superpixels need more samples."""
        low, high = self._space.num_samples
        least, most = _LEAST_PROBE_SAMPLES, _MOST_PROBE_SAMPLES
        wanted = _PROBE_SAMPLES_PER_SUPERPIXEL * self.view(candidate).superpixels
        step = next((s for s in _SAMPLE_STEPS if s >= min(max(wanted, least), most)), most)
        return min(max(step, low), high)

    def probe_seeds(self, candidate: Candidate) -> int:
        """Number of explainer seeds of a probe; more where few patterns make them free."""
        few = self.view(candidate).superpixels <= FEW_SUPERPIXELS
        return _PROBE_SEEDS_OF_FEW if few else _PROBE_SEEDS

    def probe_answers(self, candidate: Candidate) -> int:
        """The most predictions that a probe needs; few superpixels have few patterns."""
        rows = self.first_probe(candidate) * self.probe_seeds(candidate)
        return min(rows, self.patterns(candidate))

    def patterns(self, candidate: Candidate) -> int:
        """Number of patterns of switched-off superpixels, at most a million."""
        return int(min(2 ** min(self.view(candidate).superpixels, 20), 10**6))

    # Probing

    def forecast(self, candidate: Candidate, samples: int, seeds: int, best: float) -> Forecast:
        """Replay every flat setting of a candidate; computes predictions that are not cached.

        Args:
            samples, seeds: size of the probe.
            best: score below which a candidate may be skipped after the first seed.
        """
        key = (candidate, samples, seeds)
        if key not in self._forecasts:
            self._probe(candidate, samples, seeds, best)
        return self._forecasts[key]

    def _probe(self, candidate: Candidate, samples: int, seeds: int, best: float) -> None:
        self.best = best
        replayed = self._replayed(candidate, samples, seeds)
        for each in self._together:
            each._forecasts[candidate, samples, seeds] = each._ranked(candidate, replayed)

    def _replayed(self, candidate: Candidate, samples: int, seeds: int) -> _Replayed:
        """The settings that were replayed on all seeds so far."""
        task = next(iter(self._task.tasks.values()))
        replayed: _Replayed = {}
        only: set[tuple[str, int]] | None = None
        for seed in range(seeds):
            for setting, iou, r2 in self.replayed_seed(task, candidate, samples, seed, only):
                replayed.setdefault(setting, []).append((iou, r2))
            if seed == 0:
                hopeful = max((found[0][0] for found in replayed.values()), default=0.0)
                if all(each._is_behind(candidate, hopeful) for each in self._together):
                    break
            spent = seed + 1
            if spent in _NARROWED_AFTER:
                means = {
                    setting: self._net(found)
                    for setting, found in replayed.items()
                    if len(found) == spent
                }
                only = hopeful_steps(means, _FAR_BEHIND)
        longest = max((len(found) for found in replayed.values()), default=0)
        return {setting: found for setting, found in replayed.items() if len(found) == longest}

    def _net(self, found: Sequence[tuple[float, float]]) -> float:
        """Mean IoU of a setting, less what its R² takes off."""
        return sum(iou for iou, _ in found) / len(found) - self._off(found)

    def _off(self, found: Sequence[tuple[float, float]]) -> float:
        return 0.0 if self._fidelity is None else self._fidelity.of_r2([r2 for _, r2 in found])

    def _is_behind(self, candidate: Candidate, iou: float) -> bool:
        best_here = score(iou, self._cheapest_ratio(candidate), self._weight)
        return best_here < self.best - _SKIPPED_BEHIND

    def replayed_seed(
        self,
        task: TuningTask,
        candidate: Candidate,
        samples: int,
        seed: int,
        only: Collection[tuple[str, int]] | None = None,
    ) -> Iterator[tuple[FlatSetting, float, float]]:
        """IoU and held-out R² of every flat setting on one image and explainer seed, from a probe.

        Computes predictions that are not cached. The R² is that on the perturbations of the seed
        before, which cost nothing more; ``nan`` for seed 0, and where there is no constraint.

        Args:
            only: pairs of metric and number of samples to replay; ``None`` for all.
        """
        space, view = self._space, task.view(candidate.segmentation)
        low, _ = space.num_samples
        steps = sorted({s for s in self.sample_steps if low <= s < samples} | {samples})
        counts = [None if k == ALL_FEATURES else int(str(k)) for k in space.num_features]
        rows, answers = self._answered(task, candidate, samples, seed)
        held_out = None
        if seed and self._fidelity is not None:
            held_out = HeldOut(*self._answered(task, candidate, samples, seed - 1))
        yield from replay(
            rows, answers, view.inside, view.outside, steps, counts, space.distance_metric,
            list(self._alphas.values()), only, task.mask_rule, held_out,
        )  # fmt: skip

    def _answered(
        self, task: TuningTask, candidate: Candidate, samples: int, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        """(S, n) perturbations of a seed, and (S,) probabilities of the explained class."""
        state = np.random.RandomState(seed)
        if self._space.random_seed[0] is None:
            state.randint(0, high=1000)  # lime draws the segmentation's seed first
        rows = draw_rows(state, samples, task.view(candidate.segmentation).superpixels)
        answers = task.cache.predictions(
            task.source,
            task.image,
            task.segments(candidate.segmentation),
            HIDE_COLORS[candidate.hide_color],
            rows,
            np.array([task.explained]),
            task.digest,
        )
        return rows, answers[:, 0]

    def _ranked(self, candidate: Candidate, replayed: _Replayed) -> Forecast:
        table = np.array([[iou for iou, _ in found] for found in replayed.values()])
        if not table.size:
            return self._forecast_of(candidate, ())
        # Half a standard error less: of two settings with the same mean, the steadier one wins.
        steady = table.mean(axis=1) - 0.5 * table.std(axis=1) / math.sqrt(table.shape[1])
        penalties = [self._off(found) for found in replayed.values()]
        masks = map(tuple, table.tolist())
        return self._forecast_of(
            candidate, zip(replayed, steady.tolist(), masks, penalties, strict=True)
        )

    def _forecast_of(
        self,
        candidate: Candidate,
        settings: Iterable[tuple[FlatSetting, float, Hashable, float]],
    ) -> Forecast:
        """The forecast from replayed settings.

        Args:
            settings: each with its IoU, a value that is equal for settings with equal masks, and
                the penalty of its score.
        """
        superpixels, readable = self.view(candidate).superpixels, self._task.mask_rule.num_features
        ratios: dict[tuple[int, int | None], float] = {}
        kept: dict[Hashable, tuple[float, FlatSetting, float]] = {}
        for setting, iou, masks, penalty in settings:
            # Of settings with the same masks only the first, which is the plainest, is kept, or
            # one that explains more. More features may explain more, too.
            features = None if self._fidelity is None else setting.num_features
            outcome = (setting.num_samples, masks, features)
            if superpixels < min(readable, setting.num_features or readable):
                continue  # the study refuses maps of fewer superpixels than the mask can use
            if outcome not in kept or penalty < kept[outcome][2]:
                kept[outcome] = (iou, setting, penalty)
        scored = []
        for iou, setting, penalty in kept.values():
            asked = (setting.num_samples, setting.num_features)
            if asked not in ratios:
                ratios[asked] = self.ratio(candidate, asked[0], asked[1] or ALL_FEATURES)
            values = self.flat_values(candidate, setting)
            scored.append((score(iou, ratios[asked], self._weight) - penalty, values))
        if self._fidelity is not None:
            return Forecast.of(self._fidelity.with_gains(scored, self.best))
        return Forecast.of(scored)
