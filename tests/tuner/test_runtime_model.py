"""The price list of parameter sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, Segmentation
from explainers.machine_load import LoadMeter
from studies.results.runtime_doubt import doubtful_seconds, runtime_doubt
from tests.tuner.scenes import RUNTIME_MODEL
from tuner.runtime import measurement
from tuner.runtime.measurement import calibrate, ordered_by_batch
from tuner.runtime.model import RuntimeModel


@pytest.mark.parametrize("doubt", [None, "other processes used 54% of the machine"])
def test_json_round_trip(doubt: str | None) -> None:
    model = replace(RUNTIME_MODEL, doubt=doubt)
    assert RuntimeModel.from_json(model.to_json()) == model
    assert runtime_doubt(model.to_json()) == doubt


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"device": 1}'])
def test_a_damaged_model_is_one_line(text: str) -> None:
    with pytest.raises(InvalidInput, match="runtime model"):
        RuntimeModel.from_json(text)
    assert runtime_doubt(text) is None


def test_a_segmentation_of_a_later_version_is_one_line() -> None:
    model = replace(RUNTIME_MODEL, segmentation={"quickshift": 1e-8})
    slic = LimeParameters(segmentation=Segmentation.of("slic", n_segments=20, compactness=10))
    with pytest.raises(InvalidInput, match="knows no seconds of slic, only of quickshift"):
        model.parts(slic, 20, 128 * 128)


def test_doubts_are_told_once_for_all_studies_that_have_them() -> None:
    assert doubtful_seconds({"cat": "busy", "dog": None, "fish": "busy"}) == [
        "modelled seconds of cat, fish are not to be trusted: busy"
    ]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of which others use six tenths."""
    monkeypatch.setattr(LoadMeter, "others_share", lambda _: 0.6)
    monkeypatch.setattr(LoadMeter, "was_quiet", lambda _: False)


def test_a_busy_machine_is_measured_by_processor_time(
    monkeypatch: pytest.MonkeyPatch, busy: None, demo_classifier: Classifier
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    asked: list[dict[int, float]] = []

    def elsewhere(*_: object) -> dict[int, float]:
        asked.append({1: 0.01, 10: 0.005})
        return asked[-1]

    monkeypatch.setattr(measurement, "_elsewhere", elsewhere)
    model = calibrate(demo_classifier, image)
    assert len(asked) == 1
    assert dict(model.predict) == pytest.approx(asked[0])
    assert model.doubt is not None
    assert "estimated from processor time" in model.doubt


def test_where_processor_time_says_nothing_a_busy_machine_is_a_doubt(
    monkeypatch: pytest.MonkeyPatch, busy: None, demo_classifier: Classifier
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    by_hand = replace(demo_classifier, spec=None)  # no other process can load it
    monkeypatch.setattr(measurement, "_predict_seconds", lambda *_: {1: 0.01, 10: 0.01})
    doubt = calibrate(by_hand, image).doubt
    assert doubt is not None
    assert "60%" in doubt


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=6))
def test_a_larger_batch_never_costs_less(seconds: list[float]) -> None:
    predict = dict(zip((1, 2, 5, 10, 16, 32), seconds, strict=False))
    ordered, moved = ordered_by_batch(predict)
    totals = [size * each for size, each in ordered.items()]
    assert totals == sorted(totals) or np.allclose(np.diff(totals).clip(max=0), 0)
    in_order = [size * each for size, each in predict.items()]
    if in_order == sorted(in_order):
        assert moved == pytest.approx(0.0, abs=1e-9)
        assert ordered == pytest.approx(predict)


@given(st.integers(2, 900), st.integers(2, 60), st.integers(1, 10))
def test_more_of_anything_costs_more(samples: int, superpixels: int, features: int) -> None:
    base = LimeParameters(num_samples=samples, num_features=features)
    cost = RUNTIME_MODEL.parts(base, superpixels, 128 * 128).total
    more_samples = replace(base, num_samples=samples + 1)
    assert RUNTIME_MODEL.parts(more_samples, superpixels, 128 * 128).total > cost
    assert RUNTIME_MODEL.parts(base, superpixels + 1, 128 * 128).total > cost
    fewer_labels = replace(base, top_labels=1)
    assert RUNTIME_MODEL.parts(fewer_labels, superpixels, 128 * 128).total < cost


def test_calibration_measures_every_part(demo_classifier: Classifier) -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    model = calibrate(demo_classifier, image)
    parts = model.parts(LimeParameters(), 30, 128 * 128)
    assert all(value > 0 for value in parts.as_dict().values())
    assert parts.total < 60
