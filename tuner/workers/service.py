"""What a worker process of the service does: it takes jobs and tunes one image after the other."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch

from explainers.classifiers import Classifier
from explainers.errors import LimeTunerError, StorageError
from explainers.images import limit_pixels, save_png
from explainers.references import Reference, parse_reference
from studies.catalog import Catalog
from studies.catalog.assets import StudyImage
from studies.dashboard import photograph_picture
from studies.records.jobs import Job, Jobs
from studies.storage import grace_seconds, heartbeat_seconds
from studies.storage.reconnecting import UNREACHABLE, until_reachable
from studies.web.service import ServiceFolder
from tuner.problem.references import own_mask
from tuner.problem.settings import TuningSettings
from tuner.problem.spec import Machine, StudySpec
from tuner.study.identity import read_studies, stored_reference, stored_runtime_model
from tuner.study.loading import kept_classifier, kept_runtime_model, load_image
from tuner.workers.jobs import run_to_end, settle

__all__ = ["ServicePlan", "ServiceWorker"]

_IDLE_SECONDS = 1.0
_NO_TIME = 1e-9  # seconds
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServicePlan:
    """How jobs are done; what they are is in the database.

    Attributes:
        folder: of the uploads (:class:`studies.web.service.folder.ServiceFolder`).
        megapixels: that a picture may have.
        threads: for torch.
    """

    storage: str
    folder: str
    model: str
    weights: str | None = None
    device: str | None = None
    cam_layer: str | None = None
    engine: str = "auto"
    seeds: int = 10
    threads: int = 1
    megapixels: float = 50.0

    @property
    def machine(self) -> Machine:
        """This machine."""
        return Machine(
            storage=self.storage, device=self.device, engine=self.engine, threads=self.threads
        )

    def spec(self, job: Job, settings: TuningSettings) -> StudySpec:
        """The job's study, without its reference and its runtime model."""
        return StudySpec(
            name=job.study_name,
            key=job.key,
            catalog=str(ServiceFolder(Path(self.folder)).catalog(job.study).resolve()),
            model=self.model,
            weights=self.weights,
            cam_layer=self.cam_layer,
            reference={},
            runtime_model="",
            settings=settings,
        )


class ServiceWorker:
    """Takes jobs, one at a time, until it is told to stop.

    Args:
        stop: asked between trials.
    """

    def __init__(self, plan: ServicePlan, stop: Callable[[], bool]) -> None:
        self._plan, self._stop = plan, stop
        self._name = f"{socket.gethostname()[:60]}:{os.getpid()}:{token_hex(3)}"

    def prepare(self) -> None:
        """Load what every job needs, so that what is wrong with it is told before the first.

        Raises:
            LimeTunerError: the classifier cannot be loaded.
        """
        torch.set_num_threads(self._plan.threads)
        limit_pixels(int(self._plan.megapixels * 1e6))
        plan = self._plan
        kept_classifier(
            {
                "model": plan.model, "weights": plan.weights, "device": plan.device,
                "cam_layer": plan.cam_layer, "crop": None,
            }
        )  # fmt: skip

    def run(self, pause: Callable[[float], object] = time.sleep) -> None:
        """Work until stopped; a database that is away is waited for."""
        jobs = until_reachable(lambda: Jobs(self._plan.storage), stop=self._stop, pause=pause)
        while not self._stop():
            job = until_reachable(
                lambda: jobs.claim(self._name),
                stop=self._stop,
                on_message=_logger.warning,
                pause=pause,
            )
            if job is None:
                pause(_IDLE_SECONDS)
                continue
            try:
                self._do(jobs, job)
            except (*UNREACHABLE, StorageError) as error:
                _logger.warning("%s was given up for now (%s)", job.study_name, error)
                self._give_up(jobs, job, pause)
        jobs.close()

    def _give_up(self, jobs: Jobs, job: Job, pause: Callable[[float], object]) -> None:
        """Put a job back for no fault of its own, when its last trial is known to be dead, too."""
        pause(grace_seconds())
        with contextlib.suppress(*UNREACHABLE):  # the server ends; its heartbeat has ended, too
            until_reachable(lambda: jobs.release(job.id, self._name), stop=self._stop, pause=pause)

    def _do(self, jobs: Jobs, job: Job) -> None:
        with self._beating(jobs, job) as is_mine:
            try:
                done = _tune(self._plan, job, lambda: self._stop() or not is_mine())
            except StorageError:
                raise  # nothing is wrong with the job
            except LimeTunerError as error:
                _logger.warning("%s failed: %s", job.study_name, error)
                jobs.end(job.id, self._name, "failed", self._told(str(error)))
                return
            if done:
                jobs.end(job.id, self._name, "done")
            else:
                jobs.release(job.id, self._name)

    def _told(self, message: str) -> str:
        """Where files lie on this machine is nobody's business."""
        for folder in {self._plan.folder, str(Path(self._plan.folder).resolve())}:
            message = message.replace(f"{folder}/", "")
        return " ".join(message.split())

    @contextmanager
    def _beating(self, jobs: Jobs, job: Job) -> Iterator[Callable[[], bool]]:
        """Send heartbeats; gives a function that asks whether the job still is this worker's."""
        begun = time.monotonic()
        over, lost = threading.Event(), threading.Event()

        def is_mine() -> bool:
            spent = job.seconds + time.monotonic() - begun
            try:
                if not lost.is_set() and not jobs.beat(job.id, self._name, spent):
                    lost.set()
            except UNREACHABLE as error:
                # Nobody else can take it now either.
                _logger.warning("a heartbeat was not written (%s)", type(error).__name__)
            return not lost.is_set()

        def beat() -> None:
            while not over.wait(heartbeat_seconds()):
                is_mine()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield is_mine
        finally:
            over.set()
            thread.join()


