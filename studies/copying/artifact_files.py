"""Copy the artifacts (files) that studies and trials refer to by id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from explainers.errors import StorageError
from studies.storage.artifacts import Artifacts

__all__ = ["CopiedFiles", "compare_files", "copy_file"]

_ID = re.compile(r"[0-9A-Za-z_-]{1,200}")


@dataclass(frozen=True)
class CopiedFiles:
    """Ids of artifacts, by outcome.

    Attributes:
        copied: written now.
        there: the target already had them.
        different: the target has another file with that id.
        missing: neither storage has the file, as after an interrupted upload.
    """

    copied: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def compare_files(ids: Iterable[str], source: Artifacts, target: Artifacts) -> CopiedFiles:
    """Compare artifacts by content; ``copied`` are those that are to be copied.

    Raises:
        StorageError: an id is not a plain file name.
    """
    found: dict[str, list[str]] = {}
    for each in ids:
        if not _ID.fullmatch(each):  # an id from a foreign database must not be a path
            raise StorageError(
                f"artifact id '{each[:60]}' is no plain name of a file: nothing was copied"
            )
        here, there = each in source, each in target
        if not here:
            outcome = "there" if there else "missing"
        elif not there:
            outcome = "copied"
        else:
            outcome = "there" if _sha256(each, source) == _sha256(each, target) else "different"
        found.setdefault(outcome, []).append(each)
    return CopiedFiles(**{outcome: tuple(names) for outcome, names in found.items()})


def copy_file(name: str, source: Artifacts, target: Artifacts) -> None:
    """Copy an artifact and compare the copy.

    Raises:
        StorageError: the copy differs; it is removed.
    """
    with source.open_reader(name) as file:
        target.write(name, file)
    if _sha256(name, source) != _sha256(name, target):
        target.remove(name)
        raise StorageError(f"artifact {name} does not read the same in the target: copy again")


def _sha256(name: str, store: Artifacts) -> str:
    with store.open_reader(name) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
