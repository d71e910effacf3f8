"""The ceiling sampler for a catalogue: probes candidates on one image after another.

A probe of one image says little about the next, so settings are ranked by all images together,
after smoothing over neighbouring settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from explainers.lime import FlatSetting
from studies.results.score import score
from tuner.problem import (
    ALL_FEATURES,
    BoundsStopping,
    CatalogTask,
    Incumbent,
    SearchSpace,
    incumbent_of,
    paired,
)
from tuner.samplers.candidates import Candidate, Candidates
from tuner.samplers.ceiling import CeilingSampler, Search
from tuner.samplers.forecasts import Forecast, hopeful_steps, smoothed
from tuner.samplers.history import TrialReader
from tuner.samplers.proposals import Budget, Proposer, kinds_seen

__all__ = ["CatalogCandidates", "CatalogSampler"]

_LEAST_IMAGES = 5  # a candidate may be given up after this many
_NARROWED_AFTER, _FAR_BEHIND = (2, 5, 10), 0.08
_LEAST_KNOWN = 0.8  # share of the images on which a setting must have been replayed
_LEAST_PROBE_SAMPLES, _MOST_PROBE_SAMPLES = 64, 96
_PROBE_SAMPLES_PER_SUPERPIXEL = 3
_KIND_COUNTS = 0.02  # taken off the upper bound for each earlier probe of the same kind

_Ious = Mapping[FlatSetting, NDArray[np.float64]]
"""(images, seeds) IoU of each setting; ``nan`` where it was not replayed."""


class CatalogCandidates(Candidates):
    """The candidates of a catalogue's task.

    Attributes:
        leader: the incumbent that candidates are compared with; set before each proposal.
    """

    sample_steps = (16, 32, 64, 96)

    def __init__(self, task: CatalogTask, space: SearchSpace, weight: float) -> None:
        super().__init__(task, space, weight)
        self._catalog = task
        self._stopping = BoundsStopping()
        self.leader: Incumbent | None = None

    def first_probe(self, candidate: Candidate) -> int:
        """Number of samples of a probe; smaller than for one image, as there are many images."""
        low, high = self._space.num_samples
        wanted = _PROBE_SAMPLES_PER_SUPERPIXEL * self.view(candidate).superpixels
        return min(max(min(max(wanted, _LEAST_PROBE_SAMPLES), _MOST_PROBE_SAMPLES), low), high)

    def probe_seeds(self, candidate: Candidate) -> int:
        """One seed an image: chance evens out over the images."""
        return 1

    def _probe(self, candidate: Candidate, samples: int, seeds: int, best: float) -> None:
        forecast = self._probed(candidate, samples, seeds, best)
        self._forecasts[candidate, samples, seeds] = forecast

    def _probed(self, candidate: Candidate, samples: int, seeds: int, best: float) -> Forecast:
        ious: dict[FlatSetting, NDArray[np.float64]] = {}
        tasks = self._catalog.tasks
        only: set[tuple[str, int]] | None = None
        for number, task in enumerate(tasks.values()):
            for seed in range(seeds):
                for setting, iou, _ in self.replayed_seed(task, candidate, samples, seed, only):
                    known = ious.get(setting)
                    if known is None:
                        known = ious[setting] = np.full((len(tasks), seeds), np.nan)
                    known[number, seed] = iou
            images = number + 1
            if _LEAST_IMAGES <= images < len(tasks):
                hopeless = self._hopeless(candidate, ious, images, best)
                if hopeless is not None:
                    return Forecast(hopeless)
            if images in _NARROWED_AFTER:
                means = {s: float(v.mean()) for s, v in _means(ious, images).items()}
                only = hopeful_steps(means, _FAR_BEHIND)
        values = {s: self._catalog.aggregate.of(v) for s, v in _means(ious, len(tasks)).items()}
        return self._forecast_of(
            candidate,
            (
                (setting, float(value), round(float(value), 9), 0.0)
                for setting, value in smoothed(values).items()
            ),
        )

    def on_every_image(
        self, candidate: Candidate, samples: int
    ) -> dict[FlatSetting, NDArray[np.float64]]:
        """(images,) IoU of each flat setting on the first seed; computes what is not cached."""
        tasks = self._catalog.tasks
        ious: dict[FlatSetting, NDArray[np.float64]] = {}
        for number, task in enumerate(tasks.values()):
            for setting, iou, _ in self.replayed_seed(task, candidate, samples, 0):
                known = ious.setdefault(setting, np.full((len(tasks), 1), np.nan))
                known[number, 0] = iou
        return _means(ious, len(tasks))

    def _hopeless(
        self, candidate: Candidate, ious: _Ious, images: int, best: float
    ) -> float | None:
        """The score of a candidate that cannot win any more after some images; else ``None``.

        This is decided for its best setting so far, by the rule that stops trials and by the upper
        bounds of the remaining images.
        """
        means = _means(ious, images)
        if not means:
            return None
        setting = max(means, key=lambda s: float(np.mean(means[s])))
        count = setting.num_features or ALL_FEATURES
        ratio = self.ratio(candidate, setting.num_samples, count)
        keys, tasks = list(self._catalog.tasks), list(self._catalog.tasks.values())
        left = [task.view(candidate.segmentation).upper_bounds[-1] for task in tasks[images:]]
        known = [float(v) for v in means[setting]]
        aggregate = self._catalog.aggregate
        if score(aggregate.of([*known, *left]), ratio, self._weight) <= best:
            return score(aggregate.of(known), ratio, self._weight)
        if self.leader is None:
            return None
        values = {
            key: [score(iou, ratio, self._weight)] for key, iou in zip(keys, known, strict=False)
        }
        adjusted = paired(values, self.leader.per_image)
        if adjusted is None or aggregate.quantile is not None:
            return None
        if self._stopping.after_seeds(adjusted, 0.0, self.leader):
            return float(np.mean(adjusted))
        return None


def _means(ious: _Ious, images: int) -> dict[FlatSetting, NDArray[np.float64]]:
    """Mean IoU on each of the first images, of settings that were replayed on nearly all of them.

    Where a setting could not be replayed on an image, its mean over the others is filled in.
    """
    means = {}
    for setting, every in ious.items():
        some = every[:images]
        known = np.isfinite(some)
        per_image = known.any(axis=1)
        if per_image.sum() < max(1, math.ceil(_LEAST_KNOWN * images)):
            continue
        filled = np.where(known, some, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        means[setting] = np.where(per_image, filled, filled[per_image].mean())
    return means


class CatalogProposer(Proposer):
    """Proposes settings for all images. Budgets count for each image; probes can be small, as
    there are many images."""

    budget = Budget(
        maps_at_first=1.0,
        maps_per_trial=0.1,
        probed_at_start=200,
        probed_per_trial=64,
        most_probes=3,
        coarse_per_trial=1,
    )

    def _first(self, left: Sequence[Candidate], probed: Sequence[Candidate]) -> Candidate:
        """Start-up: high bounds for few predictions, less so for kinds that were probed before."""

        def worth(candidate: Candidate) -> float:
            return self.worth_at_start(candidate) - _KIND_COUNTS * sum(
                kinds_seen(candidate, probed)
            )

        return max(left, key=worth)


class CatalogSampler(CeilingSampler):
    """Proposes full parameter sets for a catalogue."""

    def __init__(
        self, task: CatalogTask, space: SearchSpace, *, runtime_weight: float, seed: int
    ) -> None:
        self._candidates = CatalogCandidates(task, space, runtime_weight)
        proposer = CatalogProposer(self._candidates, space, runtime_weight, seed)
        super().__init__(space, [Search(proposer, TrialReader())], seed)
        self._weight = runtime_weight

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._candidates.leader = incumbent_of(study, self._weight)
        return super().sample_relative(study, trial, search_space)
