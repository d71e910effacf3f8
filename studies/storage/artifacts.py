"""Pictures of studies and trials: Optuna's artifacts, where everybody who has the storage has them.

Beside an SQLite file they lie in a folder. On a database server they lie in a table of ours, so
that a worker's picture is seen in a dashboard on another machine.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import optuna
import sqlalchemy
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound

from explainers.images import save_png
from studies.records.artifact_table import ARTIFACTS
from studies.records.schema import records
from studies.storage import artifact_folder, connected, sqlite_path

__all__ = ["ArtifactFolder", "ArtifactTable", "Artifacts", "add_picture", "artifact_store"]


class Artifacts(Protocol):
    """Optuna's artifact store, and whether it has something; all by an artifact's id."""

    def __contains__(self, artifact_id: str) -> bool: ...

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """What was kept.

        Raises:
            ArtifactNotFound: nothing of that id.
        """

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep something whole, or not at all; what had that id is replaced."""

    def remove(self, artifact_id: str) -> None:
        """Forget something. What is gone already must not keep anybody from deleting a study."""


def artifact_store(url: str) -> Artifacts:
    """Where the artifacts of a storage are; nothing is made or opened before it is needed."""
    return ArtifactTable(url) if sqlite_path(url) is None else ArtifactFolder(artifact_folder(url))


class ArtifactFolder(FileSystemArtifactStore):
    """A folder that is made when something is first written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def __contains__(self, artifact_id: str) -> bool:
        return self._get_filepath(artifact_id).is_file()

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Under its name there is never half of a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Always the same name, so that what an interrupted call left is written over.
        part = f".{artifact_id}.part"
        try:
            super().write(part, content_body)
            self._get_filepath(part).replace(self._get_filepath(artifact_id))
        except BaseException:
            self._get_filepath(part).unlink(missing_ok=True)
            raise

    def remove(self, artifact_id: str) -> None:
        """See :class:`Artifacts`."""
        with contextlib.suppress(ArtifactNotFound):
            super().remove(artifact_id)


class ArtifactTable:
    """The table ``lime_tuner_artifacts`` of a database server.

    Raises:
        StorageError: in every method, when the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __contains__(self, artifact_id: str) -> bool:
        return self._read(ARTIFACTS.c.artifact_id, artifact_id) is not None

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """See :class:`Artifacts`."""
        body = self._read(ARTIFACTS.c.body, artifact_id)
        if body is None:
            raise ArtifactNotFound(f"no artifact has the id {artifact_id}")
        return io.BytesIO(body)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """See :class:`Artifacts`."""
        body = content_body.read()
        with records(self._url) as engine, engine.begin() as connection:
            connection.execute(_of(artifact_id, sqlalchemy.delete(ARTIFACTS)))
            connection.execute(
                sqlalchemy.insert(ARTIFACTS).values(artifact_id=artifact_id, body=body)
            )

    def remove(self, artifact_id: str) -> None:
        """See :class:`Artifacts`."""
        with records(self._url) as engine, engine.begin() as connection:
            connection.execute(_of(artifact_id, sqlalchemy.delete(ARTIFACTS)))

    def _read(self, column: sqlalchemy.Column[Any], name: str) -> Any:
        # Looking makes no tables: a dry run looks, too.
        query = sqlalchemy.select(column).where(ARTIFACTS.c.artifact_id == name)
        with connected(self._url) as connection:
            if not sqlalchemy.inspect(connection).has_table(ARTIFACTS.name):
                return None
            return connection.execute(query).scalar()


def _of(artifact_id: str, statement: sqlalchemy.Delete) -> sqlalchemy.Delete:
    return statement.where(ARTIFACTS.c.artifact_id == artifact_id)


def add_picture(
    store: Artifacts,
    owner: optuna.Study | optuna.Trial,
    name: str,
    picture: NDArray[np.uint8],
) -> str:
    """Keep an (H, W, 3) uint8 picture as ``NAME.png`` of a study, or of a trial that still runs.

    Returns:
        The artifact's id.

    Raises:
        OSError, StorageError: it cannot be written.
        optuna.exceptions.UpdateFinishedTrialError: the trial is finished.
    """
    # Optuna names a file in the storage before it writes it. Drawn beside its place, a picture
    # that does not fit on the disk is noticed before.
    beside = store.folder if isinstance(store, ArtifactFolder) else None
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".drawing-") as folder:
        path = Path(folder) / f"{name}.png"
        save_png(picture, path)
        return upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=owner)
