"""Files that studies and trials refer to: Optuna's artifacts, one file each, named by its id."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from explainers.errors import StorageError

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


def compare_files(ids: Iterable[str], source: Path, target: Path) -> CopiedFiles:
    """Which files are to be copied, by content.

    Raises:
        StorageError: an id is no plain file name.
    """
    copied: list[str] = []
    there: list[str] = []
    different: list[str] = []
    missing: list[str] = []
    same = source.resolve() == target.resolve()
    for each in ids:
        if not _ID.fullmatch(each):  # what a foreign database says must not name any file
            raise StorageError(
                f"artifact id '{each[:60]}' is no plain name of a file: nothing was copied"
            )
        mine, other = source / each, target / each
        if not mine.is_file():
            (there if other.is_file() else missing).append(each)
        elif same:
            there.append(each)
        elif not other.exists():
            copied.append(each)
        else:
            (there if _sha256(mine) == _sha256(other) else different).append(each)
    return CopiedFiles(tuple(copied), tuple(there), tuple(different), tuple(missing))


def copy_file(name: str, source: Path, target: Path) -> None:
    """Copy a file; under its name there is never half of it.

    Raises:
        StorageError: what was written is not what was read.
    """
    target.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that what an interrupted copy left is written over.
    part = target / f".{name}.part"
    shutil.copyfile(source / name, part)
    if _sha256(source / name) != _sha256(part):
        raise StorageError(f"artifact {name} does not read the same in {target}: copy again")
    part.replace(target / name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
