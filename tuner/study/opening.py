"""Open a stored study with everything that running its trials in this process needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import optuna

from explainers.errors import InvalidInput, LimeTunerError, StorageError
from explainers.lime import LimeParameters, PredictionCache
from studies.queries import best_parameters
from studies.results.attributes import PREPARED
from studies.storage import open_storage
from studies.storage.artifacts import artifact_store
from studies.storage.reconnecting import trouble_told
from tuner.log_file import join_log
from tuner.problem import TuningTask
from tuner.problem.spec import PLAN, Machine, StudySpec
from tuner.study import StudyNotes, StudyRunner
from tuner.study.identity import StudyIdentity, check_identity
from tuner.study.loading import LoadedTask, load_image, load_task, open_cache, prepare_process
from tuner.tuning import as_stored, open_study, study_facts

__all__ = [
    "Mismatch",
    "OpenedStudy",
    "facts_of",
    "join_study",
    "opened_study",
    "other_incumbents_of",
]

_SAME_RESULTS = ("lime", "scikit-image", "scikit-learn", "numpy")


class Mismatch(InvalidInput):
    """This machine lacks something that the study was made from."""


@dataclass(frozen=True, eq=False)
class OpenedStudy:
    """A study, and what runs its trials.

    Attributes:
        stored: the spec that the study was opened with.
    """

    stored: StudySpec
    study: optuna.Study
    task: TuningTask
    notes: StudyNotes
    runner: StudyRunner

    @classmethod
    def of(
        cls, spec: StudySpec, study: optuna.Study, task: TuningTask, machine: Machine
    ) -> OpenedStudy:
        """Make the runner and enqueue the trials that go first."""
        notes = StudyNotes(study, task, artifact_store(machine.storage))
        runner = StudyRunner(study, task, spec.settings, notes.on_trial, notes.on_score)
        other_incumbents = (
            other_incumbents_of(machine.storage, spec.name) if spec.settings.warm_start else []
        )
        runner.begin(other_incumbents, spec.settings.first())
        return cls(spec, study, task, notes, runner)


@contextmanager
def opened_study(spec: StudySpec, machine: Machine) -> Iterator[tuple[optuna.Study, TuningTask]]:
    """Load a study's task, create or resume the study, and store its plan.

    Raises:
        StorageError: the database cannot be reached or its disk is full, also inside the ``with``.
        InvalidInput: a study of that name was made from something else.
    """
    join_log(machine.log)
    with trouble_told(machine.storage):
        prepare_process(machine)
        with (
            closing(open_cache(machine)) as cache,
            closing(open_storage(machine.storage)) as storage,
        ):
            loaded = load_task(spec, machine, cache)
            study = open_study(spec.name, storage, facts_of(loaded), pareto=spec.settings.pareto)
            plan = spec.plan()
            if study.user_attrs.get(PLAN) != plan:
                study.set_user_attr(PLAN, plan)
            yield study, as_stored(loaded.task, study)


def join_study(
    spec: StudySpec,
    machine: Machine,
    storage: optuna.storages.BaseStorage,
    cache: PredictionCache,
) -> OpenedStudy:
    """Open a stored study, after checking that this machine has what it was made from.

    Args:
        spec: the spec as it is stored.

    Raises:
        Mismatch: something differs; says what.
    """
    study = optuna.load_study(study_name=spec.name, storage=storage)
    facts = study.user_attrs
    check_versions(facts.get("package_versions"))
    try:
        here = machine.of(spec)
        classifier, _, image = load_image(here, machine)
        network, picture, catalog = _made_of(facts)
        check_same("classifier", classifier.name, network, classifier.fingerprint)
        check_same("picture", spec.key, picture, image.digest)
        loaded = load_task(here, machine, cache)
        found = {**facts_of(loaded), "catalog": catalog}
        found.pop("cam_layer")  # no mask is made here
        check_identity(storage, spec.name, StudyIdentity.of(found, pareto=spec.settings.pareto))
    except LimeTunerError as error:
        if isinstance(error, (Mismatch, StorageError)):
            raise
        raise Mismatch(str(error)) from error
    return OpenedStudy.of(spec, study, loaded.task, machine)


def facts_of(loaded: LoadedTask) -> dict[str, Any]:
    """The facts of a loaded study; see :func:`tuner.tuning.study_facts`."""
    spec = loaded.spec
    facts = study_facts(
        loaded.task, loaded.classifier, spec.settings, catalog=loaded.catalog.name, key=spec.key,
        calibration=spec.calibration,
    )  # fmt: skip
    return {**facts, PREPARED: _prepared(loaded)}


def _prepared(loaded: LoadedTask) -> dict[str, Any]:
    """How the image was made, for code that makes it again; see ``PREPARED``."""
    image, loading = loaded.image, loaded.classifier.spec or {}
    return {
        "file": None if image.path is None else image.path.name,
        **image.geometry.to_json(),
        "classifier": {
            name: loading[name]
            for name in ("model", "weights", "crop")
            if loading.get(name) is not None
        },
    }


def check_same(what: str, name: str, recorded: str, found: str) -> None:
    """Refuse to add results of another classifier or picture to a study.

    Args:
        recorded, found: hex sha256 in the study and on this machine.

    Raises:
        Mismatch: the hashes differ.
    """
    if recorded != found:
        raise Mismatch(
            f"the {what} '{name}' here has sha256 {found[:12]}…, the study was made with "
            f"{recorded[:12]}…: give the same file"
        )


def check_versions(recorded: Any) -> None:
    """Refuse versions of packages that may explain or segment differently.

    Args:
        recorded: versions by name, as the study stores them.

    Raises:
        Mismatch: a version differs, or the study stores none.
    """
    if not isinstance(recorded, Mapping):
        raise Mismatch("the study does not say with which packages it was made: begin another")
    for package in _SAME_RESULTS:
        here, there = metadata.version(package), recorded.get(package)
        if there is not None and here != there:
            raise Mismatch(
                f"{package} {here} is installed here, the study was made with {there}: install "
                f"{package}=={there}"
            )


def _made_of(facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Digests of the classifier and of the picture, and the catalogue's name.

    Raises:
        Mismatch: one of them is missing or damaged.
    """
    try:
        return facts["classifier"]["sha256"], facts["image_sha256"], facts["catalog"]
    except (KeyError, TypeError) as error:
        raise Mismatch("what the study says of its classifier and picture is damaged") from error


def other_incumbents_of(storage: str, study: str) -> list[LimeParameters]:
    """The best parameters so far in the studies of the other images.

    Args:
        study: ``PREFIX/KEY`` of the image that will try them.
    """
    prefix, _, own = study.rpartition("/")
    return [
        LimeParameters.from_json(text)
        for key, text in sorted(best_parameters(storage, prefix).items())
        if key != own
    ]
