"""Features through open_clip, by a small model that knows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dissection.probing import (
    ClipModel,
    FeatureCache,
    ProbingSet,
    image_features,
    probing_images,
    text_features,
)
from explainers.errors import InvalidInput, MissingAsset
from tests.dissection.tiny_clip import write_tiny_clip


@pytest.fixture
def tiny(tmp_path: Path) -> ClipModel:
    return ClipModel(str(write_tiny_clip(tmp_path / "tiny-clip.json")), "random")


@pytest.fixture
def probe(tmp_path: Path) -> ProbingSet:
    folder = tmp_path / "probe"
    folder.mkdir()
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (40, 30), colour).save(folder / f"{number}.png")
    return probing_images(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[FeatureCache]:
    cache = FeatureCache(tmp_path / "features.db")
    yield cache
    cache.close()


def test_features_are_unit_rows_and_the_same_again(tiny: ClipModel, probe: ProbingSet) -> None:
    images = image_features(tiny, probe.images)
    texts = text_features(tiny, ["dog", "cat"])
    assert (images.shape, texts.shape) == ((3, 24), (2, 24))
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    other = ClipModel(tiny.name, tiny.weights)
    np.testing.assert_allclose(image_features(other, probe.images), images, atol=1e-6)


def test_only_what_has_changed_is_encoded_again(
    tiny: ClipModel, probe: ProbingSet, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    images, texts = ClipModel.encode_images, ClipModel.encode_texts
    monkeypatch.setattr(
        ClipModel, "encode_images",
        lambda self, some: encoded.extend(path.name for path in some) or images(self, some),
    )  # fmt: skip
    monkeypatch.setattr(
        ClipModel, "encode_texts", lambda self, some: encoded.extend(some) or texts(self, some)
    )
    first = text_features(tiny, ["dog", "cat"], cache=cache)
    image_features(tiny, probe.images, cache=cache)
    assert encoded == ["dog", "cat", "0.png", "1.png", "2.png"]
    encoded.clear()
    found = text_features(tiny, ["cat", "bird", "dog"], cache=cache)
    np.testing.assert_array_equal(found[[2, 0]], first)
    Image.new("RGB", (40, 30), "white").save(probe.images[1].path)
    image_features(tiny, probing_images(probe.images[0].path.parent).images, cache=cache)
    assert encoded == ["bird", "1.png"]
    encoded.clear()
    text_features(tiny, ["dog"], templates=["a photo of a {}"], cache=cache)
    assert encoded == ["a photo of a dog"]


def test_prompts_are_averaged(tiny: ClipModel) -> None:
    one, other = (text_features(tiny, ["dog"], templates=[t]) for t in ("a {}", "the {}"))
    both = text_features(tiny, ["dog"], templates=["a {}", "the {}"])
    mean = (one + other) / 2
    np.testing.assert_allclose(both, mean / np.linalg.norm(mean), atol=1e-6)


def test_wrong_calls(tiny: ClipModel, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="ViT-B-16-quickgelu"):
        ClipModel("ViT-B-16", "openai")
    with pytest.raises(InvalidInput, match="no such file"):
        ClipModel(str(tmp_path / "none.json"), "random")
    with pytest.raises(InvalidInput, match="unknown to open_clip"):
        text_features(ClipModel("ViT-Z", "random"), ["dog"])
    with pytest.raises(MissingAsset, match="cannot be loaded"):
        text_features(ClipModel(tiny.name, str(tmp_path / "none.pt")), ["dog"])
    with pytest.raises(InvalidInput, match="longer than the 77 tokens"):
        text_features(tiny, ["word " * 100])
    for template in ("a photo", "{} and {}"):
        with pytest.raises(InvalidInput, match="where the concept goes"):
            text_features(tiny, ["dog"], templates=[template])
