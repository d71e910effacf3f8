"""What a command tells of the pictures that it works on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explainers.errors import InvalidInput
from tests.tuner import tiny
from tuner.cli.context import open_workplace
from tuner.cli.options import CatalogOptions, ClassifierOptions


def test_pictures_left_out_and_guesses_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "more").mkdir()
    Image.new("RGB", (150, 140)).save(tmp_path / "more" / "x.jpg")
    Image.new("RGB", (150, 140)).save(tmp_path / "plain.jpg")
    for name in ("a", "b", "c", "d"):
        deep = np.arange(150 * 140, dtype=np.uint16).reshape(140, 150) % 4096
        Image.fromarray(deep).save(tmp_path / f"{name}.png")
    workspace = open_workplace(
        CatalogOptions(catalog=str(tmp_path)), ClassifierOptions(model="demo", device="cpu")
    )
    assert [image.key for image in workspace.load_images()] == ["a", "b", "c", "d", "plain"]
    assert caplog.messages == [
        f"{tmp_path}: left out: 1 picture in sub folders ('more')",
        "a, b, c and 1 more: 12-bit data: scaled by 4095",
    ]


@pytest.mark.parametrize("images", ["", " , "])
def test_no_image_is_not_every_image(images: str) -> None:
    with pytest.raises(InvalidInput, match=r"names no image: give keys .* or leave it out"):
        open_workplace(CatalogOptions(catalog="demo", images=images), ClassifierOptions())


def test_weights_that_demo_does_not_take_are_told(caplog: pytest.LogCaptureFixture) -> None:
    open_workplace(
        CatalogOptions(catalog="demo"), ClassifierOptions(weights="mine.pth", device="cpu")
    )
    assert caplog.messages == ["demo has weights of its own: mine.pth is not used"]


def test_a_catalogue_s_own_masks_are_compared_with_if_it_has_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tiny.write_catalogue(tmp_path, ("house", "key"))
    options = CatalogOptions(catalog=str(file)), ClassifierOptions(model=tiny.MODEL[1])
    workspace = open_workplace(*options)
    found = workspace.object_masks(workspace.load_images())
    assert set(found) == {"house", "key"}
    assert np.array_equal(found["key"], tiny.tiny_picture("key")[1])
    Image.new("1", (tiny.SIDE, tiny.SIDE)).save(tmp_path / "key_mask.png")
    assert workspace.object_masks(workspace.load_images()) == {}
    (message,) = caplog.messages
    assert "own masks are not compared with" in message
    assert "key" in message
    file.write_text(file.read_text().replace('mask = "key_mask.png"\n', ""))
    workspace = open_workplace(*options)
    assert workspace.object_masks(workspace.load_images()) == {}
    assert len(caplog.messages) == 1
