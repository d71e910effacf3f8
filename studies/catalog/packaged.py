"""Photographs inside installed packages: files are found where they are, and copied nowhere.

The catalogue ``photos`` has five of them. Each is taken because ``efficientnet_lite0`` names its
object first or nearly so, and because its package says who made it and what may be done with it:

- ``coffee`` (espresso, 0.84), ``camera`` (tripod, 0.93) and ``china`` (palace, 0.29), whose class
  is the first by far
- ``chelsea``: the first two classes, Egyptian cat (0.36) and tabby (0.28), mean the same cat
- ``rocket`` (missile, 0.41): ImageNet has no other word for it; a thin object, hard for superpixels

Left out are ``flower`` (daisy, 0.12: the network does not know what it sees), ``motorcycle_left``
(moped, 0.27: no class is right, and its package states no licence), and those that show no object
of ImageNet (coins, moon, page, textures, microscopy).
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
