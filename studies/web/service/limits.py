"""Limits of requests to the service, and names of studies and images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["STUDY_PATTERN", "ServiceLimits", "image_key", "spelt_alike", "unique_keys"]

STUDY_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""Names that need no escaping in a URL, a file system or a database."""

_KEY_LENGTH = 60


@dataclass(frozen=True)
class ServiceLimits:
    """Limits of one request, and of all requests together.

    Attributes:
        images: of a study.
        queue: images that are queued or running at a time.
        image_mb: megabytes of a file.
        upload_mb: megabytes of a request.
        megapixels: of a picture.
        trials: of an image.
        timeout: seconds an image.
        uploads: received at a time.
        listeners: of progress, at a time.
        kept_days: after which an ended study is removed; ``None`` to keep it.
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
    """Return a key for an image: its file's name without suffix and special characters."""
    stem = file_name.rpartition(".")[0] if "." in file_name else file_name
    plain = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", stem)).strip("-.")
    return plain[:_KEY_LENGTH].strip("-.") or "image"


def spelt_alike(text: str) -> str:
    """Normalise a text so that texts that file systems or databases confuse become equal."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in apart if not unicodedata.combining(each))


def unique_keys(file_names: Iterable[str]) -> list[str]:
    """Return a key for each of several images; repeated names get a number."""
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
