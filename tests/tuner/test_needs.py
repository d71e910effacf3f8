"""Which study is next: everybody's share first, then where it pays off."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from studies.queries import StudyOverview
from studies.results.stagnation import is_stagnant
from tuner.problem.settings import TuningSettings
from tuner.workers.needs import neediest, needs

PLAN = TuningSettings(trials=10, seeds=3)


def _row(study: str, finished: int, running: int = 0) -> StudyOverview:
    counts = {"COMPLETE": finished, "RUNNING": running}
    return StudyOverview(study, counts, *[None] * 8)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), max_size=8))
def test_the_neediest_study_is_the_one_that_is_least_far(counts: list[tuple[int, int]]) -> None:
    rows = [_row(f"p/{n}", *each) for n, each in enumerate(counts)]
    plans = {row.study: PLAN for row in rows}
    found = needs(rows, plans)
    assert {need.study for need in found} == {
        f"p/{n}" for n, (done, running) in enumerate(counts) if done + running < 10
    }
    chosen = neediest(found, {})
    if chosen is not None:
        least = min(sum(c) for c in counts)
        assert sum(counts[int(chosen.removeprefix("p/"))]) == least
        assert neediest(found, {need.study: "no" for need in found}) is None
    assert needs(rows, {}) == []  # without a plan nobody knows how


def test_after_its_share_a_study_goes_on_where_it_pays_off() -> None:
    until_stagnant = replace(PLAN, trials=20, beyond=True)
    rows = [
        replace(_row("p/behind", 19), best_number=3),
        replace(_row("p/gaining", 100), best_number=99),
        replace(_row("p/slowing", 100), best_number=70),
        replace(_row("p/stagnant", 100), best_number=10),
    ]
    plans = {row.study: until_stagnant for row in rows}
    found = [need.study for need in needs(rows, plans)]
    assert found == ["p/behind", "p/gaining", "p/slowing"]
    assert [need.study for need in needs(rows, dict.fromkeys(plans, PLAN))] == []
    # Others are at work on the best one: the next is for another.
    rows[1] = replace(_row("p/gaining", 100, running=60), best_number=99)
    assert [need.study for need in needs(rows, plans)] == ["p/behind", "p/slowing", "p/gaining"]


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_patience_grows_and_never_ends_before_thirty(finished: int, best: int) -> None:
    stagnant = is_stagnant(finished, best if best < finished else None)
    since = finished - best - 1 if best < finished else finished
    if since < 30 or since < 0.4 * finished:
        assert not stagnant
    if since >= max(30, 0.4 * finished):
        assert stagnant
    if stagnant and best < finished:  # a new best makes it worth the while again
        assert not is_stagnant(finished + 1, finished)
