"""The restricted loader: what it reads, what it refuses, and that nothing ever runs."""

from __future__ import annotations

import functools
import pickle
import pickletools
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.segmentation
from lime.wrappers.scikit_image import SegmentationAlgorithm
from sklearn.linear_model import HuberRegressor, Ridge

from explainers.errors import InvalidParameters, UnsafePickle
from explainers.lime_parameters import LimeParameters, Regressor
from explainers.segmentation import SEGMENTERS, Segmentation
from studies.plain_parameters import parameters_digest, plain_kwargs, stock_kwargs
from studies.restricted_pickle import load_restricted
from tests.studies.hostile_pickles import entry, unreadable

_MUTATIONS = 100_000
_SLOWEST_SECONDS = 5.0


def _alike(one: Any, other: Any) -> bool:
    return bool(plain_kwargs(one) == plain_kwargs(other))


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read(protocol: int) -> None:
    kwargs = entry(
        num_samples=np.int64(20),
        hide_color=(np.float32(1.5), 2, 3),
        random_seed=np.uint32(7),
        labels=[1, 2],
        segmentation_fn=functools.partial(skimage.segmentation.felzenszwalb, scale=50.5),
        model_regressor=HuberRegressor(epsilon=1.2),
    )
    found = load_restricted(pickle.dumps({"one": kwargs}, protocol=protocol))["one"]
    assert list(found) == list(kwargs)
    assert _alike(
        found,
        {
            **kwargs, "num_samples": 20, "hide_color": (1.5, 2, 3), "random_seed": 7,
            "segmentation_fn": SegmentationAlgorithm("felzenszwalb", scale=50.5),
        },
    )  # fmt: skip
    assert type(found["num_samples"]) is int
    assert isinstance(found["hide_color"], tuple)


@pytest.mark.parametrize("algorithm", SEGMENTERS)
def test_segmentations_come_back_as_they_were(algorithm: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    saved = Segmentation.of(algorithm).as_lime()
    found = load_restricted(pickle.dumps(saved))
    np.testing.assert_array_equal(found(image), saved(image))
    bare = load_restricted(pickle.dumps(getattr(skimage.segmentation, algorithm)))
    np.testing.assert_array_equal(bare(image), getattr(skimage.segmentation, algorithm)(image))


def test_nothing_that_is_not_lime_is_loaded_or_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name, data in unreadable(canary).items():
        start = time.perf_counter()
        with pytest.raises(UnsafePickle) as caught:
            load_restricted(data)
        assert "\n" not in str(caught.value), name
        assert time.perf_counter() - start < _SLOWEST_SECONDS, name
        assert not canary.exists(), name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("os.system", r"(posix|nt)\.system"),
        ("stored map", "array"),
        ("stored map as lists", "mask is no number"),
        ("fitted regressor", "never fitted"),
        ("memo bomb", "values"),
        ("million nested tuples", "opcodes"),
        ("NaN", "finite"),
    ],
)
def test_the_reason_is_named(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(UnsafePickle, match=says):
        load_restricted(unreadable(tmp_path / "canary")[name])


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_mutated_pickles_are_read_or_refused(tmp_path: Path) -> None:
    """Bytes changed, cut, doubled and swapped between pickles, hostile ones among them."""
    canary = tmp_path / "canary"
    good = [pickle.dumps({"one": entry()}, protocol=p) for p in (0, 2, 4)]
    seeds = good + [data for data in unreadable(canary).values() if 0 < len(data) < 2_000]
    opcodes = [ord(opcode.code) for opcode in pickletools.opcodes]
    chance = random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    slowest = 0.0
    for _ in range(_MUTATIONS):
        blob = bytearray(chance.choice(good if chance.random() < 0.5 else seeds))
        for _ in range(chance.randint(1, 6)):
            place, kind = chance.randrange(len(blob)), chance.random()
            if kind < 0.4:
                blob[place] = chance.choice(opcodes)
            elif kind < 0.7:
                blob[place] = chance.randrange(256)
            elif kind < 0.8:
                del blob[place : place + chance.randint(1, 20)]
            elif kind < 0.9:
                blob[place:place] = blob[place : place + chance.randint(1, 20)]
            else:
                other = chance.choice(seeds)
                start = chance.randrange(len(other))
                blob[place:place] = other[start : start + chance.randint(1, 30)]
            blob = blob or bytearray(b".")
        start_time = time.perf_counter()
        try:
            load_restricted(bytes(blob))
            outcomes["read"] += 1
        except UnsafePickle:
            outcomes["refused"] += 1
        slowest = max(slowest, time.perf_counter() - start_time)
    assert min(outcomes.values()) > _MUTATIONS / 100, outcomes  # neither all broken nor unbroken
    assert slowest < _SLOWEST_SECONDS
    assert not canary.exists()


def test_plain_values_say_what_stock_objects_say() -> None:
    kwargs = LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=12, compactness=10),
        regressor=Regressor.of("ElasticNet", alpha=0.5),
        hide_color=(1, 2, 3),
    ).as_kwargs()
    plain = plain_kwargs(kwargs)
    assert plain["segmentation_fn"] == {
        "algorithm": "slic", "compactness": 10.0, "n_segments": 12, "start_label": 0,
    }  # fmt: skip
    assert plain["hide_color"] == [1, 2, 3]
    assert plain_kwargs(stock_kwargs(plain)) == plain
    assert stock_kwargs(plain)["model_regressor"] is not stock_kwargs(plain)["model_regressor"]
    reordered = dict(reversed(plain.items()))
    assert parameters_digest({"a": plain}) == parameters_digest({"a": reordered})
    assert parameters_digest({"a": plain}) != parameters_digest({"b": plain})


@pytest.mark.parametrize(
    "plain",
    [
        {"segmentation_fn": {"algorithm": "watershed"}},
        {"segmentation_fn": {"algorithm": ["slic"]}},
        {"segmentation_fn": {"algorithm": "slic", "mask": [[1, 0], [0, 1]]}},
        {"segmentation_fn": {"algorithm": "slic", "spacing": [1, 1, 1, 1]}},
        {"model_regressor": {"name": "SVR"}},
        {"model_regressor": {"name": "Ridge", "coef_": 3}},
        {"model_regressor": {"name": "Ridge", "alpha": [1, 2]}},
    ],
)
def test_plain_values_that_are_no_settings_are_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameters):
        stock_kwargs(plain)
    with pytest.raises(InvalidParameters):
        plain_kwargs({"labels": Ridge})  # a class is neither number nor text nor a stock object
