"""What explains less than lime's defaults loses score, and what wins says what it explains."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from explainers.metrics import Faithfulness
from studies.results.attributes import DEFAULTS_ORIGIN, PENALTY
from studies.results.fidelity import Fidelity, is_compromise
from studies.results.score import score
from studies.results.trial_record import TrialRecord
from tests.tuner.scenes import SMALL_SPACE, tiny_task
from tuner.problem import Constraint, FaithfulnessMeter, TuningSettings
from tuner.samplers.candidates import Candidates
from tuner.samplers.fidelity import FidelityPenalty
from tuner.tuning import open_study, run_study, study_facts

FREE = TuningSettings(trials=12, seeds=3, space=SMALL_SPACE, seed=1, constrain="none")
BOUND = replace(FREE, constrain="fidelity")
_MEASURES = st.floats(-1, 1)


def test_what_is_missing_decides() -> None:
    defaults = Faithfulness(0.5, 0.25, 0.0)
    strict, loose = Constraint(), Constraint(0.25)
    assert strict.missing(Faithfulness(0.5, 0.5, 0.0), defaults) == {"r2": 0.0, "gain": -0.25}
    assert strict.missing(Faithfulness(0.25, 0.25, 0.0), defaults) == {"r2": 0.25, "gain": 0.0}
    assert loose.missing(Faithfulness(0.25, 0.5, 0.0), defaults) == {"r2": 0.0, "gain": -0.5}
    assert strict.penalty(0.25) == 0.75
    assert strict.penalty(-0.25) == 0.0


@given(_MEASURES, _MEASURES, st.floats(0, 1), st.floats(0, 1))
def test_explaining_more_or_a_wider_margin_never_costs_more(
    r2: float, gain: float, more: float, margin: float
) -> None:
    defaults = Faithfulness(0.5, 0.25, 0.0)

    def penalty(constraint: Constraint, own: Faithfulness) -> float:
        return sum(map(constraint.penalty, constraint.missing(own, defaults).values()))

    own = penalty(Constraint(margin), Faithfulness(r2, gain, 0.0))
    assert penalty(Constraint(margin), Faithfulness(r2 + more, gain, 0.0)) <= own
    assert penalty(Constraint(margin), Faithfulness(r2, gain + more, 0.0)) <= own
    assert own <= penalty(Constraint(), Faithfulness(r2, gain, 0.0))


@pytest.mark.parametrize("text", ["fidelity", "fidelity@0.05", "fidelity@1"])
def test_a_constraint_is_read_as_it_is_stored(text: str) -> None:
    constraint = Constraint.parse(text)
    assert constraint is not None
    assert constraint.text == text


@pytest.mark.parametrize("text", ["faithful", "fidelity@", "fidelity@-0.1", "fidelity@nan"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="give none, fidelity, or fidelity@MARGIN"):
        TuningSettings(constrain=text)


@pytest.mark.parametrize("sampler", ["ceiling", "random"])
def test_winners_are_measured_and_pay_for_what_is_missing(
    sampler: str, tiny_classifier: Classifier
) -> None:
    task = tiny_task(tiny_classifier, "key")
    defaults = task.faithfulness_of_defaults
    study = open_study("s", None, {"reference": task.reference.to_json()})
    run_study(study, task, replace(BOUND, sampler=sampler))
    best = study.best_trial
    record = TrialRecord.from_attributes(best.user_attrs)
    assert record is not None
    own = FaithfulnessMeter(task).measure(record.parameters, range(3))
    constraint = Constraint()
    penalty = sum(map(constraint.penalty, constraint.missing(own, defaults).values()))
    plain = score(record.iou, record.runtime_ratio, BOUND.runtime_weight)
    assert best.value == pytest.approx(plain - penalty, abs=1e-5)
    assert record.fidelity is not None
    assert record.fidelity.r2 == pytest.approx(own.r2, abs=1e-5)
    assert record.compromise == is_compromise(best.user_attrs) == (penalty > 0)
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        found, off = trial.user_attrs, trial.user_attrs.get(PENALTY, 0.0)
        free = score(found["iou"], found["runtime_ratio"], BOUND.runtime_weight)
        assert trial.value == pytest.approx(free - off, abs=1e-5)
    usual = next(t for t in study.trials if t.user_attrs.get("origin") == DEFAULTS_ORIGIN)
    noted = Fidelity.of(usual.user_attrs)
    assert noted is not None
    assert (noted.r2, noted.gain) == pytest.approx((defaults.r2, defaults.gain), abs=1e-5)
    assert noted.marked is not None
    assert noted.effective_samples is not None
    assert 0 < noted.marked < 1 <= noted.effective_samples <= 1000


def test_a_gain_is_measured_where_a_setting_could_win_and_shared_by_features(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = {1: -0.4, 3: -0.1, 8: 0.4}
    asked = []

    def lead(self: object, parameters: LimeParameters) -> float:
        asked.append(parameters.num_features)
        return leads[parameters.num_features]

    monkeypatch.setattr(FaithfulnessMeter, "lead", lead)
    task = tiny_task(tiny_classifier)
    penalty = FidelityPenalty(task, SMALL_SPACE, Constraint(0.1))
    candidates = Candidates(task, SMALL_SPACE, 0.0)
    candidates.segment(10.0)
    candidate = candidates.possible()[0]
    scores = [(0.9, 1), (0.85, 1), (0.8, 3), (0.7, 8), (0.6, 3), (0.1, "all")]
    scored = [(value, candidates.values(candidate, 64, count)) for value, count in scores]
    found = [value for value, _ in penalty.with_gains(scored, 0.5)]
    # One feature lacks 0.3, so 0.9 of the score; three features lack nothing, the others not more.
    assert found == pytest.approx([0.0, -0.05, 0.8, 0.7, 0.6, 0.1])
    assert asked == [1, 3]
    asked.clear()
    assert penalty.with_gains(scored, 0.95) == scored
    assert asked == []


def test_a_study_keeps_its_constraint(tiny_classifier: Classifier) -> None:
    task = tiny_task(tiny_classifier)
    storage = optuna.storages.InMemoryStorage()

    def facts(settings: TuningSettings) -> dict[str, object]:
        return study_facts(task, tiny_classifier, settings, catalog="demo", key="house")

    open_study("s", storage, facts(BOUND))
    study = open_study("s", storage, facts(BOUND))
    with pytest.raises(InvalidInput, match="constraints"):
        open_study("s", storage, facts(FREE))
    unsaid = replace(FREE, constrain=None)
    assert facts(unsaid)["constraints"] == ["fidelity@0.05"]
    open_study("s", storage, facts(unsaid.resumed(study.user_attrs)))


def test_a_study_from_before_there_were_constraints_keeps_none() -> None:
    settings = TuningSettings()
    assert settings.resumed({}).constraint == Constraint(0.05)
    assert settings.resumed({"objective": "agreement"}).constraint is None
    assert settings.resumed({"constraints": []}).constraint is None
    assert settings.resumed({"constraints": ["fidelity"]}).constraint == Constraint()


@pytest.mark.parametrize(
    "given", [{"scope": "catalog"}, {"objective": "faithful", "sampler": "tpe"}]
)
def test_where_there_is_no_constraint(given: dict[str, str]) -> None:
    assert TuningSettings.of(given).constraint is None
    assert TuningSettings.of({**given, "constrain": "none"}).constraint is None
    with pytest.raises(InvalidInput, match="--constrain"):
        TuningSettings.of({**given, "constrain": "fidelity"})
