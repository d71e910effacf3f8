"""Deletion, insertion and held-out R² against answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from explainers.errors import InvalidInput
from explainers.lime import locality
from explainers.metrics import (
    deletion_curve,
    held_out_r2,
    insertion_curve,
    superpixel_map,
)
from tests.explainers.numpy_classifiers import QuarterColours, picture

ROWS, COLUMNS = 16, 14  # the blur of smaller pictures changes nothing
N = ROWS * COLUMNS
# Falling by rank so that the k heaviest pixels of n together weigh 1 - (1 - k/n)².
WEIGHTS = np.array([(2 * (N - k) + 1) / N**2 for k in range(1, N + 1)])
PLACES = np.random.default_rng(0).permutation(N)
IMPORTANCE = np.empty(N)
IMPORTANCE[PLACES] = WEIGHTS
IMPORTANCE = IMPORTANCE.reshape(ROWS, COLUMNS)
# Trapezoids over x² with step 1/n: a third and 1 / (6 n²).
THIRD = 1 / 3 + 1 / (6 * N**2)
CHECKERED = np.repeat(((np.indices((ROWS, COLUMNS)).sum(axis=0) % 2) * 255)[..., None], 3, 2)
CHECKERED = CHECKERED.astype(np.uint8)


def unchanged(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A linear model of which pixels are still the checkered picture's; class 1 of two."""
    same = (images == CHECKERED).all(axis=3)
    answer = (same * IMPORTANCE).sum(axis=(1, 2))
    return np.stack([1 - answer, answer], axis=1)


def test_areas_of_a_linear_model_are_those_worked_out_by_hand() -> None:
    perfect = deletion_curve(unchanged, CHECKERED, IMPORTANCE, 1, steps=N)
    np.testing.assert_allclose(perfect.values, (1 - np.arange(N + 1) / N) ** 2, atol=1e-12)
    assert perfect.area == pytest.approx(THIRD, abs=1e-12)
    inverted = deletion_curve(unchanged, CHECKERED, -IMPORTANCE, 1, steps=N)
    assert inverted.area == pytest.approx(1 - THIRD, abs=1e-12)
    assert insertion_curve(unchanged, CHECKERED, IMPORTANCE, 1, steps=N).area == pytest.approx(
        1 - THIRD, abs=1e-12
    )
    assert insertion_curve(unchanged, CHECKERED, -IMPORTANCE, 1, steps=N).area == pytest.approx(
        THIRD, abs=1e-12
    )
    other = deletion_curve(unchanged, CHECKERED, IMPORTANCE, 0, steps=N)
    assert other.area == pytest.approx(1 - THIRD, abs=1e-12)


@given(st.integers(0, 1000), st.integers(1, N))
def test_perfect_beats_random_beats_inverted(seed: int, steps: int) -> None:
    guessed = np.random.default_rng(seed).random((ROWS, COLUMNS))
    found = [
        deletion_curve(unchanged, CHECKERED, map_, 1, steps).area
        for map_ in (IMPORTANCE, guessed, -IMPORTANCE)
    ]
    assert found == sorted(found)
    found = [
        insertion_curve(unchanged, CHECKERED, map_, 1, steps).area
        for map_ in (IMPORTANCE, guessed, -IMPORTANCE)
    ]
    assert found == sorted(found, reverse=True)


def test_the_classifier_is_asked_in_batches_and_only_the_ranking_matters() -> None:
    image = picture(3)
    source = QuarterColours(4)
    ranked = np.random.default_rng(1).random(image.shape[:2])
    curve = deletion_curve(source.predict_proba, image, ranked, 2)
    assert len(source.asked) == 29
    assert source.largest_batch == 16
    assert curve.values[0] == source.predict_proba(image[None])[0, 2]
    again = deletion_curve(source.predict_proba, image, np.exp(ranked), 2)
    np.testing.assert_array_equal(curve.values, again.values)
    with pytest.raises(InvalidInput, match=r"\(3, 3\)"):
        deletion_curve(source.predict_proba, image, np.zeros((3, 3)), 2)
    with pytest.raises(InvalidInput, match="not finite"):
        deletion_curve(source.predict_proba, image, ranked * np.nan, 2)


def test_superpixel_maps_rank_or_add_up() -> None:
    segments = np.array([[0, 0, 0], [1, 1, 2]])
    weights = {0: 0.6, 2: -0.1}
    ranking = superpixel_map(segments, weights)
    np.testing.assert_array_equal(ranking, [[0.6, 0.6, 0.6], [0, 0, -0.1]])
    evidence = superpixel_map(segments, weights, density=True)
    np.testing.assert_allclose(evidence, [[0.2, 0.2, 0.2], [0, 0, -0.1]])


def test_weights_of_perturbations_are_lime_s_own() -> None:
    import sklearn.metrics

    explainer = LimeImageExplainer()
    rows = np.random.RandomState(0).randint(0, 2, (200, 9))
    rows[0], rows[1] = 1, 0
    distances = sklearn.metrics.pairwise_distances(rows, rows[:1], metric="cosine").ravel()
    np.testing.assert_allclose(locality(rows), explainer.base.kernel_fn(distances), atol=1e-9)


def test_a_surrogate_of_a_linear_answer_holds_out_and_a_shuffled_one_does_not() -> None:
    true = np.array([0.3, -0.1, 0.2, 0.05])

    def ask(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return 0.25 + rows @ true

    weights = dict(enumerate(true))
    assert held_out_r2(4, weights, 0.25, ask, seed=7) == pytest.approx(1.0, abs=1e-12)
    assert held_out_r2(4, weights, 0.35, ask, seed=7) < 1.0
    # Only the first superpixel known: what the others add to the answer is left unexplained.
    rows = np.random.RandomState(7).randint(0, 2, (256, 4))
    kept = {0: 0.3}
    predicted = 0.25 + rows[:, 0] * 0.3
    expected = r2_score(ask(rows), predicted, sample_weight=locality(rows))
    assert held_out_r2(4, kept, 0.25, ask, seed=7) == expected
    assert held_out_r2(4, dict(enumerate(-true)), 0.25, ask, seed=7) < 0
