"""Where the service keeps what was uploaded, and pictures: a folder for each study.

``NAME/catalog.toml`` is a catalogue like anybody's, so the command line can work on it, too.
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
"""How the folder of a report begins that is not finished."""
_CATALOG = "catalog.toml"
_INCOMING = ".incoming-"
_UNFINISHED_SECONDS = 3600.0


def service_folder(url: str) -> Path:
    """Beside the SQLite file, or in the working folder."""
    path = sqlite_path(url)
    return Path("lime-tuner-service") if path is None else path.with_name("lime-tuner-service")


class ServiceFolder:
    """The files of all studies.

    Only names that :mod:`studies.web.service.limits` allows become names of files.

    Args:
        root: is made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def catalog(self, study: str) -> Path:
        """The study's catalogue."""
        return self.root / study / _CATALOG

    def picture(self, study: str, key: str, name: str) -> Path:
        """A picture that a worker has drawn, or will draw: ``photo`` or ``reference``."""
        return self.root / study / "pictures" / key / f"{name}.png"

    def reports(self, study: str) -> Path:
        """The folder of the study's reports."""
        return self.root / study / "reports"

    def keep(self, request: StudyRequest) -> None:
        """Keep what was uploaded: all of it, or nothing.

        Raises:
            StorageError: it cannot be written.
            FileExistsError: there is a folder of that name.
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
        """Remove what servers were killed over: uploads and reports that were never finished."""
        past = time.time() - _UNFINISHED_SECONDS
        for begun in (*self.root.glob(f"{_INCOMING}*"), *self.root.glob(f"*/reports/{DRAWING}*")):
            with contextlib.suppress(OSError):
                if begun.stat().st_mtime < past:
                    shutil.rmtree(begun, ignore_errors=True)

    def forget(self, study: str) -> None:
        """Remove what was uploaded for a study, and all that was drawn of it."""
        shutil.rmtree(self.root / study, ignore_errors=True)


def _stored(picture: Picture, folder: Path, stem: str, field: str) -> str:
    name = f"{stem}{picture.suffix}"
    with (folder / name).open("wb") as target:
        shutil.copyfileobj(picture.file, target)
    return f"{field} = {_quoted(name)}"


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
