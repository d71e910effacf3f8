"""What kind of thing a concept is: a documented rule over word lists, no judgement by unit.

The lists lie in ``data/categories.toml``. The first that has the concept decides, or has its last
word (``polar bear`` is a ``bear``), or that word in the singular; what is in none is ``object or
other``, most of them objects.
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
    """One of :data:`CATEGORIES`."""
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
