"""What there is to report, gathered from a storage; anything may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studies.overview import StudyOverview, best_parameters, overview, study_attributes
from studies.storage import describe, open_storage

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from studies.records import ComparisonRun

__all__ = ["ReportFacts", "StudyFacts", "gather"]


@dataclass(frozen=True, eq=False)
class StudyFacts:
    """One image's study.

    Attributes:
        attributes: the study's user attributes.
        parameters: of the best trial, JSON; ``None`` before there is one.
        trials: all of them, in order.
    """

    key: str
    overview: StudyOverview
    attributes: Mapping[str, Any]
    parameters: str | None
    trials: tuple[FrozenTrial, ...]


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """Everything the report is generated from.

    Attributes:
        storage: without a password.
        comparison: the newest of this study prefix; ``None`` when none was recorded.
    """

    storage: str
    prefix: str
    studies: tuple[StudyFacts, ...]
    comparison: ComparisonRun | None
    other_prefixes: tuple[str, ...] = field(default=())


def gather(storage: str, prefix: str) -> ReportFacts:
    """Read studies ``PREFIX/KEY`` and what was recorded of them.

    Raises:
        StorageError: the storage does not exist, or is not ours.
    """
    import optuna

    from studies.records import latest_comparison

    rows = overview(storage, None)
    mine = [row for row in rows if row.study.startswith(f"{prefix}/")]
    others = sorted({row.study.rsplit("/", 1)[0] for row in rows} - {prefix})
    attributes = study_attributes(storage, [row.study for row in mine])
    parameters = best_parameters(storage, prefix)
    opened = open_storage(storage, write=False)
    studies = []
    for row in mine:
        key = row.study[len(prefix) + 1 :]
        trials = optuna.load_study(study_name=row.study, storage=opened).get_trials(deepcopy=False)
        studies.append(
            StudyFacts(key, row, attributes.get(row.study, {}), parameters.get(key), tuple(trials))
        )
    return ReportFacts(
        describe(storage), prefix, tuple(studies), latest_comparison(storage, prefix), tuple(others)
    )
