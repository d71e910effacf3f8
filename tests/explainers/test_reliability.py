"""Reliability: on a classifier of which it is known what it looks at."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from explainers.classifiers import Classifier
from explainers.images import Geometry, enlarged
from explainers.references import (
    DOUBTFUL,
    Reference,
    Reliability,
    estimate_reliability,
    parse_reference,
)


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
    judged = parsed.of(_classifier(), image, "square", judged=True)
    again = Reference.from_json(json.loads(json.dumps(judged.to_json())))
    assert judged.reliability is not None
    assert again.reliability is not None
    assert again.reliability.score == pytest.approx(judged.reliability.score, abs=1e-3)
    assert "reliability" not in Reference(mask, "masks").to_json()
