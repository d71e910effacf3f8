"""What a worker process of the service does: prepare jobs, and run trials of their studies."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple, TypeAlias

import torch
from optuna.trial import TrialState

from explainers.classifiers import Classifier
from explainers.errors import LimeTunerError, StorageError
from explainers.images import limit_pixels, save_png
from explainers.messages import one_line
from explainers.references import Reference, parse_reference
from studies.catalog import Catalog
from studies.catalog.assets import StudyImage
from studies.dashboard import photograph_picture
from studies.full_disk import is_full, no_space
from studies.queries import StudyOverview, overview
from studies.records.jobs import Job, Jobs
from studies.storage import heartbeat_seconds
from studies.storage.reconnecting import UNREACHABLE, unreachable_reason, until_reachable
from studies.web.service import ServiceFolder
from tuner.problem.references import own_mask
from tuner.problem.settings import TuningSettings
from tuner.problem.spec import Machine, StudySpec
from tuner.study.identity import read_studies, stored_reference, stored_runtime_model
from tuner.study.loading import kept_classifier, kept_runtime_model, load_image
from tuner.study.opening import OpenedStudy, opened_study
from tuner.workers.shared import SharedStudies

__all__ = ["ServicePlan", "ServiceWorker"]

_IDLE_SECONDS = 1.0
_TROUBLE_SECONDS = 5.0
_MOST_LOST = 6
_LONGEST_REASON = 200
_logger = logging.getLogger(__name__)

_Work: TypeAlias = Callable[[], None]


class _Choice(NamedTuple):
    """A job that can be gone on with; the least comes first."""

    rank: int
    is_new: bool
    id: int
    is_over: bool
    job: Job


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
    """Does jobs until it is told to stop.

    It runs trials of a job that nobody else works on, or else prepares the next one, or else helps
    with what others work on. So two workers share a single photograph, and of many each has its
    own.

    Args:
        stop: asked between trials.
    """

    def __init__(self, plan: ServicePlan, stop: Callable[[], bool]) -> None:
        self._plan, self._stop = plan, stop
        self._name = f"{socket.gethostname()[:60]}:{os.getpid()}:{token_hex(3)}"
        self._studies = SharedStudies(plan.machine, _logger.warning)
        self._jobs: Jobs
        self._last: str | None = None

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
        self._jobs = until_reachable(lambda: Jobs(self._plan.storage), stop=self._stop, pause=pause)
        while not self._stop():
            try:
                found = until_reachable(
                    self._next, stop=self._stop, on_message=_logger.warning, pause=pause
                )
                if found is None:
                    pause(_IDLE_SECONDS)
                else:
                    self._do(*found)
            except (*UNREACHABLE, StorageError) as error:
                ours = isinstance(error, StorageError)
                reason = str(error) if ours else unreachable_reason(error)
                _logger.warning("the work was given up for now (%s)", reason)
                self._studies.give_up()
                pause(_TROUBLE_SECONDS)
        self._studies.close()
        self._jobs.close()

    def _next(self) -> tuple[_Work, Job] | None:
        """What to do now, and for which job; jobs whose studies are in trouble are ended."""
        at_work = {job.study_name: job for job in self._jobs.at_work()}
        rows = overview(self._plan.storage, None, only=at_work.keys()) if at_work else []
        found = {row.study for row in rows}
        for name in self._studies.known - found:
            self._studies.forget(name)
        for name in at_work.keys() - found:
            self._jobs.prepare_again(at_work[name].id)  # somebody has deleted its study
        wanted = {need.study for need in self._studies.needs(rows)} if rows else set()
        alone: list[_Choice] = []
        shared: list[_Choice] = []
        for row in rows:
            name, job, running = row.study, at_work[row.study], row.trials.get("RUNNING", 0)
            trouble = self._studies.refused.get(name) or _crashing(self._studies, row)
            timeout = job.settings.timeout
            over = name not in wanted or (timeout is not None and job.seconds >= timeout)
            if trouble is not None:
                self._fail(job, trouble)
            elif not running:
                alone.append(_Choice(not over, name != self._last, job.id, over, job))
            elif not over:
                shared.append(_Choice(running, False, job.id, over, job))
            else:
                self._studies.fail_stale_trials([row])
        claimed = None if alone else self._jobs.claim(self._name)
        if claimed is not None:
            self._last = claimed.study_name
            return partial(self._make_study, claimed), claimed
        if not alone and not shared:
            return None
        chosen = min(alone or shared)
        self._last = chosen.job.study_name
        work = self._finish if chosen.is_over else self._run_trial
        return partial(work, chosen.job), chosen.job

    def _do(self, work: _Work, job: Job) -> None:
        begun = time.monotonic()
        try:
            work()
        except (*UNREACHABLE, StorageError):
            raise  # nothing is wrong with the job
        except LimeTunerError as error:
            self._fail(job, str(error))
        except Exception as error:  # else every worker would end by this job, one after the other
            _logger.exception("%s ended with an error of ours", job.study_name)
            reason = one_line(f"{type(error).__name__}: {error}", _LONGEST_REASON)
            self._fail(job, f"an error of ours ({reason}): the server's log says more")
        finally:
            self._jobs.spend(job.id, time.monotonic() - begun)

    def _run_trial(self, job: Job) -> None:
        self._studies.run(job.study_name, most=1, seconds=math.inf, stop=self._stop)

    def _finish(self, job: Job) -> None:
        self._studies.finish(job.study_name)
        if job.study_name not in self._studies.refused:
            self._jobs.end(job.id, "done")

    def _make_study(self, job: Job) -> None:
        with self._beating(job):
            try:
                spec = _spec(self._plan, job)
                with opened_study(spec, self._plan.machine) as (study, task):
                    # Enqueues what goes first: workers that join it together would do so twice.
                    OpenedStudy.of(spec, study, task, self._plan.machine)
            except (*UNREACHABLE, StorageError):
                self._put_back(job)
                raise
            except OSError as error:
                if not is_full(error):
                    raise
                self._put_back(job)
                raise no_space(f"the folder {self._plan.folder}") from error
        self._jobs.prepared(job.id, self._name)

    def _put_back(self, job: Job) -> None:
        with contextlib.suppress(*UNREACHABLE):  # it is late soon, and claimed again
            self._jobs.release(job.id, self._name)

    @contextmanager
    def _beating(self, job: Job) -> Iterator[None]:
        """Send heartbeats of a job that is being prepared."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(heartbeat_seconds()):
                with contextlib.suppress(*UNREACHABLE):  # nobody else can take it now either
                    self._jobs.beat(job.id, self._name)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _fail(self, job: Job, reason: str) -> None:
        _logger.warning("%s failed: %s", job.study_name, reason)
        # Where files lie on this machine is nobody's business.
        for folder in {self._plan.folder, str(Path(self._plan.folder).resolve())}:
            reason = reason.replace(f"{folder}/", "")
        self._jobs.end(job.id, "failed", " ".join(reason.split()))


def _crashing(studies: SharedStudies, row: StudyOverview) -> str | None:
    """Why a study is given up whose trials fail, or whose workers die, one after the other."""
    if row.trials.get("FAIL", 0) < _MOST_LOST:
        return None
    storage = studies.storage
    trials = storage.get_all_trials(storage.get_study_id_from_name(row.study), deepcopy=False)
    ended = [trial.state for trial in trials if trial.state.is_finished()]
    if any(state != TrialState.FAIL for state in ended[-_MOST_LOST:]):
        return None
    return f"{_MOST_LOST} trials in a row were lost: the server's log may say why"


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
