"""Rules that turn heat maps into masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.masks import intersection_over_union
from explainers.references import NAMED_RULES, parse_heat_map_rule

_heat_maps = hnp.arrays(
    np.float32, (8, 10), elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
)
_BLANK = np.zeros((8, 10, 3), np.uint8)


@given(heat_map=_heat_maps, percent=st.sampled_from([1, 10, 12.5, 50, 99]))
def test_top_takes_the_hottest_and_parts_no_equals(
    heat_map: NDArray[np.float32], percent: float
) -> None:
    """Of the sets that hold all pixels of a value or none, the one nearest to the percentage."""
    assume(heat_map.min() < heat_map.max())
    mask = parse_heat_map_rule(f"top{percent}")(heat_map, _BLANK)
    assert mask.any()
    if not mask.all():
        assert heat_map[mask].min() >= heat_map[~mask].max()
    count = max(1, round(80 * percent / 100))
    sizes = [int((heat_map >= value).sum()) for value in np.unique(heat_map)]
    nearest = min(abs(size - count) for size in sizes)
    assert abs(int(mask.sum()) - count) <= min(nearest, 1) or mask.sum() in sizes
    assert abs(int(mask.sum()) - count) <= nearest


@pytest.mark.parametrize(
    ("hot", "tied", "marked"),
    [(5, 0, 5), (10, 5, 10), (7, 5, 12), (7, 20, 7), (0, 20, 20)],
)
def test_top_ten_percent_of_a_map_with_plateaus(hot: int, tied: int, marked: int) -> None:
    """Of 100 pixels so many are hot and so many warm; all others are zero."""
    heat_map = np.zeros(100, np.float32)
    heat_map[:hot] = np.linspace(0.9, 1.0, hot)
    heat_map[60 : 60 + tied] = 0.5
    mask = parse_heat_map_rule("top10")(heat_map.reshape(10, 10), np.zeros((10, 10, 3), np.uint8))
    assert mask.sum() == marked
    assert (heat_map[mask.ravel()] > 0).all()


def test_few_ties_are_parted_in_reading_order() -> None:
    heat_map = np.linspace(1, 0, 400, dtype=np.float32)
    heat_map[36:44] = heat_map[40]
    mask = parse_heat_map_rule("top10")(heat_map.reshape(20, 20), np.zeros((20, 20, 3), np.uint8))
    assert np.array_equal(np.flatnonzero(mask), np.arange(40))


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("rule", ["0.3", "top10", *NAMED_RULES])
def test_a_flat_map_marks_nothing(rule: str, value: float) -> None:
    flat = np.full((8, 10), value, np.float32)
    assert not parse_heat_map_rule(rule)(flat, _BLANK).any()


@given(heat_map=_heat_maps, fraction=st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.9]))
def test_fraction_is_of_the_maximum_and_inclusive(
    heat_map: NDArray[np.float32], fraction: float
) -> None:
    assume(heat_map.min() < heat_map.max())
    mask = parse_heat_map_rule(str(fraction))(heat_map, _BLANK)
    assert np.array_equal(mask, heat_map >= np.float32(fraction) * heat_map.max())
    half = parse_heat_map_rule(str(fraction))(heat_map / 2, _BLANK)
    assert np.array_equal(mask, half)


def test_otsu_separates_two_levels() -> None:
    heat_map = np.full((10, 10), 0.1, dtype=np.float32)
    heat_map[2:6, 3:8] = 0.8
    heat_map += np.random.default_rng(0).normal(0, 0.02, heat_map.shape).astype(np.float32)
    image = np.zeros((10, 10, 3), np.uint8)
    mask = parse_heat_map_rule("otsu")(heat_map, image)
    assert np.array_equal(mask, heat_map > 0.45)


def _disc_with_a_coarse_map() -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.uint8]]:
    """A reddish disc on a bluish ground, both noisy, and a heat map a third too wide."""
    rows, columns = np.mgrid[:96, :96]
    distance = np.hypot(rows - 40, columns - 52)
    disc = distance < 18
    noise = np.random.default_rng(0).normal(0, 12, (96, 96, 3))
    colours = np.where(disc[..., None], [190, 70, 60], [60, 90, 170])
    image = (colours + noise).clip(0, 255).astype(np.uint8)
    heat_map = np.exp(-((distance / 26) ** 2)).astype(np.float32)
    return disc, heat_map, image


@pytest.mark.parametrize("name", NAMED_RULES)
def test_contract_of_every_named_rule(name: str) -> None:
    disc, heat_map, image = _disc_with_a_coarse_map()
    before = heat_map.copy(), image.copy()
    rule = parse_heat_map_rule(name)
    mask = rule(heat_map, image)
    assert rule.text == name
    assert mask.dtype == np.bool_
    assert mask.shape == heat_map.shape
    assert np.array_equal(mask, rule(heat_map, image))
    assert np.array_equal(heat_map, before[0])
    assert np.array_equal(image, before[1])
    assert intersection_over_union(mask, disc) > 0.4
    flat = rule(np.full_like(heat_map, 0.5), image)  # nothing to go by, and no exception
    assert flat.all() or not flat.any()


@pytest.mark.parametrize("name", ["grabcut", "grabcut-half", "walker", "superpixels"])
def test_borders_come_from_the_image(name: str) -> None:
    disc, heat_map, image = _disc_with_a_coarse_map()
    threshold = intersection_over_union(parse_heat_map_rule("0.3")(heat_map, image), disc)
    refined = intersection_over_union(parse_heat_map_rule(name)(heat_map, image), disc)
    assert threshold < 0.6
    assert refined > threshold + 0.1
    if name != "superpixels":
        assert refined > (0.85 if name == "grabcut-half" else 0.9)  # a pixel of the border is two


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_half_of_any_size_is_a_mask_of_that_size(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    heat_map = rng.random(shape, dtype=np.float32)
    mask = parse_heat_map_rule("grabcut-half")(heat_map, image)
    assert mask.shape == shape
    assert mask.dtype == np.bool_


def test_grabcut_at_half_size_grows_a_hot_part_to_the_object() -> None:
    """Two flat parts of the picture: all of the one with the hot square is found."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 24:] = 200
    heat_map = np.full((64, 64), 0.02, np.float32)
    heat_map[20:40, 30:50] = 1.0  # the middle of the object only
    heat_map[:, 24:] += 0.2
    mask = parse_heat_map_rule("grabcut-half")(heat_map, image)
    assert intersection_over_union(mask, image[..., 0] > 0) > 0.98


@pytest.mark.parametrize(
    "text",
    ["", "0", "1", "1.5", "-0.3", "nan", "top", "top0", "top100", "top-5", "topnan", "Otsu", "0,3"],
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{text}'.*top10.*grabcut"):
        parse_heat_map_rule(text)
