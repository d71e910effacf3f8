"""The forecast agrees with the explanation it forecasts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lime.lime_base import LimeBase
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from explainers.images import array_digest
from explainers.lime import (
    FlatSetting,
    HeldOut,
    LimeParameters,
    PredictionCache,
    Regressor,
    Segmentation,
    draw_rows,
    effective_samples,
    explain,
    explanation_mask,
    lime_kernel,
    locality,
    replay,
)
from explainers.lime.mask_replay import MANY_SUPERPIXELS, RidgeProblem
from explainers.lime.surrogate import FastLimeBase, distances_to_first, forward_selection
from explainers.masks import MASK_RULE, MaskRule, intersection_over_union
from explainers.references import overlap_counts
from tests.explainers.numpy_classifiers import QuarterColours, picture

pytestmark = pytest.mark.filterwarnings("ignore")  # conversions to bool, of scikit-learn

_SAMPLES = (60, 150)
_FEATURES = (1, 4, 6, 7, 9, None)
_METRICS = ("cosine", "hamming", "euclidean")
_ALPHAS = (0.0, 0.01, 1.0, 30.0)


def _regressor(alpha: float) -> Regressor:
    return Regressor.of("Ridge", alpha=alpha) if alpha else Regressor.of("LinearRegression")


@pytest.mark.parametrize(
    "mask_rule",
    [MASK_RULE, MaskRule(num_features=9), MaskRule(positive_only=False, num_features=4)],
)
def test_forecasts_the_iou_of_the_real_explanation(mask_rule: MaskRule) -> None:
    """At least 95 % are forecast exactly, and 99 % of those that have one solution only.

    Euclidean distances leave weight on a handful of rows, and least squares without a penalty is
    then undetermined.
    """
    agree: dict[bool, list[bool]] = {True: [], False: []}
    for problem in range(3):
        image, source, cache = picture(problem + 20), QuarterColours(10), PredictionCache()
        reference = np.zeros(image.shape[:2], dtype=bool)
        reference[4 : 14 + problem, 3:15] = True
        segmentation = Segmentation.of("slic", n_segments=14)
        seed, digest = 5 + problem, array_digest(image)
        segments = cache.superpixels(image, segmentation.as_lime())
        rows = draw_rows(
            np.random.RandomState(seed),
            max(_SAMPLES),
            int(segments.max()) + 1,
        )
        label = int(np.argmax(cache.original(source, image, digest)))
        answers = cache.predictions(source, image, segments, 0, rows, np.array([label]), digest)[
            :, 0
        ]
        forecasts = {
            setting: iou
            for setting, iou, _ in replay(
                rows,
                answers,
                *overlap_counts(segments, reference),
                _SAMPLES,
                _FEATURES,
                _METRICS,
                _ALPHAS,
                mask_rule=mask_rule,
            )
        }
        settings = itertools.starmap(
            FlatSetting, itertools.product(_SAMPLES, _FEATURES, _METRICS, _ALPHAS)
        )
        missing = 0
        for setting in settings:
            if setting not in forecasts:
                missing += 1
                continue
            parameters = LimeParameters(
                segmentation=segmentation,
                hide_color=0,
                num_samples=setting.num_samples,
                num_features=setting.num_features or 100000,
                distance_metric=setting.distance_metric,
                regressor=_regressor(setting.alpha),
                random_seed=0,
            )
            explanation = explain(
                image, source, parameters, seed=seed, cache=cache, first_label_only=True
            )
            mask = explanation_mask(explanation, mask_rule)
            real = intersection_over_union(mask, reference)
            posed = setting.alpha > 0 or setting.distance_metric != "euclidean"
            agree[posed].append(forecasts[setting] == real)
        assert missing <= 0.1 * len(forecasts)
    assert np.mean(agree[True]) >= 0.99
    assert np.mean(agree[True] + agree[False]) >= 0.95


def test_leaves_out_what_rounding_would_decide() -> None:
    """Two superpixels that are always switched together: lime's choice is chance."""
    rows = draw_rows(np.random.RandomState(0), 80, 6)
    rows[:, 3] = rows[:, 2]
    answers = rows @ np.array([0.1, 0, 0.3, 0.3, -0.2, 0])
    pixels = np.full(6, 10)
    found = replay(rows, answers, pixels, pixels * 0, [80], [2, 8, None], ["cosine"], [1.0])
    assert {setting.num_features for setting, _, _ in found} == {8, None}


