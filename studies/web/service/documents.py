"""What the service says about studies: the document of ``tune --json``, and how far they are.

Asking often must cost little: counts come by one query for all studies, and the trials of a study
are read again only when there are more of them.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import optuna
import sqlalchemy

from explainers.lime import LimeParameters
from explainers.messages import one_line
from studies.dashboard import DEFAULTS_PICTURE, trial_picture
from studies.export import parameter_code, pickle_code
from studies.records.jobs import Job
from studies.results.attributes import PICTURES, PREPARED
from studies.results.summary import image_document, studies_document
from studies.storage import open_storage
from studies.web.service.folder import ServiceFolder

__all__ = ["Documents", "state_of"]

_KEPT = 2000
_LONGEST_REASON = 500
_NOTHING: dict[str, Any] = {
    "trials": 0, "pruned": 0, "best": None, "default": None, "reliability": None,
    "runtime_doubt": None, "coverage": None, "class": None,
    "pictures": {"default": None, "best": None},
}  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """What a study looked like when its document was made."""

    counts: str
    pictures: str | None


@dataclass(frozen=True)
class _Known:
    """What is known of an image's study: its document, and the facts that code is written from."""

    document: dict[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> LimeParameters | None:
        """The best so far."""
        best = self.document["best"]
        return None if best is None else LimeParameters.from_json(json.dumps(best["parameters"]))


class Documents:
    """Documents of a storage's studies. It may be used by several threads.

    Args:
        folder: where workers put the pictures that do not belong to a trial.

    Raises:
        StorageError: see :func:`studies.storage.open_storage`.
    """

    def __init__(self, storage: str, folder: ServiceFolder) -> None:
        self._folder = folder
        self._storage = open_storage(storage, write=False)
        self._engine = self._storage.engine
        self._meta = sqlalchemy.MetaData()
        with self._engine.connect() as connection:
            self._meta.reflect(connection, only=["studies", "trials", "study_user_attributes"])
        self._kept: OrderedDict[str, tuple[_Seen, _Known]] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def holds(self, prefix: str) -> bool:
        """Whether the storage has studies of a prefix, of the service or of somebody else."""
        name = sqlalchemy.func.lower(self._meta.tables["studies"].c.study_name)
        lowered = prefix.lower()
        query = sqlalchemy.select(sqlalchemy.literal(1)).where(
            (name == lowered) | name.startswith(f"{lowered}/", autoescape=True)
        )
        with self._engine.connect() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def fingerprint(self, jobs: Sequence[Job]) -> str:
        """Changes when what is known about some jobs' studies changes."""
        seen = self._look([job.study_name for job in jobs])
        return json.dumps([[job.state, str(seen.get(job.study_name))] for job in jobs])

    def of(self, jobs: Iterable[Job]) -> dict[str, dict[str, Any]]:
        """The documents of all studies that some jobs are of, by study."""
        by_study: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            by_study[job.study].append(job)
        names = [job.study_name for own_jobs in by_study.values() for job in own_jobs]
        images = self._images(names)
        return {
            study: _document(study, own_jobs, images, self._folder)
            for study, own_jobs in by_study.items()
        }

    def code(self, job: Job) -> str | None:
        """An image's best parameters as a program; ``None`` where it has none."""
        known = self._images([job.study_name]).get(job.study_name)
        if known is None or known.parameters is None:
            return None
        return parameter_code(known.parameters, known.facts)

    def _images(self, names: Sequence[str]) -> dict[str, _Known]:
        documents = {}
        for name, seen in self._look(names).items():
            with self._lock:
                kept = self._kept.get(name)
            if kept is None or kept[0] != seen:
                kept = (seen, self._read(name))
                with self._lock:
                    self._kept[name] = kept
                    self._kept.move_to_end(name)
                    while len(self._kept) > _KEPT:
                        self._kept.popitem(last=False)
            documents[name] = kept[1]
        return documents

    def _look(self, names: Sequence[str]) -> dict[str, _Seen]:
        studies, trials = self._meta.tables["studies"], self._meta.tables["trials"]
        attributes = self._meta.tables["study_user_attributes"]
        counts: dict[str, list[str]] = defaultdict(list)
        pictures: dict[str, str] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(names), 500):
                wanted = studies.c.study_name.in_(names[start : start + 500])
                for name, state, count in connection.execute(
                    sqlalchemy.select(studies.c.study_name, trials.c.state, sqlalchemy.func.count())
                    .join(trials, trials.c.study_id == studies.c.study_id)
                    .where(wanted, trials.c.state.in_(("COMPLETE", "PRUNED")))
                    .group_by(studies.c.study_name, trials.c.state)
                    .order_by(trials.c.state)
                ):
                    counts[name].append(f"{getattr(state, 'name', state)} {count}")
                for name, value in connection.execute(
                    sqlalchemy.select(studies.c.study_name, attributes.c.value_json)
                    .join(attributes, attributes.c.study_id == studies.c.study_id)
                    .where(wanted, attributes.c.key == PICTURES)
                ):
                    pictures[name] = value
        return {
            name: _Seen(", ".join(counts[name]), pictures.get(name))
            for name in [*counts, *(set(pictures) - set(counts))]
        }

    def _read(self, name: str) -> _Known:
        study = optuna.load_study(study_name=name, storage=self._storage)
        document, facts = image_document(study), study.user_attrs
        best = document["best"]
        pictures = facts.get(PICTURES, {})
        number = None if best is None else best["number"]
        document["pictures"] = {
            "default": _artifact(pictures, DEFAULTS_PICTURE)
            or (_artifact(pictures, trial_picture(0)) if number == 0 else None),
            "best": None if number is None else _artifact(pictures, trial_picture(number)),
        }
        return _Known(document, _for_code(facts))


