"""Pictures as people have them, and torchvision's geometry."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from explainers.classifiers import import_torchvision
from explainers.errors import InvalidImage, InvalidInput
from explainers.images import Geometry, array_digest, load_image, prepare
from tests.explainers.numpy_classifiers import picture


def _pixels(path: Path) -> np.ndarray:
    image = load_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_greyscale_and_bilevel(tmp_path: Path) -> None:
    grey = picture(0)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(_pixels(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))
    Image.fromarray(grey > 127).save(tmp_path / "bits.png")
    assert np.array_equal(_pixels(tmp_path / "bits.png")[..., 1], (grey > 127) * 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 30 * 20).reshape(20, 30).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = _pixels(tmp_path / "deep.png")[..., 0].astype(int)
    assert np.abs(found - deep / 257).max() <= 1


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[0] = (10, 20, 30, 255)
    rgba[1] = (10, 20, 30, 0)
    rgba[2] = (0, 0, 0, 51)  # a fifth of black
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    rows = _pixels(tmp_path / "alpha.png")[:3, 0]
    assert rows.tolist() == [[10, 20, 30], [255, 255, 255], [204, 204, 204]]


def test_palette_with_and_without_transparent_colour(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    indexed.putpalette([200, 0, 0, 0, 100, 0])
    indexed.save(tmp_path / "plain.png")
    indexed.save(tmp_path / "hole.png", transparency=1)
    indexed.save(tmp_path / "hole.gif", transparency=1)
    assert _pixels(tmp_path / "plain.png")[0].tolist() == [[200, 0, 0], [0, 100, 0]]
    for name in ("hole.png", "hole.gif"):
        assert _pixels(tmp_path / name)[0].tolist() == [[200, 0, 0], [255, 255, 255]]


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    red, green, blue = _pixels(tmp_path / "print.jpg")[4, 4].tolist()
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation: int, tmp_path: Path) -> None:
    """What a viewer shows, whatever way the camera was held."""
    turned: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    stored = picture(1, 20, 30)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(_pixels(tmp_path / "photo.png"), turned[orientation](stored))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 20000)])
def test_extreme_sizes_are_prepared(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size, (10, 200, 90)).save(tmp_path / "odd.png")
    prepared = prepare(load_image(tmp_path / "odd.png"), Geometry())
    assert prepared.shape == (224, 224, 3)
    assert (prepared == (10, 200, 90)).all()


def _encoded(name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(2, 40, 40)).save(buffer, format=name)
    return buffer.getvalue()


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    bad = {
        "cut.jpg": _encoded("JPEG")[:-200],
        "cut.png": _encoded("PNG")[:-2000],
        "text.jpg": b"this is a text file\n" * 20,
        "empty.png": b"",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    for name in (*bad, "nothing.png", "."):
        with pytest.raises(InvalidImage) as caught:
            load_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=6),
    kept=st.floats(0.02, 1),
)
@settings(max_examples=150)
def test_damaged_files_load_or_are_refused(
    kind: str,
    flips: list[tuple[float, int]],
    kept: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = bytearray(_encoded(kind))
    for place, change in flips:
        # Mostly in the headers, where decoders are touchy.
        content[int(place**3 * (len(content) - 1))] ^= change
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: int(kept * len(content))] if kept < 0.8 else content)
    try:
        assert load_image(path).mode == "RGB"
    except InvalidImage as error:
        assert str(path) in str(error)


_SIZES = [(256, 256), (500, 375), (375, 500), (224, 224), (301, 999), (57, 33), (640, 225)]


@pytest.mark.parametrize(
    "geometry", [Geometry(), Geometry(232, 224), Geometry(None, 128), Geometry(65, 64)], ids=str
)
def test_prepare_equals_torchvision(geometry: Geometry) -> None:
    import_torchvision()
    from torchvision import transforms

    reference = transforms.Compose(
        [transforms.Resize(geometry.resize or geometry.crop), transforms.CenterCrop(geometry.crop)]
    )
    for width, height in _SIZES:
        image = Image.fromarray(picture(3, height, width))
        assert np.array_equal(prepare(image, geometry), np.asarray(reference(image))), (
            width,
            height,
        )


@pytest.mark.parametrize(("resize", "crop"), [(223, 224), (None, 7), (8, -1), (0, 224)])
def test_impossible_geometry_is_refused(resize: int | None, crop: int) -> None:
    with pytest.raises(InvalidInput, match=f"crop={crop}"):
        Geometry(resize, crop)


def test_digest_tells_apart_shape_type_and_content_only() -> None:
    array = np.arange(12, dtype=np.int64).reshape(3, 4)
    same = np.asfortranarray(array)
    assert array_digest(array) == array_digest(same) == array_digest(array[:, ::1].copy())
    others = [array.reshape(4, 3), array.astype(np.int32), array + 1, array.T]
    assert array_digest(array) not in {array_digest(other) for other in others}
