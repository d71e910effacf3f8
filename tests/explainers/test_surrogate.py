"""The fast forward selection chooses what lime's chooses, or leaves the choice to lime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lime.lime_base import LimeBase
from numpy.typing import NDArray

from explainers.lime.surrogate import FastLimeBase, forward_selection

Problem = tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]


def _problem(
    seed: int, samples: int, superpixels: int, noise: float, width: float, dtype: Any = np.float64
) -> Problem:
    """(rows, labels, weights) as lime makes them, with a known linear part in the labels."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 2, (samples, superpixels))
    rows[0] = 1
    effects = generator.normal(0, 1, superpixels) * generator.integers(0, 2, superpixels)
    scores = rows @ effects + noise * generator.normal(0, 1, samples)
    labels = (1 / (1 + np.exp(-scores))).astype(dtype)
    distances = 1 - np.sqrt(rows.mean(axis=1))  # cosine to the row of ones
    return rows, labels, np.sqrt(np.exp(-(distances**2) / width**2))


def _stock(problem: Problem, num_features: int) -> list[int]:
    selected = LimeBase(None, random_state=0).forward_selection(*problem, num_features)
    return [int(s) for s in selected]


@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(2, 120),
    superpixels=st.integers(1, 14),
    noise=st.sampled_from([0.0, 0.1, 1.0]),
    width=st.sampled_from([0.05, 0.25, 1.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    num_features=st.integers(1, 6),
)
@settings(max_examples=80)
def test_equals_lime_wherever_it_decides(
    seed: int,
    samples: int,
    superpixels: int,
    noise: float,
    width: float,
    dtype: Any,
    num_features: int,
) -> None:
    problem = _problem(seed, samples, superpixels, noise, width, dtype)
    selected = forward_selection(*problem, num_features)
    if selected is not None:
        assert selected.tolist() == _stock(problem, num_features)


def test_decides_nearly_all_well_posed_problems() -> None:
    undecided = 0
    for seed in range(100):
        undecided += forward_selection(*_problem(seed, 300, 25, 0.3, 0.25), 6) is None
    assert undecided <= 2


@pytest.mark.parametrize("num_features", [1, 3, 6])
def test_ties_and_degenerate_problems_are_left_to_lime(num_features: int) -> None:
    rows, labels, weights = _problem(3, 60, 8, 0.1, 0.25)
    heaviest = int(_stock((rows, labels, weights), 1)[0])
    twice = rows.copy()
    twice[:, (heaviest + 1) % 8] = rows[:, heaviest]
    constant_column = rows.copy()
    constant_column[:, 2] = 1
    few = slice(None, num_features + 1)
    degenerate = {
        "duplicate columns": (twice, labels, weights),
        "a column that never changes": (constant_column, labels, weights),
        "constant labels": (rows, np.full_like(labels, 0.25), weights),
        "no weight": (rows, labels, np.zeros_like(weights)),
        "weight that is not a number": (rows, labels, np.full_like(weights, np.nan)),
        "one row counts": (rows, labels, (np.arange(len(weights)) == 0).astype(float)),
        "fewer rows than unknowns": (rows[few], labels[few], weights[few]),
    }
    decided = [n for n, p in degenerate.items() if forward_selection(*p, num_features) is not None]
    assert decided == []


@pytest.mark.filterwarnings("ignore")  # lime's own fit is singular here
def test_the_base_falls_back_to_limes_own_choice() -> None:
    rows, labels, weights = _problem(4, 60, 8, 0.1, 0.25)
    rows[:, 5] = rows[:, 1]
    assert forward_selection(rows, labels, weights, 4) is None
    fast = FastLimeBase(None, random_state=0).forward_selection(rows, labels, weights, 4)
    assert fast.tolist() == _stock((rows, labels, weights), 4)


def test_asks_no_more_columns_than_there_are() -> None:
    problem = _problem(5, 80, 3, 0.5, 0.25)
    selected = forward_selection(*problem, 6)
    assert selected is not None
    assert selected.tolist() == _stock(problem, 6)
    assert sorted(selected.tolist()) == [0, 1, 2]
