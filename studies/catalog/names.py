"""Names of studies that are about a whole catalogue."""

from __future__ import annotations

__all__ = ["CATALOG_KEY", "catalog_study"]

CATALOG_KEY = "(catalog)"
"""Takes the place of an image's key in a study's name; no image may have this key."""


def catalog_study(prefix: str) -> str:
    """Return ``PREFIX/(catalog)``."""
    return f"{prefix}/{CATALOG_KEY}"
