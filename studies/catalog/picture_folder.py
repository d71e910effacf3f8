"""List the pictures of a folder, and summarise the files that are ignored."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from explainers.errors import InvalidInput
from explainers.images import IMAGE_SUFFIXES, unread_suffix

__all__ = ["PictureFolder", "is_picture_name", "read_folder"]

# Written by operating systems and cameras, not by the user, like names that begin with a dot.
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
_SYSTEM_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
_ANNOTATIONS = ".json"  # of LabelMe and others, beside the pictures
_MOST_COUNTED = 1000
# Suffixes that the first versions read. The keys of such files are kept, whatever files with
# other suffixes lie beside them.
_FIRST_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class PictureFolder:
    """Pictures with their keys, in the order of their names.

    Attributes:
        left_out: one line on ignored files that the user may miss; empty when there are none.
    """

    pictures: tuple[tuple[str, Path], ...]
    left_out: str


def is_picture_name(name: str) -> bool:
    """Whether a file's name is that of a picture, and not of a hidden file."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def read_folder(folder: Path) -> PictureFolder:
    """Return the pictures of a folder, without those of its sub-folders.

    A picture's key is its name without the suffix, or with it where two names differ only there.

    Raises:
        InvalidInput: the folder cannot be read, or holds no pictures; says what it holds.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda each: each.name)
        pictures = [each for each in entries if is_picture_name(each.name) and each.is_file()]
        left_out = _left_out(entries, pictures)
    except OSError as error:
        raise InvalidInput(f"folder {folder} cannot be read ({error.strerror})") from error
    if not pictures:
        there = f"; it holds {left_out}" if left_out else ""
        raise InvalidInput(
            f"folder {folder} holds no pictures{there}: files ending in "
            f"{', '.join(_FIRST_SUFFIXES)} and others that Pillow reads count"
        )
    keys = _keys(pictures)
    return PictureFolder(tuple(zip(keys, pictures, strict=True)), left_out)


def _keys(pictures: list[Path]) -> list[str]:
    stems = Counter(each.stem for each in pictures)
    first = Counter(each.stem for each in pictures if each.suffix.lower() in _FIRST_SUFFIXES)
    keys = []
    for each in pictures:
        alike = first if each.suffix.lower() in _FIRST_SUFFIXES else stems
        keys.append(each.stem if alike[each.stem] == 1 else each.name)
    return keys


def _left_out(entries: list[Path], pictures: list[Path]) -> str:
    """Count pictures in sub-folders and other files by suffix, without files of a taken picture."""
    taken, stems = set(pictures), {picture.stem for picture in pictures}
    folders: list[str] = []
    below = broken = 0
    others: Counter[str] = Counter()
    for each in entries:
        if each.name.startswith(".") or each in taken:
            continue
        suffix = each.suffix.lower()
        if each.is_dir():
            found = 0 if each.name.lower() in _SYSTEM_FOLDERS else _pictures_below(each)
            folders += [each.name] if found else []
            below += found
        elif not each.is_file():
            broken += suffix in IMAGE_SUFFIXES
        elif unread_suffix(suffix) is not None or not (
            each.name.lower() in _SYSTEM_FILES or suffix == _ANNOTATIONS or each.stem in stems
        ):
            others[suffix] += 1
    parts = []
    if below:
        many = "or more " if below == _MOST_COUNTED else ""
        shown = ", ".join(f"'{name}'" for name in folders[:3]) + (" …" if folders[3:] else "")
        parts.append(f"{below} {many}picture{'s' * (below > 1)} in sub folders ({shown})")
    for suffix, count in sorted(others.items()):
        why = unread_suffix(suffix)
        parts.append(f"{count} {suffix or 'without suffix'}{f' ({why})' if why else ''}")
    if broken:
        parts.append(f"{broken} that {'are' if broken > 1 else 'is'} no file (broken link or pipe)")
    return "; ".join(parts)


def _pictures_below(folder: Path) -> int:
    """Count the pictures in a sub-folder and below, up to ``_MOST_COUNTED``."""
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += sum(is_picture_name(name) for name in files)
        if count >= _MOST_COUNTED:
            return _MOST_COUNTED
    return count
