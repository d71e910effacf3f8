"""Tables over a comparison whose numbers are set by hand."""

from __future__ import annotations

import math
from datetime import datetime, timezone

import numpy as np
import pytest

from explainers.metrics import (
    LIME_DEFAULT,
    LIME_TUNED,
    Comparison,
    Explanation,
    Measured,
    PictureFacts,
)
from studies.records import ComparedImage, ComparisonRun
from studies.results.analysis import (
    agreement_matrix,
    agreement_with_cams,
    by_complexity,
    by_method,
    by_type,
    lost_fidelity,
    methods_of,
)

BLANK = np.zeros((2, 2))


def _image(
    key: str, type_: str | None, agreements: dict[str, float], edges: float = 0.1,
    measures: dict[str, dict[str, float]] | None = None,
) -> ComparedImage:  # fmt: skip
    """``agreements``: IoU of LIME's defaults with each heat map."""
    methods = [*agreements, LIME_DEFAULT, *(measures or {})]
    pairs = {(m, m): 1.0 for m in methods}
    for cam, iou in agreements.items():
        pairs[cam, LIME_DEFAULT] = pairs[LIME_DEFAULT, cam] = iou
    explanations = tuple(
        Measured(
            Explanation(method, 0, BLANK, BLANK, BLANK > 0, 1.0),
            (measures or {}).get(method, {"deletion": 0.2, "seconds": 1.0}),
        )
        for method in dict.fromkeys(methods)
    )
    facts = PictureFacts(((0, 1.0),), edges, 0.5, 10)
    return ComparedImage(
        key, type_, None, np.zeros((2, 2, 3), np.uint8), ("a",), BLANK > 0, "gradcam@0.3",
        Comparison(facts, explanations, pairs),
    )  # fmt: skip


def _run(*images: ComparedImage) -> ComparisonRun:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return ComparisonRun(at, "c", "s", "m", "f", "cpu", 0, {}, {}, images)


def test_agreement_by_type_with_an_exact_test() -> None:
    run = _run(
        *(_image(f"a{i}", "animate", {"gradcam": iou, "scorecam": iou - 0.1}, 0.9 - iou)
          for i, iou in enumerate((0.2, 0.3, 0.4))),
        *(_image(f"i{i}", "inanimate", {"gradcam": iou}, 0.9 - iou)
          for i, iou in enumerate((0.6, 0.7))),
        _image("unknown", None, {"gradcam": 0.5}, 0.4),
    )  # fmt: skip
    assert agreement_with_cams(run.images[0], LIME_DEFAULT) == pytest.approx(0.15)
    (row,) = by_type(run)
    assert row.method == LIME_DEFAULT
    assert row.animate.mean == pytest.approx(0.25)
    assert row.inanimate.mean == pytest.approx(0.65)
    assert row.test.difference == pytest.approx(0.4)
    assert row.test.sizes == (2, 3)
    assert row.test.p == pytest.approx(1 / 10)  # one of the ten splits, and none the other way
    trends = {trend.complexity: trend.found for trend in by_complexity(run)}
    assert trends["edge density"].rho == pytest.approx(-1.0)
    assert math.isnan(trends["superpixels"].rho)  # all alike
    matrix = agreement_matrix(run)
    assert matrix["gradcam", LIME_DEFAULT].size == 6
    assert matrix["scorecam", LIME_DEFAULT].size == 3
    assert matrix["gradcam", "gradcam"].mean == 1.0
    assert math.isnan(matrix["gradcam", "scorecam"].mean)


def test_methods_keep_their_order_and_missing_measures_stay_missing() -> None:
    run = _run(
        _image("a", None, {"scorecam": 0.5}),
        _image("b", None, {"layercam": 0.5, "gradcam": 0.1}),
    )
    assert methods_of(run) == ["gradcam", "scorecam", LIME_DEFAULT, "layercam"]
    found = by_method(run)
    assert (found["gradcam"]["deletion"].mean, found["gradcam"]["deletion"].size) == (0.2, 1)
    assert math.isnan(found["gradcam"]["r2"].mean)
    assert by_method(_run()) == {}


def test_lost_fidelity_says_what_was_lost() -> None:
    baseline = {"r2": 0.6, "insertion": 0.8, "deletion": 0.1}

    def lost(tuned: dict[str, float]) -> list[str]:
        return lost_fidelity(
            _image(
                "a", None, {"gradcam": 0.5}, measures={LIME_DEFAULT: baseline, LIME_TUNED: tuned}
            )
        )

    assert lost(baseline) == []
    assert lost({"r2": 0.7, "insertion": 0.9, "deletion": 0.3}) == [
        "insertion minus deletion 0.60 < 0.70"
    ]
    assert lost({"r2": 0.5, "insertion": 0.9, "deletion": 0.1}) == ["held-out R² 0.50 < 0.60"]
    assert lost_fidelity(_image("a", None, {"gradcam": 0.5})) == []
