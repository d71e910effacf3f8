"""What studies and trials refer to, moved along: Optuna's artifacts, by their ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from explainers.errors import StorageError
from studies.artifacts import Artifacts

__all__ = ["CopiedFiles", "compare_files", "copy_file"]

_ID = re.compile(r"[0-9A-Za-z_-]{1,200}")


@dataclass(frozen=True)
class CopiedFiles:
    """What became of artifacts, by id.

    Attributes:
        copied: written now. there: the target had them.
        different: the target has another file of that id.
        missing: neither has such a file; an interrupted upload leaves that.
    """

    copied: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def compare_files(ids: Iterable[str], source: Artifacts, target: Artifacts) -> CopiedFiles:
    """Which files are to be copied, by content.

    Raises:
        StorageError: an id is no plain file name.
    """
    copied: list[str] = []
    there: list[str] = []
    different: list[str] = []
    missing: list[str] = []
    for each in ids:
        if not _ID.fullmatch(each):  # what a foreign database says must not name any file
            raise StorageError(
                f"artifact id '{each[:60]}' is no plain name of a file: nothing was copied"
            )
        if each not in source:
            (there if each in target else missing).append(each)
        elif each not in target:
            copied.append(each)
        else:
            (there if _sha256(each, source) == _sha256(each, target) else different).append(each)
    return CopiedFiles(tuple(copied), tuple(there), tuple(different), tuple(missing))


def copy_file(name: str, source: Artifacts, target: Artifacts) -> None:
    """Copy an artifact.

    Raises:
        StorageError: what was written is not what was read.
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
