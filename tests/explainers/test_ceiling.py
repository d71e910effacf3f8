"""The ceiling is the best of all unions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from explainers.errors import InvalidInput
from explainers.masks import intersection_over_union
from explainers.references import UpperBound, overlap_counts, reachable_iou

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