def test_a_perfect_surrogate_gets_the_perfect_score() -> None:
    """Answers that depend on the reference's superpixels only."""
    rows = draw_rows(np.random.RandomState(1), 120, 8)
    inside = np.array([9, 0, 0, 7, 0, 0, 5, 0])
    outside = np.array([0, 6, 8, 0, 9, 7, 0, 5])
    answers = 0.1 + rows @ (inside / 40.0)
    for _, iou, _ in replay(
        rows, answers, inside, outside, [60, 120], [3], ["cosine", "hamming"], [0.0, 1.0]
    ):
        assert iou == 1.0


def test_many_superpixels_are_solved_the_short_way_with_the_same_result() -> None:
    generator = np.random.default_rng(0)
    x = draw_rows(np.random.RandomState(2), 48, MANY_SUPERPIXELS + 20)
    y, weights = generator.random(48), generator.random(48) + 0.1
    found = RidgeProblem(x, y, weights).everything(_ALPHAS[1:])
    some = np.array([7, 3, 200])
    among = RidgeProblem(x, y, weights).among(some, _ALPHAS[1:])
    for row, few, alpha in zip(found, among, _ALPHAS[1:], strict=True):
        for columns, coefficients in ((slice(None), row), (some, few)):
            known = Ridge(alpha=alpha).fit(x[:, columns], y, sample_weight=weights)
            np.testing.assert_allclose(coefficients, known.coef_, atol=1e-9)


@pytest.mark.parametrize("superpixels", [9, MANY_SUPERPIXELS + 20])
def test_the_forecast_r2_is_that_of_the_fit_on_rows_held_out(superpixels: int) -> None:
    generator = np.random.default_rng(3)
    rows, held = (draw_rows(np.random.RandomState(n), 90, superpixels) for n in range(2))
    effects = generator.normal(size=superpixels)
    answers, unseen = (np.tanh(x @ effects / 4) for x in (rows, held))
    pixels = np.full(superpixels, 10)
    found = {
        setting: r2
        for setting, _, r2 in replay(
            rows, answers, pixels, pixels, [60, 90], [3, None], ["cosine"], [0.1, 1.0],
            held_out=HeldOut(held, unseen),
        )
    }  # fmt: skip
    weights = lime_kernel(distances_to_first(rows, "cosine"))
    for setting, r2 in found.items():
        few, count = slice(setting.num_samples), setting.num_features
        columns = np.arange(superpixels)
        if count is not None:
            chosen = forward_selection(rows[few], answers[few], weights[few], count)
            assert chosen is not None
            columns = chosen
        fit = Ridge(alpha=setting.alpha).fit(rows[few][:, columns], answers[few], weights[few])
        expected = r2_score(unseen, fit.predict(held[:, columns]), sample_weight=locality(held))
        assert r2 == pytest.approx(expected, abs=1e-9)
    assert len({setting.num_samples for setting in found}) == 2


def test_without_variance_there_is_no_r2() -> None:
    rows = draw_rows(np.random.RandomState(0), 40, 6)
    pixels = np.full(6, 10)
    held_out = HeldOut(rows, np.full(40, 0.5))
    found = replay(
        rows, rows.mean(axis=1), pixels, pixels, [40], [None], ["cosine"], [1.0], held_out=held_out
    )
    assert [np.isnan(r2) for _, _, r2 in found] == [True]


def test_effective_samples_count_equal_weights_only() -> None:
    shown = np.ones((8, 5), dtype=np.int64)
    assert effective_samples(shown, "cosine") == pytest.approx(8)
    far = shown.copy()
    far[1:] = 0
    far[1:, 0] = 1  # one of five: a weight of 0.09 against 1
    weight = float(locality(far)[1])
    expected = (1 + 7 * weight) ** 2 / (1 + 7 * weight**2)
    assert effective_samples(far, "cosine") == pytest.approx(expected)
    assert expected < 3


# The fast forward selection chooses what lime's chooses, or leaves the choice to lime.


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
