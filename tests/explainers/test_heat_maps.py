"""Heat maps: what is promised of each method, and that the model is left alone."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from explainers.cam import CONSENSUS_OF, HEAT_MAP_METHODS, heat_map
from explainers.cam.channel_weights import ChannelWeights
from explainers.classifiers import Classifier, import_torchvision
from explainers.errors import InvalidInput, LimeTunerError
from explainers.images import Geometry
from explainers.lime import PredictionCache
from studies.catalog.demo import DEMO_SEEDS, draw_scene

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def _state(module: nn.Module) -> list[Any]:
    """Everything that must not change: structure, modes, hooks, weights, gradients."""
    layers: list[Any] = [
        (name, id(layer), layer.training, [len(getattr(layer, hooks)) for hooks in _HOOKS])
        for name, layer in module.named_modules()
    ]
    weights: list[Any] = [
        (name, weight.requires_grad, weight.grad, weight.detach().numpy().tobytes())
        for name, weight in (*module.named_parameters(), *module.named_buffers())
    ]
    return layers + weights


@pytest.fixture(scope="module")
def scene() -> NDArray[np.uint8]:
    return draw_scene("cat", DEMO_SEEDS["cat"]).image


@pytest.mark.parametrize("method", HEAT_MAP_METHODS)
def test_contract_of_every_method(
    method: str, demo_classifier: Classifier, scene: NDArray[np.uint8]
) -> None:
    before, image = _state(demo_classifier.module), scene.copy()
    first = heat_map(demo_classifier, scene, method)
    assert first.shape == scene.shape[:2]
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert first.max() - first.min() > 0.3
    assert np.array_equal(first, heat_map(demo_classifier, scene, method))
    assert _state(demo_classifier.module) == before
    assert np.array_equal(scene, image)


def test_class_index_defaults_to_the_likeliest(
    demo_classifier: Classifier, scene: NDArray[np.uint8]
) -> None:
    top = int(demo_classifier.predict_proba(scene[None])[0].argmax())
    default = heat_map(demo_classifier, scene, "gradcam")
    assert np.array_equal(default, heat_map(demo_classifier, scene, "gradcam", top))
    other = heat_map(demo_classifier, scene, "gradcam", (top + 1) % 10)
    assert not np.array_equal(default, other)


def test_consensus_is_the_mean_of_its_methods(
    demo_classifier: Classifier, scene: NDArray[np.uint8]
) -> None:
    maps = [heat_map(demo_classifier, scene, each) for each in CONSENSUS_OF]
    consensus = heat_map(demo_classifier, scene, "consensus")
    assert np.allclose(consensus, np.mean(maps, axis=0), atol=1e-6)


def test_progress_rises_to_its_end(demo_classifier: Classifier, scene: NDArray[np.uint8]) -> None:
    for method in ("scorecam", "ablationcam"):
        seen: list[tuple[int, int]] = []
        heat_map(
            demo_classifier, scene, method, progress=lambda *step, seen=seen: seen.append(step)
        )
        done = [step[0] for step in seen]
        assert len(seen) > 2
        assert done == sorted(done)
        assert all(so_far <= expected for so_far, expected in seen)
        assert seen[-1][0] >= seen[-1][1] - 2


class _SpotNetwork(nn.Module):
    """One averaging convolution; class 1 is "something bright", class 0 "nothing"."""

    def __init__(self, calls_before_failing: int | None = None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 5, padding=2)
        nn.init.constant_(self.convolution.weight, 1 / 75)
        nn.init.constant_(self.convolution.bias, 0.0)
        self.convolution.weight.data[1] *= -1
        # A list, so that copies of the module count on one counter.
        self.calls = [0]
        self.calls_before_failing = calls_before_failing

    def __deepcopy__(self, memo: Any) -> _SpotNetwork:
        made = _SpotNetwork(self.calls_before_failing)
        made.load_state_dict(self.state_dict())
        made.calls = self.calls
        return made.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls[0] += 1
        features = torch.relu(self.convolution(images))
        if self.calls_before_failing is not None and self.calls[0] > self.calls_before_failing:
            raise RuntimeError("out of memory, say")
        bright = features[:, 0].mean(dim=(1, 2)) * 100
        return torch.stack([torch.ones_like(bright), bright], dim=1)


def _spot_classifier(calls_before_failing: int | None = None) -> Classifier:
    return Classifier(
        name="spot",
        module=_SpotNetwork(calls_before_failing),
        class_names=("nothing", "spot"),
        geometry=Geometry(None, 32),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        cam_layer="convolution",
    )


def _spot() -> NDArray[np.uint8]:
    image = np.zeros((32, 32, 3), np.uint8)
    image[6:14, 18:28] = 255
    return image


@pytest.mark.parametrize("method", HEAT_MAP_METHODS)
def test_bright_square_is_found(method: str) -> None:
    hot = heat_map(_spot_classifier(), _spot(), method, 1)
    row, column = np.unravel_index(int(hot.argmax()), hot.shape)
    assert 6 <= row < 14
    assert 18 <= column < 28
    assert hot[8:12, 20:26].mean() > hot[20:, :12].mean() + 0.5


@pytest.mark.parametrize("method", HEAT_MAP_METHODS)
def test_model_is_left_alone_when_an_exception_passes(method: str) -> None:
    """The first answer is the classification; the second comes with hooks in place."""
    for calls in (1, 2) if method in ("scorecam", "ablationcam", "consensus") else (1,):
        classifier = _spot_classifier(calls_before_failing=calls)
        before = _state(classifier.module)
        with pytest.raises((RuntimeError, LimeTunerError), match="out of memory"):
            heat_map(classifier, _spot(), method, 1)
        assert _state(classifier.module) == before


def test_what_does_not_exist_is_named(
    demo_classifier: Classifier, scene: NDArray[np.uint8]
) -> None:
    with pytest.raises(InvalidInput, match=r"'grad-cam'.*gradcam"):
        heat_map(demo_classifier, scene, "grad-cam")
    for index in (-1, 10):
        with pytest.raises(InvalidInput, match=f"class {index} .*0 to 9"):
            heat_map(demo_classifier, scene, "gradcam", index)
    nameless = replace(demo_classifier, cam_layer=None)
    with pytest.raises(InvalidInput, match="--cam-layer"):
        heat_map(nameless, scene, "gradcam")
    with pytest.raises(LimeTunerError, match=r"'fc'.*--cam-layer"):
        heat_map(replace(demo_classifier, cam_layer="fc"), scene, "gradcam")


# Superpixel maps that a cache begins with before they are asked for.


IMAGE = np.zeros((4, 6, 3), dtype=np.uint8)


@dataclass
class Columns:
    """Stands for lime's wrapper: superpixels that are columns of some width."""

    width: int
    computed_by: list[threading.Thread] = field(default_factory=list)
    begin: threading.Event | None = None
    algo_type = "columns"

    @property
    def target_params(self) -> dict[str, Any]:
        return {"width": self.width}

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        if self.begin is not None:
            self.begin.wait(30)
        self.computed_by.append(threading.current_thread())
        if self.width < 1:
            raise ValueError("no width")
        labels: NDArray[np.int64] = np.indices(image.shape[:2])[1] // self.width
        return labels


