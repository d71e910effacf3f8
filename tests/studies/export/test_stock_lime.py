"""Stock lime's explanations are measured as stock lime made them, whatever numbers superpixels
have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer
from lime.wrappers.scikit_image import SegmentationAlgorithm
from numpy.typing import NDArray

from explainers.lime import Perturbation, PredictionCache, as_lime_hides, hidden_image
from explainers.metrics import held_out_r2, surrogate_r2
from studies.export import explain_with_stock_lime, stock_faithfulness
from tests.explainers.numpy_classifiers import QuarterColours, picture

QUARTERS = np.repeat(np.repeat([[0, 1], [2, 3]], 12, axis=0), 12, axis=1)
NUMBERINGS = {
    "from 0": [0, 1, 2, 3],
    "from 1": [1, 2, 3, 4],
    "with a gap": [0, 1, 5, 9],
    "from -1": [-1, 0, 1, 2],
    "huge": [0, 10**9, 1, 2],
}


@pytest.mark.parametrize("numbering", NUMBERINGS)
@pytest.mark.parametrize("hide_color", [None, 0, (9, 99, 200)])
def test_perturbations_are_stock_lime_s(numbering: str, hide_color: Any) -> None:
    labels = np.array(NUMBERINGS[numbering])[QUARTERS]
    image = picture(2, 24, 24)
    seen: list[NDArray[np.uint8]] = []

    def classify(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        seen.extend(images)
        return np.full((len(images), 2), 0.5)

    hidden = hidden_image(image, np.array([0, 1, 2, 3])[QUARTERS], hide_color)
    explainer = LimeImageExplainer(random_state=0)
    rows, _ = explainer.data_labels(image, hidden, labels, classify, 30)
    segments, features = as_lime_hides(labels)
    assert features == rows.shape[1] == 4
    ours = Perturbation(image, segments, hide_color)
    np.testing.assert_array_equal(ours.images(np.pad(rows, ((0, 0), (0, 1)), constant_values=1)),
                                  np.array(seen))  # fmt: skip
    if numbering == "from 0":
        np.testing.assert_array_equal(segments, labels)


def test_held_out_r2_asks_about_pictures_that_lime_could_make() -> None:
    """The class is how bright the last quarter is, which lime never hides where 1 is the first."""

    class LastQuarter:
        fingerprint = "last quarter"

        def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[np.float64]:
            share = images[:, 12:, 12:].mean(axis=(1, 2, 3)) / 255
            return np.stack([share, 1 - share], axis=1)

    image = np.full((24, 24, 3), 255, dtype=np.uint8)

    def measured(first: int, weights: dict[int, float], intercept: float) -> float:
        return surrogate_r2(
            QUARTERS + first, weights, intercept, 0, 0, image, LastQuarter(), PredictionCache()
        )

    assert measured(0, {3: 1.0}, 0.0) == 1.0
    assert measured(0, {}, 1.0) < 0.0
    assert measured(1, {}, 1.0) == 1.0  # always shown: the answer never changes


def test_a_part_that_is_never_hidden_is_told_and_measured_as_it_is() -> None:
    image, source = picture(3, 32, 32), QuarterColours(6)
    for start, never_hidden in ((0, False), (1, True)):
        kwargs = {
            "segmentation_fn": SegmentationAlgorithm("slic", n_segments=6, start_label=start),
            "num_samples": 80, "hide_color": 0, "top_labels": 1,
        }  # fmt: skip
        found = explain_with_stock_lime(
            image, np.ones((32, 32), dtype=bool), source.predict_proba, kwargs, seed=0,
            mask_rule={"num_features": 5},
        )  # fmt: skip
        assert found.never_hidden == never_hidden
        r2, _ = stock_faithfulness(found.explanation, found.label, image, 0, source.predict_proba)
        segments = found.explanation.segments
        assert (segments.min(), len(np.unique(segments))) == (start, segments.max() + 1 - start)

        def ask(rows: NDArray[np.int64], segments: Any = segments) -> NDArray[np.float64]:
            shown = np.stack([image] * len(rows))
            for picture_, row in zip(shown, rows, strict=True):
                for feature in np.flatnonzero(row == 0):
                    picture_[segments == feature] = 0
            return source.predict_proba(shown)[:, found.label]  # noqa: B023

        assert r2 == pytest.approx(
            held_out_r2(
                len(np.unique(segments)), dict(found.explanation.local_exp[found.label]),
                found.explanation.intercept[found.label], ask, 2_000_003,
            )
        )  # fmt: skip


def test_the_class_that_labels_name_is_the_one_whose_mask_is_read() -> None:
    image, source = picture(4), QuarterColours(6)
    stock = LimeImageExplainer(random_state=2).explain_instance(
        image, source.predict_proba, labels=(3, 1), top_labels=None, num_samples=60, random_seed=1
    )
    _, mask = stock.get_image_and_mask(3, num_features=5)
    found = explain_with_stock_lime(
        image, mask > 0, source.predict_proba,
        {"labels": (3, 1), "top_labels": None, "num_samples": 60, "random_seed": 1},
        seed=2, mask_rule={"num_features": 5},
    )  # fmt: skip
    assert (found.label, found.iou) == (3, 1.0)
