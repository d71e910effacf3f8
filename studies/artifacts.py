"""Pictures of studies and trials: Optuna's artifacts, in a folder beside the storage."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound

from explainers.overlay import save_png

__all__ = ["ArtifactFolder", "add_picture"]


class ArtifactFolder(FileSystemArtifactStore):
    """Optuna's store in a folder that is made when something is first written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def __contains__(self, artifact_id: str) -> bool:
        return (self.folder / artifact_id).is_file()

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        super().write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Forget a file. One that is gone already must not keep anybody from deleting a study."""
        with contextlib.suppress(ArtifactNotFound):
            super().remove(artifact_id)


def add_picture(
    store: ArtifactFolder,
    owner: optuna.Study | optuna.Trial,
    name: str,
    picture: NDArray[np.uint8],
) -> str:
    """Keep an (H, W, 3) uint8 picture as ``NAME.png`` of a study, or of a trial that still runs.

    Returns:
        The artifact's id.

    Raises:
        OSError: the folder cannot be written.
        optuna.exceptions.UpdateFinishedTrialError: the trial is finished.
    """
    # Optuna names a file in the storage before it writes it. Drawn beside its place, a picture
    # that does not fit on the disk is noticed before.
    store.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.folder, prefix=".drawing-") as folder:
        path = Path(folder) / f"{name}.png"
        save_png(picture, path)
        return upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=owner)
