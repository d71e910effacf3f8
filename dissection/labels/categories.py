"""The category of a concept, by lists of words.

The lists are in ``data/categories.toml``. The first list decides that has the concept, or else its
last word (``polar bear`` is a ``bear``), or that word in the singular. Concepts in no list are
``object or other``; most of them are objects.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CATEGORIES", "OTHER", "category"]

OTHER = "object or other"
CATEGORIES = ("animal", "scene", "part", "material", "texture", "pattern", "colour", OTHER)


def category(concept: str) -> str:
    """The category of a concept, one of :data:`CATEGORIES`."""
    words = concept.casefold().replace("_", " ").split()
    if not words:
        return OTHER
    last = words[-1]
    for asked in (" ".join(words), last, last.removesuffix("s"), last.removesuffix("es")):
        for name, known in _lists().items():
            if asked in known:
                return name
    return OTHER


@cache
def _lists() -> Mapping[str, frozenset[str]]:
    path = Path(__file__).parent / "data" / "categories.toml"
    with path.open("rb") as file:
        return {name: frozenset(words.split()) for name, words in tomllib.load(file).items()}
