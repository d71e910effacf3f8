"""Reference masks from maps."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.errors import InvalidInput, UnusableReference
from explainers.heat_maps import HEAT_MAP_METHODS, heat_map
from explainers.images import Geometry
from explainers.reference import Reference, parse_reference
from studies.catalog.demo import DEMO_SEEDS, draw_scene


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


class _OnlyAgainst(torch.nn.Module):
    """All evidence is negative: class 0 is whatever shows little."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 4, 3, padding=1)
        torch.nn.init.constant_(self.features.weight, 0.2)
        torch.nn.init.constant_(self.features.bias, 30.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shown = self.features(images).relu().mean((1, 2, 3))
        return torch.stack([-0.01 * shown, -shown], dim=1)


@pytest.mark.parametrize(
    "rule", ["gradcam@0.3", "gradcam@top10", "multiscale@otsu", "gradcam@grabcut", "layercam@0.5"]
)
def test_a_map_of_zeros_is_said_to_be_one(rule: str) -> None:
    classifier = Classifier(
        "against", _OnlyAgainst(), ("healthy", "ill"), geometry=Geometry(None, 32),
        cam_layer="features",
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    said = r"map of scan is zero everywhere: .*layer 'features' of against.*--objective faithful"
    with pytest.raises(UnusableReference, match=said):
        parse_reference(rule).of(classifier, image, "scan")


def test_a_constant_map_is_not_stretched_to_its_rounding_errors() -> None:
    """A uniform picture: the same evidence everywhere but at the padded border."""
    module = _OnlyAgainst()
    module.features.padding = (0, 0)
    classifier = Classifier("for", module, (), geometry=Geometry(None, 32), cam_layer="features")
    image = np.full((32, 32, 3), 77, np.uint8)
    assert not heat_map(classifier, image, "eigencam", 0).any()
