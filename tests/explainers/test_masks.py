"""Reading masks out of explanations and heat maps, and comparing them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lime.lime_image import ImageExplanation
from numpy.typing import NDArray

from explainers.errors import InvalidInput, StorageError, UnusableReference
from explainers.lime import explanation_mask
from explainers.masks import (
    MaskRule,
    check_reference,
    consensus,
    intersection_over_union,
    mask_from_text,
    selected_superpixels,
    stored_coverage,
)
from explainers.references import Reference, UpperBound, overlap_counts, reachable_iou

Mask = NDArray[np.bool_]

_shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
_pairs = _shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


@given(_pairs)
def test_iou_is_a_symmetric_share(pair: tuple[Mask, Mask]) -> None:
    first, second = pair
    value = intersection_over_union(first, second)
    assert value == intersection_over_union(second, first)
    assert value == intersection_over_union(first.T, second.T)
    assert 0.0 <= value <= 1.0
    assert (value == 1.0) == np.array_equal(first, second)
    assert (value == 0.0) == (not (first & second).any() and (first | second).any())
    assert intersection_over_union(first, first) == 1.0


def test_iou_of_known_overlaps() -> None:
    left, middle, right, none = (np.zeros((4, 6), dtype=bool) for _ in range(4))
    left[:, :2] = middle[:, 1:3] = right[:, 4:] = True
    assert intersection_over_union(left, middle) == 1 / 3
    assert intersection_over_union(left, left | middle) == 2 / 3
    assert intersection_over_union(left, right) == 0.0
    assert intersection_over_union(left, none) == 0.0
    assert intersection_over_union(none, none) == 1.0
    with pytest.raises(InvalidInput, match=r"\(4, 6\) and \(6, 4\)"):
        intersection_over_union(left, left.T)


_explanations = st.lists(
    st.one_of(st.sampled_from([0.0, -0.0, 0.25, -0.25]), st.floats(-1, 1)), min_size=1, max_size=12
)


@given(
    weights=_explanations,
    rule=st.builds(
        MaskRule,
        positive_only=st.booleans(),
        num_features=st.integers(1, 14),
        min_weight=st.sampled_from([0.0, 0.1, 0.25]),
    ),
)
def test_selected_superpixels_are_those_that_lime_switches_on(
    weights: list[float], rule: MaskRule
) -> None:
    segments = np.random.default_rng(0).permutation(np.arange(36) % len(weights)).reshape(6, 6)
    explanation: Any = ImageExplanation(np.zeros((6, 6, 3), np.uint8), segments)
    ranked = sorted(enumerate(weights), key=lambda pair: abs(pair[1]), reverse=True)
    explanation.local_exp, explanation.top_labels = {7: ranked, 2: [(0, 1.0)]}, [7, 2]
    _, mask = explanation.get_image_and_mask(7, **rule.as_kwargs())
    chosen = selected_superpixels(ranked, rule)
    assert np.array_equal(np.isin(segments, chosen), mask > 0)
    assert np.array_equal(explanation_mask(explanation, rule), mask > 0)
    assert len(chosen) <= rule.num_features


def test_consensus_is_the_mean() -> None:
    maps = [np.full((3, 4), value, dtype=np.float32) for value in (0.0, 0.25, 1.0)]
    maps[0][1, 2] = 1.0
    mean = consensus(iter(maps))
    assert mean.dtype == np.float32
    assert mean[1, 2] == 0.75
    assert mean[0, 0] == np.float32(1.25 / 3)


def test_empty_and_full_references_are_refused() -> None:
    mask = np.zeros((5, 5), dtype=bool)
    with pytest.raises(UnusableReference, match=r"racer is empty"):
        check_reference(mask, "racer")
    with pytest.raises(UnusableReference, match=r"racer covers the whole"):
        check_reference(~mask, "racer")
    mask[2, 2] = True
    check_reference(mask, "racer")
    check_reference(~mask, "racer")


# Masks as studies keep them.


def test_coverage_of_what_is_stored() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:4] = True
    assert Reference(mask, "masks").coverage == 0.25
    assert stored_coverage(Reference(mask, "masks").to_json()) == 0.25
    assert stored_coverage(Reference.none((4, 6)).to_json()) is None
    assert stored_coverage({"rule": "gradcam@0.3", "sha256": "a"}) is None
    assert stored_coverage(None) is None


@pytest.mark.parametrize("text", ["", "AAAA", "é", 7])
def test_a_damaged_mask(text: str) -> None:
    with pytest.raises(StorageError, match="stored mask of a study is damaged"):
        mask_from_text(text)
    assert stored_coverage({"rule": "masks", "mask_png": text}) is None  # shown, and not needed


# The ceiling is the best of all unions.


_superpixels = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8)


def _brute_force(inside: list[int], outside: list[int], at_most: int) -> float:
    reference = sum(inside)
    return max(
        sum(inside[s] for s in union) / (reference + sum(outside[s] for s in union))
        for size in range(at_most + 1)
        for union in itertools.combinations(range(len(inside)), size)
    )


@given(counts=_superpixels, at_most=st.integers(1, 8), order=st.randoms(use_true_random=False))
def test_equals_brute_force_in_any_order(
    counts: list[tuple[int, int]], at_most: int, order: object
) -> None:
    inside, outside = (list(column) for column in zip(*counts, strict=True))
    assume(sum(inside) > 0)
    best = _brute_force(inside, outside, min(at_most, len(counts)))
    found = reachable_iou(np.array(inside), np.array(outside), at_most)
    assert found.iou == best
    assert len(set(found.superpixels)) == len(found.superpixels) <= at_most
    hit = sum(inside[s] for s in found.superpixels)
    assert found.iou == hit / (sum(inside) + sum(outside[s] for s in found.superpixels))
    shuffled = list(range(len(counts)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    again = reachable_iou(np.array(inside)[shuffled], np.array(outside)[shuffled], at_most)
    assert again.iou == best


@given(seed=st.integers(0, 10**6), at_most=st.integers(1, 5))
def test_is_the_iou_of_the_mask_it_names(seed: int, at_most: int) -> None:
    generator = np.random.default_rng(seed)
    segments = np.repeat(np.repeat(generator.permutation(12).reshape(3, 4), 3, axis=0), 2, axis=1)
    reference = generator.random(segments.shape) < 0.3
    assume(reference.any())
    inside, outside = overlap_counts(segments, reference)
    assert inside.tolist() == [int(reference[segments == s].sum()) for s in range(12)]
    assert (inside + outside).tolist() == [6] * 12
    ceiling = reachable_iou(inside, outside, at_most)
    mask = np.isin(segments, ceiling.superpixels)
    assert intersection_over_union(mask, reference) == ceiling.iou


def test_superpixels_that_make_up_the_reference_reach_one() -> None:
    segments = np.arange(6).reshape(2, 3)
    reference = np.isin(segments, [1, 4])
    assert reachable_iou(*overlap_counts(segments, reference), 5).iou == 1.0
    alone = reachable_iou(*overlap_counts(segments, reference), 1)
    assert alone == UpperBound(0.5, alone.superpixels)
    assert alone.superpixels in {(1,), (4,)}


def test_nonsense_is_refused() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        reachable_iou(np.zeros(3, int), np.ones(3, int), 5)
    with pytest.raises(InvalidInput, match=r"\(2, 3\).*\(3, 2\)"):
        overlap_counts(np.zeros((2, 3), int), np.zeros((3, 2), bool))
