"""The explanations are stock lime's, bit for bit, and no answer is asked twice."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.lime import (
    DISTANCE_METRICS,
    LimeParameters,
    PredictionCache,
    Regressor,
    Segmentation,
    draw_rows,
    explain,
    explained_label,
    explanation_mask,
    top_label,
)
from explainers.masks import selected_superpixels
from tests.explainers.numpy_classifiers import QuarterColours, picture

pytestmark = pytest.mark.filterwarnings("ignore")  # convergence and conversion, of scikit-learn

_FEW = Segmentation.of("slic", n_segments=8)


def _stock(
    image: NDArray[np.uint8], source: QuarterColours, parameters: LimeParameters, seed: int
) -> Any:
    explainer = LimeImageExplainer(random_state=seed)
    return explainer.explain_instance(image, source.predict_proba, **parameters.as_kwargs())


def _assert_same(ours: Any, stock: Any) -> None:
    assert np.array_equal(ours.segments, stock.segments)
    assert getattr(ours, "top_labels", None) == getattr(stock, "top_labels", None)
    assert list(ours.local_exp) == list(stock.local_exp)
    assert ours.local_exp == stock.local_exp
    assert ours.intercept == stock.intercept
    assert ours.score == stock.score
    assert np.array_equal(ours.local_pred, stock.local_pred)


def _result(call: Callable[[], Any]) -> tuple[Any, type[Exception] | None]:
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001 - whatever scikit-learn raises is compared
        return None, type(error)


_segmentations = st.one_of(
    st.none(),
    st.builds(
        lambda size, distance, ratio, sigma: Segmentation.of(
            "quickshift", kernel_size=size, max_dist=distance, ratio=ratio, sigma=sigma
        ),
        st.floats(1.5, 6),
        st.floats(8, 300),
        st.floats(0, 1),
        st.floats(0, 3),
    ),
    st.builds(
        lambda count, compactness, sigma: Segmentation.of(
            "slic", n_segments=count, compactness=compactness, sigma=sigma
        ),
        st.integers(2, 30),
        st.floats(0.01, 100),
        st.floats(0, 4),
    ),
    st.builds(
        lambda scale, sigma, size: Segmentation.of(
            "felzenszwalb", scale=scale, sigma=sigma, min_size=size
        ),
        st.floats(1, 500),
        st.floats(0, 3),
        st.integers(12, 100),
    ),
)
_strengths = st.floats(1e-6, 10)
_regressors = st.one_of(
    st.none(),
    st.builds(lambda a: Regressor.of("Ridge", alpha=a), _strengths),
    st.sampled_from([Regressor.of("LinearRegression"), Regressor.of("BayesianRidge")]),
    st.builds(
        lambda a, e: Regressor.of("HuberRegressor", alpha=a, epsilon=e),
        _strengths,
        st.floats(1, 3),
    ),
    st.builds(lambda a: Regressor.of("Lasso", alpha=a), _strengths),
    st.builds(
        lambda a, r: Regressor.of("ElasticNet", alpha=a, l1_ratio=r), _strengths, st.floats(0, 1)
    ),
)
_bytes = st.integers(0, 255)
_parameters = st.builds(
    LimeParameters,
    segmentation=_segmentations,
    hide_color=st.one_of(st.sampled_from([None, 0, 127, 255]), st.tuples(_bytes, _bytes, _bytes)),
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True).map(tuple),
    top_labels=st.one_of(st.none(), st.integers(1, 5)),
    num_features=st.one_of(st.integers(1, 8), st.just(100000)),
    num_samples=st.integers(2, 120),
    batch_size=st.integers(1, 40),
    distance_metric=st.one_of(
        st.sampled_from(["cosine", "hamming", "braycurtis", "euclidean", "jaccard"]),
        st.sampled_from(DISTANCE_METRICS),
    ),
    regressor=_regressors,
    random_seed=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
)
_images = st.one_of(
    st.builds(
        picture,
        st.integers(0, 10**6),
        st.integers(24, 32),
        st.integers(24, 32),
        st.sampled_from([0, 5, 20]),
    ),
    st.builds(
        lambda seed: np.random.default_rng(seed).integers(0, 256, (24, 26, 3), dtype=np.uint8),
        st.integers(0, 10**6),
    ),
)


@given(
    image=_images,
    parameters=_parameters,
    seed=st.integers(0, 2**32 - 1),
    classes=st.sampled_from([6, 40]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_equals_stock_lime_over_the_search_space(
    image: NDArray[np.uint8], parameters: LimeParameters, seed: int, classes: int, dtype: Any
) -> None:
    source = QuarterColours(classes, dtype)
    stock, stock_error = _result(lambda: _stock(image, source, parameters, seed))
    ours, error = _result(lambda: explain(image, source, parameters, seed=seed))
    event("stock raises" if stock_error else "stock explains")
    assert error is stock_error
    if stock_error is None:
        _assert_same(ours, stock)


@pytest.mark.parametrize("classes", [6, 40])
def test_one_cache_serves_more_samples_other_seeds_and_fewer_samples(
    classes: int, tmp_path: Path
) -> None:
    image, source = picture(1), QuarterColours(classes)
    cache = PredictionCache(tmp_path)
    calls = [(100, 0), (300, 0), (100, 3), (300, 4), (40, 0), (250, 3)]
    for samples, seed in calls:
        parameters = LimeParameters(segmentation=_FEW, num_samples=samples, random_seed=0)
        ours = explain(image, source, parameters, seed=seed, cache=cache)
        _assert_same(ours, _stock(image, QuarterColours(classes), parameters, seed))
    assert cache.counts.needed == sum(samples for samples, _ in calls)
    assert len(source.asked) == cache.counts.new
    assert cache.counts.new < cache.counts.needed / 2


def test_answers_are_never_asked_twice() -> None:
    image, source, cache = picture(2), QuarterColours(6), PredictionCache()
    for seed in (0, 1):
        for features in (3, 100000):
            for metric in ("cosine", "hamming"):
                parameters = LimeParameters(
                    segmentation=_FEW,
                    hide_color=0,
                    num_samples=150,
                    num_features=features,
                    distance_metric=metric,
                )
                explain(image, source, parameters, seed=seed, cache=cache)
    assert len(source.asked) == len(set(source.asked))
    assert len(source.asked) == cache.counts.new
    assert cache.counts.needed == 8 * 150
    assert cache.counts.repeated == cache.counts.needed - len(source.asked)


def test_each_hide_colour_and_superpixel_map_has_answers_of_its_own() -> None:
    """One cache, settings that differ in one thing only: nothing is confused."""
    image, cache = picture(3), PredictionCache()
    sources = [QuarterColours(6), QuarterColours(6, np.float32), QuarterColours(40)]
    for source in sources:
        for hide in (None, 0, 127, (0, 127, 0)):
            for segmentation in (_FEW, Segmentation.of("slic", n_segments=9), None):
                parameters = LimeParameters(segmentation, hide, num_samples=60, random_seed=1)
                ours = explain(image, source, parameters, seed=5, cache=cache)
                _assert_same(ours, _stock(image, source, parameters, 5))


def test_labels_outside_the_kept_columns_are_explained_too() -> None:
    image, source, cache = picture(4), QuarterColours(40), PredictionCache()
    likeliest = np.argsort(source.predict_proba(image[None])[0])
    for labels in ((int(likeliest[0]),), (int(likeliest[3]), int(likeliest[-1])), (39, 0)):
        parameters = LimeParameters(
            segmentation=_FEW, labels=labels, top_labels=None, num_samples=60
        )
        ours = explain(image, source, parameters, seed=5, cache=cache)
        _assert_same(ours, _stock(image, source, parameters, 5))


def test_reloading_from_disk_asks_nothing(tmp_path: Path) -> None:
    image, parameters = picture(5), LimeParameters(segmentation=_FEW, num_samples=200)
    first = PredictionCache(tmp_path)
    expected = explain(image, QuarterColours(40), parameters, seed=7, cache=first)
    first.close()
    source = QuarterColours(40)
    second = PredictionCache(tmp_path)
    _assert_same(explain(image, source, parameters, seed=7, cache=second), expected)
    assert second.counts.new == 0
    assert second.counts.needed == 200
    assert source.asked == []


def test_random_seed_none_draws_like_lime() -> None:
    """The seed of the default segmentation comes out of the generator that draws the rows."""
    image, source = picture(6), QuarterColours(6)
    rows = []
    for random_seed in (None, 3):
        parameters = LimeParameters(num_samples=50, random_seed=random_seed)
        ours = explain(image, source, parameters, seed=11)
        _assert_same(ours, _stock(image, source, parameters, 11))
        rows.append(ours.local_exp)
    assert rows[0] != rows[1]


def test_rows_are_prefix_stable_and_start_with_everything() -> None:
    def drawn(count: int) -> NDArray[np.int64]:
        return draw_rows(np.random.RandomState(8), count, 13)

    assert np.array_equal(drawn(200)[:60], drawn(60))
    assert drawn(60)[0].all()
    assert set(np.unique(drawn(60)[1:])) == {0, 1}


@pytest.mark.parametrize("regressor", [None, Regressor.of("Lasso", alpha=1e-4)])
def test_first_label_only_gives_the_first_label_of_the_full_explanation(
    regressor: Regressor | None,
) -> None:
    image, source = picture(7), QuarterColours(40)
    for features, label in ((4, None), (9, None), (4, 31), (9, 31)):
        parameters = LimeParameters(
            segmentation=_FEW, num_samples=90, num_features=features, regressor=regressor
        ).about(label)
        stock = _stock(image, source, parameters, 2)
        ours = explain(image, source, parameters, seed=2, first_label_only=True)
        top = stock.top_labels[0] if label is None else label
        assert explained_label(ours) == explained_label(stock) == top
        assert getattr(ours, "top_labels", None) == getattr(stock, "top_labels", None)
        assert list(ours.local_exp) == [top]
        assert ours.local_exp[top] == stock.local_exp[top]
        assert ours.intercept[top] == stock.intercept[top]


def test_of_equal_answers_the_top_label_is_lime_s() -> None:
    """numpy's sorting decides, and does not take the first."""
    for answer in (np.full(4, 0.25), np.array([0.1, 0.4, 0.4, 0.1])):

        def same(images: NDArray[np.uint8], answer: Any = answer) -> NDArray[Any]:
            return np.repeat(answer[None], len(images), 0)

        stock = LimeImageExplainer(random_state=0).explain_instance(
            picture(1), same, num_samples=5, segmentation_fn=_FEW.as_lime()
        )
        assert top_label(answer) == stock.top_labels[0]


