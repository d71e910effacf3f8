"""Where cells lie, on layers whose geometry is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from explainers.cam.multiscale import cells_start_at_corner, moved_to_centres, sampled


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