def _for_code(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that code is written from. Where files lie on this machine is nobody's business."""
    kept = {name: facts[name] for name in (PREPARED, "image_key", "mask_rule") if name in facts}
    prepared = kept.get(PREPARED)
    if prepared and "weights" in prepared["classifier"]:
        file = PurePath(prepared["classifier"]["weights"]).name
        kept[PREPARED] = {**prepared, "classifier": {**prepared["classifier"], "weights": file}}
    return kept


def _artifact(pictures: Mapping[str, str], name: str) -> str | None:
    """The id of an artifact, from its path in the dashboard."""
    path = pictures.get(name)
    return None if path is None else path.rpartition("/")[2]


def _document(
    study: str,
    jobs: Sequence[Job],
    images: Mapping[str, _Known],
    folder: ServiceFolder,
) -> dict[str, Any]:
    state, reason = state_of(jobs)
    found = {
        job.key: {
            **(image := images[job.study_name].document if job.study_name in images else _NOTHING),
            "pictures": {**_drawn(folder, job), **image["pictures"]},
            "state": job.state,
            "reason": one_line(job.reason, _LONGEST_REASON),
            "seconds": round(job.seconds, 1),
        }
        for job in jobs
    }
    settings = jobs[0].settings
    return {
        **studies_document(study, found),
        "snippet": _snippet(jobs, images),
        "state": state,
        "reason": one_line(reason, _LONGEST_REASON),
        "created_at": f"{jobs[0].created_at.isoformat(timespec='seconds')}Z",
        "asked": {
            "trials": settings.trials,
            "timeout": settings.timeout,
            "reference": settings.reference,
        },
    }


def _snippet(jobs: Sequence[Job], images: Mapping[str, _Known]) -> str:
    """How to use the pickle, for the first image that is in it; empty where none is."""
    for job in jobs:
        known = images.get(job.study_name)
        if known is not None and known.parameters is not None:
            return pickle_code(job.key, known.parameters, known.facts)
    return ""


def _drawn(folder: ServiceFolder, job: Job) -> dict[str, str | None]:
    """Which pictures are there before the first trial, and of when."""
    written: dict[str, str | None] = {}
    for name in ("photo", "reference"):
        try:
            written[name] = str(folder.picture(job.study, job.key, name).stat().st_mtime_ns)
        except OSError:
            written[name] = None
    return written


def state_of(jobs: Sequence[Job]) -> tuple[str, str]:
    """State and reason of a study: of its jobs together."""
    states = {job.state for job in jobs}
    for state in ("failed", "cancelled"):
        if state in states:
            first = next(job for job in jobs if job.state == state)
            failed = state == "failed"
            return state, f"{first.key}: {first.reason}" if failed else first.reason
    if states == {"done"}:
        return "done", ""
    if states == {"queued"}:
        return "queued", "waiting for a worker"
    return "running", ""
