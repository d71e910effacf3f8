"""The front of IoU and seconds, and what is chosen from it."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from studies.queries import best_parameters, overview
from studies.report import gather
from studies.report.search import histories, importances
from studies.report.tables import all_tables
from studies.results.best_trial import best_trial, front_of, trial_score
from studies.results.front import ByWeight, FrontPoint, WithinBudget, pareto_front
from studies.results.predicted import predictions
from studies.results.trial_record import TrialRecord
from studies.storage import open_storage

_LONGEST = 2.0  # seconds of lime's defaults


def points_of(found: list[tuple[float, float]]) -> list[FrontPoint]:
    """Of (IoU, seconds), numbered."""
    return [FrontPoint(n, iou, s, s / _LONGEST) for n, (iou, s) in enumerate(found)]


# Few values, so that many are alike in one of them or in both.
some_points = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 6)).map(lambda p: (p[0] / 6, p[1] / 3)),
    min_size=1,
    max_size=14,
).map(points_of)


def beats(a: FrontPoint, b: FrontPoint) -> bool:
    at_least = a.iou >= b.iou and a.runtime_seconds <= b.runtime_seconds
    return at_least and (a.iou, a.runtime_seconds) != (b.iou, b.runtime_seconds)


@given(some_points, st.randoms(use_true_random=False))
def test_the_front_is_what_nobody_beats(points: list[FrontPoint], shuffle: object) -> None:
    front = pareto_front(points)
    assert not any(beats(a, b) for a in front for b in front)
    for left_out in set(points) - set(front):
        assert any(
            beats(kept, left_out)
            or ((kept.iou, kept.runtime_seconds) == (left_out.iou, left_out.runtime_seconds)
                and kept.number < left_out.number)
            for kept in front
        )  # fmt: skip
    mixed = list(points)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    assert pareto_front(mixed) == front
    assert front == sorted(front, key=lambda point: point.runtime_seconds)


@given(some_points, st.floats(0, 3), st.floats(0.01, 3))
def test_whatever_is_chosen_lies_on_the_front(
    points: list[FrontPoint], weight: float, budget: float
) -> None:
    front = pareto_front(points)
    chosen = ByWeight(weight).of(front)
    assert chosen.score(weight) == max(point.score(weight) for point in points)
    fitting = [point for point in points if point.runtime_seconds <= budget]
    if fitting:
        assert WithinBudget(budget).of(points) == WithinBudget(budget).of(front)
        assert WithinBudget(budget).of(front).iou == max(point.iou for point in fitting)
    else:
        with pytest.raises(InvalidInput, match=f"trial {front[0].number}, takes"):
            WithinBudget(budget).of(points)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_what_makes_no_sense_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidInput, match="runtime weight"):
        ByWeight(wrong)
    if wrong != float("inf"):
        with pytest.raises(InvalidInput, match="budget"):
            WithinBudget(wrong)


# Trial by trial: IoU, seconds. On the front are 3, 1, 4; 5 is as good as 4 and slower.
FOUND = [(0.30, 0.5), (0.60, 0.4), (0.55, 0.4), (0.20, 0.1), (0.90, 2.0), (0.90, 3.0)]
FRONT = [3, 1, 4]


def made(url: str, name: str, *, pareto: bool) -> optuna.Study:
    """A study with these trials and some that found nothing."""
    study = optuna.create_study(
        study_name=name, storage=open_storage(url),
        directions=["maximize", "minimize"] if pareto else ["maximize"],
    )  # fmt: skip
    study.set_user_attr("runtime_weight", 0.1)
    dimension = {"x": optuna.distributions.FloatDistribution(0, 1)}

    def add(iou: float, seconds: float, state: TrialState, reason: str = "") -> None:
        number = len(study.get_trials())
        record = TrialRecord(
            LimeParameters(num_samples=10 + number), iou, [iou], [0], seconds,
            seconds / _LONGEST, {}, 7, reason=reason,
        )  # fmt: skip
        values = [iou, seconds] if pareto else [iou - 0.1 * seconds / _LONGEST]
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values if state == TrialState.COMPLETE else None,
                params={"x": number / 20},
                distributions=dimension,
                user_attrs=record.to_attributes(),
            )
        )

    for iou, seconds in FOUND:
        add(iou, seconds, TrialState.COMPLETE)
    add(0.99, 0.01, TrialState.PRUNED, "cannot win")
    add(0.0, 0.01, TrialState.COMPLETE, "lime failed")
    study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
    return study


def samples_of(found: dict[str, str]) -> dict[str, int]:
    return {key: LimeParameters.from_json(text).num_samples - 10 for key, text in found.items()}


@pytest.mark.parametrize("pareto", [False, True])
def test_budget_and_weight_choose_the_same_from_any_study(tmp_path: Path, pareto: bool) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = made(url, "p/a", pareto=pareto)
    optuna.create_study(
        study_name="p/empty", storage=open_storage(url), directions=["maximize", "minimize"]
    )
    # 0.90 - 0.1 against 0.60 - 0.02, both less with a higher weight: 0.60 from 0.375 on.
    for choice, number in (
        (None, 4), (ByWeight(0.0), 4), (ByWeight(0.37), 4), (ByWeight(0.38), 1), (ByWeight(3), 3),
        (WithinBudget(9), 4), (WithinBudget(1.99), 1), (WithinBudget(0.4), 1),
        (WithinBudget(0.39), 3), (WithinBudget(0.1), 3),
    ):  # fmt: skip
        assert samples_of(best_parameters(url, "p", choice)) == {"a": number}, choice
    with pytest.raises(InvalidInput, match=r"'p/a'.* 0.05 s: the fastest, trial 3, takes 0.1 s"):
        best_parameters(url, "p", WithinBudget(0.05))
    best = best_trial(study)
    assert best is not None
    assert best.number == 4
    assert trial_score(best, 0.1) == pytest.approx(0.8)


def test_a_front_is_read_without_loading_trials(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = made(url, "p/a", pareto=True)
    made(url, "p/one", pareto=False)
    two, one = overview(url, "p")
    assert one.front is None
    assert two.front is not None
    assert [point.number for point in two.front] == FRONT
    assert list(two.front) == front_of(study)
    assert (two.best_number, two.best_iou, two.best_seconds) == (4, 0.9, 2.0)
    assert two.best_score == pytest.approx(one.best_score)
    assert two.best_ratio == 1.0


def test_the_report_and_the_prediction_know_such_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    for key in ("a", "b"):
        made(url, f"p/{key}", pareto=key == "a")
    facts = gather(url, "p")
    shown = histories(facts)
    assert shown["a"][:7] == pytest.approx([*(i - 0.05 * s for i, s in FOUND), None])
    assert shown["a"][:6] == pytest.approx(shown["b"][:6])
    monkeypatch.setattr("studies.report.search.FEWEST_FOR_IMPORTANCE", 3)
    assert importances(facts) == pytest.approx({"x": 1.0})
    rows = all_tables(facts)["trials"][1]
    assert [row[3] for row in rows if row[0] == "a"][:2] == pytest.approx([0.275, 0.58])
    kwargs = LimeParameters(num_samples=11).as_kwargs()
    found = predictions(url, "p", {"a": kwargs, "b": kwargs})
    assert found["a"] == found["b"]
    assert (found["a"].iou, found["a"].seconds) == (0.6, 0.4)
