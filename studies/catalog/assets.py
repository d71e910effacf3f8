"""Find a catalogue's photographs: in a folder, ``LIME_TUNER_ASSETS``, the cache, an installed
package, the network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import requests
from numpy.typing import NDArray

from explainers.errors import InvalidImage, InvalidInput, MissingAsset
from explainers.images import Geometry, array_digest, enlarged, prepare, read_image
from studies.catalog.catalog import Catalog, CatalogImage
from studies.catalog.demo import DEMO_SEEDS, SCENE_SIZE, draw_scene
from studies.catalog.packaged import missing_from_package, packaged_file

__all__ = [
    "StudyImage", "assets_folder", "cache_folder", "find_file", "find_local_file",
    "load_study_image",
]  # fmt: skip

DownloadProgress = Callable[[str, int, int], None]
"""Called with (file name, bytes so far, total bytes; 0 when the server does not say)."""

_CONNECT_SECONDS, _READ_SECONDS = 10.0, 60.0


def cache_folder() -> Path:
    """Return ``LIME_TUNER_CACHE``, or the platform's folder for caches."""
    named = os.environ.get("LIME_TUNER_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(platformdirs.user_cache_dir("lime-tuner"))


@dataclass(frozen=True, eq=False)
class StudyImage:
    """A catalogue's image, ready for the classifier.

    Attributes:
        pixels: (H, W, 3) uint8 in the study's geometry.
        size: (width, height) of the original, in pixels.
        own_mask: (H, W) bool, the exact mask of a drawn scene; ``None`` for photographs.
        path: the photograph's file; ``None`` for drawn scenes.
        digest: of the pixels.
        notes: sentences about how the file was read; see ``explainers.images.read_image``.
    """

    entry: CatalogImage
    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    geometry: Geometry
    own_mask: NDArray[np.bool_] | None = None
    path: Path | None = None
    digest: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", array_digest(self.pixels))

    @property
    def key(self) -> str:
        return self.entry.key

    def at_scale(self, scale: float) -> NDArray[np.uint8]:
        """Return the same crop with ``scale`` times as many pixels a side.

        It is cut from the original photograph. A drawn scene has no more detail and is enlarged.

        Returns:
            (H, W, 3) uint8; at scale 1.0 these are the ``pixels``.
        """
        if scale == 1.0:
            return self.pixels
        if self.path is None:
            return enlarged(self.pixels)(scale)
        return prepare(read_image(self.path).image, self.geometry.scaled(scale))


def load_study_image(
    catalog: Catalog,
    entry: CatalogImage,
    geometry: Geometry,
    assets: Path | None = None,
    progress: DownloadProgress | None = None,
) -> StudyImage:
    """Find, check, decode and prepare one image.

    Args:
        geometry: the classifier's; used where the catalogue has none of its own.

    Raises:
        InvalidInput: a drawn scene for a geometry other than its own.
        MissingAsset: not found anywhere; names every place that was tried.
        InvalidImage: not a readable picture, or its sha256 differs from the catalogue's.
    """
    geometry = catalog.geometry or geometry
    if entry.file is None:
        if geometry != Geometry(resize=None, crop=SCENE_SIZE):
            raise InvalidInput(
                f"the scenes of catalogue '{catalog.name}' are {SCENE_SIZE} pixels wide and "
                "cannot be shown to a classifier of another geometry"
            )
        scene = draw_scene(entry.key, DEMO_SEEDS[entry.key])
        return StudyImage(entry, scene.image, (SCENE_SIZE, SCENE_SIZE), geometry, scene.mask)
    path = find_file(catalog, entry, assets, progress)
    decoded = read_image(path)
    pixels = prepare(decoded.image, geometry)
    return StudyImage(entry, pixels, decoded.image.size, geometry, path=path, notes=decoded.notes)


def find_file(
    catalog: Catalog,
    entry: CatalogImage,
    assets: Path | None = None,
    progress: DownloadProgress | None = None,
) -> Path:
    """Return the image's file on disk; it is downloaded into the cache when found nowhere.

    Raises:
        InvalidInput: the assets folder does not exist.
        MissingAsset, InvalidImage: see :func:`load_study_image`.
    """
    assert entry.file is not None
    path = find_local_file(catalog, entry, assets)
    if path is not None:
        _check_digest(path, entry)
        return path
    if entry.package is not None:
        raise missing_from_package(entry)
    if Path(entry.file).is_absolute():
        raise MissingAsset(f"{entry.key}: {entry.file} does not exist: correct its path")
    tried = [str(folder / entry.file) for folder in _folders(catalog, assets)]
    if entry.url is None:
        raise MissingAsset(f"{entry.key}: {entry.file} is in none of: {', '.join(tried)}")
    target = cache_folder() / (catalog.assets or catalog.name) / entry.file
    if not target.resolve().is_relative_to(cache_folder().resolve()):
        raise InvalidInput(
            f"{entry.key}: {entry.file} would be downloaded to {target.resolve()}, outside the "
            "cache: leave '..' out of file, assets and name"
        )
    try:
        _download(entry.url, target, progress)
    except (OSError, MissingAsset) as error:  # requests' exceptions are OSErrors
        reason = str(error).split("(Caused by")[0][:160]
        raise MissingAsset(
            f"{entry.key}: {entry.file} is in none of {', '.join(tried)}, and {entry.url} cannot "
            f"be downloaded ({reason}): pass its folder with --assets DIR"
        ) from error
    try:
        _check_digest(target, entry)
    except InvalidImage:
        target.unlink()
        raise
    return target


def find_local_file(
    catalog: Catalog, entry: CatalogImage, assets: Path | None = None
) -> Path | None:
    """Return the image's file; ``None`` for drawn scenes and where it would be downloaded."""
    if entry.file is None:
        return None
    if entry.package is not None:
        return packaged_file(entry)
    if Path(entry.file).is_absolute():
        return Path(entry.file) if Path(entry.file).exists() else None
    candidates = (folder / entry.file for folder in _folders(catalog, assets))
    return next((c for c in candidates if c.is_file()), None)


def assets_folder(named: Path | None) -> Path | None:
    """Return the folder with photographs: the given one, or ``LIME_TUNER_ASSETS``, or ``None``.

    Raises:
        InvalidInput: it is no folder, or cannot be read.
    """
    folder = named
    if folder is None and os.environ.get("LIME_TUNER_ASSETS"):
        folder = Path(os.environ["LIME_TUNER_ASSETS"])
    if folder is None:
        return None
    try:
        folder = folder.expanduser()
        if folder.is_dir():
            with os.scandir(folder):
                return folder
        reason = "is a file, not a folder" if folder.exists() else "does not exist"
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise InvalidInput(f"assets folder {folder} {reason}: check --assets and LIME_TUNER_ASSETS")


def _folders(catalog: Catalog, assets: Path | None) -> Sequence[Path]:
    base = assets_folder(assets)
    folders = [catalog.folder] if catalog.folder is not None else []
    if base is not None:
        folders += [base / catalog.assets] if catalog.assets else []
        folders.append(base)
    folders.append(cache_folder() / (catalog.assets or catalog.name))
    return folders


def _check_digest(path: Path, entry: CatalogImage) -> None:
    if entry.sha256 is None:
        return
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidImage(f"{path} cannot be read ({error.strerror})") from error
    if digest != entry.sha256.lower():
        remedy = "remove it" if entry.package is None else f"pip install {entry.package}"
        raise InvalidImage(
            f"{path} is not the picture the catalogue means (sha256 {digest[:12]}…, expected "
            f"{entry.sha256[:12]}…): {remedy}, or list it in a catalogue of your own"
        )


def _download(url: str, target: Path, progress: DownloadProgress | None) -> None:
    """Download into ``target.part``, resuming an interrupted download, then rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(
        url, headers=headers, stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS)
    ) as answer:
        if answer.status_code == 416:  # range not satisfiable: the part is already complete
            part.replace(target)
            return
        if answer.status_code not in (200, 206):
            raise MissingAsset(f"the server answered {answer.status_code}")
        if answer.status_code == 200:
            have = 0
        said = str(answer.headers.get("Content-Length") or "")
        total = have + (int(said) if said.isdecimal() else 0)
        with part.open("ab" if have else "wb") as file:
            for block in answer.iter_content(1 << 16):
                file.write(block)
                have += len(block)
                if progress is not None:
                    progress(target.name, have, total)
    part.replace(target)
