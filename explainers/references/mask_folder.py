"""Finding the mask of a photograph in a folder."""

from __future__ import annotations

import filecmp
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from explainers.errors import InvalidInput, MissingAsset
from explainers.messages import shortened

MASK_SUFFIXES = (".png", ".npy", ".json", ".bmp", ".tif", ".tiff", ".gif")
_LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
"""Masks only if no other file has the name, because photographs have these suffixes, too."""

_NAMING = "name it {key}.png, {key}.npy or, as LabelMe writes it, {key}.json"
_BESIDE = (
    "pictures beside the photographs count as photographs, so put masks into a folder of their "
    "own, as {key}.png; only {key}.npy and LabelMe's {key}.json may stay"
)


class MaskFolder:
    """A folder of masks, looked through once.

    Args:
        folder: sub folders and hidden files (``._cat.png``) do not count.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
        self._all = sorted(path for path in visible if path.is_file())
        self._files: dict[str, list[Path]] = {}
        for path in self._all:
            if path.suffix.lower() in MASK_SUFFIXES + _LOSSY_SUFFIXES:
                self._files.setdefault(_composed(path.stem), []).append(path)

    def mask_of(self, key: str, photograph: Path | None = None) -> Path:
        """The mask of one image, by its key or by its photograph's whole file name.

        Args:
            photograph: its file, which is never taken for its own mask.

        Raises:
            MissingAsset: there is none.
            InvalidInput: there are several.
        """
        named = self._named(key, photograph)
        found = [path for path in named if not _is_photograph(path, photograph)]
        exact = [path for path in found if path.suffix.lower() in MASK_SUFFIXES] or found
        if len(exact) > 1:
            raise InvalidInput(
                f"folder {self.folder} has several masks of '{key}' "
                f"({', '.join(path.name for path in exact)}): leave one of them there"
            )
        if not exact:
            raise MissingAsset(
                f"folder {self.folder} has no mask of '{key}'{self._instead(key, named)}: "
                + self._naming(photograph).format(key=key)
            )
        return exact[0]

    def masks_of(self, photographs: Mapping[str, Path | None]) -> dict[str, Path]:
        """The masks of several images, by key.

        Args:
            photographs: files of the photographs by key; ``None`` where there is no file.

        Raises:
            MissingAsset: images have no mask; the message says how many.
            InvalidInput: an image has several.
        """
        found: dict[str, Path] = {}
        missing: list[str] = []
        first: MissingAsset | None = None
        for key, photograph in photographs.items():
            try:
                found[key] = self.mask_of(key, photograph)
            except MissingAsset as error:
                missing.append(key)
                first = first or error
        if len(missing) > 1:
            instead = self._instead(missing[0], self._named(missing[0], photographs[missing[0]]))
            raise MissingAsset(
                f"folder {self.folder} has no mask of {len(missing)} of {len(photographs)} images "
                f"({shortened(missing)}){instead}: "
                + self._naming(photographs[missing[0]]).format(key="KEY")
            ) from first
        if first is not None:
            raise first
        return found

    def _named(self, key: str, photograph: Path | None) -> list[Path]:
        """Files whose name without suffix is the key, or the photograph's whole file name."""
        names = dict.fromkeys((key, photograph.name if photograph is not None else key))
        return [path for name in names for path in self._files.get(_composed(name), ())]

    def _naming(self, photograph: Path | None) -> str:
        """Advice how a missing mask has to be named, with ``{key}``."""
        if photograph is None or not photograph.is_file():
            return _NAMING
        return _BESIDE if photograph.parent.samefile(self.folder) else _NAMING

    def _instead(self, key: str, photographs: Sequence[Path]) -> str:
        """A hint for the error: what the folder holds instead."""
        if photographs:
            return f" ({photographs[0].name} is the photograph itself)"
        wanted = _composed(key).casefold()
        alike = [path.name for path in self._all if wanted in _composed(path.name).casefold()]
        if alike:
            return f" (there is {shortened(alike)})"
        every = [path.name for paths in self._files.values() for path in paths]
        return f" (there are {len(every)} others: {shortened(every)})" if every else ""


def _composed(name: str) -> str:
    """The name in NFC, because some systems write é as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def _is_photograph(path: Path, photograph: Path | None) -> bool:
    """Whether a file is the photograph's own, or a copy of it."""
    if photograph is None or not photograph.is_file():
        return False
    return path.samefile(photograph) or filecmp.cmp(path, photograph, shallow=False)
