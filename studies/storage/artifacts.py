"""Stores of Optuna's artifacts: pictures of studies and trials.

For an SQLite file they are files in a folder beside it. For a database server they are rows of a
table of ours, so that a dashboard on another machine shows a worker's pictures.
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
    """Optuna's protocol for artifact stores, and ``in``."""

    def __contains__(self, artifact_id: str) -> bool: ...

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact for reading.

        Raises:
            ArtifactNotFound: there is no artifact with that id.
        """

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an artifact completely or not at all; one with the same id is replaced."""

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact. A missing one is no error, as a study must still be deletable."""


def artifact_store(url: str) -> Artifacts:
    """Return the artifact store of a storage; it creates and opens nothing yet."""
    return ArtifactTable(url) if sqlite_path(url) is None else ArtifactFolder(artifact_folder(url))


class ArtifactFolder(FileSystemArtifactStore):
    """:class:`Artifacts` as files of a folder, which is made at the first write."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def __contains__(self, artifact_id: str) -> bool:
        return self._get_filepath(artifact_id).is_file()

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Always the same name, so that the part that an interrupted call left is overwritten.
        part = f".{artifact_id}.part"
        try:
            super().write(part, content_body)
            self._get_filepath(part).replace(self._get_filepath(artifact_id))
        except BaseException:
            self._get_filepath(part).unlink(missing_ok=True)
            raise

    def remove(self, artifact_id: str) -> None:
        with contextlib.suppress(ArtifactNotFound):
            super().remove(artifact_id)


class ArtifactTable:
    """:class:`Artifacts` as rows of the table ``lime_tuner_artifacts`` of a database server.

    Every method raises ``StorageError`` when the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __contains__(self, artifact_id: str) -> bool:
        return self._read(ARTIFACTS.c.artifact_id, artifact_id) is not None

    def open_reader(self, artifact_id: str) -> BinaryIO:
        body = self._read(ARTIFACTS.c.body, artifact_id)
        if body is None:
            raise ArtifactNotFound(f"no artifact has the id {artifact_id}")
        return io.BytesIO(body)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        body = content_body.read()
        with records(self._url) as engine, engine.begin() as connection:
            connection.execute(_of(artifact_id, sqlalchemy.delete(ARTIFACTS)))
            connection.execute(
                sqlalchemy.insert(ARTIFACTS).values(artifact_id=artifact_id, body=body)
            )

    def remove(self, artifact_id: str) -> None:
        with records(self._url) as engine, engine.begin() as connection:
            connection.execute(_of(artifact_id, sqlalchemy.delete(ARTIFACTS)))

    def _read(self, column: sqlalchemy.Column[Any], name: str) -> Any:
        # Not by ``records``, which would create our tables: a dry run reads, too.
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
    """Store an (H, W, 3) uint8 picture as ``NAME.png`` of a study or of a running trial.

    Returns:
        The artifact's id.

    Raises:
        OSError, StorageError: it cannot be written.
        optuna.exceptions.UpdateFinishedTrialError: the trial is finished.
    """
    # Optuna records a file in the database before it writes it. A temporary file on the same disk
    # fails earlier when that disk is full.
    beside = store.folder if isinstance(store, ArtifactFolder) else None
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".drawing-") as folder:
        path = Path(folder) / f"{name}.png"
        save_png(picture, path)
        return upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=owner)
