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
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from explainers.errors import LimeTunerError, StorageError
from studies.heartbeats import grace_seconds, heartbeat_seconds
from studies.records.jobs import Job, Jobs

if TYPE_CHECKING:
    from explainers.reference import Reference
    from tuner.jobs import TuneJob

__all__ = ["ServicePlan", "ServiceWorker"]

_IDLE_SECONDS = 1.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServicePlan:
    """How jobs are done; what they are is in the database.

    Attributes:
        folder: of the uploads (:class:`studies.service.folder.ServiceFolder`).
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
    def classifier_spec(self) -> dict[str, Any]:
        """Arguments of ``explainers.zoo.load_classifier``."""
        return {
            "model": self.model,
            "weights": self.weights,
            "device": self.device,
            "cam_layer": self.cam_layer,
        }


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
        import torch

        from explainers.image_files import limit_pixels
        from tuner.loading import kept_classifier

        torch.set_num_threads(self._plan.threads)
        limit_pixels(int(self._plan.megapixels * 1e6))
        kept_classifier(self._plan.classifier_spec)

    def run(self, pause: Callable[[float], object] = time.sleep) -> None:
        """Work until stopped; a database that is away is waited for."""
        from studies.patient_storage import UNREACHABLE, until_reachable

        jobs = until_reachable(lambda: Jobs(self._plan.storage), stop=self._stop, pause=pause)
        while not self._stop():
            job = until_reachable(
                lambda: jobs.claim(self._name), stop=self._stop, told=_logger.warning, pause=pause
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
        from studies.patient_storage import UNREACHABLE, until_reachable

        pause(grace_seconds())
        with contextlib.suppress(*UNREACHABLE):  # the server ends; its heartbeat has ended, too
            until_reachable(
                lambda: jobs.release(job.id, self._name), stop=self._stop, pause=pause
            )

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
        from studies.patient_storage import UNREACHABLE

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
    from studies.artifacts import artifact_store
    from tuner.jobs import opened_job, settle, winners_of
    from tuner.study_notes import StudyNotes
    from tuner.study_runner import StudyRunner, is_done

    begun, timeout = time.monotonic(), job.settings.timeout
    left = None if timeout is None else max(0.0, timeout - job.seconds)
    tuned = _tune_job(plan, job)
    with opened_job(tuned) as opened:
        notes = StudyNotes(opened.study, opened.task, artifact_store(plan.storage))
        runner = StudyRunner(
            opened.study, opened.task, opened.settings, notes.on_trial, notes.on_score
        )
        runner.begin(winners_of(plan.storage, tuned.study))
        while (
            not (stopped := stop())
            and not is_done(opened.study, opened.settings)
            and (left is None or time.monotonic() - begun < left)
        ):
            runner.one_trial()
        if not stopped:
            runner.finish()
        notes.write()
    if not stopped:
        settle(plan.storage, {tuned.study})  # somebody may have been killed in the middle of it
    return not stopped


def _tune_job(plan: ServicePlan, job: Job) -> TuneJob:
    """Decode the image, make its reference and two pictures, unless an earlier attempt did."""
    from explainers.overlay import save_png
    from studies.service.folder import ServiceFolder
    from studies.study_pictures import photograph_picture
    from tuner.jobs import TuneJob
    from tuner.loading import kept_classifier, kept_runtime_model, load_catalog_image
    from tuner.search_space import SearchSpace
    from tuner.study_identity import read_studies, stored_runtime_model

    folder = ServiceFolder(Path(plan.folder))
    classifier = kept_classifier(plan.classifier_spec)
    source = folder.catalog(job.study)
    catalog, image = load_catalog_image(str(source), job.key, classifier)
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
    return TuneJob(
        catalog=str(source.resolve()),
        key=job.key,
        study=job.study_name,
        storage=plan.storage,
        assets=None,
        classifier_spec=plan.classifier_spec,
        engine=plan.engine,
        class_index=None,
        reference=reference.to_json(),
        runtime_model=model.to_json(),
        threads=plan.threads,
        trials=job.settings.trials,
        seeds=plan.seeds,
        runtime_weight=0.1,
        sampler="ceiling",
        timeout=None,
        answers=None,
        warm_start=True,
        constrain_fidelity=False,
        seed=0,
        space=SearchSpace(),
    )


def _reference(
    job: Job, catalog: Any, image: Any, classifier: Any, known: Mapping[str, Any]
) -> Reference:
    """Of a job's image; a computed one that is stored is not made again.

    Args:
        known: the facts of its study, where there is one.
    """
    from explainers.reference import parse_reference
    from tuner.references import own_mask
    from tuner.study_identity import stored_reference

    if job.settings.reference == "masks":
        return own_mask(catalog, image)
    rule = parse_reference(job.settings.reference)
    stored = stored_reference(job.study_name, known)
    if stored is not None and stored.rule == rule.text:
        return stored
    return rule.of(classifier, image.pixels, image.key, at_scale=image.at_scale, judged=True)
