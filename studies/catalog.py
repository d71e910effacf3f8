"""Catalogues: which images are studied, under which keys, and where to get them.

A catalogue is a TOML file (the shipped ``tml25``, or a user's), a folder of pictures, or the drawn
``demo``. Reading a catalogue touches no picture; :mod:`studies.assets` finds and loads those.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput
from explainers.images import IMAGE_SUFFIXES, Geometry
from studies.catalog_names import CATALOG_KEY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["SHIPPED_CATALOGUES", "Catalog", "CatalogImage", "load_catalog"]

SHIPPED_CATALOGUES = ("tml25", "demo")
IMAGE_TYPES = ("animate", "inanimate")
_KEY = re.compile(r"[^/\\\x00-\x1f]{1,200}")


@dataclass(frozen=True)
class CatalogImage:
    """One image of a catalogue.

    Attributes:
        key: its name in studies and in the exported pickle; unique in the catalogue.
        file: file name, looked for in the places of :mod:`studies.assets`; an absolute path is
            taken as it is; ``None`` for a scene that is drawn.
        class_name: what it shows, when known.
        type: ``animate`` or ``inanimate``, when known.
        url, sha256: where it can be downloaded, and what the file must hash to.
        mask: a reference mask's file, when the catalogue brings one.
        wordnet: the WordNet id of the class.
    """

    key: str
    file: str | None = None
    class_name: str | None = None
    type: str | None = None
    url: str | None = None
    sha256: str | None = None
    mask: str | None = None
    wordnet: str | None = None

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise InvalidInput(f"image key {self.key!r} is not 1 to 200 characters without slashes")
        if self.key == CATALOG_KEY:
            raise InvalidInput(f"image key {self.key!r} means a whole catalogue: use another key")
        if self.type is not None and self.type not in IMAGE_TYPES:
            raise InvalidInput(
                f"image '{self.key}' has type '{self.type}': use {' or '.join(IMAGE_TYPES)}"
            )


@dataclass(frozen=True)
class Catalog:
    """Images in their order, with what applies to all of them.

    Attributes:
        name: the default prefix of its studies.
        geometry: overrides the classifier's when given.
        reference: the default reference rule; ``masks``: the catalogue's own masks.
        model: the default classifier.
        folder: relative files are looked for here first.
        assets: sub-folder of an assets folder that holds its files.
    """

    name: str
    images: tuple[CatalogImage, ...]
    geometry: Geometry | None = None
    reference: str = "gradcam@0.3"
    model: str = "resnet50"
    title: str = ""
    folder: Path | None = None
    assets: str | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise InvalidInput(f"catalogue '{self.name}' has no images")
        keys = [image.key for image in self.images]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise InvalidInput(
                f"catalogue '{self.name}' has the key '{twice[0]}' more than once: keys are unique"
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, in order."""
        return tuple(image.key for image in self.images)

    def only(self, keys: tuple[str, ...] | None) -> Catalog:
        """The catalogue narrowed to some keys, in the catalogue's order.

        Raises:
            InvalidInput: a key is not in the catalogue.
        """
        if not keys:
            return self
        unknown = [key for key in keys if key not in self.keys]
        if unknown:
            raise InvalidInput(
                f"image '{unknown[0]}' is not in catalogue '{self.name}': "
                f"it has {', '.join(self.keys)}"
            )
        return replace(self, images=tuple(i for i in self.images if i.key in keys))


def load_catalog(source: str) -> Catalog:
    """Read a catalogue: the name of a shipped one, a TOML file, or a folder of pictures.

    Raises:
        InvalidInput: none of these, or its content is wrong.
    """
    if source == "demo":
        return _demo()
    if source in SHIPPED_CATALOGUES:
        text = resources.files("studies").joinpath("data", f"{source}.toml").read_text("utf-8")
        return _from_toml(source, text, folder=None)
    path = Path(source)
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        try:
            return _from_toml(path.stem, path.read_text("utf-8"), folder=path.parent.resolve())
        except UnicodeDecodeError as error:
            raise InvalidInput(f"catalogue {path} is not a TOML text file") from error
    raise InvalidInput(
        f"catalogue '{source}' is neither one of {', '.join(SHIPPED_CATALOGUES)}, "
        "nor a TOML file, nor a folder of pictures that exists"
    )


def _from_folder(path: Path) -> Catalog:
    files = sorted(
        (f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()),
        key=lambda f: f.name,
    )
    if not files:
        raise InvalidInput(
            f"folder {path} holds no pictures: files ending in {', '.join(IMAGE_SUFFIXES)} count"
        )
    stems = [file.stem for file in files]
    images = tuple(
        # Two files of one stem (cat.jpg, cat.png) are told apart by their full names.
        CatalogImage(key=f.stem if stems.count(f.stem) == 1 else f.name, file=str(f.resolve()))
        for f in files
    )
    name = path.resolve().name or "images"
    return Catalog(name=name, images=images, folder=path.resolve(), title=f"Pictures of {path}")


_CATALOG_FIELDS = {"title", "reference", "model", "assets", "geometry", "image", "name"}
_IMAGE_FIELDS = {"key", "file", "class_name", "type", "url", "sha256", "mask", "wordnet"}


def _from_toml(name: str, text: str, folder: Path | None) -> Catalog:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"catalogue '{name}' is not valid TOML: {error}") from error
    _known(document, _CATALOG_FIELDS, f"catalogue '{name}'")
    entries = document.get("image", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise InvalidInput(f"catalogue '{name}': images are tables, [[image]]")
    images = []
    for entry in entries:
        _known(entry, _IMAGE_FIELDS, f"an image of catalogue '{name}'")
        if "key" not in entry and "file" in entry:
            entry = {"key": Path(str(entry["file"])).stem, **entry}
        if type(entry.get("class_name")) is int:
            entry = {**entry, "class_name": str(entry["class_name"])}
        if "key" not in entry or not all(isinstance(v, str) for v in entry.values()):
            raise InvalidInput(
                f"catalogue '{name}': every [[image]] needs a key or a file, and text values"
            )
        if "file" not in entry:
            raise InvalidInput(f"catalogue '{name}': image '{entry['key']}' has no file")
        images.append(CatalogImage(**entry))
    geometry = document.get("geometry")
    if geometry is not None:
        _known(geometry, {"resize", "crop"}, f"the geometry of catalogue '{name}'")
        if not all(isinstance(value, int) for value in geometry.values()):
            raise InvalidInput(f"catalogue '{name}': geometry values are whole numbers of pixels")
        geometry = Geometry(**geometry)
    settings = {
        key: str(document[key])
        for key in ("title", "reference", "model", "assets")
        if key in document
    }
    return Catalog(
        name=str(document.get("name", name)),
        images=tuple(images),
        geometry=geometry,
        folder=folder,
        **settings,
    )


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if not isinstance(table, Mapping):
        raise InvalidInput(f"{where} is not a table")
    unknown = sorted(set(table) - known)
    if unknown:
        raise InvalidInput(
            f"{where} has an unknown setting '{unknown[0]}': known are {', '.join(sorted(known))}"
        )


def _demo() -> Catalog:
    from studies.demo_scenes import CLASS_NAMES, CLASS_TYPES

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
