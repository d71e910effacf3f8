"""Classifiers by name: what is refused and how, where maps come from, what they answer."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explainers.cam import heat_map
from explainers.classifiers import (
    DEMO_CLASS_NAMES,
    Classifier,
    DemoNetwork,
    import_torchvision,
    load_classifier,
    load_demo_network,
    pick_device,
)
from explainers.engines import TorchEngine
from explainers.errors import InvalidInput, LimeTunerError, MissingAsset
from explainers.images import load_image, prepare
from studies.catalog.demo import CLASS_NAMES, DEMO_SEEDS, draw_scene
from studies.catalog.demo.train import HELD_OUT_SEED, TRAINING_SEED
from tests.explainers.numpy_classifiers import picture

_FACTORY = """
import torch
from explainers.classifiers import Classifier
class Traces(torch.nn.Sequential):
    seen = None
    def forward(self, x):
        self.seen, self.last = tuple(x.shape), x.detach()
        return super().forward(x)
def traces():
    return Traces(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
def module():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(5, 3))
def classifier():
    return Classifier("mine", module(), ("a", "b", "c"), cam_layer="0")
def nothing():
    return None
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module beside the user's notebook."""
    (tmp_path / "my_factories.py").write_text(_FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_factories", raising=False)
    return "my_factories"


def test_factory_of_a_module_and_of_a_classifier(factories: str) -> None:
    made = load_classifier(f"{factories}:module", device="cpu")
    assert made.cam_layer == "2"  # the last convolution
    assert made.class_name(2) == "2"
    assert not made.module.training
    answers = made.predict_proba(picture(0, 32, 32)[None])
    assert answers.shape == (1, 3)
    assert answers.dtype == np.float32
    assert answers.sum() == pytest.approx(1)
    mine = load_classifier(f"{factories}:classifier", device="cpu")
    assert (mine.name, mine.cam_layer, mine.class_name(2)) == ("mine", "0", "c")
    assert mine.fingerprint == made.fingerprint
    assert mine.spec == {
        "model": f"{factories}:classifier", "weights": None, "device": "cpu", "cam_layer": None
    }  # fmt: skip


def test_factory_takes_weights(factories: str, tmp_path: Path) -> None:
    module = load_classifier(f"{factories}:module", device="cpu").module
    changed = {f"module.{k}": v + 1 for k, v in module.state_dict().items()}
    torch.save({"state_dict": changed, "epoch": 3}, tmp_path / "trained.pth")
    plain, trained = (
        load_classifier(f"{factories}:module", weights=w, device="cpu")
        for w in (None, str(tmp_path / "trained.pth"))
    )
    assert trained.fingerprint != plain.fingerprint
    assert torch.equal(trained.module[0].weight, plain.module[0].weight + 1)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("missing", "cannot be imported"),
        ("", "cannot be imported"),
        ("nothing", "returned NoneType"),
    ],
)
def test_bad_factory(factories: str, attribute: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{factories}:{attribute}' {message}"):
        load_classifier(f"{factories}:{attribute}", device="cpu")
    with pytest.raises(InvalidInput, match="'no_such_module_here:f' cannot be imported"):
        load_classifier("no_such_module_here:f", device="cpu")


def test_unknown_model_weights_and_device(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"unknown model 'resnet51'.*resnet50"):
        load_classifier("resnet51", device="cpu")
    with pytest.raises(MissingAsset, match=r"missing\.pth.*IMAGENET1K_V1"):
        load_classifier("resnet18", weights=str(tmp_path / "missing.pth"), device="cpu")
    with pytest.raises(InvalidInput, match="'cuda:99'"):
        pick_device("cuda:99")
    with pytest.raises(InvalidInput, match="'gpu'"):
        pick_device("gpu")


def test_weights_of_something_else(tmp_path: Path, demo_classifier: Classifier) -> None:
    path = tmp_path / "weights.pth"
    torch.save(demo_classifier.module.state_dict(), path)
    with pytest.raises(InvalidInput, match="does not hold weights of resnet18"):
        load_classifier("resnet18", weights=str(path), device="cpu")
    torch.save([1, 2], path)
    with pytest.raises(InvalidInput, match="list, not a state dict"):
        load_classifier("resnet18", weights=str(path), device="cpu")
    torch.save(torch.nn.Linear(1, 1), path)  # a pickled module: refused, not executed
    with pytest.raises(InvalidInput, match="loaded safely"):
        load_classifier("resnet18", weights=str(path), device="cpu")
    path.write_text("no pickle")
    with pytest.raises(InvalidInput, match="loaded safely"):
        load_classifier("resnet18", weights=str(path), device="cpu")


def test_weights_with_other_classes_as_they_are_published(tmp_path: Path) -> None:
    """Places365's files: 365 classes, wrapped, trained on several GPUs, before batches counted."""
    made = import_torchvision().models.resnet18(num_classes=365)
    state = {
        f"module.{key}": value
        for key, value in made.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    path = tmp_path / "resnet18_places365.pth.tar"
    torch.save({"epoch": 90, "arch": "resnet18", "state_dict": state}, path)
    classifier = load_classifier("resnet18", weights=str(path), device="cpu")
    assert torch.equal(classifier.module.fc.weight, made.fc.weight)
    assert classifier.predict_proba(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 365)
    assert (classifier.class_names, classifier.class_name(364)) == ((), "364")


def test_cam_layer_override() -> None:
    scene = draw_scene("mug", DEMO_SEEDS["mug"]).image
    earlier = load_classifier("demo", device="cpu", cam_layer="features.2")
    assert earlier.cam_target() is earlier.module.get_submodule("features.2")
    assert earlier.spec is not None
    assert earlier.spec["cam_layer"] == "features.2"
    default = load_classifier("demo", device="cpu")
    assert earlier.fingerprint == default.fingerprint  # the same answers
    maps = [heat_map(c, scene, "gradcam") for c in (earlier, default)]
    assert not np.array_equal(*maps)
    with pytest.raises(InvalidInput, match=r"no layer 'layer4'.*features, fc"):
        load_classifier("demo", device="cpu", cam_layer="layer4")


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("resnet18", "layer4.1"),
        ("convnext_tiny", "features.7"),
        ("mobilenet_v3_small", "features.12"),
        ("efficientnet_b0", "features.8"),
        ("vgg11", "features.20"),
        ("densenet121", "features.norm5"),
        ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1"),
        ("swin_t", "features.7.1.norm1"),
    ],
)
def test_last_feature_map_of_torchvisions_families(model: str, layer: str) -> None:
    torch.manual_seed(0)
    classifier = load_classifier(model, weights="random", device="cpu")
    assert classifier.cam_layer == layer
    assert len(classifier.class_names) == 1000
    shapes: list[tuple[int, ...]] = []
    reshape = classifier.reshape_transform or (lambda features: features)
    hook = classifier.cam_target().register_forward_hook(
        lambda module, inputs, output: shapes.append(tuple(reshape(output).shape))
    )
    image = picture(0, 224, 224)
    hot = heat_map(classifier, image, "gradcam", 7)
    hook.remove()
    assert len(shapes[0]) == 4
    assert shapes[0][2:] in {(7, 7), (14, 14)}
    assert hot.shape == (224, 224)
    assert np.isfinite(hot).all()


