"""The searched value: what it accepts, how it is written down, what lime gets."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from explainers.errors import InvalidParameters
from explainers.lime import (
    DISTANCE_METRICS,
    LIME_ARGUMENTS,
    REGRESSORS,
    SEGMENTERS,
    LimeParameters,
    Regressor,
    Segmentation,
)


@st.composite
def _segmentations(draw: st.DrawFn) -> Segmentation:
    segmenter = SEGMENTERS[draw(st.sampled_from(sorted(SEGMENTERS)))]
    chosen = {}
    for name, (kind, low, high) in segmenter.parameters.items():
        values = st.integers(int(low), int(high)) if kind is int else st.floats(low, high)
        if draw(st.booleans()):
            chosen[name] = draw(values)
    return Segmentation.of(segmenter.name, **chosen)


@st.composite
def _regressors(draw: st.DrawFn) -> Regressor:
    name = draw(st.sampled_from(sorted(REGRESSORS)))
    ranges = {"alpha": (0.0, 1e6), "epsilon": (1.0, 10.0), "l1_ratio": (0.0, 1.0)}
    return Regressor.of(name, **{p: draw(st.floats(*ranges[p])) for p in REGRESSORS[name]})


_bytes = st.integers(0, 255)
PARAMETERS = st.builds(
    LimeParameters,
    segmentation=st.one_of(st.none(), _segmentations()),
    hide_color=st.one_of(st.none(), _bytes, st.tuples(_bytes, _bytes, _bytes)),
    labels=st.lists(st.integers(0, 999), max_size=4).map(tuple),
    top_labels=st.one_of(st.none(), st.integers(1, 1000)),
    num_features=st.integers(1, 10**6),
    num_samples=st.integers(2, 10**5),
    batch_size=st.integers(1, 1000),
    distance_metric=st.sampled_from(DISTANCE_METRICS),
    regressor=st.one_of(st.none(), _regressors()),
    random_seed=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments with lime's and scikit-learn's objects taken apart."""
    plain = dict(arguments)
    algorithm, model = plain["segmentation_fn"], plain["model_regressor"]
    plain["segmentation_fn"] = algorithm and (algorithm.algo_type, algorithm.target_params)
    plain["model_regressor"] = model and (type(model).__name__, model.get_params())
    return plain


@given(PARAMETERS)
def test_json_and_pickle_round_trips(parameters: LimeParameters) -> None:
    text = parameters.to_json()
    again = LimeParameters.from_json(text)
    assert again == parameters
    assert hash(again) == hash(parameters)
    assert again.to_json() == text
    assert "\n" not in text
    assert pickle.loads(pickle.dumps(parameters)) == parameters
    arguments = parameters.as_kwargs()
    assert tuple(arguments) == LIME_ARGUMENTS
    assert _plain(pickle.loads(pickle.dumps(arguments))) == _plain(arguments)
    assert _plain(again.as_kwargs()) == _plain(arguments)


@given(PARAMETERS)
def test_pickled_arguments_refer_to_stock_libraries_only(parameters: LimeParameters) -> None:
    blob = pickle.dumps(parameters.as_kwargs())
    for room in (b"explainers", b"studies", b"tuner"):
        assert room not in blob


def test_arguments_load_where_this_package_is_not(tmp_path: Path) -> None:
    arguments = [
        LimeParameters(
            segmentation=Segmentation.of(algorithm),
            hide_color=(1, 2, 3),
            regressor=Regressor.of(regressor),
            num_samples=20,
        ).as_kwargs()
        for algorithm, regressor in zip([*SEGMENTERS, *SEGMENTERS], REGRESSORS, strict=True)
    ]
    (tmp_path / "params.pkl").write_bytes(pickle.dumps(arguments))
    script = """
import os, pickle, sys
os.environ["TQDM_DISABLE"] = "1"
for room in ("explainers", "studies", "tuner"):
    sys.modules[room] = None  # importing it fails, be it installed or not
import numpy as np
from lime.lime_image import LimeImageExplainer
image = np.random.RandomState(0).randint(0, 256, (24, 24, 3)).astype(np.uint8)
for arguments in pickle.load(open("params.pkl", "rb")):
    explanation = LimeImageExplainer(random_state=0).explain_instance(
        image, lambda x: np.stack([x.mean((1, 2, 3)), 255 - x.mean((1, 2, 3))], 1), **arguments)
    assert explanation.local_exp
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_defaults_are_limes_own() -> None:
    import inspect

    from lime.lime_image import LimeImageExplainer

    signature = inspect.signature(LimeImageExplainer.explain_instance).parameters
    arguments = LimeParameters().as_kwargs()
    assert set(arguments) == set(signature) - {"self", "image", "classifier_fn"}
    for name, value in arguments.items():
        assert signature[name].default == value
    assert LimeParameters.from_json("{}") == LimeParameters()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_features", 0),
        ("num_features", 2.5),
        ("num_samples", 1),
        ("num_samples", True),
        ("batch_size", 0),
        ("top_labels", 0),
        ("random_seed", -1),
        ("random_seed", 2**32),
        ("hide_color", 256),
        ("hide_color", -1),
        ("hide_color", "grey"),
        ("hide_color", [1, 2]),
        ("hide_color", [1, 2, 300]),
        ("labels", [-1]),
        ("labels", ["cat"]),
        ("labels", 5),
        ("labels", None),
        ("distance_metric", "haversine"),
        ("distance_metric", None),
        ("segmentation", "slic"),
        ("segmentation", {"algorithm": "watershed"}),
        ("segmentation", {"algorithm": "slic", "n_segments": 2.5}),
        ("segmentation", {"algorithm": "slic", "n_segments": "20"}),
        ("segmentation", {}),
        ("regressor", "Ridge"),
        ("regressor", {"name": "DecisionTreeRegressor"}),
        ("regressor", {"name": "Ridge", "alpha": -1}),
        ("regressor", {"name": "Ridge", "alpha": "big"}),
        ("regressor", {"name": "Ridge", "epsilon": 1}),
        ("regressor", {"name": "HuberRegressor", "epsilon": 0.5}),
        ("regressor", {"name": "ElasticNet", "l1_ratio": 1.5}),
        ("regresor", None),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidParameters) as caught:
        LimeParameters.from_json(json.dumps({name: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '{"regressor": {"alpha": NaN}}'])
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameters):
        LimeParameters.from_json(text)


def test_infinite_strength_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="finite"):
        LimeParameters.from_json('{"regressor": {"name": "Ridge", "alpha": Infinity}}')


@pytest.mark.filterwarnings("ignore")
def test_every_metric_and_regressor_named_works_on_limes_rows() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (40, 7))
    rows[0] = 1
    for metric in DISTANCE_METRICS:
        distances = sklearn.metrics.pairwise_distances(rows, rows[:1], metric=metric)
        assert distances.shape == (40, 1), metric
    for name in REGRESSORS:
        model = Regressor.of(name).as_sklearn()
        model.fit(rows, rows @ np.arange(7.0), sample_weight=np.ones(40))
        assert model.coef_.shape == (7,), name
