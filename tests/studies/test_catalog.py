"""Catalogues: the shipped ones, folders, TOML files, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explainers.errors import InvalidImage, InvalidInput, MissingAsset
from explainers.images import Geometry
from studies.assets import find_file, load_study_image
from studies.catalog import load_catalog

KEYS = [
    "West_Highland_white_terrier",
    "American_coot",
    "racer",
    "flamingo",
    "kite",
    "goldfish",
    "tiger_shark",
    "vulture",
    "common_iguana",
    "orange",
]


def photograph(path: Path, size: tuple[int, int] = (320, 260)) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_tml25_has_the_ten_keys_in_their_order() -> None:
    catalog = load_catalog("tml25")
    assert list(catalog.keys) == KEYS
    assert catalog.geometry == Geometry(256, 224)
    assert [i.key for i in catalog.images if i.type == "inanimate"] == ["racer", "orange"]
    for image in catalog.images:
        assert image.file == f"{image.wordnet}_{image.key}.JPEG"
        assert image.url is not None
        assert image.url.endswith(image.file)
        assert image.sha256 is not None
        assert len(image.sha256) == 64


def test_the_ten_photographs_are_the_ones_that_are_meant(assets: Path) -> None:
    catalog = load_catalog("tml25")
    for entry in catalog.images:  # raises when a digest differs
        image = load_study_image(catalog, entry, Geometry(232, 224), assets)
        assert image.pixels.shape == (224, 224, 3)


def test_a_folder_is_a_catalogue(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "a.jpg", "notes.txt"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no picture")
        else:
            photograph(tmp_path / name)
    catalog = load_catalog(str(tmp_path))
    assert catalog.keys == ("a.jpg", "a.png", "b")
    image = load_study_image(catalog, catalog.images[2], Geometry(64, 32))
    assert image.pixels.shape == (32, 32, 3)


def test_a_toml_file_is_a_catalogue(tmp_path: Path) -> None:
    photograph(tmp_path / "x.png")
    file = tmp_path / "mine.toml"
    file.write_text(
        'reference = "gradcam@otsu"\n[geometry]\nresize = 40\ncrop = 32\n'
        '[[image]]\nkey = "one"\nfile = "x.png"\ntype = "animate"\n'
    )
    catalog = load_catalog(str(file))
    assert catalog.name == "mine"
    image = load_study_image(catalog, catalog.images[0], Geometry(256, 224))
    assert image.pixels.shape == (32, 32, 3)
    assert image.size == (320, 260)


@pytest.mark.parametrize(
    "text",
    ["nonsense", "unknown = 1", "[[image]]\nkey = 'a'", "[[image]]\nfile = 'a'\nkey = 'x/y'",
     "[[image]]\nfile = 'a.png'\n[[image]]\nfile = 'b/a.png'", "image = 3", "title = 'none'",
     "[[image]]\nfile = 'a'\ntype = 'plant'", "[geometry]\ncrop = 'x'\n[[image]]\nfile = 'a'",
     "[geometry]\nresize = 10\ncrop = 224\n[[image]]\nfile = 'a'"],
)  # fmt: skip
def test_a_wrong_toml_file_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(InvalidInput):
        load_catalog(str(file))


def test_unknown_catalogues_keys_and_files_name_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="tml25"):
        load_catalog(str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="no pictures"):
        load_catalog(str(tmp_path))
    with pytest.raises(InvalidInput, match="goldfish"):
        load_catalog("tml25").only(("dragon",))
    file = tmp_path / "mine.toml"
    file.write_text("[[image]]\nfile = 'gone.png'\n")
    catalog = load_catalog(str(file))
    with pytest.raises(MissingAsset, match=r"gone\.png") as caught:
        find_file(catalog, catalog.images[0])
    assert str(tmp_path / "gone.png") in str(caught.value)


def test_another_picture_under_the_right_name_is_refused(tmp_path: Path) -> None:
    catalog = load_catalog("tml25")
    entry = catalog.images[0]
    assert entry.file is not None
    photograph(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / entry.file)
    with pytest.raises(InvalidImage, match="sha256"):
        find_file(catalog, entry, tmp_path)


def test_no_network_names_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.delenv("LIME_TUNER_ASSETS", raising=False)
    catalog = load_catalog("tml25")
    with pytest.raises(MissingAsset, match="--assets") as caught:
        find_file(catalog, catalog.images[0], tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "https://" in str(caught.value)


def test_an_interrupted_download_goes_on_and_is_checked(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib
    from dataclasses import replace

    import requests

    content = b"0123456789" * 1000
    asked: list[str] = []

    class Answer:
        def __init__(self, headers: dict[str, str]) -> None:
            start = int(headers.get("Range", "bytes=0-")[6:-1])
            self.status_code = 206 if start else 200
            self._body = content[start:]
            self.headers = {"Content-Length": str(len(self._body))}

        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def iter_content(self, _: int) -> list[bytes]:
            return [self._body]

    def get(url: str, headers: dict[str, str], **_: object) -> Answer:
        asked.append(headers.get("Range", "all"))
        return Answer(headers)

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.delenv("LIME_TUNER_ASSETS", raising=False)
    catalog = load_catalog("tml25")
    entry = replace(catalog.images[0], sha256=hashlib.sha256(content).hexdigest())
    assert entry.file is not None
    part = cache / "images" / "tml25" / f"{entry.file}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:4000])
    assert find_file(catalog, entry).read_bytes() == content
    assert asked == ["bytes=4000-"]
    find_file(catalog, entry)
    assert len(asked) == 1  # now it is in the cache
