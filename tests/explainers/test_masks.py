"""Reading masks out of explanations and heat maps, and comparing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lime.lime_image import ImageExplanation
from numpy.typing import NDArray

from explainers.errors import InvalidInput, UnusableReference
from explainers.lime import explanation_mask
from explainers.masks import (
    MaskRule,
    check_reference,
    consensus,
    intersection_over_union,
    selected_superpixels,
)

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
