"""Finding a class by its name: a single match, or an error that lists what there is.

Two of ImageNet's classes may have one name (``crane``), or names that differ in one letter's case
(``Cardigan`` the dog, ``cardigan`` the clothing), so the first match is never just taken.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Sequence

from explainers.errors import InvalidInput

_APOSTROPHES = re.compile(r"['’‘`´]")
_SEPARATORS = re.compile(r"[\s_-]+")
_SHOWN = 5


def class_number(name: str, class_names: Sequence[str]) -> tuple[int, bool]:
    """Find the class of a name. In this order a match is looked for:

    1. as it is written, without blanks around it;
    2. as one of several names between commas (``tench, Tinca tinca``), as it is written;
    3. both in any case;
    4. both without accents and apostrophes, with blanks for underscores and hyphens;
    5. one of several names that the given one consists of, as it is written;
    6. a number from 0, where no class has that name.

    Args:
        class_names: in the order of the classifier's outputs; empty where they have none.

    Returns:
        The number, and whether it was found in the fourth or fifth way, which the user should be
        told.

    Raises:
        InvalidInput: the name fits two classes, or none; the message says what to give instead.
    """
    wanted = " ".join(name.split())
    names = [" ".join(each.split()) for each in class_names]
    synonyms = [[part.strip() for part in each.split(",")] for each in names]
    every = [[each, *several] for each, several in zip(names, synonyms, strict=True)]
    parts = [part.strip() for part in wanted.split(",")]
    for found, loose in (
        (_named(wanted, [[each] for each in names]), False),
        (_named(wanted, synonyms), False),
        (_named(wanted, every, str.casefold), False),
        (_named(wanted, every, _plain), True),
        (sorted({n for part in parts for n in _named(part, synonyms)}), True),
    ):
        if len(found) == 1:
            return found[0], loose
        if found:
            raise InvalidInput(
                f"{len(found)} classes are called '{wanted}': give one by its number, "
                + " or ".join(f'class_name = "{n}" ({names[n]})' for n in found)
            )
    if re.fullmatch(r"-?[0-9]+", wanted):
        number = int(wanted)
        if number < 0 or (names and number >= len(names)):
            last = f" to {len(names) - 1}" if names else " up"
            raise InvalidInput(f"class {wanted} does not exist: there are classes 0{last}")
        return number, False
    if not names:
        raise InvalidInput(
            f"the class '{wanted}' is not known, because the classifier has no class names: give "
            'its number, e.g. class_name = "3"'
        )
    raise InvalidInput(f"no class is called '{wanted}'{_suggestion(wanted, names)}")


def same_name(one: str, other: str) -> bool:
    """Whether two names mean one thing: they have a name between commas in common.

    Case, accents, apostrophes, underscores and hyphens make no difference.
    """
    forms = [{_plain(part) for part in (each, *each.split(","))} - {""} for each in (one, other)]
    return bool(forms[0] & forms[1])


def _named(
    wanted: str,
    names: Sequence[Sequence[str]],
    alter: Callable[[str], str] = lambda name: name,
) -> list[int]:
    """Numbers of the classes with that name among theirs, after ``alter`` was applied to both."""
    form = alter(wanted)
    return [n for n, each in enumerate(names) if form and form in map(alter, each)]


def _plain(name: str) -> str:
    """A name in lower case without accents and apostrophes, with one blank between words."""
    decomposed = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", name).casefold())
    letters = "".join(each for each in decomposed if not unicodedata.combining(each))
    return _SEPARATORS.sub(" ", letters).strip()


def _suggestion(wanted: str, names: Sequence[str]) -> str:
    forms = {_plain(each): each for each in names}
    form = _plain(wanted)
    near = [forms[each] for each in difflib.get_close_matches(form, forms, n=3, cutoff=0.8)]
    if near:
        return f": did you mean {' or '.join(repr(each) for each in near)}?"
    shown = ", ".join(names[:_SHOWN])
    return f": the {len(names)} names are {shown}{', …' if len(names) > _SHOWN else ''}"