def test_mask_is_the_union_of_the_selected_superpixels() -> None:
    image, source = picture(8), QuarterColours(6)
    explanation = explain(image, source, LimeParameters(segmentation=_FEW, num_samples=90), seed=0)
    mask = explanation_mask(explanation)
    chosen = selected_superpixels(explanation.local_exp[explanation.top_labels[0]])
    assert mask.dtype == np.bool_
    assert 0 < mask.sum() < mask.size
    assert np.array_equal(mask, np.isin(explanation.segments, chosen))


def test_what_cannot_be_explained_is_refused() -> None:
    source = QuarterColours(6)
    for image in (
        np.zeros((24, 24), np.uint8),
        np.zeros((24, 24, 4), np.uint8),
        np.zeros((24, 24, 3), np.float32),
    ):
        with pytest.raises(InvalidInput, match=r"uint8"):
            explain(image, source, LimeParameters(), seed=0)
    parameters = LimeParameters(top_labels=None, labels=(6,), num_samples=10)
    with pytest.raises(InvalidInput, match=r"labels=\(6,\)"):
        explain(picture(0), source, parameters, seed=0)


# The file of the cache.

_PARAMETERS = LimeParameters(segmentation=_FEW, num_samples=120, hide_color=0)


def _explain_on(folder: Path, source: QuarterColours | None = None, seed: int = 1) -> Any:
    """Explain on a cache in that folder and compare with stock lime; the cache, still open."""
    cache = PredictionCache(folder)
    source = QuarterColours(6) if source is None else source
    ours = explain(picture(9), source, _PARAMETERS, seed=seed, cache=cache)
    _assert_same(ours, _stock(picture(9), QuarterColours(6), _PARAMETERS, seed))
    return cache