def test_each_is_computed_once_and_elsewhere(tmp_path: Path) -> None:
    narrow, wide, other = Columns(1), Columns(3), Columns(2)
    cache = PredictionCache(tmp_path)
    for _ in range(2):
        cache.expect(IMAGE, [narrow, wide], threads=2)
    for algorithm, superpixels in ((narrow, 6), (wide, 2), (other, 3), (wide, 2)):
        assert cache.superpixels(IMAGE, algorithm).max() + 1 == superpixels
    cache.expect(IMAGE, [narrow, wide], threads=2)
    cache.close()
    again = PredictionCache(tmp_path)
    again.expect(IMAGE, [narrow], threads=2)
    np.testing.assert_array_equal(again.superpixels(IMAGE, narrow), narrow(IMAGE))
    again.close()
    main = threading.current_thread()
    assert [thread is main for thread in narrow.computed_by] == [False, True]
    assert [thread is main for thread in wide.computed_by] == [False]
    assert [thread is main for thread in other.computed_by] == [True]


def test_what_goes_wrong_is_told_where_the_map_is_needed() -> None:
    cache, broken = PredictionCache(), Columns(0)
    cache.expect(IMAGE, [broken], threads=1)
    with pytest.raises(ValueError, match="no width"):
        cache.superpixels(IMAGE, broken)


def test_closing_waits_for_nothing() -> None:
    cache, begin = PredictionCache(), threading.Event()
    slow = [Columns(width, begin=begin) for width in (1, 2, 3)]
    cache.expect(IMAGE, slow, threads=1)
    start = time.monotonic()
    cache.close()
    assert time.monotonic() - start < 10
    begin.set()
    time.sleep(0.2)
    assert not slow[1].computed_by
    assert not slow[2].computed_by


