"""Maps of positive gradients: their algebra on a network small enough to solve by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from explainers.cam import ActivationMaps, heat_map, multiscale_maps
from explainers.cam.activation_maps import POSITIVE_GRADIENTS
from explainers.cam.region import REGION_SCALES, region_map, region_maps
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.images import Geometry, enlarged

_SIDE = 32


class _Linear(nn.Module):
    """Means of 8 × 8 cells, of 4 × 4, and a weighted sum of those.

    The gradient of class 1 at a fine cell is the weight of its coarse cell over four.
    """

    def __init__(self, weights: NDArray[Any]) -> None:
        super().__init__()
        self.fine = nn.AvgPool2d(4)
        self.coarse = nn.AvgPool2d(2)
        self.weights = nn.Parameter(torch.from_numpy(weights.astype(np.float32)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        cells = self.coarse(self.fine(images))  # (N, 3, h, w)
        weights = nn.functional.interpolate(
            self.weights[None, None], cells.shape[2:], mode="bilinear"
        )
        score = (cells * weights).sum(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], dim=1)


def _classifier(weights: NDArray[Any]) -> Classifier:
    return Classifier(
        "linear", _Linear(weights), ("no", "yes"), geometry=Geometry(None, _SIDE),
        mean=(0.0,) * 3, std=(1.0,) * 3, cam_layer="coarse",
    )  # fmt: skip


def _picture(seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3)).astype(np.uint8)


def _stretched(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray((values - values.min()) / (values.max() - values.min()))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 3))
def test_it_is_the_positive_part_of_the_gradient(seed: int, columns: int) -> None:
    """Whatever the picture shows; negative weights count as zero."""
    weights = np.random.default_rng(seed).normal(size=(4, 4))
    weights[:, columns:] = -np.abs(weights[:, columns:])
    weights[0, 0] = 1.0
    classifier = _classifier(weights)
    expected = _stretched(np.maximum(weights, 0))
    for picture in (_picture(seed), np.zeros((_SIDE, _SIDE, 3), np.uint8)):
        with ActivationMaps(replace(classifier, cam_layer="fine"), POSITIVE_GRADIENTS) as maps:
            found = maps.enlarged(picture[None], 1)[0]
        middles = found[4::8, 4::8] / 2 + found[3::8, 3::8] / 2
        assert np.allclose(middles, expected, atol=0.02)


def test_the_region_is_the_mean_over_scales_and_mirror_images() -> None:
    weights = np.full((4, 4), -1.0)
    weights[1:3, 0:2] = [[1.0, 2.0], [2.0, 3.0]]
    classifier, picture = _classifier(weights), _picture(0)
    maps = region_maps(classifier, enlarged(picture), 1)
    assert maps.shape == (len(REGION_SCALES), _SIDE, _SIDE)
    assert maps.dtype == np.float32
    found = region_map(classifier, enlarged(picture), 1)
    assert np.allclose(found, _stretched(maps.mean(axis=0)), atol=1e-6)
    assert np.array_equal(found, heat_map(classifier, picture, "region", 1))
    mirrored = region_map(
        _classifier(weights[:, ::-1].copy()), enlarged(picture[:, ::-1].copy()), 1
    )
    assert np.allclose(mirrored[:, ::-1], found, atol=1e-5)


def test_without_a_finer_layer_it_is_grad_cam() -> None:
    classifier = _classifier(np.eye(4))
    first = replace(classifier, cam_layer="fine")  # nothing is finer
    picture = _picture(1)
    at_scale = enlarged(picture)
    with ActivationMaps(first, "gradcam") as maps:
        expected = multiscale_maps(maps, at_scale, 1, REGION_SCALES)
    assert np.array_equal(region_maps(first, at_scale, 1), expected)


def test_a_class_that_nothing_speaks_for_has_no_region() -> None:
    classifier = _classifier(np.full((4, 4), -1.0))
    assert not heat_map(classifier, _picture(2), "region", 1).any()


def test_a_class_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidInput, match="class 2 does not exist"):
        heat_map(_classifier(np.eye(4)), _picture(3), "region", 2)
