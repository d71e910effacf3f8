"""Which rule a grading server uses, from the IoUs that it answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from explainers.cam import heat_map
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, PredictionCache, Segmentation, explain, explanation_mask
from explainers.masks import intersection_over_union
from studies.catalog import load_catalog
from studies.catalog.assets import StudyImage, load_study_image
from tuner.server.answers import KnownAnswer
from tuner.server.rules import (
    MASK_RULES,
    Candidate,
    ImageRun,
    chosen_rule,
    cut_masks,
    decide,
    rank_candidates,
)
from tuner.server.runs import explained_again, superpixel_maps

KEYS = ("house", "fish", "mug")
SUBMITTED = [
    LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=segments),
        num_samples=samples,
        num_features=features,
    )
    for segments, samples, features in (
        (6, 40, 2), (14, 60, 100), (14, 60, 4), (24, 80, 100), (9, 40, 1),
    )
]  # fmt: skip
SEEDS = range(3)


def answer(number: int, parameters: LimeParameters, iou: float) -> KnownAnswer:
    return KnownAnswer(f"set {number}", dict.fromkeys(KEYS, parameters), "", iou, 1.0)


def images(classifier: Classifier) -> list[StudyImage]:
    catalog = load_catalog("demo").only(KEYS)
    return [load_study_image(catalog, e, classifier.geometry) for e in catalog.images]


def test_the_rule_of_a_made_up_server_is_found(demo_classifier: Classifier) -> None:
    shown, cache = images(demo_classifier), PredictionCache()
    maps = {
        method: {i.key: heat_map(demo_classifier, i.pixels, method) for i in shown}
        for method in ("gradcam", "layercam")
    }
    references, unusable = cut_masks(maps, {i.key: i.pixels for i in shown}, ("0.2", "0.4", "0.6"))
    assert len(references) + len(unusable) == 6
    superpixels = superpixel_maps([p.segmentation for p in SUBMITTED], shown, cache)
    sets = [answer(number, each, 0.5) for number, each in enumerate(SUBMITTED)]
    runs = explained_again(sets, shown, superpixels, demo_classifier, cache, len(SEEDS))

    explanations = {
        (number, image.key, seed): explain(
            image.pixels, demo_classifier, each, seed=seed, cache=cache, first_label_only=True
        )
        for number, each in enumerate(SUBMITTED)
        for image in shown
        for seed in (*SEEDS, 77)
    }

    def answers_of(reference: str, mask_rule: str, seeds: Sequence[int]) -> list[float]:
        """What a server answers: its masks, its way of reading them, mean over its seeds."""
        ious: list[list[float]] = [[] for _ in SUBMITTED]
        for (number, key, seed), found in explanations.items():
            if seed in seeds:
                mask = explanation_mask(found, MASK_RULES[mask_rule])
                ious[number].append(intersection_over_union(mask, references[reference][key]))
        return [float(np.mean(each)) for each in ious]

    for truth in ("gradcam@0.6:heaviest10", "layercam@0.2:positive5"):
        reference, _, mask_rule = truth.partition(":")
        candidates = rank_candidates(answers_of(reference, mask_rule, SEEDS), runs, references)
        assert candidates[0].text == truth
        assert candidates[0].error == pytest.approx(0, abs=1e-12)
        assert candidates[1].error > 1e-3
        # A server has a seed of its own, and luck with it.
        candidates = rank_candidates(answers_of(reference, mask_rule, [77]), runs, references)
        assert candidates[0].reference == reference
        assert next(c for c in candidates if c.text == truth).explains
        assert len({c.text for c in candidates}) == len(candidates)
        assert [c.error for c in candidates] == sorted(c.error for c in candidates)


# Four quarters of a picture; every explanation chooses some of them.
QUARTERS = np.kron(np.array([[0, 1], [2, 3]]), np.ones((4, 4), dtype=np.int64)).astype(np.int64)
CHOICES: list[list[int]] = [[0], [0, 3], [3], [0, 1, 2, 3]]


def chosen(*quarters: int) -> list[tuple[int, float]]:
    return [(quarter, 1.0 - 0.1 * place) for place, quarter in enumerate(quarters)]


def runs_of(choices: Sequence[Sequence[int]]) -> list[dict[str, ImageRun]]:
    return [{"a": ImageRun(QUARTERS, (chosen(*c), chosen(*c)))} for c in choices]


def mask_of(*quarters: int) -> dict[str, NDArray[np.bool_]]:
    return {"a": np.isin(QUARTERS, quarters)}


ONE_RULE = {"positive5": MASK_RULES["positive5"]}


def test_two_references_with_the_same_predictions_are_not_told_apart() -> None:
    truth = [1 / 2, 1 / 3, 0.0, 1 / 2]
    references = {"left": mask_of(0, 2), "top": mask_of(0, 1), "wrong": mask_of(3)}
    candidates = rank_candidates(truth, runs_of(CHOICES), references, ONE_RULE)
    assert [c.explains for c in candidates] == [True, True, False]
    assert candidates[0].predicted == pytest.approx(truth)
    assert candidates[0].error == pytest.approx(0)
    assert candidates[0].rank_correlation == pytest.approx(1)
    verdict = decide(candidates)
    assert (verdict.reference, verdict.mask_rule) == (None, None)
    assert "2 of 3 candidates explain" in verdict.text
    single = decide(rank_candidates(truth, runs_of(CHOICES), {"left": mask_of(0, 2)}, ONE_RULE))
    assert (single.reference, single.mask_rule) == ("left", "positive5")


def test_the_same_masks_under_two_names_are_one_reference() -> None:
    truth = [1 / 2, 1 / 3, 0.0, 1 / 2]
    references = {"left": mask_of(0, 2), "west": mask_of(0, 2), "wrong": mask_of(3)}
    candidates = rank_candidates(truth, runs_of(CHOICES), references)
    assert {c.reference: list(c.same) for c in candidates} == {"left": ["west"], "wrong": []}
    verdict = decide(candidates)
    assert verdict.reference == "left"
    assert "the same as west" in verdict.text
    assert "positive10" in verdict.text  # it reads the same from four superpixels
    west = chosen_rule(candidates, "west", None)
    assert (west.reference, west.mask_rule) == ("west", candidates[0].mask_rule)
    assert "it explains the answers" in west.text
    assert chosen_rule(candidates, "west", "heaviest10").mask_rule == "heaviest10"
    with pytest.raises(InvalidInput, match="north"):
        chosen_rule(candidates, "north", None)


def test_too_few_answers_and_wrong_ones_decide_nothing() -> None:
    references = {"left": mask_of(0, 2)}
    few = rank_candidates([1 / 2, 1 / 3, 0.0], runs_of(CHOICES[:3]), references, ONE_RULE)
    assert few[0].explains
    verdict = decide(few)
    assert verdict.reference is None
    assert "3 answers" in verdict.text
    wrong = rank_candidates([0.9, 0.1, 0.8, 0.2], runs_of(CHOICES), references, ONE_RULE)
    verdict = decide(wrong)
    assert verdict.reference is None
    assert "none of 1 candidates" in verdict.text
    with pytest.raises(InvalidInput, match="--methods"):
        decide([])


def test_luck_of_seeds_is_the_standard_error() -> None:
    """IoUs of 0.5 and 0 for two seeds of one image, of two: variance 1/8, and a quarter of it."""
    lucky = ImageRun(QUARTERS, (chosen(0), chosen(3)))
    steady = ImageRun(QUARTERS, (chosen(0), chosen(0)))
    masks = {"a": mask_of(0, 2)["a"], "b": mask_of(0, 2)["a"]}
    runs: list[Mapping[str, ImageRun]] = [{"a": lucky, "b": steady}]
    found = rank_candidates([0.9], runs, {"left": masks}, ONE_RULE)[0]
    expected = math.sqrt(1 / 8 / 4 * (1 + 1 / 2))
    assert found.standard_errors == pytest.approx([expected])
    assert found.predicted == pytest.approx([0.375])
    assert not found.explains
    assert found.rank_correlation is None  # of one answer
    near = rank_candidates([0.375 + 1.9 * expected], runs, {"left": masks}, ONE_RULE)[0]
    assert near.explains


def test_ties_are_broken_by_rank_correlation() -> None:
    def candidate(name: str, correlation: float | None) -> Candidate:
        return Candidate(name, "positive5", (0.5,), (0.0,), 0.1, correlation, False)

    better = candidate("better", 0.9)
    others = [candidate("none", None), candidate("worse", 0.1), better]
    assert sorted(others, key=lambda c: c.rank) == [better, others[1], others[0]]
    assert replace(others[0], error=0.05).rank < better.rank


def test_masks_are_read_as_each_rule_says() -> None:
    weights = [(0, -0.9), (1, 0.5), (2, 0.4)]
    segments = np.arange(16).reshape(4, 4)
    runs = [{"a": ImageRun(segments, (weights, weights))}]
    one = {"first": {"a": segments == 1}}
    rules = {
        "two positive": replace(MASK_RULES["positive5"], num_features=2),
        "two heaviest": replace(MASK_RULES["heaviest5"], num_features=2),
    }
    found = {c.mask_rule: c.predicted[0] for c in rank_candidates([1.0], runs, one, rules)}
    assert found == {"two positive": 0.5, "two heaviest": 1.0}


def test_references_without_an_object_are_left_out() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    maps = {"ramp": {"a": ramp}, "flat": {"a": np.ones((8, 8), dtype=np.float32)}}
    masks, unusable = cut_masks(maps, {"a": image}, ("0.5", "otsu", "top20"))
    assert set(masks) == {"ramp@0.5", "ramp@otsu", "ramp@top20"}
    assert unusable == ["flat@0.5", "flat@otsu", "flat@top20"]
