"""A worker: runs trials of whatever studies of a storage need them most, until it is stopped.

Any number of workers, on any number of machines, share nothing but the database. Optuna's storage
is the coordination: a trial belongs to who created it, a heartbeat says that it is alive, and the
trial of a worker that died is tried again by another.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explainers.errors import InvalidInput, LimeTunerError, StorageError
from explainers.foreign_text import one_line
from tuner.freed_memory import keep_freed_memory
from tuner.needs import neediest, needs
from tuner.objectives import AGREEMENT
from tuner.plan import StudyPlan
from tuner.problem import SearchSpace

if TYPE_CHECKING:
    from explainers.perturbation_bank import PerturbationBank
    from studies.patient_storage import PatientStorage
    from tuner.jobs import TuneJob
    from tuner.problem import TuningSettings
    from tuner.study import StudyNotes, StudyRunner

__all__ = ["Machine", "Mismatch", "Worker"]

_SLICE_TRIALS, _SLICE_SECONDS = 5, 30.0
_IDLE_PAUSE = 2.0
_KEPT_TASKS = 12  # studies that a worker keeps in memory; beginning with one again takes seconds
_SAME_RESULTS = ("lime", "scikit-image", "scikit-learn", "numpy")
_logger = logging.getLogger(__name__)


class Mismatch(InvalidInput):
    """This machine has not what the study was made from."""


@dataclass(frozen=True)
class Machine:
    """What this machine brings.

    Attributes:
        catalog, model, weights, cam_layer: instead of what the studies' plans say.
        threads: for torch.
    """

    assets: Path | None = None
    catalog: str | None = None
    model: str | None = None
    weights: str | None = None
    device: str | None = None
    cam_layer: str | None = None
    engine: str = "auto"
    threads: int = 1


@dataclass(frozen=True, eq=False)
class _Prepared:
    plan: StudyPlan
    runner: StudyRunner
    settings: TuningSettings
    bank: PerturbationBank
    notes: StudyNotes


@dataclass(eq=False)
class Worker:
    """Runs trials.

    Attributes:
        prefix: only studies ``PREFIX/...``. only: of these, those of that name, if given.
        stop: asked between trials.
        idle_exit: seconds without work after which it ends; ``None`` waits for ever.
        told: called with one line when something happens that a person wants to know.
        refused: why this machine may not work on a study, by its name.
    """

    storage: str
    machine: Machine
    prefix: str | None = None
    only: frozenset[str] | None = None
    stop: Callable[[], bool] = lambda: False
    idle_exit: float | None = None
    told: Callable[[str], None] = lambda line: None
    pause: Callable[[float], object] = time.sleep
    refused: dict[str, str] = field(default_factory=dict)
    trials: int = 0
    _prepared: OrderedDict[str, _Prepared] = field(default_factory=OrderedDict)
    _done: dict[str, StudyPlan] = field(default_factory=dict)
    _opened: PatientStorage | None = None

    def run(self) -> int:
        """Work until stopped, or idle for too long; how many trials were run.

        Raises:
            Mismatch: there is work, and this machine may do none of it.
        """
        from studies.full_disk import is_full, no_space
        from studies.patient_storage import UNREACHABLE, until_reachable
        from studies.storage import describe, sqlite_path

        idle_since = time.monotonic()
        while not self.stop():
            try:
                found = until_reachable(
                    self._next, stop=self.stop, told=self.told, pause=self.pause
                )
            except UNREACHABLE:  # only when it is to stop
                break
            if found is None:
                if self.idle_exit is not None and time.monotonic() - idle_since > self.idle_exit:
                    break
                self.pause(_IDLE_PAUSE)
                continue
            name, plan = found
            try:
                self.trials += self._slice(name, plan)
            except Mismatch as error:
                self.refused[name] = str(error)
                self.told(f"{name}: {error}")
            except UNREACHABLE as error:
                if is_full(error, sqlite_path(self.storage)):
                    raise no_space(describe(self.storage)) from error
                # The trial is left to its heartbeat; what was banked is not asked again.
                _logger.warning("%s: a trial was given up (%s)", name, type(error).__name__)
                self._prepared.clear()
            idle_since = time.monotonic()
        for prepared in self._prepared.values():
            prepared.bank.close()
        self._prepared.clear()
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        return self.trials

    def _storage(self) -> PatientStorage:
        """One for all studies, as a server has a hundred connections or so for everybody."""
        from studies.storage import open_storage

        if self._opened is None:
            self._opened = open_storage(self.storage)
        return self._opened

    def _next(self) -> tuple[str, StudyPlan] | None:
        from studies.overview import overview, study_attributes
        from studies.patient_storage import bury_dead

        rows = [
            row
            for row in overview(self.storage, self.prefix)
            if self.only is None or row.study in self.only
        ]
        attributes = study_attributes(self.storage, [row.study for row in rows])
        plans = self._plans(attributes)
        # A study may be done before it has its trials, when its answers are spent.
        done = {name for name, plan in self._done.items() if plans.get(name) == plan}
        found = [need for need in needs(rows, plans) if need.lost or need.study not in done]
        name = neediest(found, self.refused)
        if name is None:
            # While trials are begun Optuna does it by itself.
            bury_dead(self._storage(), [row.study for row in rows if row.trials.get("RUNNING")])
        if name is None and found:
            raise Mismatch(
                f"{len(found)} studies need work, and this machine may do none of it; the first: "
                f"{self.refused[found[0].study]}"
            )
        return None if name is None else (name, plans[name])

    def _plans(self, attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, StudyPlan]:
        """The plans of studies, by name; of one that is damaged nothing but a line is heard."""
        plans = {}
        for name, found in attributes.items():
            try:
                plan = StudyPlan.of(found)
            except InvalidInput as error:
                if name not in self.refused:
                    self.refused[name] = str(error)
                    self.told(f"{name}: {error}")
                continue
            if plan is not None:
                plans[name] = plan
        return plans

    def _slice(self, name: str, plan: StudyPlan) -> int:
        """Some trials of a study; how many."""
        from tuner.study import has_room, is_done

        prepared = self._prepared.pop(name, None)
        if prepared is None or prepared.plan != plan:
            prepared = self._prepare(name, plan)
        self._prepared[name] = prepared
        while len(self._prepared) > _KEPT_TASKS:
            self._prepared.popitem(last=False)[1].bank.close()
        runner, settings = prepared.runner, prepared.settings
        count, until = 0, time.monotonic() + _SLICE_SECONDS
        while (
            count < _SLICE_TRIALS
            and time.monotonic() < until
            and not self.stop()
            and has_room(runner.study, settings)
        ):
            runner.one_trial()
            count += 1
        if is_done(runner.study, settings):
            prepared.notes.write()
            self._done[name] = plan
        return count

    def _prepare(self, name: str, plan: StudyPlan) -> _Prepared:
        """Load what the study was made from, and see that it is the same.

        Raises:
            Mismatch: it is not; says what differs.
        """
        import optuna
        import torch

        from explainers.perturbation_bank import PerturbationBank
        from studies.artifacts import artifact_store
        from studies.assets import cache_folder
        from tuner.jobs import winners_of
        from tuner.loading import kept_classifier, load_catalog_image
        from tuner.study import StudyNotes, StudyRunner
        from tuner.study_identity import StudyIdentity, check_identity

        storage = self._storage()
        study = optuna.load_study(study_name=name, storage=storage)
        torch.set_num_threads(self.machine.threads)
        keep_freed_memory()
        bank = PerturbationBank(cache_folder() / "bank")
        try:
            facts = study.user_attrs
            job = self._job(name, plan, facts)
            check_versions(facts.get("package_versions"))
            classifier = kept_classifier(job.classifier_spec)
            _, image = load_catalog_image(job.catalog, job.key, classifier, job.assets)
            network, picture, catalog = _made_of(facts)
            check_same("classifier", classifier.name, network, classifier.fingerprint)
            check_same("picture", image.key, picture, image.digest)
            task = job.task(classifier, image.pixels, bank)
            here = job.facts(task, classifier, catalog)
            here.pop("cam_layer")  # no mask is made here
            check_identity(storage, name, StudyIdentity.of(here, pareto=plan.pareto))
        except LimeTunerError as error:
            bank.close()
            if isinstance(error, (Mismatch, StorageError)):
                raise
            raise Mismatch(str(error)) from error
        except BaseException:
            bank.close()
            raise
        notes = StudyNotes(study, task, artifact_store(self.storage))
        runner = StudyRunner(study, task, job.settings, notes.on_trial, notes.on_score)
        runner.begin(
            winners_of(self.storage, name) if plan.warm_start else [], plan.first()
        )
        return _Prepared(plan, runner, job.settings, bank, notes)

    def _job(self, name: str, plan: StudyPlan, facts: Mapping[str, Any]) -> TuneJob:
        """What a study says of itself, for this machine.

        Raises:
            Mismatch: it says too little, or nonsense.
        """
        from studies.catalog import load_catalog
        from tuner.jobs import TuneJob
        from tuner.study_identity import stored_reference, stored_runtime_model

        machine = self.machine
        source = machine.catalog or plan.catalog
        geometry = load_catalog(source).geometry
        reference, model = stored_reference(name, facts), stored_runtime_model(name, facts)
        if reference is None or model is None:
            raise Mismatch("the study does not say what it was made from: run lime-tuner tune")
        try:
            return TuneJob(
                catalog=source,
                key=facts["image_key"],
                study=name,
                storage=self.storage,
                assets=machine.assets,
                classifier_spec={
                    "model": machine.model or plan.model,
                    "weights": machine.weights or plan.weights,
                    "device": machine.device,
                    "cam_layer": machine.cam_layer or plan.cam_layer,
                    "crop": None if geometry is None else geometry.crop,
                },
                engine=machine.engine,
                class_index=facts["class_index"],
                reference=reference.to_json(),
                runtime_model=model.to_json(),
                threads=machine.threads,
                trials=plan.trials,
                seeds=plan.seeds,
                runtime_weight=float(facts["runtime_weight"]),
                sampler=plan.sampler,
                timeout=None,
                answers=plan.answers,
                warm_start=plan.warm_start,
                constrain_fidelity="fidelity" in facts.get("constraints", []),
                seed=plan.seed,
                space=SearchSpace.from_json(facts["search_space"]),
                beyond=plan.beyond,
                mask_rule=facts["mask_rule"],
                calibration=facts.get("calibration"),
                pareto=plan.pareto,
                portfolio=tuple(plan.portfolio),
                objective=facts.get("objective", AGREEMENT),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Mismatch(
                f"what the study says that it was made from is damaged ({type(error).__name__}: "
                f"{one_line(str(error))}): begin another with lime-tuner tune"
            ) from error


def check_same(what: str, name: str, recorded: str, found: str) -> None:
    """Refuse to pollute a study with results of something else.

    Raises:
        Mismatch: the hashes differ.
    """
    if recorded != found:
        raise Mismatch(
            f"the {what} '{name}' here has sha256 {found[:12]}…, the study was made with "
            f"{recorded[:12]}…: give the same file"
        )


def check_versions(recorded: Any) -> None:
    """Refuse packages that explain or segment differently.

    Args:
        recorded: versions by name, as the study has them.

    Raises:
        Mismatch: a version differs, or none are known.
    """
    from importlib import metadata

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
        Mismatch: the study does not say.
    """
    try:
        return facts["classifier"]["sha256"], facts["image_sha256"], facts["catalog"]
    except (KeyError, TypeError) as error:
        raise Mismatch("what the study says of its classifier and picture is damaged") from error
