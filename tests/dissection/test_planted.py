"""From pictures on disk to labels, on a network whose units are known."""

from __future__ import annotations

import pytest
import torch

from dissection.labelling import Labelling, describe_layer
from dissection.probing import unit_activations
from dissection.similarity import Probing
from tests.dissection.planted_network import (
    CLASSES,
    NOISE,
    draw_scenes,
    planted_features,
    planted_network,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.Tensor, list[int]]:
    """(N, U) activations, and what each scene shows."""
    probe, classes = draw_scenes(tmp_path_factory.mktemp("probe") / "scenes", 20)
    found = unit_activations(planted_network(), probe.images, ["units"])
    return torch.from_numpy(found["units"]), classes


def test_planted_units_get_their_concept_and_nothing_else_does(
    planted: tuple[torch.Tensor, list[int]],
) -> None:
    activations, classes = planted
    assert activations.shape == (200, len(CLASSES) + NOISE + 3)
    wrong = survivors = 0
    for seed in range(20):
        images, texts, concepts = planted_features(classes, further=20, seed=seed)
        units = describe_layer(
            "planted", "units", Probing.of(images, texts, activations), concepts,
            Labelling(permutations=400, bootstrap=0, seed=seed),
        ).units  # fmt: skip
        assert [unit.concept for unit in units[: len(CLASSES)]] == list(CLASSES)
        assert all(unit.survives for unit in units[: len(CLASSES)])
        assert all(unit.dead and unit.concept is None for unit in units[-3:])
        survivors += sum(bool(unit.survives) for unit in units)
        wrong += sum(bool(unit.survives) for unit in units[len(CLASSES) :])
    assert wrong <= 0.05 * survivors


def test_labels_settle_with_more_images(planted: tuple[torch.Tensor, list[int]]) -> None:
    activations, classes = planted
    images, texts, concepts = planted_features(classes, further=20, seed=0)
    seeing = activations[:, : len(CLASSES)]
    found = describe_layer(
        "planted", "units", Probing.of(images, texts, seeing), concepts,
        Labelling(permutations=0, bootstrap=5), class_names=CLASSES,
    )  # fmt: skip
    assert [size for size, _ in found.by_size] == [20, 50, 100]
    assert found.by_size[-1][1] >= 0.8
    assert found.truth is not None
    assert (found.truth.units, found.truth.top1, found.truth.mean_rank) == (10, 1.0, 1.0)
