"""Reports of studies, made at the first request and kept until the study changes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from studies.report import Supplement, write_report
from studies.web.service.folder import DRAWING, ServiceFolder

__all__ = ["Reports"]


class Reports:
    """Reports of a storage. One is made at a time, as Matplotlib is not thread-safe.

    Args:
        supplement: makes the section on dissected networks, which another package provides.
    """

    def __init__(
        self, storage: str, folder: ServiceFolder, supplement: Callable[[], Supplement | None]
    ) -> None:
        self._storage, self._folder, self._supplement = storage, folder, supplement
        self._lock = threading.Lock()

    def of(self, study: str, fingerprint: str) -> Path:
        """Return the folder of a study's report, which is made if necessary.

        Args:
            fingerprint: a text that changes when the study does.

        Raises:
            StorageError: the storage cannot be read, or the folder cannot be written.
        """
        folder = self._folder.reports(study)
        name = hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
        with self._lock:
            if not (folder / name).is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=folder, prefix=DRAWING) as made:
                    drawn = Path(made) / name
                    write_report(self._storage, study, drawn, dissection=self._supplement())
                    for old in folder.iterdir():
                        if old.name != Path(made).name:
                            shutil.rmtree(old, ignore_errors=True)
                    drawn.rename(folder / name)
        return folder / name
