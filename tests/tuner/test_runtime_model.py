"""The price list of parameter sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from explainers.classifier import Classifier
from explainers.lime_parameters import LimeParameters
from tests.tuner.scenes import RUNTIME_MODEL
from tuner.runtime_measurement import calibrate
from tuner.runtime_model import RuntimeModel


def test_json_round_trip() -> None:
    assert RuntimeModel.from_json(RUNTIME_MODEL.to_json()) == RUNTIME_MODEL


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
