"""Change row numbers in a study's attributes to those of another database.

optuna-dashboard has row numbers in the paths of pictures (in notes, and in our own attribute
``pictures``) and in the names of the attributes that hold the notes of trials.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RowNumbers", "renumbered"]

_PATH = re.compile(r"/artifacts/(?:\d+/){1,2}([0-9a-fA-F-]{36})")
_NOTE = re.compile(r"dashboard:(?:(\d+):)?(?:note_ver|note_str:(\d+))")
_LONGEST = 2045  # characters of a note that the dashboard stores in one attribute


@dataclass(frozen=True)
class RowNumbers:
    """Row numbers of a study in one database.

    Attributes:
        study: row of the study.
        trials: row of each trial, by the trial's number in the study.
        owners: number of the trial that an artifact belongs to, by the artifact's id; ``None``
            for artifacts of the study itself.
    """

    study: int
    trials: Mapping[int, int]
    owners: Mapping[str, int | None]

    def in_paths(self, text: str) -> str:
        """Return the text with these row numbers in all paths of the study's artifacts."""
        return _PATH.sub(self._path, text)

    def _path(self, match: re.Match[str]) -> str:
        if match[1] not in self.owners:
            return match[0]
        owner = self.owners[match[1]]
        trial = "" if owner is None else f"{self.trials[owner]}/"
        return f"/artifacts/{self.study}/{trial}{match[1]}"


def renumbered(attributes: Mapping[str, Any], old: RowNumbers, new: RowNumbers) -> dict[str, Any]:
    """Return a study's attributes with other row numbers.

    Notes are split into pieces again, which drops empty pieces that a shortened note left. Notes of
    trials that the study does not have are left out, as the dashboard never shows them.
    """
    numbers = {row: number for number, row in old.trials.items()}
    found: dict[str, Any] = {}
    notes: dict[str, dict[int, str]] = {}
    for name, value in attributes.items():
        note = _NOTE.fullmatch(name)
        if note is None:
            found[name] = json.loads(new.in_paths(json.dumps(value)))
            continue
        trial = None if note[1] is None else numbers.get(int(note[1]), -1)
        if trial == -1:
            continue
        scope = "dashboard:" if trial is None else f"dashboard:{new.trials[trial]}:"
        if note[2] is None:
            found[f"{scope}note_ver"] = value
        else:
            notes.setdefault(scope, {})[int(note[2])] = str(value)
    for scope, pieces in notes.items():
        text = new.in_paths("".join(piece for _, piece in sorted(pieces.items())))
        for number, start in enumerate(range(0, len(text), _LONGEST)):
            found[f"{scope}note_str:{number}"] = text[start : start + _LONGEST]
    return found
