"""The pictures that a network is probed with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from explainers.errors import InvalidInput
from explainers.images import IMAGE_SUFFIXES

__all__ = ["ProbingImage", "ProbingSet", "probing_images"]


@dataclass(frozen=True)
class ProbingImage:
    """A picture file; ``sha256`` is of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class ProbingSet:
    """Pictures in the order of their paths.

    Attributes:
        name: of their folder.
    """

    name: str
    images: tuple[ProbingImage, ...]

    @property
    def sha256(self) -> str:
        """Sha256 (hex) of all pictures in order."""
        return hashlib.sha256("".join(image.sha256 for image in self.images).encode()).hexdigest()


def probing_images(folder: Path) -> ProbingSet:
    """All pictures in a folder and its subfolders, except hidden ones.

    Raises:
        InvalidInput: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise InvalidInput(f"probing images {folder}: no such folder; give a folder of pictures")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise InvalidInput(
            f"probing images {folder}: no picture in it; {', '.join(IMAGE_SUFFIXES)} are read"
        )
    name = folder.resolve().name or "probe"
    return ProbingSet(
        name, tuple(ProbingImage(p, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files)
    )
