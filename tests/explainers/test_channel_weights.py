"""Score-CAM and Ablation-CAM: grad-cam's own maps, and weights that can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from explainers.channel_weights import ChannelWeights
from explainers.classifier import Classifier
from explainers.heat_maps import heat_map
from explainers.images import Geometry
from explainers.torchvision_import import import_torchvision
from studies.catalog.demo import DEMO_SEEDS, draw_scene


def _plain(classifier: Classifier, image: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    import_torchvision()
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    index = int(classifier.predict_proba(image[None])[0].argmax())
    made = getattr(pytorch_grad_cam, kind)
    with made(model=classifier.module, target_layers=[classifier.cam_target()]) as cam:
        found: NDArray[np.float32] = cam(
            input_tensor=classifier.normalise(image[None]),
            targets=[ClassifierOutputTarget(index)],
        )[0]
    return found


@pytest.mark.parametrize(
    ("method", "kind"), [("scorecam", "ScoreCAM"), ("ablationcam", "AblationCAM")]
)
@pytest.mark.parametrize("key", ["cat", "mug"])
def test_maps_are_grad_cam_s(method: str, kind: str, key: str, demo_classifier: Classifier) -> None:
    scene = draw_scene(key, DEMO_SEEDS[key]).image
    ours = heat_map(demo_classifier, scene, method)
    np.testing.assert_allclose(ours, _plain(demo_classifier, scene, kind), atol=1e-3)


class _Sums(nn.Module):
    """Logit of class 1: 2 a + 5 b + 0 c for the channels' sums; class 0 has none.

    ``tail`` says how it goes on behind the layer.
    """

    def __init__(self, tail: str) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        self.layer.weight.data = torch.eye(3)[:, :, None, None]
        self.tail = tail
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        count = len(images)
        self.seen.append(count)
        maps = self.layer(images)
        if self.tail == "in place":
            maps *= 1.0
        if self.tail == "of as many":  # cannot go on with more pictures than came
            maps = maps.reshape(count, 3, *images.shape[2:])
        if self.tail == "all in one":  # would mix them up without an error
            maps = maps.reshape(count, -1, 3, *images.shape[2:]).sum(dim=1)
        sums = maps.sum(dim=(2, 3))
        logit = 2 * sums[:, 0] + 5 * sums[:, 1]
        return torch.stack([torch.zeros_like(logit), logit], dim=1)


def _classifier(tail: str) -> Classifier:
    return Classifier(
        name="sums",
        module=_Sums(tail),
        class_names=("none", "some"),
        geometry=Geometry(None, 8),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        cam_layer="layer",
    )


def _target(category: int) -> Any:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    return ClassifierOutputTarget(category)


IMAGE = np.zeros((1, 8, 8, 3), dtype=np.uint8)
IMAGE[0, 2:4, 2:6] = (255, 102, 51)  # sums 8, 3.2 and 1.6; logit 2 * 8 + 5 * 3.2 = 32


@pytest.mark.parametrize("tail", ["plain", "in place", "of as many", "all in one"])
def test_ablation_weights_are_the_shares_that_channels_have(tail: str) -> None:
    import_torchvision()
    classifier = _classifier(tail)
    weights = ChannelWeights(classifier)
    inputs = classifier.normalise(IMAGE)
    found = weights.ablation(inputs, None, [_target(1)], np.zeros((1, 3, 8, 8), np.float32), None)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0]], atol=1e-5)


def test_score_weights_are_the_softmax_of_masked_logits() -> None:
    import_torchvision()
    classifier = _classifier("plain")
    inputs = classifier.normalise(IMAGE)
    activations = np.zeros((1, 4, 8, 8), dtype=np.float32)
    activations[0, 0] = IMAGE[0, ..., 0] / 255  # shows all that is bright: logit 32
    activations[0, 1, 2] = 7.0  # the upper half of it: logit 16
    activations[0, 3] = activations[0, 1] / 3  # the same mask: not asked again
    told: list[tuple[int, int]] = []
    weights = ChannelWeights(classifier, lambda done, total: told.append((done, total)))
    found = weights.score(inputs, None, [_target(1)], activations, None)
    expected = torch.softmax(torch.tensor([32.0, 16.0, 0.0, 16.0]), dim=0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert told[-1] == (3, 3)
