"""What every superpixel algorithm promises to lime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explainers.errors import InvalidParameters
from explainers.lime import SEGMENTERS, Segmentation, lime_default_segmentation
from explainers.lime.segmentation import Number
from tests.explainers.numpy_classifiers import picture

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