# Score-CAM and Ablation-CAM: grad-cam's own maps, and weights that can be worked out by hand.


def _plain(classifier: Classifier, image: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    import_torchvision()
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    index = int(classifier.predict_proba(image[None])[0].argmax())
    made = getattr(pytorch_grad_cam, kind)
    with made(model=classifier.module, target_layers=[classifier.cam_target()]) as cam:
        found: NDArray[np.float32] = cam(
            input_tensor=classifier.normalise(image[None]),
            targets=[ClassifierOutputTarget(index)],
        )[0]
    return found


@pytest.mark.parametrize(
    ("method", "kind"), [("scorecam", "ScoreCAM"), ("ablationcam", "AblationCAM")]
)
@pytest.mark.parametrize("key", ["cat", "mug"])
def test_maps_are_grad_cam_s(method: str, kind: str, key: str, demo_classifier: Classifier) -> None:
    scene = draw_scene(key, DEMO_SEEDS[key]).image
    ours = heat_map(demo_classifier, scene, method)
    np.testing.assert_allclose(ours, _plain(demo_classifier, scene, kind), atol=1e-3)


class _Sums(nn.Module):
    """Logit of class 1: 2 a + 5 b + 0 c for the channels' sums; class 0 has none.

    ``tail`` says how it goes on behind the layer.
    """

    def __init__(self, tail: str) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        self.layer.weight.data = torch.eye(3)[:, :, None, None]
        self.tail = tail
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        count = len(images)
        self.seen.append(count)
        maps = self.layer(images)
        if self.tail == "in place":
            maps *= 1.0
        if self.tail == "of as many":  # cannot go on with more pictures than came
            maps = maps.reshape(count, 3, *images.shape[2:])
        if self.tail == "all in one":  # would mix them up without an error
            maps = maps.reshape(count, -1, 3, *images.shape[2:]).sum(dim=1)
        sums = maps.sum(dim=(2, 3))
        logit = 2 * sums[:, 0] + 5 * sums[:, 1]
        return torch.stack([torch.zeros_like(logit), logit], dim=1)


def _classifier(tail: str) -> Classifier:
    return Classifier(
        name="sums",
        module=_Sums(tail),
        class_names=("none", "some"),
        geometry=Geometry(None, 8),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        cam_layer="layer",
    )


def _target(category: int) -> Any:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    return ClassifierOutputTarget(category)


IMAGE_CHANNEL_WEIGHTS = np.zeros((1, 8, 8, 3), dtype=np.uint8)
IMAGE_CHANNEL_WEIGHTS[0, 2:4, 2:6] = (
    255,
    102,
    51,
)  # sums 8, 3.2 and 1.6; logit 2 * 8 + 5 * 3.2 = 32


@pytest.mark.parametrize("tail", ["plain", "in place", "of as many", "all in one"])
def test_ablation_weights_are_the_shares_that_channels_have(tail: str) -> None:
    import_torchvision()
    classifier = _classifier(tail)
    weights = ChannelWeights(classifier, "ablationcam")
    inputs = classifier.normalise(IMAGE_CHANNEL_WEIGHTS)
    found = weights(inputs, None, [_target(1)], np.zeros((1, 3, 8, 8), np.float32), None)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0]], atol=1e-5)


def test_score_weights_are_the_softmax_of_masked_logits() -> None:
    import_torchvision()
    classifier = _classifier("plain")
    inputs = classifier.normalise(IMAGE_CHANNEL_WEIGHTS)
    activations = np.zeros((1, 4, 8, 8), dtype=np.float32)
    activations[0, 0] = IMAGE_CHANNEL_WEIGHTS[0, ..., 0] / 255  # shows all that is bright: logit 32
    activations[0, 1, 2] = 7.0  # the upper half of it: logit 16
    activations[0, 3] = activations[0, 1] / 3  # the same mask: not asked again
    progress: list[tuple[int, int]] = []
    weights = ChannelWeights(
        classifier, "scorecam", lambda done, total: progress.append((done, total))
    )
    found = weights(inputs, None, [_target(1)], activations, None)
    expected = torch.softmax(torch.tensor([32.0, 16.0, 0.0, 16.0]), dim=0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert progress[-1] == (3, 3)
