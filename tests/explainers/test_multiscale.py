"""Maps over several scales: where things are, and what models refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn

from explainers.cam import (
    CAM_METHODS,
    HEAT_MAP_METHODS,
    SCALES,
    ActivationMaps,
    finer_layer,
    heat_map,
    layer_outputs,
    multiscale_maps,
)
from explainers.cam.affinity import GRID, likeness, spread
from explainers.cam.multiscale import cells_start_at_corner, moved_to_centres, sampled
from explainers.classifiers import Classifier, load_classifier
from explainers.errors import InvalidInput
from explainers.images import Geometry, enlarged, load_image, prepare
from studies.catalog.demo import DEMO_SEEDS, draw_scene

_STRIDE = 4
_GEOMETRY = Geometry(72, 64)


class _Cells(nn.Module):
    """One layer that sees the mean brightness of cells of 4 × 4; class 1 is "bright"."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 1, _STRIDE, stride=_STRIDE)
        nn.init.constant_(self.cells.weight, 1 / (3 * _STRIDE**2))
        nn.init.constant_(self.cells.bias, 0.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = torch.relu(self.cells(images)).mean(dim=(1, 2, 3)) * 100
        return torch.stack([torch.ones_like(bright), bright], dim=1)


def _classifier() -> Classifier:
    return Classifier(
        name="cells",
        module=_Cells(),
        class_names=("dark", "bright"),
        geometry=_GEOMETRY,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        cam_layer="cells",
    )


def _centre(values: NDArray[np.float32]) -> tuple[float, float]:
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]] + 0.5
    total = float(values.sum())
    return float((rows * values).sum() / total), float((columns * values).sum() / total)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A bright square off the middle of a picture much larger than the crop."""
    pixels = np.zeros((300, 420, 3), np.uint8)
    pixels[90:150, 240:310] = 255
    path = tmp_path / "square.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("scale", [*SCALES, 3.0])
@pytest.mark.parametrize("method", CAM_METHODS)
def test_a_square_is_found_where_it_is(method: str, scale: float, photograph: Path) -> None:
    original = load_image(photograph)
    pixels = prepare(original, _GEOMETRY)
    true = _centre(pixels[..., 0].astype(np.float32))
    with ActivationMaps(_classifier(), method) as maps:
        found = multiscale_maps(
            maps, lambda s: prepare(original, _GEOMETRY.scaled(s)), 1, scales=(scale,)
        )
    assert found.shape == (1, 64, 64)
    assert found.dtype == np.float32
    assert np.hypot(*np.subtract(_centre(found[0]), true)) < _STRIDE / scale


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("method", HEAT_MAP_METHODS)
def test_every_method_finds_the_square_also_mirrored(
    method: str, mirrored: bool, photograph: Path
) -> None:
    original = load_image(photograph)
    if mirrored:
        original = ImageOps.mirror(original)
    pixels = prepare(original, _GEOMETRY)
    hot = heat_map(
        _classifier(), pixels, method, 1, at_scale=lambda s: prepare(original, _GEOMETRY.scaled(s))
    )
    true = _centre(pixels[..., 0].astype(np.float32))
    assert np.hypot(*np.subtract(_centre(np.where(hot > 0.5, hot, 0)), true)) < _STRIDE


class _PaddedCells(nn.Module):
    """Brightness again, by two padded convolutions: cell i looks at 4 · i."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Sequential(*(nn.Conv2d(n, 1, 3, 2, 1, bias=False) for n in (3, 1)))
        for layer in self.cells:
            assert isinstance(layer, nn.Conv2d)
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = torch.relu(self.cells(images)).mean(dim=(1, 2, 3)) * 100
        return torch.stack([torch.ones_like(bright), bright], dim=1)


def test_padded_cells_are_put_where_they_look(photograph: Path) -> None:
    original = load_image(photograph)
    pixels = prepare(original, _GEOMETRY)
    true = _centre(pixels[..., 0].astype(np.float32))
    padded = replace(_classifier(), module=_PaddedCells())
    as_tiles = heat_map(padded, pixels, "gradcam", 1)
    assert np.hypot(*np.subtract(_centre(as_tiles), true)) > 1.5
    with ActivationMaps(padded, "gradcam") as maps:
        found = multiscale_maps(
            maps, lambda s: prepare(original, _GEOMETRY.scaled(s)), 1, scales=(1.0,)
        )
    assert np.hypot(*np.subtract(_centre(found[0]), true)) < 0.75


def test_more_scales_are_finer(photograph: Path) -> None:
    original = load_image(photograph)
    pixels = prepare(original, _GEOMETRY)
    truth = pixels[..., 0] > 127
    classifier = _classifier()

    def error(method: str) -> float:
        hot = heat_map(
            classifier, pixels, method, 1,
            at_scale=lambda s: prepare(original, _GEOMETRY.scaled(s)),
        )  # fmt: skip
        return float(np.abs(hot - truth).mean())

    assert error("multiscale") < error("gradcam")


def test_without_the_photograph_the_picture_is_enlarged(photograph: Path) -> None:
    pixels = prepare(load_image(photograph), _GEOMETRY)
    at_scale = enlarged(pixels)
    assert at_scale(1.0) is pixels
    assert at_scale(1.5).shape == (96, 96, 3)
    hot = heat_map(_classifier(), pixels, "multiscale-layercam", 1)
    assert np.array_equal(
        hot, heat_map(_classifier(), pixels, "multiscale-layercam", 1, at_scale=at_scale)
    )


