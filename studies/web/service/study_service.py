"""What the service's handlers work with: jobs, documents, files, reports."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from optuna.artifacts.exceptions import ArtifactNotFound

from explainers.lime import LimeParameters
from studies.export import pickled
from studies.records.jobs import Job, Jobs, NameTaken
from studies.report import Supplement
from studies.storage.artifacts import artifact_store
from studies.web.http import Problem, StorageWatch
from studies.web.service.documents import Documents
from studies.web.service.folder import ServiceFolder
from studies.web.service.limits import ServiceLimits
from studies.web.service.progress import Progress
from studies.web.service.reports import Reports
from studies.web.service.retention import Retention
from studies.web.service.uploads import Defaults, checked_request

__all__ = ["Service", "Shown", "StudyService"]

_RETRY_SECONDS = 30
_TIDY_SECONDS = 3600.0

_logger = logging.getLogger("lime_tuner.serve")

Shown = Literal["photo", "default", "best", "reference"]
"""The pictures of an image."""


@dataclass(frozen=True, eq=False)
class Service:
    """What a service is made of.

    Attributes:
        storage: URL of the database; it must have Optuna's tables.
        model: the name of the classifier that workers explain, for people.
        token: who may come in; ``None`` for a server that listens on this machine only.
        workers: how many worker processes are alive.
        supplement: about dissected networks, for reports.
        replaced: told when another database is in the place of the one before.
    """

    storage: str
    folder: Path
    model: str
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    defaults: Defaults = field(default_factory=Defaults)
    token: str | None = None
    workers: Callable[[], int] = lambda: 0
    supplement: Callable[[], Supplement | None] = lambda: None
    replaced: Callable[[], None] = lambda: None


class StudyService:
    """What the handlers work with; opened and closed with the application."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.jobs = Jobs(service.storage)
        self.folder = ServiceFolder(service.folder)
        self.documents = Documents(service.storage, self.folder)
        self.reports = Reports(service.storage, self.folder, service.supplement)
        self.uploads = asyncio.Semaphore(service.limits.uploads)
        self.progress = Progress(self.look)
        self.watch = StorageWatch(service.storage, self._renew)
        self.renewed: list[Callable[[], None]] = [
            self.jobs.close, self.documents.close, service.replaced,
        ]  # fmt: skip
        self._adding = threading.Lock()
        self.folder.tidy()

    def _renew(self) -> None:
        for each in self.renewed:
            each()

    async def keep_tidy(self) -> None:
        """Remove old studies now and every hour, if there is a limit; never ends."""
        days = self.service.limits.kept_days
        if days is None:
            return
        kept = timedelta(days=days)
        retention = Retention(self.service.storage, self.folder, self.jobs, kept)
        while True:
            try:
                await asyncio.to_thread(retention.sweep)
            except Exception:  # told, and the service goes on
                _logger.exception("old studies could not be removed")
            await asyncio.sleep(_TIDY_SECONDS)

    async def close(self) -> None:
        """Close what was opened."""
        await self.progress.close()
        self.jobs.close()
        self.documents.close()

    def look(self, studies: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Documents of some studies."""
        self.watch.check()
        return self.documents.of([job for study in studies for job in self.jobs.of(study)])

    def study(self, name: str) -> list[Job]:
        """The jobs of a study.

        Raises:
            Problem: 404 there is none.
        """
        jobs = [job for job in self.jobs.of(name) if job.study == name]
        if not jobs:
            raise Problem(404, f"there is no study '{name}'")
        return jobs

    def image(self, name: str, key: str) -> Job:
        """One image of a study.

        Raises:
            Problem: 404 there is none.
        """
        job = next((job for job in self.study(name) if job.key == key), None)
        if job is None:
            raise Problem(404, f"the study '{name}' has no such image")
        return job

    def document(self, name: str) -> dict[str, Any]:
        """A study's document."""
        return self.documents.of(self.study(name))[name]

    def check_room(self, images: int = 1) -> None:
        """Whether images may be queued.

        Raises:
            Problem: 503 the queue is full.
        """
        counts = self.jobs.counts()
        waiting, most = counts["queued"] + counts["running"], self.service.limits.queue
        if waiting + images > most:
            raise Problem(
                503, f"{waiting} images wait or are being tuned, {most} may: come back later",
                retry_after=_RETRY_SECONDS,
            )  # fmt: skip

    def accept(self, form: Any) -> tuple[str, list[str]]:
        """Check a form, keep its files, queue its images.

        Raises:
            Problem: whatever is wrong with it.
        """
        asked = checked_request(form, self.service.limits, self.service.defaults)
        taken = Problem(409, f"the study '{asked.study}' exists already: choose another name")
        with self._adding:
            self.check_room(len(asked.keys))
            if self.documents.holds(asked.study):
                raise taken
            try:
                self.folder.keep(asked)
            except FileExistsError as error:
                raise taken from error
            try:
                self.jobs.add(asked.study, asked.keys, asked.settings)
            except NameTaken as error:
                self.folder.forget(asked.study)
                raise taken from error
            except BaseException:
                self.folder.forget(asked.study)
                raise
        return asked.study, list(asked.keys)

    def picture(self, name: str, key: str, shown: Shown) -> bytes:
        """A picture, as PNG.

        Raises:
            Problem: 404 there is none yet.
        """
        job = self.image(name, key)
        try:
            if shown in ("photo", "reference"):
                return self.folder.picture(name, key, shown).read_bytes()
            artifact = self.documents.of([job])[name]["images"][key]["pictures"][shown]
            if artifact is not None:
                with artifact_store(self.service.storage).open_reader(artifact) as file:
                    return file.read()
        except (FileNotFoundError, ArtifactNotFound):
            pass  # told below
        raise Problem(404, f"there is no picture '{shown}' of this image yet")

    def pickle(self, name: str) -> bytes:
        """The best parameters of all images that have some.

        Raises:
            Problem: 409 no image has any.
        """
        images = self.document(name)["images"]
        best = {
            key: LimeParameters.from_json(json.dumps(image["best"]["parameters"]))
            for key, image in images.items()
            if image["best"] is not None
        }
        if not best:
            raise Problem(409, f"no image of '{name}' has a finished trial yet")
        return pickled(best)

    def code(self, name: str, key: str) -> str:
        """An image's best parameters as Python that explains the photograph with them.

        Raises:
            Problem: 409 it has none.
        """
        code = self.documents.code(self.image(name, key))
        if code is None:
            raise Problem(409, "this image has no finished trial yet")
        return f"{code}\n"

    def report(self, name: str) -> Path:
        """The folder of a study's report."""
        return self.reports.of(name, self.documents.fingerprint(self.study(name)))
