"""Photographs inside installed packages: files are found where they are, and copied nowhere.

The catalogue ``photos`` has three of them. They are taken because ``efficientnet_lite0`` knows what
they show, the object is large enough for superpixels, and the package says who made the photograph
and what may be done with it:

- ``chelsea``: the three likeliest classes, Egyptian cat (0.36), tabby (0.28) and tiger cat (0.22),
  all mean the cat
- ``coffee``: espresso (0.84)
- ``china``: palace (0.29), the first by far

Left out are ``camera`` (tripod, 0.93) and ``rocket`` (missile, 0.41), whose objects cover 4 % of
what the network sees: its map of 7 × 7 cells agrees with them at an IoU of 0.09, so agreement with
them says little about an explanation; ``flower`` (daisy, 0.12: the network does not know it);
``motorcycle_left`` (moped, 0.27: no class is right, and its package states no licence); and
pictures without an object of ImageNet (coins, moon, page, textures, microscopy).
"""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from explainers.errors import MissingAsset
from studies.catalog.catalog import CatalogImage

__all__ = ["missing_from_package", "packaged_file"]


def packaged_file(entry: CatalogImage) -> Path | None:
    """Return an image's file inside its package; ``None`` where it is not installed.

    The package is not imported.
    """
    assert entry.file is not None
    module, _, name = entry.file.partition("/")
    found = find_spec(module) if module.isidentifier() else None
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / name
    return path if path.is_file() else None


def missing_from_package(entry: CatalogImage) -> MissingAsset:
    """The error for an image that its package does not have: it names the version that does."""
    assert entry.package is not None
    package = entry.package.partition("==")[0]
    try:
        there = f"{package} {metadata.version(package)} is installed without it"
    except metadata.PackageNotFoundError:
        there = f"{package} is not installed"
    return MissingAsset(
        f"{entry.key}: {entry.file} does not exist: {there}; pip install {entry.package}, which "
        "has it"
    )
