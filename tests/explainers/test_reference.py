"""Reference masks from maps."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.errors import InvalidInput
from explainers.heat_maps import HEAT_MAP_METHODS, heat_map
from explainers.reference import Reference, parse_reference
from studies.demo_scenes import DEMO_SEEDS, draw_scene


def _disc(height: int, width: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:height, :width]
    inside: NDArray[np.bool_] = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 64
    return inside


@given(mask=hnp.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))), rule=st.text())
def test_json_round_trip(mask: NDArray[np.bool_], rule: str) -> None:
    reference = Reference(mask, rule)
    again = Reference.from_json(json.loads(json.dumps(reference.to_json())))
    assert again.mask.dtype == np.bool_
    assert np.array_equal(again.mask, mask)
    assert again.rule == rule
    assert again.sha256 == reference.sha256
    other = mask.copy()
    other[0, 0] ^= True
    assert Reference(other, rule).sha256 != reference.sha256


def test_digest_is_documented() -> None:
    mask = _disc(24, 24)
    expected = hashlib.sha256(b"(24, 24)" + np.packbits(mask).tobytes()).hexdigest()
    assert Reference(mask, "masks").sha256 == expected


def test_rules_are_parsed() -> None:
    assert parse_reference("gradcam").text == "gradcam@0.3"
    assert parse_reference("layercam@top10").text == "layercam@top10"
    assert {parse_reference(f"{m}@otsu").method for m in HEAT_MAP_METHODS} == set(HEAT_MAP_METHODS)
    for text in ("grad", "masks/", "", "@0.3"):
        with pytest.raises(InvalidInput, match="METHOD@RULE"):
            parse_reference(text)
    with pytest.raises(InvalidInput, match="otsu"):
        parse_reference("gradcam@2")


def test_reference_of_an_image_is_its_thresholded_map(demo_classifier: Classifier) -> None:
    scene = draw_scene("fish", DEMO_SEEDS["fish"]).image
    reference = parse_reference("gradcam@0.4").of(demo_classifier, scene, "fish")
    hot = heat_map(demo_classifier, scene, "gradcam")
    assert np.array_equal(reference.mask, hot >= np.float32(0.4) * hot.max())
    assert reference.rule == "gradcam@0.4"