def _tune(plan: ServicePlan, job: Job, stop: Callable[[], bool]) -> bool:
    """Tune a job's image; whether it is done.

    Raises:
        LimeTunerError: it cannot be; says why.
    """
    timeout = job.settings.timeout
    begun = time.monotonic()
    spec = _spec(plan, job)
    if timeout is not None:
        spent = job.seconds + time.monotonic() - begun
        left = max(_NO_TIME, timeout - spent)
        spec = replace(spec, settings=replace(spec.settings, timeout=left))
    ended = run_to_end(plan.machine, spec, stop)
    if ended:
        settle(plan.storage, {spec.name})  # somebody may have been killed in the middle of it
    return ended


def _spec(plan: ServicePlan, job: Job) -> StudySpec:
    """Decode the image, make its reference and two pictures, unless an earlier attempt did."""
    folder = ServiceFolder(Path(plan.folder))
    settings = TuningSettings.of({"trials": job.settings.trials, "seeds": plan.seeds})
    spec = plan.spec(job, settings)
    classifier, catalog, image = load_image(spec, plan.machine)
    for note in image.notes:
        _logger.warning("%s: %s", job.study_name, note)
    save_png(image.pixels, folder.picture(job.study, job.key, "photo"))
    known = read_studies(plan.storage, [job.study_name]).get(job.study_name, {})
    reference = _reference(job, catalog, image, classifier, known)
    save_png(
        photograph_picture(image.pixels, reference.mask),
        folder.picture(job.study, job.key, "reference"),
    )
    # Measured even where it is not needed: from its first study on this process keeps freed
    # memory, and stock lime's would not.
    measured = kept_runtime_model(classifier, image.pixels)
    model = stored_runtime_model(job.study_name, known) or measured
    return replace(spec, reference=reference.to_json(), runtime_model=model.to_json())


def _reference(
    job: Job,
    catalog: Catalog,
    image: StudyImage,
    classifier: Classifier,
    known: Mapping[str, Any],
) -> Reference:
    """Of a job's image; a computed one that is stored is not made again.

    Args:
        known: the facts of its study, where there is one.
    """
    if job.settings.reference == "masks":
        return own_mask(catalog, image)
    rule = parse_reference(job.settings.reference)
    stored = stored_reference(job.study_name, known)
    if stored is not None and stored.rule == rule.text:
        return stored
    return rule.of(
        classifier, image.pixels, image.key, at_scale=image.at_scale, with_reliability=True
    )