def test_a_layer_without_a_feature_map_is_told(demo_classifier: Classifier) -> None:
    scene = draw_scene("mug", DEMO_SEEDS["mug"]).image
    with pytest.raises(LimeTunerError, match="--cam-layer"):
        heat_map(demo_classifier.with_cam_layer("fc"), scene, "gradcam")


def test_fingerprint_follows_what_decides_an_answer() -> None:
    first, second = (load_classifier("demo", device="cpu") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    with torch.no_grad():
        second.module.fc.bias[3] += 1e-3
    changed = Classifier("demo", second.module, second.class_names, mean=(0.5,) * 3, std=(0.5,) * 3)
    same = Classifier("demo", first.module, first.class_names, mean=(0.5,) * 3, std=(0.5,) * 3)
    scaled = Classifier("demo", first.module, first.class_names, mean=(0.5,) * 3, std=(0.4,) * 3)
    assert same.fingerprint == first.fingerprint
    assert len({first.fingerprint, changed.fingerprint, scaled.fingerprint}) == 3


def test_engine_agrees_and_leaves_the_module_alone(demo_classifier: Classifier) -> None:
    scenes = np.stack([draw_scene(n, DEMO_SEEDS[n]).image for n in ("cat", "key", "boat")])
    weights = {k: v.clone() for k, v in demo_classifier.module.state_dict().items()}
    engine = TorchEngine(demo_classifier)
    plain, fast = demo_classifier.predict_proba(scenes), engine.predict_proba(scenes)
    assert np.abs(plain - fast).max() < 1e-5
    assert np.ptp(plain, axis=0).max() > 0.5
    assert engine.fingerprint != demo_classifier.fingerprint
    assert all(p.requires_grad for p in demo_classifier.module.parameters())
    after = demo_classifier.module.state_dict()
    assert all(torch.equal(weights[k], after[k]) for k in weights)


def test_mobilenet_names_the_photographs(mobilenet: Classifier, assets: Path) -> None:
    paths = sorted((assets / "images" / "tml25").glob("n*.JPEG"))
    assert len(paths) == 10
    right = 0
    for path in paths:
        image = prepare(load_image(path), mobilenet.geometry)
        top = int(mobilenet.predict_proba(image[None])[0].argmax())
        expected = path.stem.partition("_")[2].replace("_", " ").lower()
        right += mobilenet.class_name(top).lower() == expected
    assert right >= 7


def test_what_answering_leaves_in_a_module_does_not_count(factories: str) -> None:
    torch.manual_seed(0)
    fresh = load_classifier(f"{factories}:traces", device="cpu")
    torch.manual_seed(0)
    asked = load_classifier(f"{factories}:traces", device="cpu")
    asked.predict_proba(picture(0, 40, 40)[None])
    assert asked.fingerprint == fresh.fingerprint


# The network that comes with the demo catalogue.


_HELD_OUT = 100


@pytest.fixture(scope="module")
def network() -> DemoNetwork:
    return load_demo_network()


def _logits(network: DemoNetwork, images: list[NDArray[np.uint8]]) -> torch.Tensor:
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    with torch.inference_mode():
        logits: torch.Tensor = network(batch)
    return logits


def test_classes_are_those_of_the_scenes() -> None:
    assert tuple(DEMO_CLASS_NAMES) == CLASS_NAMES


def test_catalogue_held_out_and_training_seeds_do_not_meet() -> None:
    assert max(DEMO_SEEDS.values()) < HELD_OUT_SEED
    assert HELD_OUT_SEED + _HELD_OUT <= TRAINING_SEED


def test_weights_are_small_enough_to_ship() -> None:
    weights = resources.files("explainers.classifiers").joinpath("data", "demo_network.pt")
    assert len(weights.read_bytes()) < 500_000


def test_loads_in_evaluation_mode_with_the_promised_shapes(network: DemoNetwork) -> None:
    assert not network.training
    pictures = torch.zeros(2, 3, 128, 128)
    with torch.inference_mode():
        last = network.features(pictures)
        assert network(pictures).shape == (2, len(CLASS_NAMES))
    assert last.shape[0] == 2
    assert tuple(last.shape[2:]) in {(8, 8), (16, 16)}
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_catalogue_scenes_are_all_classified_right(network: DemoNetwork) -> None:
    answers = _logits(network, [draw_scene(n, DEMO_SEEDS[n]).image for n in CLASS_NAMES])
    assert [CLASS_NAMES[i] for i in answers.argmax(1).tolist()] == list(CLASS_NAMES)


def test_held_out_scenes_are_classified_right(network: DemoNetwork) -> None:
    labels = [i % len(CLASS_NAMES) for i in range(_HELD_OUT)]
    images = [
        draw_scene(CLASS_NAMES[label], HELD_OUT_SEED + i).image for i, label in enumerate(labels)
    ]
    found = _logits(network, images).argmax(1)
    assert float((found == torch.tensor(labels)).float().mean()) >= 0.9
