"""What a catalogue's own study is called."""

from __future__ import annotations

__all__ = ["CATALOG_KEY", "catalog_study", "is_catalog_study"]

CATALOG_KEY = "(catalog)"
"""Stands where an image's key does: ``PREFIX/(catalog)``. No catalogue may have such a key."""


def catalog_study(prefix: str) -> str:
    """The name of the study of a whole catalogue."""
    return f"{prefix}/{CATALOG_KEY}"


def is_catalog_study(name: str) -> bool:
    """Whether a study is a whole catalogue's."""
    return name.rpartition("/")[2] == CATALOG_KEY
