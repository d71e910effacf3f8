"""Maps over several scales: where things are, and what models refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn

from explainers.cam import (
    CAM_METHODS,
    HEAT_MAP_METHODS,
    SCALES,
    ActivationMaps,
    heat_map,
    multiscale_maps,
)
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.images import Geometry, enlarged, load_image, prepare

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
