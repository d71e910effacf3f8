"""The service's files: a folder for each study, with its uploads, pictures and reports.

``NAME/catalog.toml`` is an ordinary catalogue, which the command line can use, too.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from explainers.errors import StorageError
from studies.storage import sqlite_path

if TYPE_CHECKING:
    from studies.web.service.uploads import Picture, StudyRequest

__all__ = ["DRAWING", "ServiceFolder", "service_folder"]

DRAWING = ".drawing-"
"""Prefix of the folder of an unfinished report."""
_CATALOG = "catalog.toml"
_INCOMING = ".incoming-"
_UNFINISHED_SECONDS = 3600.0


def service_folder(url: str) -> Path:
    """Return the folder beside an SQLite file, or in the working folder for a server."""
    path = sqlite_path(url)
    return Path("lime-tuner-service") if path is None else path.with_name("lime-tuner-service")


class ServiceFolder:
    """The files of all studies.

    Only names that :mod:`studies.web.service.limits` allows become names of files.

    Args:
        root: created at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def catalog(self, study: str) -> Path:
        return self.root / study / _CATALOG

    def picture(self, study: str, key: str, name: str) -> Path:
        """Return the path of a picture that a worker draws, ``photo`` or ``reference``."""
        return self.root / study / "pictures" / key / f"{name}.png"

    def reports(self, study: str) -> Path:
        return self.root / study / "reports"

    def keep(self, request: StudyRequest) -> None:
        """Store an upload completely or not at all.

        Raises:
            StorageError: it cannot be written.
            FileExistsError: there is a folder with that name.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.root, prefix=_INCOMING) as made:
                incoming = Path(made) / request.study
                (incoming / "masks").mkdir(parents=True)
                (incoming / "images").mkdir()
                lines = [
                    f"name = {_quoted(request.study)}",
                    f"reference = {_quoted(request.settings.reference)}",
                ]
                for position, (key, image) in enumerate(
                    zip(request.keys, request.images, strict=True)
                ):
                    lines += ["", "[[image]]", f"key = {_quoted(key)}"]
                    lines.append(_stored(image, incoming, f"images/{key}", "file"))
                    if request.masks:
                        mask = request.masks[position]
                        lines.append(_stored(mask, incoming, f"masks/{key}", "mask"))
                (incoming / _CATALOG).write_text("\n".join([*lines, ""]), "utf-8")
                target = self.root / request.study
                if target.exists():
                    raise FileExistsError(target)
                incoming.rename(target)
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageError(f"what was uploaded cannot be kept ({error.strerror})") from error

    def tidy(self) -> None:
        """Remove unfinished uploads and reports, which killed servers left, after an hour."""
        past = time.time() - _UNFINISHED_SECONDS
        for begun in (*self.root.glob(f"{_INCOMING}*"), *self.root.glob(f"*/reports/{DRAWING}*")):
            with contextlib.suppress(OSError):
                if begun.stat().st_mtime < past:
                    shutil.rmtree(begun, ignore_errors=True)

    def forget(self, study: str) -> None:
        """Remove all files of a study."""
        shutil.rmtree(self.root / study, ignore_errors=True)


def _stored(picture: Picture, folder: Path, stem: str, field: str) -> str:
    name = f"{stem}{picture.suffix}"
    with (folder / name).open("wb") as target:
        shutil.copyfileobj(picture.file, target)
    return f"{field} = {_quoted(name)}"


def _quoted(text: str) -> str:
    """Return a TOML string, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)
