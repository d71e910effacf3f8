"""Catalogues: the images to study, their keys, and where to get them.

A catalogue is a TOML file (the shipped ``tml25`` and ``photos``, or a user's), a folder of
pictures, or the drawn ``demo``. Reading a catalogue opens no picture;
:mod:`studies.catalog.assets` does that.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput
from explainers.images import Geometry
from explainers.messages import warn_once
from studies.catalog.names import CATALOG_KEY
from studies.catalog.picture_folder import is_picture_name, read_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["SHIPPED_CATALOGUES", "Catalog", "CatalogImage", "load_catalog"]

_logger = logging.getLogger(__name__)

SHIPPED_CATALOGUES = ("tml25", "photos", "demo")
IMAGE_TYPES = ("animate", "inanimate")
_KEY = re.compile(r"[^/\\]{1,200}")
# Control characters, lone surrogates (from names that are not UTF-8), line separators, and
# characters that change the direction of text: none can be stored or shown unchanged.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True)
class CatalogImage:
    """One image of a catalogue.

    Attributes:
        key: its name in studies and in the exported pickle; unique in the catalogue.
        file: a path relative to the folders that :mod:`studies.catalog.assets` searches, or an
            absolute one; ``None`` for a drawn scene.
        class_name: the class that it shows, when known.
        type: ``animate`` or ``inanimate``, when known.
        url: where it can be downloaded.
        sha256: 64 hexadecimal digits that the file must hash to.
        mask: a reference mask's file, when the catalogue has one.
        wordnet: the WordNet id of the class.
        package: the installed package that contains the file, with a version that does, like
            ``scikit-image==0.25.2``; ``file`` then begins with the name that it is imported by.
        author, licence, source: of the picture, as whoever publishes it states them.

    Raises:
        InvalidInput: a value is not allowed; the message names it.
    """

    key: str
    file: str | None = None
    class_name: str | None = None
    type: str | None = None
    url: str | None = None
    sha256: str | None = None
    mask: str | None = None
    wordnet: str | None = None
    package: str | None = None
    author: str | None = None
    licence: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.file is not None and not self.file.strip():
            raise InvalidInput(f"image '{self.key}' has an empty file name: give a file's path")
        if not _KEY.fullmatch(self.key) or not self.key.strip():
            raise InvalidInput(f"image key {self.key!r} is not 1 to 200 characters without slashes")
        for what, text in (("key", self.key), ("file", self.file), ("mask", self.mask)):
            if text is not None and _UNWRITABLE.search(text):
                raise InvalidInput(
                    f"image {what} {text!r} has characters that cannot be written down: rename it"
                )
        if self.file is not None and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", self.file):
            raise InvalidInput(
                f"image '{self.key}' has the file '{self.file}', an address: give a path as file, "
                "and the address that it is downloaded from as url"
            )
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise InvalidInput(
                f"image '{self.key}' has sha256 '{self.sha256[:70]}', which is not 64 hexadecimal "
                "digits: copy what sha256sum prints, or leave it out"
            )
        if self.key == CATALOG_KEY:
            raise InvalidInput(f"image key {self.key!r} means a whole catalogue: use another key")
        if self.type is not None and self.type not in IMAGE_TYPES:
            raise InvalidInput(
                f"image '{self.key}' has type '{self.type}': use {' or '.join(IMAGE_TYPES)}"
            )

    @property
    def credit(self) -> str:
        """``AUTHOR (LICENCE, SOURCE)``, as far as they are known; empty without an author."""
        if self.author is None:
            return ""
        known = ", ".join(each for each in (self.licence, self.source) if each)
        return f"{self.author} ({known})" if known else self.author


@dataclass(frozen=True)
class Catalog:
    """Images in order, with the settings that all of them share.

    Attributes:
        name: the default prefix of its studies.
        geometry: overrides the classifier's when given.
        reference: the default reference rule; ``masks`` means the catalogue's own masks.
        model: the default classifier.
        folder: the first folder that relative files are searched in.
        assets: sub-folder of an assets folder that holds its files.
        left_out: one line on the files of a folder that were ignored; empty when none were.

    Raises:
        InvalidInput: it has no images, or two with the same key.
    """

    name: str
    images: tuple[CatalogImage, ...]
    geometry: Geometry | None = None
    reference: str = "gradcam@0.3"
    model: str = "resnet50"
    title: str = ""
    folder: Path | None = None
    assets: str | None = None
    left_out: str = ""

    def __post_init__(self) -> None:
        if not self.images:
            raise InvalidInput(f"catalogue '{self.name}' has no images")
        keys = [_spelling(image.key) for image in self.images]
        twice = sorted(key for key, count in Counter(keys).items() if count > 1)
        if twice:
            raise InvalidInput(
                f"catalogue '{self.name}' has the key '{twice[0]}' more than once: keys are "
                "unique, also without blanks around them and however accents are encoded"
            )

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(image.key for image in self.images)

    def named(self, text: str) -> tuple[str, ...]:
        """Split a comma-separated text into keys; known keys may contain commas themselves."""
        known = {_spelling(key) for key in self.keys}
        rest, found = text.split(","), list[str]()
        while rest:
            ends = range(1, len(rest) + 1)
            joined = [_spelling(",".join(rest[:end])) for end in ends]
            end = next((end for end in ends if joined[end - 1] in known), 1)
            found.append(joined[end - 1])
            del rest[:end]
        return tuple(key for key in found if key)

    def only(self, keys: tuple[str, ...] | None) -> Catalog:
        """Return the catalogue with only some of its images, in its own order.

        Raises:
            InvalidInput: a key is not in the catalogue.
        """
        if not keys:
            return self
        wanted = {_spelling(key) for key in keys}
        known = {_spelling(key) for key in self.keys}
        unknown = [key for key in keys if _spelling(key) not in known]
        if unknown:
            raise InvalidInput(
                f"image '{unknown[0]}' is not in catalogue '{self.name}': "
                f"it has {', '.join(self.keys)}"
            )
        return replace(self, images=tuple(i for i in self.images if _spelling(i.key) in wanted))


def _spelling(key: str) -> str:
    """Normalise a key for comparison: macOS decomposes accents that other systems compose."""
    return unicodedata.normalize("NFC", key).strip()


def load_catalog(source: str) -> Catalog:
    """Read a catalogue: the name of a shipped one, a TOML file, or a folder of pictures.

    Raises:
        InvalidInput: the source is none of these, or its content is wrong.
    """
    if source in SHIPPED_CATALOGUES:
        return _shipped(source)
    try:
        path = Path(source).expanduser()
        if source.strip() and path.is_dir():  # an empty name would be the working folder
            return _from_folder(path)
        if path.is_file():
            return _from_file(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"catalogue '{source}' cannot be read ({reason})") from error
    raise InvalidInput(
        f"catalogue '{source}' is neither one of {', '.join(SHIPPED_CATALOGUES)}, "
        "nor a TOML file, nor a folder of pictures that exists"
    )


def _shipped(name: str) -> Catalog:
    if Path(name).exists():
        warn_once(
            _logger,
            f"catalogue '{name}' is the one that comes with lime-tuner, not the {name} that is "
            f"here: for that give .{os.sep}{name}",
        )
    if name == "demo":
        return _demo()
    data = Path(str(resources.files("studies"))) / "data"
    text = (data / f"{name}.toml").read_text("utf-8")
    return _from_toml(name, text, folder=data if name == "photos" else None)


def _from_folder(path: Path) -> Catalog:
    found = read_folder(path)
    images = tuple(CatalogImage(key, str(file.resolve())) for key, file in found.pictures)
    return Catalog(
        name=path.resolve().name or "images",
        images=images,
        folder=path.resolve(),
        title=f"Pictures of {path}",
        left_out=found.left_out,
    )


def _from_file(path: Path) -> Catalog:
    if is_picture_name(path.name):
        raise InvalidInput(
            f"catalogue {path} is a picture: give its folder, and the picture with --images "
            f"{path.stem}"
        )
    try:
        text = path.read_text("utf-8-sig")  # some editors begin with a byte-order mark
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"catalogue {path} is not a TOML text file: save it as text in UTF-8"
        ) from error
    return _from_toml(path.stem, text, folder=path.parent.resolve())


_CATALOG_FIELDS = {"title", "reference", "model", "assets", "geometry", "image", "name"}
_TEXTS = ("name", "title", "reference", "model", "assets")
_IMAGE_FIELDS = {
    "key", "file", "class_name", "type", "url", "sha256", "mask", "wordnet",
    "package", "author", "licence", "source",
}  # fmt: skip


def _from_toml(name: str, text: str, folder: Path | None) -> Catalog:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput(f"catalogue '{name}' is not valid TOML: {error}") from error
    _known(document, _CATALOG_FIELDS, f"catalogue '{name}'")
    settings = {key: document[key] for key in _TEXTS if key in document}
    for key, value in settings.items():
        _is_text(value, f"{key} of catalogue '{name}'")
    entries = document.get("image", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise InvalidInput(f"catalogue '{name}': an image is a table headed [[image]], not [image]")
    return Catalog(
        name=settings.pop("name", name),
        images=tuple(_image(entry, name) for entry in entries),
        geometry=_geometry(document.get("geometry"), name),
        folder=folder,
        **settings,
    )


def _image(entry: dict[str, Any], catalogue: str) -> CatalogImage:
    _known(entry, _IMAGE_FIELDS, f"an image of catalogue '{catalogue}'")
    if type(entry.get("class_name")) is int:  # a class index
        entry = {**entry, "class_name": str(entry["class_name"])}
    for field, value in entry.items():
        _is_text(value, f"{field} of an image of catalogue '{catalogue}'")
    if "file" not in entry:
        which = f"image '{entry['key']}'" if "key" in entry else "an image"
        raise InvalidInput(f"catalogue '{catalogue}': {which} has no file")
    paths = {field: _path(entry[field]) for field in ("file", "mask") if field in entry}
    return CatalogImage(**({"key": Path(paths["file"]).stem} | entry | paths))


def _path(text: str) -> str:
    r"""Convert a path with ``\`` or ``~`` to one of this system.

    Keys must not contain backslashes, so file names do not either.
    """
    path = text if os.sep == "\\" else text.replace("\\", "/")
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise InvalidInput(
            f"the home folder of '{text}' is not known: give a whole path"
        ) from error


def _geometry(table: Any, catalogue: str) -> Geometry | None:
    if table is None:
        return None
    _known(table, {"resize", "crop"}, f"the geometry of catalogue '{catalogue}'")
    try:
        geometry = Geometry(**table)
    except InvalidInput as error:
        raise InvalidInput(f"catalogue '{catalogue}': {error}") from error
    for left_out in sorted({"resize", "crop"} - set(table)):
        warn_once(
            _logger,
            f"the geometry of catalogue '{catalogue}' has no {left_out}: "
            f"{getattr(geometry, left_out)} is taken, not what the classifier says",
        )
    return geometry


def _is_text(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise InvalidInput(f'{what} is {value!r}, not text: write it in quotes, like "{value}"')


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if not isinstance(table, Mapping):
        raise InvalidInput(f"{where} is not a table")
    unknown = sorted(set(table) - known)
    if unknown:
        raise InvalidInput(
            f"{where} has an unknown setting '{unknown[0]}': known are {', '.join(sorted(known))}"
        )


def _demo() -> Catalog:
    from studies.catalog.demo import CLASS_NAMES, CLASS_TYPES

    return Catalog(
        name="demo",
        images=tuple(
            CatalogImage(key=name, class_name=name, type=CLASS_TYPES[name]) for name in CLASS_NAMES
        ),
        geometry=Geometry(resize=None, crop=128),
        reference="masks",
        model="demo",
        title="Ten drawn scenes with exact object masks",
    )
