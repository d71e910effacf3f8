"""The restricted loader: what it reads, what it refuses, and that nothing ever runs."""

from __future__ import annotations

import bz2
import collections
import functools
import gzip
import lzma
import pickle
import pickletools
import random
import time
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.segmentation
import sklearn.linear_model
from lime.wrappers.scikit_image import SegmentationAlgorithm
from sklearn.linear_model import HuberRegressor, Ridge

from explainers.errors import InvalidParameters, UnsafePickle
from explainers.lime import REGRESSORS, SEGMENTERS, LimeParameters, Regressor, Segmentation
from studies.export import load_restricted, parameters_digest, plain_kwargs, stock_kwargs
from tests.studies.export.hostile_pickles import entry, unreadable

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
        ("regressor with a setting of its own", "it takes alpha"),
        ("lasso that mixes", "l1_ratio"),
        ("memo bomb", "values"),
        ("million nested tuples", "opcodes"),
        ("NaN", "finite"),
    ],
)
def test_the_reason_is_named(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(UnsafePickle, match=says):
        load_restricted(unreadable(tmp_path / "canary")[name])


class _Python2:
    """An OrderedDict as Python 2 pickles it: its pairs are an argument."""

    def __reduce__(self) -> Any:
        return collections.OrderedDict, ([["num_samples", 5]],)


def test_an_ordered_dict_of_python_2_is_not_read_as_an_empty_one() -> None:
    with pytest.raises(UnsafePickle, match="as Python 2 writes it: make a dict"):
        load_restricted(pickle.dumps({"one": _Python2()}, protocol=2))


def _data(name: str, **settings: Any) -> Any:
    rows = np.eye(5)
    return getattr(sklearn.linear_model, name)(**settings).fit(rows, rows[0])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("form", "meant"),
    [
        (collections.OrderedDict, dict),
        (lambda kwargs: collections.defaultdict(dict, kwargs), dict),
        (lambda kwargs: {np.str_(key): value for key, value in kwargs.items()}, dict),
        (lambda kwargs: {**kwargs, "distance_metric": np.str_("cosine")}, dict),
        (lambda kwargs: {**kwargs, "num_samples": np.array([20])}, dict),
        (lambda kwargs: {**kwargs, "num_samples": np.array(20, dtype=">i4")}, dict),
        (lambda kwargs: {**kwargs, "labels": np.array([3])}, {"labels": (3,)}),
        (lambda kwargs: {**kwargs, "labels": np.arange(3)}, {"labels": (0, 1, 2)}),
        (lambda kwargs: {**kwargs, "labels": range(1, 7, 2)}, {"labels": (1, 3, 5)}),
        (lambda kwargs: {**kwargs, "labels": None}, {"labels": None}),
        (lambda kwargs: {**kwargs, "hide_color": [1, 2, 3]}, {"hide_color": [1, 2, 3]}),
        (lambda kwargs: {**kwargs, "hide_color": np.array([1, 2, 3], dtype=np.uint8)},
         {"hide_color": (1, 2, 3)}),
        (lambda kwargs: {**kwargs, "hide_color": np.array([0.0])}, {"hide_color": 0.0}),
        (lambda kwargs: {**kwargs, "model_regressor": _data("Ridge", alpha=np.float64(2))},
         {"model_regressor": sklearn.linear_model.Ridge(alpha=2.0)}),
        (lambda kwargs: {**kwargs, "model_regressor": _data("ElasticNet", l1_ratio=0.3)},
         {"model_regressor": sklearn.linear_model.ElasticNet(l1_ratio=0.3)}),
        (lambda kwargs: {**kwargs, "segmentation_fn": functools.partial(
            skimage.segmentation.slic, n_segments=np.int64(9), sigma=np.array([1.5]))},
         {"segmentation_fn": SegmentationAlgorithm("slic", n_segments=9, sigma=1.5)}),
    ],
)  # fmt: skip
def test_what_people_write_means_what_it_says(form: Any, meant: Any, protocol: int) -> None:
    plain = entry()
    found = load_restricted(pickle.dumps({"one": form(plain)}, protocol=protocol))["one"]
    assert type(found) is dict
    expected = plain if meant is dict else {**plain, **meant}
    assert _alike(found, expected)
    assert [(type(found[n]), type(v)) for n, v in expected.items() if type(found[n]) is not type(v)
            ] == []  # fmt: skip


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_come_back_fitted_or_not(name: str) -> None:
    for made in (getattr(sklearn.linear_model, name)(), _data(name)):
        found = load_restricted(pickle.dumps(made))
        assert type(found) is type(made)
        assert found.get_params() == made.get_params()
        assert vars(found) == vars(type(made)())  # nothing that was fitted


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (types.SimpleNamespace(a=1), r"types\.SimpleNamespace.*use vars"),
        (collections.Counter(a=1), r"collections\.Counter.*use dict"),
        (collections.deque([1]), r"collections\.deque.*list"),
        ({1}, r"builtins\.set.*use a tuple"),
        ({b"num_samples": 1}, r"a bytes as a key.*key\.decode"),
        ({1: 1}, r"a int as a key.*str\(key\)"),
        (np.complex128(1), "type 'c16'.*float"),
        (np.array(["a"]), "array or a type of numpy"),
        (sklearn.linear_model.LassoLars(), "LassoLars.*Ridge, LinearRegression"),
        (1j, "builtins.complex"),
    ],
)
def test_what_is_refused_is_named_with_a_way_out(value: Any, says: str) -> None:
    with pytest.raises(UnsafePickle, match=says) as raised:
        load_restricted(pickle.dumps({"one": value}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("pack", "says"),
    [(gzip.compress, "gzip"), (zlib.compress, "zlib"), (bz2.compress, "bzip2"),
     (lzma.compress, "xz"), (lambda data: b'{"one": {}}', "JSON")],
)  # fmt: skip
def test_other_files_are_named(pack: Any, says: str) -> None:
    with pytest.raises(UnsafePickle, match=f"{says}.*pickle.dump"):
        load_restricted(pack(pickle.dumps({"one": entry()})))


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