class _OneSize(_Cells):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch._assert(images.shape[-1] == 64, "Wrong image width!")
        return super().forward(images)


def test_a_model_of_one_size_says_so() -> None:
    classifier = _classifier()
    fixed = Classifier(
        name="fixed", module=_OneSize(), class_names=classifier.class_names,
        geometry=_GEOMETRY, cam_layer="cells",
    )  # fmt: skip
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[8:20, 8:20] = 255
    assert heat_map(fixed, pixels, "gradcam", 1).shape == (64, 64)
    for method in ("multiscale", "affinity"):
        with pytest.raises(
            InvalidInput, match=r"fixed takes pictures of 64 × 64 only.*gradcam@0\.3"
        ):
            heat_map(fixed, pixels, method, 1)


# Where cells lie, on layers whose geometry is known by construction.


def _picture(side: int, seed: int) -> NDArray[np.float32]:
    """Smooth noise, as pictures are."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, side // 8, side // 8), dtype=np.float32))
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return np.asarray(smooth[0].numpy())


def _padded(steps: int) -> nn.Module:
    """Convolutions of three with stride two and padding: cell i looks at 2^steps · i."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False) for _ in range(steps)]
    for layer in layers:  # blind to left and right, as a trained network is on the whole
        layer.weight.data = (layer.weight.data + layer.weight.data.flip(-1)) / 2
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("layer", "corner"),
    [
        (_padded(3), True),
        (nn.Sequential(nn.MaxPool2d(3, 2, 1), _padded(2)), True),
        (nn.AvgPool2d(8), False),
        (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(8)), False),
    ],
)
def test_a_mirror_image_tells_where_cells_look(layer: nn.Module, corner: bool, seed: int) -> None:
    picture = _picture(128, seed)
    with torch.inference_mode():
        pair = layer(torch.from_numpy(np.stack([picture, picture[..., ::-1]]))).numpy()
    assert cells_start_at_corner(pair) is corner


def test_too_few_or_equal_cells_are_tiles() -> None:
    assert not cells_start_at_corner(np.ones((2, 5, 9, 9), np.float32))
    assert not cells_start_at_corner(np.random.default_rng(0).random((2, 5, 3, 3), np.float32))


def test_cells_are_moved_by_half_a_cell() -> None:
    ramp = np.arange(12, dtype=np.float32)
    heat = np.stack([np.tile(ramp[:, None], (1, 12)), np.tile(ramp, (12, 1))])
    down, across = moved_to_centres(heat, (4.0, 3.0))
    assert np.array_equal(down[:, 5], np.minimum(ramp + 1.5, 11))
    assert np.array_equal(across[5], np.minimum(ramp + 1.0, 11))


def test_cells_are_sampled_where_they_look() -> None:
    cells = np.tile(np.arange(4, dtype=np.float32), (1, 4, 1))
    # Eight tiles of half a cell: their middles are a quarter and three quarters into each cell.
    tiles = sampled(cells, 8, corner=False)[0, 0]
    assert np.allclose(tiles, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    corners = sampled(cells, 8, corner=True)[0, 0]
    assert np.allclose(corners, [0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3, 3])
    assert np.array_equal(sampled(cells.transpose(0, 2, 1), 8, corner=True)[0, :, 0], corners)


# Heat that spreads: on pictures of which it is known what is alike.


_SIDE = 8 * GRID


def _halves() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A left half of one feature and colour, a right half of another."""
    features = np.zeros((2, GRID, GRID), np.float32)
    features[0, :, : GRID // 2] = features[1, :, GRID // 2 :] = 1.0
    image = np.full((_SIDE, _SIDE, 3), 40, np.uint8)
    image[:, : _SIDE // 2] = (200, 60, 60)
    return features, image


def _spot() -> NDArray[np.float32]:
    """Heat on a few tiles of the left half."""
    heat = np.zeros((_SIDE, _SIDE), np.float32)
    heat[40:64, 40:64] = 1.0
    return heat


def test_alike_is_symmetric_and_above_zero() -> None:
    alike = likeness(*_halves())
    assert alike.shape == (GRID**2, GRID**2)
    assert np.array_equal(alike, alike.T)
    assert alike.min() > 0


def test_heat_fills_what_is_alike_and_stops_at_its_border() -> None:
    found = spread(_spot(), likeness(*_halves()))
    assert found.shape == (_SIDE, _SIDE)
    assert found.dtype == np.float32
    left, right = found[:, : _SIDE // 2 - 8], found[:, _SIDE // 2 + 8 :]
    assert left.min() > 0.4
    assert right.max() < 0.02


def test_without_likeness_heat_stays() -> None:
    features, image = _halves()
    alike = np.diag(np.full(GRID**2, 1.0)) + 1e-12
    found = spread(_spot(), alike)
    assert found[52, 52] == pytest.approx(1.0)
    assert found[150, 150] < 1e-6
    assert likeness(features, image).shape == alike.shape


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_is_a_map_and_the_same_each_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(5, GRID, GRID)).astype(np.float32)
    image = rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    heat = rng.random((_SIDE, _SIDE), dtype=np.float32)
    found = spread(heat, likeness(features, image))
    assert found.min() == 0
    assert found.max() == pytest.approx(1.0)
    assert np.array_equal(found, spread(heat, likeness(features, image)))


def test_an_empty_map_stays_empty() -> None:
    nothing = np.zeros((_SIDE, _SIDE), np.float32)
    assert not spread(nothing, likeness(*_halves())).any()


# Feature maps of layers, and which layer is finer than the last.


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
