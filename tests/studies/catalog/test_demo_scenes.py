"""The drawn scenes: repeatable, exactly masked, of sensible size."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from explainers.errors import InvalidInput
from studies.catalog.demo import (
    CLASS_NAMES,
    CLASS_TYPES,
    DEMO_SEEDS,
    SCENE_SIZE,
    draw_scene,
)
from studies.catalog.demo.scenes import draw_background

_DIGEST = """
import hashlib
from studies.catalog.demo.scenes import CLASS_NAMES, DEMO_SEEDS, draw_scene
digest = hashlib.sha256()
for name in CLASS_NAMES:
    scene = draw_scene(name, DEMO_SEEDS[name])
    digest.update(scene.image.tobytes() + scene.mask.tobytes())
print(digest.hexdigest())
"""


def test_ten_classes_five_of_each_type_one_seed_each() -> None:
    assert len(set(CLASS_NAMES)) == 10
    assert set(CLASS_TYPES) == set(DEMO_SEEDS) == set(CLASS_NAMES)
    assert sorted(CLASS_TYPES.values()) == ["animate"] * 5 + ["inanimate"] * 5


def test_another_process_draws_the_same_pixels() -> None:
    digest = hashlib.sha256()
    for name in CLASS_NAMES:
        scene = draw_scene(name, DEMO_SEEDS[name])
        digest.update(scene.image.tobytes() + scene.mask.tobytes())
    other = subprocess.run(
        [sys.executable, "-c", _DIGEST], check=True, capture_output=True, text=True
    )
    assert other.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_mask_is_exactly_what_the_object_changes(name: str) -> None:
    for seed in (DEMO_SEEDS[name], 3, 4):
        scene = draw_scene(name, seed)
        changed = (scene.image != draw_background(seed)).any(axis=2)
        assert scene.image.shape == (SCENE_SIZE, SCENE_SIZE, 3)
        assert scene.image.dtype == np.uint8
        assert scene.mask.shape == (SCENE_SIZE, SCENE_SIZE)
        assert scene.mask.dtype == np.bool_
        assert not changed[~scene.mask].any()
        # A pixel inside may show the background's own value, but only by chance or at an edge.
        assert changed[scene.mask].mean() > 0.95


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_object_has_a_sensible_size_and_stays_in_the_picture(name: str) -> None:
    for seed in (DEMO_SEEDS[name], *range(100, 108)):
        mask = draw_scene(name, seed).mask
        assert 0.08 <= mask.mean() <= 0.30
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert not border.any()


@pytest.mark.parametrize("name", ["mug", "key"])
def test_holes_of_an_object_are_background(name: str) -> None:
    skimage_measure = pytest.importorskip("skimage.measure")
    mask = draw_scene(name, DEMO_SEEDS[name]).mask
    areas = [region.area for region in skimage_measure.regionprops(
        skimage_measure.label(~mask, connectivity=1)
    )]  # fmt: skip
    assert len([area for area in areas if area >= 8]) >= 2


def test_seeds_and_classes_differ() -> None:
    first = draw_scene("cat", 1)
    assert not np.array_equal(first.image, draw_scene("cat", 2).image)
    assert not np.array_equal(first.mask, draw_scene("mug", 1).mask)


def test_unknown_class_names_what_is_allowed() -> None:
    with pytest.raises(InvalidInput, match=r"(?s)'unicorn'.*fish.*umbrella"):
        draw_scene("unicorn", 0)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="-1"):
        draw_scene("cat", -1)
    with pytest.raises(InvalidInput, match="-1"):
        draw_background(-1)
