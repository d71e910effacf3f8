"""Catalogues: the shipped ones, folders, TOML files, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explainers.errors import InvalidImage, InvalidInput, MissingAsset
from explainers.images import Geometry
from studies.catalog import load_catalog
from studies.catalog.assets import find_file, load_study_image

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


def test_keys_between_commas(tmp_path: Path) -> None:
    for name in ("a", "b", "a,b", "c, d; e", "f"):
        photograph(tmp_path / f"{name}.png")
    catalog = load_catalog(str(tmp_path))
    assert catalog.named("a, b") == ("a", "b")
    assert catalog.named("f,c, d; e ,,a") == ("f", "c, d; e", "a")
    assert catalog.named("a,none") == ("a", "none")
    assert catalog.only(catalog.named("c, d; e")).keys == ("c, d; e",)


def test_half_a_geometry_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for table, message in (
        ("crop = 128", "has no resize: 256 is taken"),
        ("resize = 300", "has no crop: 224 is taken"),
        ("resize = 300\ncrop = 128", ""),
    ):
        caplog.clear()
        (tmp_path / "c.toml").write_text(f"[geometry]\n{table}\n[[image]]\nfile = 'a.png'")
        for _ in range(2):
            load_catalog(str(tmp_path / "c.toml"))
        assert len(caplog.messages) == bool(message)
        assert message in caplog.text


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


def test_what_a_folder_leaves_out_is_told(tmp_path: Path) -> None:
    """Pictures in sub folders and what cannot be read; not what a system or a tool leaves there."""
    for name in ("a.JPG", "b.jfif", "cat.jpg", "cat.avif", "dog.tga"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    for name in ("._a.JPG", ".DS_Store", "Thumbs.db", "a.json", "coco.json", "b.txt", "notes.txt",
                 "c.heic", "d.NEF", "film.mp4", "readme"):  # fmt: skip
        (tmp_path / name).write_bytes(b"x")
    for folder, pictures in (("more/deep", 2), ("__MACOSX", 1), (".thumbnails", 1), ("none", 0)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(pictures):
            Image.new("RGB", (9, 9)).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    catalog = load_catalog(str(tmp_path))
    # What was taken before other formats were keeps its key.
    assert catalog.keys == ("a", "b", "cat.avif", "cat", "dog")
    assert catalog.left_out == (
        "2 pictures in sub folders ('more'); 1 without suffix; "
        "1 .heic (HEIC: pip install pillow-heif, or convert it to JPEG); 1 .mp4; "
        "1 .nef (a camera's raw file: develop it to JPEG, PNG or TIFF); 1 .txt; "
        "1 that is no file (broken link or pipe)"
    )
    with pytest.raises(InvalidInput, match=r"no pictures; it holds 2 pictures in sub folders"):
        load_catalog(str(tmp_path / "more"))


def test_keys_are_chosen_however_accents_are_encoded(tmp_path: Path) -> None:
    photograph(tmp_path / "cafe\u0301.png")  # as macOS writes it
    catalog = load_catalog(str(tmp_path))
    assert catalog.only(("caf\u00e9",)).keys == ("cafe\u0301",)
    photograph(tmp_path / "caf\u00e9.png")
    with pytest.raises(InvalidInput, match="more than once"):
        load_catalog(str(tmp_path))


def test_a_file_name_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    photograph(tmp_path / "lat\udce9.png")
    with pytest.raises(InvalidInput, match=r"'lat\\udce9'.*rename"):
        load_catalog(str(tmp_path))


@pytest.mark.parametrize(
    "file", ["x.png", "sub\\x.png", "../here/x.png", "~/here/x.png", "ABSOLUTE/x.png"]
)
def test_ways_to_write_a_path(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    photograph(here / "x.png")
    photograph(here / "sub" / "x.png")
    file = file.replace("ABSOLUTE", str(here))
    (here / "c.toml").write_bytes(b"\xef\xbb\xbf" + f"[[image]]\nfile = '{file}'\n".encode())
    catalog = load_catalog(str(here / "c.toml"))
    assert catalog.keys == ("x",)
    found = find_file(catalog, catalog.images[0])
    assert found.resolve() == here / ("sub/x.png" if "sub" in file else "x.png")


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
     "[geometry]\nresize = 10\ncrop = 224\n[[image]]\nfile = 'a'",
     "[image]\nfile = 'a'", "[[image]]\nfile = 'a'\nfile = 'b'", "[[image]]\nfile = ''",
     "a = " + "[" * 5000,
     "[[image]]\nfile = 'a'\nkey = 5", "[[image]]\nfile = 'a'\nkey = ' '",
     "title = 3\n[[image]]\nfile = 'a'",
     '[[image]]\nfile = "a"\nkey = "a\\u0000b"', '[[image]]\nfile = "a"\nkey = "a\\u202eb"',
     "[[image]]\nfile = 'a'\nkey = 'a'\n[[image]]\nfile = 'b'\nkey = 'a '",
     "[[image]]\nfile = 'a'\nsha256 = 'abc'", f"[[image]]\nfile = 'a'\nsha256 = '{'g' * 64}'",
     "[[image]]\nfile = 'file:///a.jpg'", "[[image]]\nfile = '~nobody-at-all/a.jpg'",
     *(f"[geometry]\ncrop = {crop}\n[[image]]\nfile = 'a'"
       for crop in ("true", "64.0", "-64", "100000", "224\nresize = 100000"))],
)  # fmt: skip
def test_a_wrong_toml_file_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load_catalog(str(file))
    assert "\n" not in str(caught.value)


def test_what_is_no_catalogue_is_told(tmp_path: Path) -> None:
    photograph(tmp_path / "cat.png")
    (tmp_path / "wide.toml").write_text("[[image]]\nfile = 'a'\n", "utf-16")
    for source, says in ((tmp_path / "cat.png", "--images cat"), (tmp_path / "wide.toml", "UTF-8"),
                         ("x" * 300, "cannot be read"), ("", "neither")):  # fmt: skip
        with pytest.raises(InvalidInput, match=says):
            load_catalog(str(source))


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
    # By its whole path, too; there it may also be missing.
    with pytest.raises(InvalidImage, match="sha256"):
        find_file(catalog, replace(entry, file=str(tmp_path / entry.file)))
    with pytest.raises(MissingAsset, match=r"gone\.png does not exist"):
        find_file(catalog, replace(entry, file=str(tmp_path / "gone.png")))


@pytest.mark.parametrize("given", ["option", "environment"])
@pytest.mark.parametrize(
    ("folder", "says"),
    [("x.png", "is a file"), ("none", "does not exist"), ("~nobody-at-all", "cannot be read")],
)
def test_an_assets_folder_that_is_none_is_told(
    given: str, folder: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph(tmp_path / "x.png")
    named = Path(folder) if folder.startswith("~") else tmp_path / folder
    monkeypatch.setenv("LIME_TUNER_ASSETS", str(named))
    catalog = load_catalog("tml25")
    with pytest.raises(InvalidInput, match=f"assets folder .*{says}.*: check --assets"):
        find_file(catalog, catalog.images[0], named if given == "option" else None)


def test_nothing_is_downloaded_to_outside_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIME_TUNER_ASSETS", raising=False)
    image = "[[image]]\nfile = '{}'\nurl = 'http://127.0.0.1:9/x'\n"
    for text in (image.format("../../x.png"), "name = '../..'\n" + image.format("x.png")):
        (tmp_path / "c.toml").write_text(text)
        catalog = load_catalog(str(tmp_path / "c.toml"))
        with pytest.raises(InvalidInput, match="outside the cache"):
            find_file(catalog, catalog.images[0])


def test_how_a_picture_was_read_goes_with_it(tmp_path: Path) -> None:
    Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)).save(tmp_path / "deep.png")
    catalog = load_catalog(str(tmp_path))
    image = load_study_image(catalog, catalog.images[0], Geometry(None, 30))
    assert image.notes == ("10-bit data: scaled by 1023",)
    assert np.array_equal(image.pixels[..., 0].ravel(), np.arange(900) * 255 // 1023)


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