_WORKER = """
import logging, sys
from pathlib import Path
from explainers.lime import LimeParameters, PredictionCache, Segmentation, explain
from tests.explainers.numpy_classifiers import QuarterColours, picture
logging.basicConfig()
source = QuarterColours(6)
parameters = LimeParameters(Segmentation.of("slic", n_segments=8), 0, num_samples=120)
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
cache = PredictionCache(Path(sys.argv[1]))
for seed in map(int, sys.argv[2:]):
    explain(picture(9), source, parameters, seed=seed, cache=cache)
cache.close()
"""


def test_processes_share_one_file(tmp_path: Path) -> None:
    seeds = ([1, 2, 3, 4, 5], [5, 4, 3, 6, 1], [7, 2, 6, 1, 3])
    repository = Path(__file__).resolve().parents[2]
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _WORKER, str(tmp_path), *map(str, own)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=repository,
        )
        for own in seeds
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    # All are imported and waiting, so that the file is made and written by all at once.
    reports = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        reports.append(worker.communicate(timeout=60)[1])
    assert [(w.returncode, r) for w, r in zip(workers, reports, strict=True)] == [(0, "")] * 3
    for seed in range(1, 8):
        assert _explain_on(tmp_path, seed=seed).counts.new == 0


def test_another_open_cache_takes_over_what_was_appended(tmp_path: Path) -> None:
    first, second = _explain_on(tmp_path, seed=1), PredictionCache(tmp_path)
    source = QuarterColours(6)
    explain(picture(9), source, _PARAMETERS, seed=1, cache=second)
    explain(picture(9), QuarterColours(6), _PARAMETERS, seed=2, cache=first)
    explain(picture(9), source, _PARAMETERS, seed=2, cache=second)
    assert source.asked == []


