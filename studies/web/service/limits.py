"""How much may be asked of the service, and under which names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["STUDY_PATTERN", "ServiceLimits", "image_key", "spelt_alike", "unique_keys"]

STUDY_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""A name that is the same in a URL, in a file system and in every database."""

_KEY_LENGTH = 60


@dataclass(frozen=True)
class ServiceLimits:
    """What one request, and all of them together, may ask for.

    Attributes:
        images: of a study. queue: images that may wait or be at work at a time.
        image_mb: megabytes of a file. upload_mb: of a whole request.
        megapixels: of a picture.
        trials, timeout: the most of a study; seconds an image.
        uploads: that are received at a time.
        listeners: of progress, at a time.
        kept_days: that a study stays after it has ended; ``None``: until somebody removes it.
    """

    images: int = 24
    queue: int = 100
    image_mb: float = 20.0
    upload_mb: float = 200.0
    megapixels: float = 50.0
    trials: int = 1000
    timeout: float = 86_400.0
    uploads: int = 4
    listeners: int = 200
    kept_days: float | None = None


def image_key(file_name: str) -> str:
    """A key for an image: its file's name without the suffix, and without what is special to file
    systems, URLs and databases."""
    stem = file_name.rpartition(".")[0] if "." in file_name else file_name
    plain = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", stem)).strip("-.")
    return plain[:_KEY_LENGTH].strip("-.") or "image"


def spelt_alike(text: str) -> str:
    """The same for texts that some file systems and databases do not tell apart."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in apart if not unicodedata.combining(each))


def unique_keys(file_names: Iterable[str]) -> list[str]:
    """A key for each of several images; further ones of a name get a number."""
    seen: set[str] = set()
    keys = []
    for name in file_names:
        first = image_key(name)
        key, number = first, 1
        while spelt_alike(key) in seen:
            number += 1
            key = f"{first}-{number}"
        seen.add(spelt_alike(key))
        keys.append(key)
    return keys
