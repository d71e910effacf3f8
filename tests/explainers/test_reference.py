"""Reference masks from maps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch import nn

from explainers.cam import HEAT_MAP_METHODS, heat_map
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput, UnusableReference
from explainers.images import Geometry, enlarged
from explainers.references import (
    DOUBTFUL,
    Reference,
    Reliability,
    estimate_reliability,
    parse_reference,
)
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


# Reliability: on a classifier of which it is known what it looks at.


class _Brightest(nn.Module):
    """Class 1 when some cell of 4 × 4 is nearly white, which it is no more when blurred."""

    def __init__(self, only: int | None = None) -> None:
        super().__init__()
        self.only = only
        self.cells = nn.Conv2d(3, 1, 4, stride=4)
        nn.init.constant_(self.cells.weight, 1 / 48)
        nn.init.constant_(self.cells.bias, 0.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch._assert(self.only in (None, images.shape[-1]), "Wrong image width!")
        brightest = torch.logsumexp(self.cells(images).flatten(1) * 100, dim=1) / 100
        logit = 60 * (brightest - 0.8)
        return torch.stack([torch.zeros_like(logit), logit], dim=1)


def _classifier(only: int | None = None) -> Classifier:
    return Classifier(
        name="brightest",
        module=_Brightest(only),
        class_names=("dark", "bright"),
        geometry=Geometry(None, 64),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        cam_layer="cells",
    )


def _scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """A white square on black, its mask, and a mask of as many pixels elsewhere."""
    image, mask, elsewhere = np.zeros((64, 64, 3), np.uint8), *np.zeros((2, 64, 64), bool)
    image[12:24, 36:48] = 255
    mask[11:25, 35:49] = True
    elsewhere[40:54, 8:22] = True
    return image, mask, elsewhere


@pytest.mark.parametrize("only", [None, 64])
def test_the_object_is_trusted_and_another_place_is_not(only: int | None) -> None:
    image, mask, elsewhere = _scene()
    classifier = _classifier(only)  # 64: a model of one size
    right = estimate_reliability(classifier, image, mask, enlarged(image), 1)
    assert right.kept > 0.99
    assert right.lost > 0.99
    assert right.standing == 1.0
    assert right.agreement > 0.5
    assert right.score > 0.8
    assert right.doubt == ""
    wrong = estimate_reliability(classifier, image, elsewhere, enlarged(image), 1)
    assert wrong.kept < 0.05
    assert wrong.lost < 0.05
    assert wrong.score < 0.1
    assert "keeps 0%" in wrong.doubt or "takes only 0%" in wrong.doubt
    assert (
        estimate_reliability(classifier, image, mask, enlarged(image)) == right
    )  # the likeliest class


def test_a_class_that_is_not_the_first_is_doubtful() -> None:
    image, mask, _ = _scene()
    other = estimate_reliability(_classifier(), image, mask, enlarged(image), 0)
    assert other.standing < 0.01
    assert other.score < DOUBTFUL


def test_the_weakest_sign_is_the_doubt() -> None:
    sure = Reliability(1.0, 1.0, 1.0, 1.0)
    assert (sure.score, sure.doubt) == (1.0, "")
    assert "correlation 0.01" in replace(sure, agreement=0.01).doubt
    assert "mask alone keeps 2%" in replace(sure, kept=0.02).doubt
    assert "takes only 3%" in replace(sure, lost=0.03).doubt
    assert "4% of the first" in replace(sure, standing=0.04).doubt


def test_it_is_kept_with_the_reference() -> None:
    image, mask, _ = _scene()
    parsed = parse_reference("gradcam@0.5")
    assert parsed.of(_classifier(), image, "square").reliability is None
    made = parsed.of(_classifier(), image, "square", with_reliability=True)
    again = Reference.from_json(json.loads(json.dumps(made.to_json())))
    assert made.reliability is not None
    assert again.reliability is not None
    assert again.reliability.score == pytest.approx(made.reliability.score, abs=1e-3)
    assert "reliability" not in Reference(mask, "masks").to_json()