@pytest.mark.parametrize("damage", ["garbage", "text", "cut header", "cut half", "other layout"])
def test_damaged_file_is_put_aside_and_work_goes_on(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _explain_on(tmp_path).close()
    path = tmp_path / "answers.sqlite3"
    whole = path.read_bytes()
    if damage == "other layout":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 77")
        connection.close()
    else:
        path.write_bytes(
            {
                "garbage": np.random.default_rng(0).bytes(len(whole)),
                "text": b"not a database\n" * 500,
                "cut header": whole[:60],
                "cut half": whole[: len(whole) // 2],
            }[damage]
        )
    damaged = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        _explain_on(tmp_path).close()
    assert str(path) in caplog.text
    aside = list(tmp_path.glob("answers.sqlite3.damaged-*"))
    assert [p.stat().st_size for p in aside] == [len(damaged)]
    assert [p.read_bytes()[100:] for p in aside] == [damaged[100:]]  # but SQLite's own header
    assert _explain_on(tmp_path).counts.new == 0  # the new file keeps answers


def test_damaged_chunk_is_left_out_and_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = _explain_on(tmp_path)
    asked = cache.counts.new
    cache.close()
    with sqlite3.connect(tmp_path / "answers.sqlite3") as connection:
        number, answers = connection.execute("SELECT id, answers FROM chunk").fetchone()
        flipped = bytes([answers[0] ^ 1]) + answers[1:]
        connection.execute("UPDATE chunk SET answers = ? WHERE id = ?", (flipped, number))
    connection.close()
    with caplog.at_level(logging.WARNING):
        repaired = _explain_on(tmp_path)  # the flipped bit is in no explanation
    assert f"chunk {number} of" in caplog.text
    assert asked - 1 <= repaired.counts.new <= asked
    repaired.close()
    assert _explain_on(tmp_path).counts.new == 0


def test_damaged_superpixels_are_computed_again(tmp_path: Path) -> None:
    _explain_on(tmp_path).close()
    with sqlite3.connect(tmp_path / "answers.sqlite3") as connection:
        (labels,) = connection.execute("SELECT labels FROM superpixels").fetchone()
        connection.execute("UPDATE superpixels SET labels = ?", (labels[:-1] + b"!",))
    connection.close()
    assert _explain_on(tmp_path).counts.new == 0


def test_unusable_folder_falls_back_to_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("a folder cannot be made here")
    with caplog.at_level(logging.WARNING):
        cache = _explain_on(tmp_path / "file" / "bank")
    assert "in memory only" in caplog.text
    new = cache.counts.new
    explain(picture(9), QuarterColours(6), _PARAMETERS, seed=1, cache=cache)
    assert cache.counts.new == new


def test_file_that_fails_in_the_middle_is_left_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, source = _explain_on(tmp_path, seed=1), QuarterColours(6)
    with sqlite3.connect(tmp_path / "answers.sqlite3") as other:
        other.execute("DROP TABLE chunk")
    other.close()
    with caplog.at_level(logging.WARNING):
        for seed in (2, 3):
            ours = explain(picture(9), source, _PARAMETERS, seed=seed, cache=cache)
            _assert_same(ours, _stock(picture(9), QuarterColours(6), _PARAMETERS, seed))
    assert caplog.text.count("in memory only") == 1
    assert len(source.asked) == len(set(source.asked))


def test_entries_used_longest_ago_are_dropped_beyond_the_limit(tmp_path: Path) -> None:
    path, limit, source = tmp_path / "answers.sqlite3", 400_000, QuarterColours(6)
    parameters = [
        LimeParameters(Segmentation.of("slic", n_segments=20), grey, num_samples=500)
        for grey in range(40)
    ]
    held = []
    for each in parameters:
        # The limit is looked at by the first append of a process.
        cache = PredictionCache(tmp_path, max_bytes=limit)
        explain(picture(9), source, each, seed=0, cache=cache)
        cache.close()
        assert path.stat().st_size < 1.2 * limit
        with sqlite3.connect(path) as connection:
            held.append(connection.execute("SELECT COUNT(DISTINCT entry) FROM chunk").fetchone()[0])
        connection.close()
    most = max(held)
    assert 5 < most < 20
    assert min(held[most:]) > 0.6 * most  # a fifth goes at a time, never everything
    reopened = PredictionCache(tmp_path, max_bytes=limit)
    new = []
    for each in (*parameters[-4:], parameters[0]):
        before = reopened.counts.new
        explain(picture(9), source, each, seed=0, cache=reopened)
        new.append(reopened.counts.new - before)
    assert new[:4] == [0, 0, 0, 0]
    assert new[4] > 400
