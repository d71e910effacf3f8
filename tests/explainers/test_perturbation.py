"""Perturbed images are the ones that stock lime shows a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray

from explainers.errors import InvalidInput, InvalidParameters
from explainers.lime import (
    SEGMENTERS,
    HideColor,
    Perturbation,
    Segmentation,
    lime_default_segmentation,
)
from explainers.lime.segmentation import Number
from tests.explainers.numpy_classifiers import picture

pytestmark = pytest.mark.filterwarnings("ignore")  # of scikit-learn, about constant answers


class _Recorder(LimeImageExplainer):  # type: ignore[misc]  # lime has no types
    """Stock lime that keeps the rows it draws and the images it asks about."""

    rows: NDArray[np.int64]

    def __init__(self, seed: int) -> None:
        super().__init__(random_state=seed)
        self.asked: list[NDArray[np.uint8]] = []

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.asked.extend(images)
        share = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([share, 1 - share], axis=1)

    def data_labels(self, *arguments: Any, **keywords: Any) -> Any:
        found = super().data_labels(*arguments, **keywords)
        self.rows = found[0]
        return found


@st.composite
def _images_and_maps(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise, and a map in which the pixels of a superpixel lie anywhere."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    pixels = height * width
    count = draw(st.one_of(st.just(1), st.integers(1, min(pixels, 12)), st.integers(1, pixels)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.concatenate([np.arange(count), generator.integers(0, count, pixels - count)])
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, generator.permutation(labels).reshape(height, width)


_SINGLE_PIXELS = np.arange(18 * 17).reshape(18, 17)  # 306 labels: more than a byte can tell apart
_bytes = st.integers(0, 255)


@given(
    image_and_map=_images_and_maps(),
    hide_color=st.one_of(st.none(), _bytes, st.tuples(_bytes, _bytes, _bytes)),
    seed=st.integers(0, 2**32 - 1),
)
@example((picture(0, 18, 17), _SINGLE_PIXELS), 0, 0)
@example((picture(1, 18, 17), _SINGLE_PIXELS // 3), None, 1)
@example((picture(2), np.zeros((28, 24), dtype=np.int64)), None, 2)
@settings(max_examples=60)
def test_images_are_those_that_stock_lime_asks_about(
    image_and_map: tuple[NDArray[np.uint8], NDArray[np.int64]], hide_color: HideColor, seed: int
) -> None:
    image, segments = image_and_map
    lime = _Recorder(seed)
    lime.explain_instance(
        image,
        lime.classify,
        hide_color=hide_color,
        num_samples=9,
        batch_size=4,
        segmentation_fn=lambda _: segments,
    )
    images = Perturbation(image, segments, hide_color).images(lime.rows)
    assert images.dtype == np.uint8
    assert np.array_equal(images, np.stack(lime.asked))


def test_superpixels_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\(24, 28\).*\(28, 24, 3\)"):
        Perturbation(picture(0), np.zeros((24, 28), dtype=np.int64), None)


# What every superpixel algorithm promises to lime.


_IMAGES = {
    "rectangles": picture(0, 40, 30),
    "noise": np.random.default_rng(0).integers(0, 256, (25, 31, 3), dtype=np.uint8),
    "one colour": np.full((24, 24, 3), 90, np.uint8),
}


@st.composite
def _segmentations(draw: st.DrawFn) -> Segmentation:
    """Over the whole accepted range, but no window larger than the pictures need."""
    segmenter = SEGMENTERS[draw(st.sampled_from(sorted(SEGMENTERS)))]
    chosen: dict[str, Number] = {}
    for name, (kind, low, high) in segmenter.parameters.items():
        top = min(high, 6) if name == "kernel_size" else high
        numbers = st.integers(int(low), int(top)) if kind is int else st.floats(low, top)
        chosen[name] = draw(numbers)
    return Segmentation.of(segmenter.name, **chosen)


@pytest.mark.parametrize("image", _IMAGES.values(), ids=_IMAGES.keys())
@given(segmentation=_segmentations())
@settings(max_examples=25)
def test_contract(image: NDArray[np.uint8], segmentation: Segmentation) -> None:
    before = image.copy()
    labels = segmentation(image)
    assert labels.shape == image.shape[:2]
    assert np.issubdtype(labels.dtype, np.integer)
    assert np.unique(labels).tolist() == list(range(int(labels.max()) + 1))
    assert np.array_equal(labels, segmentation(image))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("algorithm", SEGMENTERS)
def test_defaults_divide_a_picture(algorithm: str) -> None:
    labels = Segmentation.of(algorithm)(picture(0, 60, 60))
    assert 2 <= labels.max() + 1 <= 400


def test_default_algorithm_is_limes_own() -> None:
    from lime import lime_image

    image, seen = picture(1), []
    original = lime_image.SegmentationAlgorithm

    def spy(*args: object, **kwargs: object) -> object:
        made = original(*args, **kwargs)
        seen.append((made.algo_type, made.target_params))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lime_image, "SegmentationAlgorithm", spy)
        lime_image.LimeImageExplainer(random_state=0).explain_instance(
            image, lambda x: np.ones((len(x), 2)) / 2, top_labels=1, num_samples=5, random_seed=77
        )
    ours = lime_default_segmentation(77)
    assert seen == [(ours.algo_type, ours.target_params)]


def test_equal_choices_are_equal_values() -> None:
    first = Segmentation.of("slic", sigma=1, n_segments=20.0, compactness=10)
    second = Segmentation("slic", (("n_segments", 20), ("compactness", 10.0), ("sigma", 1.0)))
    assert first == second
    assert hash(first) == hash(second)
    assert isinstance(dict(first.parameters)["n_segments"], int)
    assert first != Segmentation.of("slic", sigma=1, n_segments=21, compactness=10)


def test_work_grows_with_the_picture_and_quickshifts_window() -> None:
    for algorithm in SEGMENTERS:
        assert Segmentation.of(algorithm).work(40_000) > Segmentation.of(algorithm).work(10_000)
    small, large = (Segmentation.of("quickshift", kernel_size=k).work(100) for k in (2, 6))
    assert 5 < large / small < 12


@pytest.mark.parametrize(
    ("algorithm", "parameters", "message"),
    [
        ("watershed", {}, "quickshift, slic, felzenszwalb"),
        ("slic", {"scale": 3}, "n_segments, compactness, sigma"),
        ("slic", {"start_label": 1}, "no parameter 'start_label'"),
        ("slic", {"n_segments": 1}, "outside 2 to 1000"),
        ("slic", {"n_segments": 20.5}, "whole numbers"),
        ("slic", {"n_segments": True}, "not a number"),
        ("slic", {"compactness": "10"}, "not a number"),
        ("quickshift", {"ratio": 1.01}, "outside 0 to 1"),
        ("quickshift", {"ratio": float("nan")}, "outside"),
        ("quickshift", {"kernel_size": float("inf")}, "outside"),
        ("felzenszwalb", {"min_size": float("inf")}, "outside"),
        ("felzenszwalb", {"sigma": -0.1}, "outside"),
    ],
)
def test_bad_choices_are_refused(
    algorithm: str, parameters: dict[str, Number], message: str
) -> None:
    with pytest.raises(InvalidParameters, match=message):
        Segmentation.of(algorithm, **parameters)
