"""A study's attributes without the numbers of rows, which a copy has others of.

optuna-dashboard writes such numbers into paths of pictures (in notes, and in our own attribute
``pictures``) and into the names of the attributes that hold the notes of trials. Here they are
taken out for reading and put in again for writing; so notes of a copy show their pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Attribute", "RowNumbers", "with_numbers", "without_numbers"]

Attribute = tuple[str, str]
"""Name, and value as JSON text."""

_PATH = re.compile(r"/artifacts/(?:\d+/){1,2}([0-9a-fA-F-]{36})")
_BARE = re.compile(r"/artifacts/([0-9a-fA-F-]{36})")
_NOTE = re.compile(r"dashboard:(?:(\d+):)?note_str:(\d+)")
_NOTE_VERSION = re.compile(r"dashboard:(\d+):note_ver")
_BARE_NOTE = re.compile(r"dashboard:<note(?: of trial (\d+))?>")
_BARE_VERSION = re.compile(r"dashboard:<note version of trial (\d+)>")
_LONGEST = 2045  # characters of a note that the dashboard puts into one attribute


@dataclass(frozen=True)
class RowNumbers:
    """How rows of a study are numbered in a database.

    Attributes:
        study: row of the study.
        trials: rows of the trials, by the trial's number in the study.
        owners: number of the trial that an artifact belongs to, by the artifact's id; ``None``
            where it is the study's own.
    """

    study: int
    trials: Mapping[int, int]
    owners: Mapping[str, int | None]


def without_numbers(attributes: Iterable[Attribute], rows: RowNumbers) -> list[Attribute]:
    """Attributes as they would be in any database, by name.

    Notes come in one piece, empty ones not at all. Those of trials that the study does not have,
    which nobody can see, are left out.
    """
    numbers = {row: number for number, row in rows.trials.items()}
    found: list[Attribute] = []
    notes: dict[str, dict[int, str]] = {}
    for name, value in attributes:
        if match := _NOTE.fullmatch(name):
            if match[1] is None:
                bare = "dashboard:<note>"
            elif int(match[1]) in numbers:
                bare = f"dashboard:<note of trial {numbers[int(match[1])]}>"
            else:
                continue
            notes.setdefault(bare, {})[int(match[2])] = str(json.loads(value))
        elif match := _NOTE_VERSION.fullmatch(name):
            if int(match[1]) in numbers:
                bare = f"dashboard:<note version of trial {numbers[int(match[1])]}>"
                found.append((bare, value))
        else:
            found.append((name, _bare(value, rows)))
    for bare, parts in notes.items():
        text = "".join(part for _, part in sorted(parts.items()))
        if text:  # shortened notes leave empty pieces
            found.append((bare, json.dumps(_bare(text, rows))))
    return sorted(found)


def _bare(text: str, rows: RowNumbers) -> str:
    return _PATH.sub(lambda m: f"/artifacts/{m[1]}" if m[1] in rows.owners else m[0], text)


def with_numbers(attributes: Iterable[Attribute], rows: RowNumbers) -> Iterator[Attribute]:
    """The inverse of :func:`without_numbers`, for another database."""
    for name, value in attributes:
        if match := _BARE_NOTE.fullmatch(name):
            text = _numbered(str(json.loads(value)), rows)
            scope = "dashboard:" if match[1] is None else f"dashboard:{rows.trials[int(match[1])]}:"
            for part, start in enumerate(range(0, len(text), _LONGEST)):
                piece = text[start : start + _LONGEST]
                yield f"{scope}note_str:{part}", json.dumps(piece)
        elif match := _BARE_VERSION.fullmatch(name):
            yield f"dashboard:{rows.trials[int(match[1])]}:note_ver", value
        else:
            yield name, _numbered(value, rows)


def _numbered(text: str, rows: RowNumbers) -> str:
    def path(match: re.Match[str]) -> str:
        if match[1] not in rows.owners:
            return match[0]
        owner = rows.owners[match[1]]
        trial = "" if owner is None else f"{rows.trials[owner]}/"
        return f"/artifacts/{rows.study}/{trial}{match[1]}"

    return _BARE.sub(path, text)
