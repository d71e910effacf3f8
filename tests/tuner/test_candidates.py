"""Candidates: maps come coarse to fine, and what a probe foretells is what trials find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from explainers.classifiers import Classifier
from explainers.lime import Segmentation
from studies.results.score import score
from tests.tuner.scenes import SMALL_SPACE, demo_task
from tuner.problem import SearchSpace
from tuner.samplers import Candidate, Candidates

_WEIGHT = 0.1
_EVER = 1e6  # seconds


def test_maps_are_computed_in_an_order_that_does_not_depend_on_when(
    demo_classifier: Classifier,
) -> None:
    task = demo_task(demo_classifier)
    at_once, bit_by_bit = (Candidates(task, SMALL_SPACE, _WEIGHT) for _ in range(2))
    assert at_once.possible() == []
    at_once.segment(_EVER)
    seen = 0
    for seconds in np.linspace(0, 0.1, 21):
        bit_by_bit.segment(float(seconds))
        assert len(bit_by_bit.possible()) >= seen
        seen = len(bit_by_bit.possible())
    assert seen > 0
    bit_by_bit.segment(_EVER)
    assert bit_by_bit.possible() == at_once.possible()
    uppers = [at_once.upper(candidate) for candidate in at_once.possible()]
    assert uppers == sorted(uppers, reverse=True)


@pytest.mark.parametrize("threads", [2, 16])
def test_threads_change_nothing_but_who_computes(
    demo_classifier: Classifier, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together = demo_task(demo_classifier), demo_task(demo_classifier)
    together.threads = threads
    expected: list[Segmentation | None] = []
    begin = together.expect

    def noted(maps: Sequence[Segmentation | None]) -> None:
        expected.extend(maps)
        begin(maps)

    monkeypatch.setattr(together, "expect", noted)
    one, many = Candidates(alone, SMALL_SPACE, _WEIGHT), Candidates(together, SMALL_SPACE, _WEIGHT)
    for seconds in (*np.linspace(0, 0.1, 6), _EVER):
        one.segment(float(seconds))
        many.segment(float(seconds))
        assert many.possible() == one.possible()
    assert set(expected) == set(SMALL_SPACE.segmentations())


def test_every_algorithm_is_seen_early(demo_classifier: Classifier) -> None:
    task = demo_task(demo_classifier)
    candidates = Candidates(task, SMALL_SPACE, _WEIGHT)
    # The slowest algorithm's first map, and all that fits beside it.
    values = [candidates.values(candidate, 16, 5) for candidate in _all(candidates)]
    longest = max(
        task.runtime_model.parts(SMALL_SPACE.parameters(each), 1, 128**2).segmentation
        for each in values
    )
    early = Candidates(task, SMALL_SPACE, _WEIGHT)
    early.segment(3 * longest + 1e-9)
    names = {a.segmentation.algorithm if a.segmentation else "lime" for a in early.possible()}
    assert names == set(SMALL_SPACE.maps)


def _all(candidates: Candidates) -> list[Candidate]:
    candidates.segment(_EVER)
    return list(candidates.possible())


def test_a_candidate_is_known_again_by_its_values(demo_classifier: Classifier) -> None:
    candidates = Candidates(demo_task(demo_classifier), SMALL_SPACE, _WEIGHT)
    candidates.segment(_EVER)
    for candidate in candidates.possible():
        assert candidates.of(candidates.identity(candidate)) == candidate
        assert candidates.of(candidates.values(candidate, 64, 5)) == candidate
    assert candidates.of({"num_samples": 5}) is None


def test_patterns_are_counted_however_fine_the_map(demo_classifier: Classifier) -> None:
    """2 to the power of a thousand superpixels and more is no number."""
    space = SearchSpace(
        maps={
            "slic": {"n_segments": (4,)},
            "quickshift": {"kernel_size": (1,), "max_dist": (1,), "ratio": (1.0,)},
        }
    )
    task = demo_task(demo_classifier)
    candidates = Candidates(task, space, _WEIGHT)
    candidates.segment(_EVER)
    for candidate in candidates.possible():
        superpixels = task.view(candidate.segmentation).superpixels
        assert superpixels < 20 or superpixels > 1100
        assert candidates.patterns(candidate) == (10**6 if superpixels > 20 else 2**superpixels)
        assert candidates.probe_answers(candidate) <= candidates.patterns(candidate)
    assert len({candidate.segmentation for candidate in candidates.possible()}) == 2


def test_a_forecast_is_what_explanations_then_score(demo_classifier: Classifier) -> None:
    task = demo_task(demo_classifier)
    candidates = Candidates(task, SMALL_SPACE, _WEIGHT)
    candidates.segment(_EVER)
    candidate = candidates.possible()[0]
    asked = task.cache.counts.new
    forecast = candidates.forecast(candidate, 64, 3, best=-1.0)
    paid = task.cache.counts.new - asked
    assert 0 < paid <= 3 * 64
    assert [v for v, _ in forecast.settings] == sorted(
        (v for v, _ in forecast.settings), reverse=True
    )
    for value, values in forecast.settings[:5]:
        parameters = SMALL_SPACE.parameters(values)
        ious = task.ious(parameters, range(3))
        steady = float(np.mean(ious) - 0.5 * np.std(ious) / np.sqrt(3))
        assert value == pytest.approx(
            score(steady, task.runtime_ratio(parameters), _WEIGHT), abs=1e-9
        )
    assert task.cache.counts.new - asked == paid, "a replay asks nothing new"


def test_a_candidate_far_behind_after_one_seed_is_skipped(demo_classifier: Classifier) -> None:
    task = demo_task(demo_classifier)
    candidates = Candidates(task, SMALL_SPACE, _WEIGHT)
    candidates.segment(_EVER)
    candidate = candidates.possible()[0]
    asked = task.cache.counts.new
    candidates.forecast(candidate, 64, 3, best=2.0)
    assert task.cache.counts.new - asked <= 64 + 1
