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
    parse_heat_map_rule,
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


_heat_maps = hnp.arrays(
    np.float32, (8, 10), elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
)


@given(heat_map=_heat_maps, percent=st.sampled_from([1, 10, 12.5, 50, 99]))
def test_top_takes_exactly_so_many_of_the_hottest(
    heat_map: NDArray[np.float32], percent: float
) -> None:
    """Ties, of which there are many here, are decided by reading order."""
    mask = parse_heat_map_rule(f"top{percent}")(heat_map)
    assert mask.shape == heat_map.shape
    assert mask.sum() == max(1, round(80 * percent / 100))
    if not mask.all():
        assert heat_map[mask].min() >= heat_map[~mask].max()
        border = heat_map[mask].min()
        tied = mask.ravel()[(heat_map == border).ravel()]
        assert (np.diff(tied.astype(int)) <= 0).all()


@given(heat_map=_heat_maps, fraction=st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.9]))
def test_fraction_is_of_the_maximum_and_inclusive(
    heat_map: NDArray[np.float32], fraction: float
) -> None:
    mask = parse_heat_map_rule(str(fraction))(heat_map)
    assert np.array_equal(mask, heat_map >= np.float32(fraction) * heat_map.max())
    half = parse_heat_map_rule(str(fraction))(heat_map / 2)
    assert np.array_equal(mask, half)


def test_otsu_separates_two_levels() -> None:
    heat_map = np.full((10, 10), 0.1, dtype=np.float32)
    heat_map[2:6, 3:8] = 0.8
    heat_map += np.random.default_rng(0).normal(0, 0.02, heat_map.shape).astype(np.float32)
    mask = parse_heat_map_rule("otsu")(heat_map)
    assert np.array_equal(mask, heat_map > 0.45)
    flat = np.full((10, 10), 0.5, dtype=np.float32)
    assert not parse_heat_map_rule("otsu")(flat).any()


@pytest.mark.parametrize(
    "text",
    ["", "0", "1", "1.5", "-0.3", "nan", "top", "top0", "top100", "top-5", "topnan", "Otsu", "0,3"],
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{text}'.*top10"):
        parse_heat_map_rule(text)


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
