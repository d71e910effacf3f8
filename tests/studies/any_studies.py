"""Studies of every kind that Optuna can store, for hypothesis to make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import optuna
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_DISTRIBUTIONS: dict[str, tuple[BaseDistribution, st.SearchStrategy[Any]]] = {
    "linear": (FloatDistribution(-1e300, 1e300), st.floats(-1e300, 1e300)),
    "tiny": (FloatDistribution(0, 1), st.floats(0, 1)),
    "log": (FloatDistribution(1e-12, 1e12, log=True), st.floats(1e-12, 1e12)),
    "grid": (FloatDistribution(0, 1, step=0.25), st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    "whole": (IntDistribution(-(2**53), 2**53), st.integers(-(2**53), 2**53)),
    "powers": (IntDistribution(1, 1024, log=True), st.integers(1, 1024)),
    "even": (IntDistribution(0, 100, step=2), st.integers(0, 50).map(lambda n: 2 * n)),
    "größe ☃": (
        CategoricalDistribution((None, True, 1.5, 7, "größer ☃")),
        st.sampled_from((None, True, 1.5, 7, "größer ☃")),
    ),
}
# Different for every database, also for those that do not tell cases and accents.
_NAMES = st.sampled_from(["iou", "größe", "键", "two words", "🦊", "percent %s %(a)s", "q'uote\""])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
_ATTRIBUTES = st.dictionaries(_NAMES, _JSON, max_size=4)
_TIMES = st.datetimes(datetime(2001, 1, 1), datetime(2037, 1, 1))
_STATES = st.sampled_from(
    [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING]
)


@dataclass(frozen=True)
class AnyStudy:
    """A study that is yet to be stored."""

    directions: list[StudyDirection]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    trials: list[FrozenTrial]

    def store(self, storage: optuna.storages.BaseStorage, name: str) -> None:
        """Write it by Optuna's own means."""
        study = storage.create_new_study(self.directions, name)
        for key, value in self.user_attrs.items():
            storage.set_study_user_attr(study, key, value)
        for key, value in self.system_attrs.items():
            storage.set_study_system_attr(study, key, value)
        for trial in self.trials:
            storage.create_new_trial(study, template_trial=trial)


@st.composite
def any_studies(draw: st.DrawFn) -> AnyStudy:
    """With up to five trials."""
    objectives = draw(st.integers(1, 2))
    directions = st.sampled_from([StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE])
    return AnyStudy(
        [draw(directions) for _ in range(objectives)],
        draw(_ATTRIBUTES),
        draw(_ATTRIBUTES),
        [draw(_trials(objectives)) for _ in range(draw(st.integers(0, 5)))],
    )


@st.composite
def _trials(draw: st.DrawFn, objectives: int) -> FrozenTrial:
    state = draw(_STATES)
    started = None if state == TrialState.WAITING else draw(_TIMES)
    ended = None if started is None else started + draw(st.timedeltas(timedelta(), timedelta(1)))
    values = st.floats(allow_nan=False)
    names = draw(st.lists(st.sampled_from(list(_DISTRIBUTIONS)), unique=True))
    steps = st.integers(-(2**31), 2**31 - 1)
    return FrozenTrial(
        number=0,
        trial_id=0,
        state=state,
        value=None,
        values=[draw(values) for _ in range(objectives)] if state == TrialState.COMPLETE else None,
        datetime_start=started,
        datetime_complete=ended,
        params={name: draw(_DISTRIBUTIONS[name][1]) for name in names},
        distributions={name: _DISTRIBUTIONS[name][0] for name in names},
        user_attrs=draw(_ATTRIBUTES),
        system_attrs=draw(_ATTRIBUTES),
        intermediate_values=draw(st.dictionaries(steps, st.floats(), max_size=3)),
    )


def told_of(storage: optuna.storages.BaseStorage, name: str, *, whole: bool = False) -> str:
    """All that Optuna says about a study, rows' numbers apart; nan is nan.

    Args:
        whole: times to the second.
    """
    study = storage.get_study_id_from_name(name)
    trials = [
        {
            **{key: _exact(value) for key, value in sorted(vars(trial).items())},
            "_params": list(trial.params.items()),
            "_trial_id": None,
            "_datetime_start": _time(trial.datetime_start, whole),
            "datetime_complete": _time(trial.datetime_complete, whole),
        }
        for trial in storage.get_all_trials(study)
    ]
    return repr(
        (
            storage.get_study_directions(study),
            sorted(storage.get_study_user_attrs(study).items()),
            sorted(storage.get_study_system_attrs(study).items()),
            trials,
        )
    )


def _exact(value: Any) -> Any:
    """Names in an order of their own, and no -0.0, which SQLite does not keep."""
    if isinstance(value, dict):
        return sorted(((k, _exact(v)) for k, v in value.items()), key=lambda item: str(item[0]))
    if isinstance(value, list):
        return [_exact(each) for each in value]
    if isinstance(value, float):
        return value + 0.0
    return value


def _time(value: datetime | None, whole: bool) -> datetime | None:
    return value.replace(microsecond=0) if whole and value is not None else value
