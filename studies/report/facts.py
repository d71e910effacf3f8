"""Read everything that a report is made from; any part of it may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from explainers.lime import LimeParameters
from studies.catalog.names import CATALOG_KEY
from studies.export import settings_digest
from studies.queries import StudyOverview, best_parameters, overview, study_attributes
from studies.records import ComparisonRun, VerifiedImage, latest_comparison, verified_images
from studies.results.attributes import DEFAULTS_ORIGIN
from studies.results.best_trial import weight_of
from studies.results.fidelity import ConstraintCost, constraint_cost
from studies.results.trial_record import TrialRecord
from studies.storage import describe, open_storage

__all__ = ["ReportFacts", "StudyFacts", "gather"]


@dataclass(frozen=True, eq=False)
class StudyFacts:
    """One image's study.

    Attributes:
        attributes: the study's user attributes.
        parameters: of the best trial, as JSON; ``None`` before there is one.
        trials: all trials, in order.
        verified: the newest verification of exactly these parameters, if there is one.
    """

    key: str
    overview: StudyOverview
    attributes: Mapping[str, Any]
    parameters: str | None
    trials: tuple[FrozenTrial, ...]
    verified: VerifiedImage | None = None

    @property
    def best_trial(self) -> FrozenTrial | None:
        """The trial with the overview's ``best_number``."""
        number = self.overview.best_number
        return next((trial for trial in self.trials if trial.number == number), None)

    @property
    def default_trial(self) -> FrozenTrial | None:
        """The complete trial of lime's own defaults, if there is one."""
        done = (trial for trial in self.trials if trial.state.name == "COMPLETE")
        return next((t for t in done if t.user_attrs.get("origin") == DEFAULTS_ORIGIN), None)

    @property
    def best(self) -> TrialRecord | None:
        """Result of the best trial."""
        return _record(self.best_trial)

    @property
    def default(self) -> TrialRecord | None:
        """Result of lime's own defaults."""
        return _record(self.default_trial)

    @property
    def weight(self) -> float:
        return weight_of(self.attributes)

    @property
    def constraint(self) -> ConstraintCost | None:
        """Cost of the study's constraint; ``None`` without a constraint or a complete trial."""
        if not self.attributes.get("constraints"):
            return None
        return constraint_cost(self.trials, self.weight)


def _record(trial: FrozenTrial | None) -> TrialRecord | None:
    return None if trial is None else TrialRecord.from_attributes(trial.user_attrs)


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """Everything the report is generated from.

    Attributes:
        storage: URL without a password.
        studies: one for each image.
        comparison: the newest of this study prefix; ``None`` when none was recorded.
        other_prefixes: prefixes of further studies in the storage.
        catalog_study: the study of one setting for all images, if there is one.
    """

    storage: str
    prefix: str
    studies: tuple[StudyFacts, ...]
    comparison: ComparisonRun | None
    other_prefixes: tuple[str, ...] = ()
    catalog_study: StudyFacts | None = None


def gather(storage: str, prefix: str) -> ReportFacts:
    """Read the studies ``PREFIX/KEY`` and our records of them.

    Raises:
        StorageError: the storage does not exist, or belongs to another program.
    """
    rows = overview(storage, None)
    mine = [row for row in rows if row.study.startswith(f"{prefix}/")]
    others = sorted({row.study.rsplit("/", 1)[0] for row in rows} - {prefix})
    attributes = study_attributes(storage, [row.study for row in mine])
    parameters = best_parameters(storage, prefix)
    verified = _verified(storage, parameters, attributes, prefix)
    studies = []
    with closing(open_storage(storage, write=False)) as opened:
        for row in mine:
            key = row.study[len(prefix) + 1 :]
            study = optuna.load_study(study_name=row.study, storage=opened)
            trials = tuple(study.get_trials(deepcopy=False))
            studies.append(
                StudyFacts(
                    key, row, attributes.get(row.study, {}), parameters.get(key), trials,
                    verified.get(key),
                )
            )  # fmt: skip
    return ReportFacts(
        describe(storage),
        prefix,
        tuple(each for each in studies if each.key != CATALOG_KEY),
        latest_comparison(storage, prefix),
        tuple(others),
        next((each for each in studies if each.key == CATALOG_KEY), None),
    )


def _verified(
    storage: str,
    parameters: Mapping[str, str],
    attributes: Mapping[str, Mapping[str, Any]],
    prefix: str,
) -> dict[str, VerifiedImage]:
    """Return verifications of the best trials' parameters, by key."""
    by_classifier: dict[str, dict[str, str]] = {}
    for key, text in parameters.items():
        made_with = attributes.get(f"{prefix}/{key}", {}).get("classifier", {})
        digest = settings_digest(LimeParameters.from_json(text).as_kwargs())
        by_classifier.setdefault(str(made_with.get("sha256")), {})[key] = digest
    found: dict[str, VerifiedImage] = {}
    for sha256, settings in by_classifier.items():
        found |= verified_images(storage, settings, sha256)
    return found
