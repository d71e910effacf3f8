"""What is sent is refused with its reason, and then nothing is stored."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from studies.records.jobs import Jobs
from studies.web.service import Service, create_app
from studies.web.service.limits import image_key, spelt_alike, unique_keys
from studies.web.service.uploads import PICTURE_FORMATS
from tests.studies.web.service.services import Part, form_body, made_service, photograph, stored

GOOD: Part = ("images", "cat.png", photograph())
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def _bomb() -> bytes:
    """A PNG of 100 megapixels in a few kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    return buffer.getvalue()


def _huge_header() -> bytes:
    """A PNG that says it is 60,000 × 60,000."""
    data = bytearray(photograph())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return made_service(tmp_path_factory.mktemp("uploads"))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(
        create_app(service), base_url="http://localhost", raise_server_exceptions=False
    ) as made:
        yield made


def _text(name: str, value: str) -> Part:
    return (name, None, value.encode())


@pytest.mark.parametrize(
    ("parts", "status", "says"),
    [
        ([], 422, "no image"),
        ([("images", "cat.png", b"not an image at all")], 422, "'cat.png' is no picture"),
        ([("images", "cat.png", b"")], 422, "empty"),
        ([("images", "cat.svg", _SVG)], 422, "JPEG, PNG or WebP"),
        ([("images", "cat.png", _SVG)], 422, "JPEG, PNG or WebP"),
        ([("images", "a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")], 422, "JPEG"),
        ([("images", "a.gif", photograph("GIF"))], 422, "JPEG"),
        ([("images", "bomb.png", _bomb())], 413, "10000 × 10000 pixels: 50 million"),
        ([("images", "bomb.png", _huge_header())], 413, "pixels: 50 million"),
        ([("images", "big.png", photograph() + bytes(1_100_000))], 413, "1.1 megabytes: 1 may"),
        ([GOOD, ("images", "b.png", bytes(3_100_000))], 413, "more than 3 megabytes"),
        ([("images", f"{n}.png", photograph()) for n in range(6)], 422, "may have 5"),
        ([("images", f"{n}.png", b"x") for n in range(2000)], 400, "Too many files"),
        ([("images", "../../etc/cat.png", photograph())], 422, "without slashes"),
        ([("images", "..\\\\cat.png", photograph())], 422, "without slashes"),
        ([("images", "a\x00b.png", photograph())], 422, "without slashes and control"),
        ([("images", "", photograph())], 422, "file name"),
        ([("images", "x" * 300 + ".png", photograph())], 422, "255"),
        ([GOOD, ("other", "cat.png", photograph())], 422, "'other'"),
        ([GOOD, _text("storage", "sqlite:///x")], 422, "'storage' is unknown"),
        ([GOOD, _text("model", "os:system")], 422, "'model' is unknown"),
        ([_text("images", "cat")], 422, "has text in it"),
        *(
            ([GOOD, _text("trials", value)], 422, "1 to 1000")
            for value in ("0", "-1", "1000000000", "1e3", "nan", "9" * 400, "٣")
        ),
        *(
            ([GOOD, _text("timeout", value)], 422, "seconds an image")
            for value in ("0", "-5", "nan", "inf", "1e9", "soon")
        ),
        *(
            ([GOOD, _text("reference", value)], 422, says)
            for value, says in (
                ("/etc/passwd", "METHOD@RULE"), ("http://x/y", "METHOD@RULE"),
                ("os:getcwd", "METHOD@RULE"), ("nonsense", "unknown"), ("gradcam@x", "unknown"),
                ("..", "METHOD@RULE"), ("masks", "no file in the field 'masks'"),
            )
        ),
        *(
            ([GOOD, _text("study", value)], 422, "letters, digits")
            for value in ("../x", "a/b", "a b", "-x", ".hidden", "x" * 65, "a\x00b", "naïve")
        ),
        ([GOOD, _text("trials", "3"), _text("trials", "4")], 422, "twice"),
        ([GOOD, ("masks", "dog.png", photograph()), ("images", "dog.png", photograph())], 422,
         "'cat.png' has no mask"),
        ([GOOD, ("masks", "cat.png", photograph()), _text("reference", "gradcam@0.3")], 422,
         "another reference"),
        ([GOOD, ("masks", "cat.png", b"nothing")], 422, "the mask 'cat.png'"),
    ],
)  # fmt: skip
def test_bad_uploads(
    client: TestClient, service: Service, parts: list[Part], status: int, says: str
) -> None:
    answer = client.post("/api/studies", **form_body(parts))
    assert (answer.status_code, answer.headers["content-type"]) == (
        status, "application/problem+json",
    ), answer.text  # fmt: skip
    assert says in answer.json()["detail"]
    assert stored(service) == []


def test_no_form_at_all(client: TestClient, service: Service) -> None:
    broken: list[dict[str, Any]] = [
        {}, {"json": {"images": []}}, {"content": b"x", "headers": {"Content-Type": "text/plain"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}},
    ]  # fmt: skip
    for options in broken:
        answer = client.post("/api/studies", **options)
        assert 400 <= answer.status_code < 500, answer.text
    assert stored(service) == []


@pytest.mark.parametrize("kind", list(PICTURE_FORMATS))
def test_good_uploads_are_kept_as_a_catalogue(tmp_path: Path, kind: str) -> None:
    from studies.catalog import load_catalog

    service = made_service(tmp_path)
    data, mask = photograph(kind, colour=7), photograph("PNG", colour=200)
    parts: list[Part] = [
        ("images", "Größe & mehr.jpg", data), ("images", "b.png", data),
        ("masks", "b.png", mask), ("masks", "Größe & mehr.png", mask),
        ("study", None, b"mine"), ("trials", None, b" 7 "), ("timeout", None, b""),
    ]  # fmt: skip
    with TestClient(create_app(service), base_url="http://localhost") as client:
        answer = client.post("/api/studies", **form_body(parts))
        assert answer.status_code == 202, answer.text
        assert answer.json() == {"study": "mine", "images": ["Größe-mehr", "b"]}
        assert client.post("/api/studies", **form_body(parts)).status_code == 409
    catalog = load_catalog(str(service.folder / "mine" / "catalog.toml"))
    assert (catalog.name, catalog.keys, catalog.reference) == ("mine", ("Größe-mehr", "b"), "masks")
    assert catalog.folder is not None
    for entry in catalog.images:
        assert entry.file is not None
        assert entry.mask is not None
        assert (catalog.folder / entry.file).read_bytes() == data
        assert (catalog.folder / entry.mask).read_bytes() == mask
    jobs = Jobs(service.storage)
    assert [job.settings.trials for job in jobs.of("mine")] == [7, 7]
    jobs.close()
    assert [path.name for path in service.folder.iterdir()] == ["mine"]


def test_a_study_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    from tests.studies.study_samples import random_studies

    service = made_service(tmp_path)
    random_studies(service.storage, "tml25", ("cat",), 2)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        for name in (b"tml25", b"TML25"):
            answer = client.post("/api/studies", **form_body([GOOD, ("study", None, name)]))
            assert answer.status_code == 409
    assert stored(service) == []


def test_keys() -> None:
    assert image_key("my cat (1).final.jpeg") == "my-cat-1-.final"
    assert image_key("...png") == image_key("???.png") == image_key(".png") == "image"
    found = unique_keys(["a.png", "A.jpg", "ä.png", "a-2.png", "b.png"])
    assert found[0] == "a"
    assert len({spelt_alike(key) for key in found}) == 5
