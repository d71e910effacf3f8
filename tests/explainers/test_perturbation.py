"""Perturbed images are the ones that stock lime shows a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.lime import HideColor, Perturbation
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
