"""Hooks, pooling, and what is asked again when something has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dissection.probing import (
    FeatureCache,
    ProbingSet,
    activation_maps,
    check_layers,
    default_layers,
    probing_images,
    unit_activations,
)
from explainers.classifiers import Classifier, load_classifier
from explainers.errors import InvalidImage, InvalidInput
from explainers.images import Geometry

SIDE = 8


class _Tokens(torch.nn.Module):
    """Rows of cells as a sequence: (N, T, U)."""

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        return cells.flatten(2).transpose(1, 2)


class _Pair(torch.nn.Module):
    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return cells, cells


class _First(torch.nn.Module):
    def forward(self, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return pair[0]


def colours(*, broken: bool = False) -> Classifier:
    """``cells`` answers the picture's colours; ``tokens`` the same as a sequence."""
    cells = torch.nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        cells.weight.copy_(torch.eye(3)[:, :, None, None] * (torch.nan if broken else 1.0))
    network = torch.nn.Sequential()
    for name, module in {
        "cells": cells, "pair": _Pair(), "first": _First(), "tokens": _Tokens(),
        "flat": torch.nn.Flatten(),
    }.items():  # fmt: skip
        network.add_module(name, module)
    return Classifier("colours", network, (), Geometry(None, SIDE), mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture
def probe(tmp_path: Path) -> ProbingSet:
    folder = tmp_path / "probe"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    generator = np.random.default_rng(0)
    for name in ("b.png", "a.png", "deep/c.png", ".hidden/d.png"):
        pixels = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return probing_images(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[FeatureCache]:
    cache = FeatureCache(tmp_path / "cache" / "features.db")
    yield cache
    cache.close()


def test_units_answer_what_they_see(probe: ProbingSet) -> None:
    assert [image.path.name for image in probe.images] == ["a.png", "b.png", "c.png"]
    pictures = np.stack([np.asarray(Image.open(image.path)) for image in probe.images]) / 255
    layers = ["cells", "tokens", "flat"]
    mean = unit_activations(colours(), probe.images, layers)
    np.testing.assert_allclose(mean["cells"], pictures.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(mean["tokens"], pictures[:, 0, 0], atol=1e-6)  # the first token
    assert mean["flat"].shape == (3, SIDE * SIDE * 3)
    other = unit_activations(colours(), probe.images, layers, pooling="max", tokens="mean")
    np.testing.assert_allclose(other["cells"], pictures.max(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(other["tokens"], pictures.mean(axis=(1, 2)), atol=1e-6)
    pixels, maps = activation_maps(colours(), probe.images[:2], "cells", [2, 0])
    assert maps is not None
    np.testing.assert_allclose(maps[0], pictures[0, ..., 2], atol=1e-6)
    np.testing.assert_allclose(maps[1], pictures[1, ..., 0], atol=1e-6)
    np.testing.assert_array_equal(pixels[1], np.asarray(Image.open(probe.images[1].path)))
    assert activation_maps(colours(), probe.images, "flat", [0, 1, 2])[1] is None


def test_only_what_has_changed_is_asked_again(
    probe: ProbingSet, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = Classifier.predict_proba

    def counted(self: Classifier, images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Classifier, "predict_proba", counted)
    first = unit_activations(colours(), probe.images, ["cells"], cache=cache)
    again = unit_activations(colours(), probe.images, ["cells"], cache=cache)
    assert asked == [3]
    np.testing.assert_array_equal(first["cells"], again["cells"])
    Image.new("RGB", (SIDE, SIDE), "red").save(probe.images[1].path)
    edited = probing_images(probe.images[0].path.parent)
    assert edited.sha256 != probe.sha256
    found = unit_activations(colours(), edited.images, ["cells"], cache=cache)
    assert asked == [3, 1]
    np.testing.assert_allclose(found["cells"][1], [1, 0, 0])
    np.testing.assert_array_equal(found["cells"][[0, 2]], first["cells"][[0, 2]])
    for options in ({"pooling": "max"}, {"tokens": "mean"}):
        unit_activations(colours(), edited.images, ["cells"], cache=cache, **options)
    assert asked == [3, 1, 3, 3]


def test_an_interrupted_run_goes_on(probe: ProbingSet, cache: FeatureCache) -> None:
    folder = probe.images[0].path.parent
    for number in range(37):  # two batches
        Image.new("RGB", (SIDE, SIDE), (number, 0, 0)).save(folder / f"{number}.png")
    images = probing_images(folder).images
    shares: list[float] = []

    def interrupt(share: float) -> None:
        shares.append(share)
        if share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unit_activations(colours(), images, ["cells"], cache=cache, on_progress=interrupt)
    assert shares == [0, 32 / 40]
    shares.clear()
    unit_activations(colours(), images, ["cells"], cache=cache, on_progress=shares.append)
    assert shares == [32 / 40, 1]


def test_the_network_is_left_as_it_was(probe: ProbingSet) -> None:
    classifier = colours()
    with pytest.raises(InvalidInput, match="gives a tuple"):
        unit_activations(classifier, probe.images, ["cells", "pair"])
    assert not any(module._forward_hooks for module in classifier.module.modules())
    assert not classifier.module.training


def test_layers_by_name() -> None:
    resnet = load_classifier("resnet18", weights="random", device="cpu")
    assert default_layers(resnet) == ("layer2", "layer3", "layer4")
    check_layers(resnet, ["layer4.1.conv2", "fc"])
    with pytest.raises(InvalidInput, match=r"no layer 'layer5'; the nearest are: layer\d"):
        check_layers(resnet, ["layer5"])
    transformer = load_classifier("vit_b_16", weights="random", device="cpu")
    assert default_layers(transformer) == (transformer.cam_layer,)
    for name, layers in {
        "resnet50": ("layer2", "layer3", "layer4"),
        "mobilenet_v2": ("features.6", "features.13", "features"),
    }.items():
        assert default_layers(load_classifier(name, weights="random", device="cpu")) == layers


def test_wrong_input(probe: ProbingSet, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="NaN or infinity"):
        unit_activations(colours(broken=True), probe.images, ["cells"])
    with pytest.raises(InvalidInput, match="pooling 'min'"):
        unit_activations(colours(), probe.images, ["cells"], pooling="min")
    with pytest.raises(InvalidInput, match="no such folder"):
        probing_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no picture in it"):
        probing_images(tmp_path / "empty")
    (tmp_path / "empty" / "x.png").write_bytes(b"no picture")
    with pytest.raises(InvalidImage):
        unit_activations(colours(), probing_images(tmp_path / "empty").images, ["cells"])


def test_a_cache_that_cannot_be_used_is_done_without(
    probe: ProbingSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = FeatureCache(tmp_path / "file" / "features.db")
    assert "features are not kept" in caplog.text
    found = unit_activations(colours(), probe.images, ["cells"], cache=cache)
    assert found["cells"].shape == (3, 3)


def test_a_damaged_row_is_asked_again(probe: ProbingSet, cache: FeatureCache) -> None:
    first = unit_activations(colours(), probe.images, ["cells"], cache=cache)
    assert cache.path is not None
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE feature SET numbers = zeroblob(12)")
    again = unit_activations(colours(), probe.images, ["cells"], cache=cache)
    np.testing.assert_array_equal(first["cells"], again["cells"])
