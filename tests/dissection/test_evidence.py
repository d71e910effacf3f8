"""A network whose every number is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dissection.evidence import mask_evidence
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.images import Geometry

SIDE = 8
WEIGHTS = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]])
BIAS = torch.tensor([0.25, -0.5])


def channels() -> Classifier:
    """Its units are the picture's red, green and blue; the logits are linear in their means."""
    body = torch.nn.Conv2d(3, 3, 1, bias=False)
    head = torch.nn.Linear(3, 2)
    with torch.no_grad():
        body.weight.copy_(torch.eye(3)[:, :, None, None])
        head.weight.copy_(WEIGHTS)
        head.bias.copy_(BIAS)
    parts = (body, torch.nn.ReLU(inplace=True), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return Classifier(
        "channels", torch.nn.Sequential(*parts, head), ("a", "b"), Geometry(None, SIDE),
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )  # fmt: skip


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Red 1.0 in the left quarter, green 0.2 everywhere, blue 0.4 in the right half."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:, :2, 0] = 255
    image[..., 1] = 51
    image[:, 4:, 2] = 102
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, :4] = True
    return image, mask


def test_every_number_by_hand() -> None:
    image, mask = scene()
    classifier = channels()
    found = mask_evidence(
        classifier, image, mask, "1", 0, key="scene", concepts=("red", None, "blue")
    )
    red, green, blue = sorted(found.units, key=lambda unit: unit.unit)
    assert (red.inside, red.outside, red.effect) == pytest.approx((0.5, 0.0, 1.0))
    assert (green.inside, green.outside, green.effect) == pytest.approx((0.2, 0.2, 2.0))
    assert (blue.inside, blue.outside, blue.effect) == pytest.approx((0.0, 0.4, -1.0))
    assert [unit.contrast for unit in (red, green, blue)] == pytest.approx([0.5, 0.0, 0.4])
    assert (red.evidence_inside, red.evidence_outside) == pytest.approx((0.25, 0.0))
    assert (green.evidence_inside, green.evidence_outside) == pytest.approx((0.2, 0.2))
    assert (blue.evidence_inside, blue.evidence_outside) == pytest.approx((0.0, -0.2))
    # what is inside and outside adds up to the logit without its bias
    total = sum(unit.evidence_inside + unit.evidence_outside for unit in found.units)
    logit = classifier.module(classifier.normalise(image[None]))[0, 0].detach()
    assert total == pytest.approx(float(logit - BIAS[0]), abs=1e-6)
    # shares are of the evidence for the class: 0.25 + 0.2 + 0.2
    assert found.for_the_class == pytest.approx(0.65)
    assert found.inside_share == pytest.approx(0.45 / 0.65)
    assert found.concept_shares == pytest.approx({"red": 0.25 / 0.65})
    assert found.units[0] == red
    assert found.sentence == (
        "scene: units for 'red' inside the mask carry 38% of the evidence for a; 69% of it lies "
        "inside."
    )


def test_cells_that_the_mask_covers_in_part() -> None:
    image, mask = scene()
    classifier = channels()
    coarse = torch.nn.Sequential(torch.nn.AvgPool2d(4), *classifier.module)
    pooled = Classifier(
        "coarse", coarse, ("a", "b"), Geometry(None, SIDE), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    mask[:] = False
    mask[:, :2] = True  # half of the left cells
    found = mask_evidence(pooled, image, mask, "0", 0, key="scene", concepts=(None,) * 3)
    red = next(unit for unit in found.units if unit.unit == 0)
    # the left cells answer 0.5 and weigh 0.5 inside; outside they weigh 0.5 beside the right's 1
    assert red.inside == pytest.approx(0.5)
    assert red.outside == pytest.approx(0.5 * 0.5 / 1.5)
    assert "no labelled unit" in found.sentence


def test_the_network_is_left_as_it_was() -> None:
    image, mask = scene()
    classifier = channels()
    before = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    for _ in range(2):
        mask_evidence(classifier, image, mask, "1", 1, key="k", concepts=(None,) * 3)
    with pytest.raises(InvalidInput, match="no feature maps"):
        mask_evidence(classifier, image, mask, "3", 1, key="k", concepts=(None,) * 3)
    assert not any(module._forward_hooks for module in classifier.module.modules())
    assert not any(parameter.grad is not None for parameter in classifier.module.parameters())
    for name, value in classifier.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_wrong_calls() -> None:
    image, mask = scene()
    classifier = channels()
    for wrong in (np.zeros_like(mask), np.ones_like(mask), mask[:4]):
        with pytest.raises(InvalidInput, match="an inside and an outside"):
            mask_evidence(classifier, image, wrong, "0", 0, key="k", concepts=(None,) * 3)
    with pytest.raises(InvalidInput, match="3 units, 2 are labelled"):
        mask_evidence(classifier, image, mask, "0", 0, key="k", concepts=(None,) * 2)
    with pytest.raises(InvalidInput, match="no layer 'layer4'; the nearest are"):
        mask_evidence(classifier, image, mask, "layer4", 0, key="k", concepts=(None,) * 3)
