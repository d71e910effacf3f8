"""Feature maps of layers, and which layer is finer than the last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from explainers.classifier import Classifier
from explainers.layer_outputs import finer_layer, layer_outputs
from explainers.zoo import load_classifier
from studies.catalog.demo import DEMO_SEEDS, draw_scene


@pytest.mark.parametrize(
    ("model", "finer"),
    [("mobilenet_v2", "features.13"), ("resnet18", "layer3"), ("squeezenet1_1", "features.7")],
)
def test_the_last_block_with_twice_the_cells(model: str, finer: str) -> None:
    classifier = load_classifier(model, weights="random")
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    found = finer_layer(classifier, image)
    assert found == finer
    assert classifier.cam_layer is not None
    outputs = layer_outputs(classifier, np.stack([image] * 2), [found, classifier.cam_layer])
    fine, last = outputs[found], outputs[classifier.cam_layer]
    assert fine.shape[0] == last.shape[0] == 2
    assert fine.shape[2] >= 2 * last.shape[2]


def test_stages_are_walked_into_blocks_are_not(demo_classifier: Classifier) -> None:
    scene = draw_scene("cat", DEMO_SEEDS["cat"]).image
    assert finer_layer(demo_classifier, scene) == "features.3.2"  # before that stage's pooling


def test_one_size_of_cells_has_no_finer_layer(demo_classifier: Classifier) -> None:
    scene = draw_scene("cat", DEMO_SEEDS["cat"]).image
    assert finer_layer(replace(demo_classifier, cam_layer="features.0.0"), scene) is None


def test_layers_that_give_no_map_are_left_out_and_hooks_are_gone(
    demo_classifier: Classifier,
) -> None:
    scene = draw_scene("cat", DEMO_SEEDS["cat"]).image
    outputs = layer_outputs(demo_classifier, scene[None], ["features", "fc"])
    assert list(outputs) == ["features"]
    assert outputs["features"].shape == (1, 72, 8, 8)
    with pytest.raises(AttributeError):
        layer_outputs(demo_classifier, scene[None], ["features", "nothing"])
    assert not any(m._forward_hooks for m in demo_classifier.module.modules())
