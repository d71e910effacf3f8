"""A picture compared by every method: what is promised of all, and what is known of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from explainers.lime import LimeParameters, PredictionCache, Segmentation
from explainers.metrics import (
    LIME_DEFAULT,
    LIME_TUNED,
    MEASURES,
    Comparison,
    compare,
    superpixel_map,
)
from explainers.references import parse_heat_map_rule
from tests.tuner.tiny import SIDE, make, tiny_picture

TUNED = LimeParameters(
    segmentation=Segmentation.of("slic", n_segments=6, compactness=5),
    hide_color=128,
    num_samples=64,
)


@pytest.fixture(scope="module")
def compared() -> tuple[Comparison, list[str]]:
    classifier = make()
    image, mask = tiny_picture("cat")
    steps: list[str] = []
    found = compare(
        classifier,
        image,
        mask,
        TUNED,
        source=classifier,
        cache=PredictionCache(),
        rule=parse_heat_map_rule("0.3"),
        seed=5,
        classes=3,
        on_progress=steps.append,
    )
    return found, steps


def test_every_method_is_measured(compared: tuple[Comparison, list[str]]) -> None:
    found, steps = compared
    methods = [each.explanation.method for each in found.explanations]
    assert methods == ["gradcam", "scorecam", "ablationcam", LIME_DEFAULT, LIME_TUNED]
    assert steps == [*methods, "measures", "other classes"]
    for each in found.explanations:
        lime = each.explanation.surrogate is not None
        assert lime == each.explanation.method.startswith("lime")
        of_lime = {"r2", "mask_stability", "rank_stability"}
        assert set(each.measures) == set(MEASURES) - (set() if lime else of_lime)
        assert all(math.isfinite(value) for value in each.measures.values())
        assert each.explanation.mask.shape == (SIDE, SIDE)
        assert each.measures["insertion"] > each.measures["deletion"]
        assert each.measures["energy"] + each.measures["background"] == pytest.approx(1.0)
    assert set(found.agreement) == {(a, b) for a in methods for b in methods}
    assert all(found.agreement[a, a] == 1.0 for a in methods)
    assert all(found.agreement[a, b] == found.agreement[b, a] for a in methods for b in methods)


def test_surrogates_are_stock_lime_s(compared: tuple[Comparison, list[str]]) -> None:
    from lime.lime_image import LimeImageExplainer

    found, _ = compared
    explanation = found.explanations[-1].explanation
    surrogate = explanation.surrogate
    assert surrogate is not None
    image, _ = tiny_picture("cat")
    stock = LimeImageExplainer(random_state=5).explain_instance(
        image, make().predict_proba, **TUNED.as_kwargs()
    )
    assert surrogate.weights == dict(stock.local_exp[stock.top_labels[0]])
    assert explanation.class_index == stock.top_labels[0] == found.facts.top_classes[0][0]
    total = sum(surrogate.weights.values())
    assert explanation.evidence.sum() == pytest.approx(total)
    np.testing.assert_array_equal(
        explanation.ranking, superpixel_map(stock.segments, surrogate.weights)
    )


def test_other_classes_are_explained_as_stock_lime_would(
    compared: tuple[Comparison, list[str]],
) -> None:
    from lime.lime_image import LimeImageExplainer

    found, _ = compared
    others = [index for index, _ in found.facts.top_classes[1:3]]
    assert [(each.class_index, each.method) for each in found.other_classes] == [
        (index, method) for method in ("gradcam", LIME_TUNED) for index in others
    ]
    image, _ = tiny_picture("cat")
    stock = LimeImageExplainer(random_state=5).explain_instance(
        image,
        make().predict_proba,
        **(TUNED.as_kwargs() | {"labels": tuple(others), "top_labels": None}),
    )
    for each in found.other_classes[2:]:
        assert each.surrogate is not None
        # Batches of another size differ in the last bits.
        weights = dict(stock.local_exp[each.class_index])
        assert each.surrogate.weights == pytest.approx(weights, rel=1e-5, abs=1e-8)
        _, mask = stock.get_image_and_mask(each.class_index, num_features=5, hide_rest=False)
        np.testing.assert_array_equal(each.mask, mask > 0)
        assert math.isnan(each.seconds)
