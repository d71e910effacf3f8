"""The network that comes with the demo catalogue."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explainers.demo_network import DEMO_CLASS_NAMES, DemoNetwork, load_demo_network
from studies.catalog.demo import CLASS_NAMES, DEMO_SEEDS, draw_scene
from studies.catalog.demo.train import HELD_OUT_SEED, TRAINING_SEED

_HELD_OUT = 100


@pytest.fixture(scope="module")
def network() -> DemoNetwork:
    return load_demo_network()


def _logits(network: DemoNetwork, images: list[NDArray[np.uint8]]) -> torch.Tensor:
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    with torch.inference_mode():
        logits: torch.Tensor = network(batch)
    return logits


def test_classes_are_those_of_the_scenes() -> None:
    assert tuple(DEMO_CLASS_NAMES) == CLASS_NAMES


def test_catalogue_held_out_and_training_seeds_do_not_meet() -> None:
    assert max(DEMO_SEEDS.values()) < HELD_OUT_SEED
    assert HELD_OUT_SEED + _HELD_OUT <= TRAINING_SEED


def test_weights_are_small_enough_to_ship() -> None:
    weights = resources.files("explainers").joinpath("data", "demo_network.pt")
    assert len(weights.read_bytes()) < 500_000


def test_loads_in_evaluation_mode_with_the_promised_shapes(network: DemoNetwork) -> None:
    assert not network.training
    pictures = torch.zeros(2, 3, 128, 128)
    with torch.inference_mode():
        last = network.features(pictures)
        assert network(pictures).shape == (2, len(CLASS_NAMES))
    assert last.shape[0] == 2
    assert tuple(last.shape[2:]) in {(8, 8), (16, 16)}
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_catalogue_scenes_are_all_classified_right(network: DemoNetwork) -> None:
    answers = _logits(network, [draw_scene(n, DEMO_SEEDS[n]).image for n in CLASS_NAMES])
    assert [CLASS_NAMES[i] for i in answers.argmax(1).tolist()] == list(CLASS_NAMES)


def test_held_out_scenes_are_classified_right(network: DemoNetwork) -> None:
    labels = [i % len(CLASS_NAMES) for i in range(_HELD_OUT)]
    images = [
        draw_scene(CLASS_NAMES[label], HELD_OUT_SEED + i).image for i, label in enumerate(labels)
    ]
    found = _logits(network, images).argmax(1)
    assert float((found == torch.tensor(labels)).float().mean()) >= 0.9
