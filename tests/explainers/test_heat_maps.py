"""Heat maps: what is promised of each method, and that the model is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from explainers.classifier import Classifier
from explainers.errors import InvalidInput, LimeTunerError
from explainers.heat_maps import CONSENSUS_OF, HEAT_MAP_METHODS, heat_map
from explainers.images import Geometry
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
        with pytest.raises(RuntimeError, match="out of memory"):
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
