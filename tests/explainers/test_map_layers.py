"""Where the maps of anybody's network are taken from, and what it is fed."""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from explainers.cam import heat_map
from explainers.classifiers import (
    IMAGENET_MEAN,
    Classifier,
    TokensToMap,
    factories,
    find_map_layer,
    import_torchvision,
)
from explainers.classifiers.factories import load_from_factory
from explainers.classifiers.map_layers import trace_calls
from explainers.engines import TorchEngine
from explainers.errors import InvalidInput, LimeTunerError
from explainers.images import Geometry

_CPU = torch.device("cpu")


def _load(monkeypatch: pytest.MonkeyPatch, module: nn.Module, **options: Any) -> Classifier:
    monkeypatch.setattr(factories, "import_user_object", lambda spec, what: (None, lambda: module))
    return load_from_factory("own:net", None, _CPU, **options)


class _Backbone(nn.Module):
    """A network of torchvision with a head of the user's own."""

    def __init__(self, name: str, head: str) -> None:
        super().__init__()
        self.backbone = import_torchvision().models.get_model(name, weights=None)
        width = getattr(self.backbone, head).in_features
        setattr(self.backbone, head, nn.Identity())
        self.head = nn.Linear(width, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.backbone(images))
        return answers


class _Block(nn.Module):
    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.norm = norm
        self.add_module(norm, nn.LayerNorm(width))
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normed = self.get_submodule(self.norm)(tokens)
        tokens = tokens + self.attn(normed, normed, normed)[0]
        return tokens + self.mlp(tokens)


class _Transformer(nn.Module):
    """Named as timm names its vision transformers."""

    def __init__(self, prefix: int = 5, side: int = 32, norm: str = "norm1") -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 8, stride=8)
        self.first = nn.Parameter(torch.zeros(1, prefix, 8))
        self.position = nn.Parameter(torch.zeros(1, prefix + (side // 8) ** 2, 8))
        self.blocks = nn.Sequential(_Block(8, norm), _Block(8, norm))
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(images), -1, -1), patches], 1) + self.position
        answers: torch.Tensor = self.head(self.blocks(tokens)[:, 0])
        return answers


class _Plain(nn.Module):
    """Two convolutions, an auxiliary head that is not asked, a gate after the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stage = nn.ModuleDict({"c": nn.Conv2d(4, 6, 3, padding=1), "bn": nn.BatchNorm2d(6)})
        self.act = nn.ReLU(inplace=True)
        self.gate = nn.Conv2d(6, 6, 1)
        self.aux = nn.Conv2d(6, 3, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.act(self.stage["bn"](self.stage["c"](self.stem(images))))
        pooled = features.mean((2, 3), keepdim=True)
        answers: torch.Tensor = self.head((pooled * self.gate(pooled)).flatten(1))
        return answers


@pytest.mark.parametrize(
    ("name", "head", "layer"),
    [("densenet121", "classifier", "features.norm5"), ("resnet18", "fc", "layer4.1")],
)
def test_torchvisions_table_holds_inside_other_networks(
    name: str, head: str, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _load(monkeypatch, _Backbone(name, head)).cam_layer == f"backbone.{layer}"
    plain = import_torchvision().models.get_model(name, weights=None)
    assert _load(monkeypatch, nn.DataParallel(plain)).cam_layer == layer


def test_an_auxiliary_head_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    googlenet = import_torchvision().models.googlenet(init_weights=False)
    assert _load(monkeypatch, googlenet).cam_layer == "inception5b"
    assert _load(monkeypatch, _Plain()).cam_layer == "act"  # after the last block's norm


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_tokens_of_patches_become_a_map(prefix: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _load(monkeypatch, _Transformer(prefix), crop=32)
    assert (made.cam_layer, made.reshape_transform) == ("blocks.1.norm1", TokensToMap(prefix))
    tokens = torch.arange(prefix + 16.0).view(1, -1, 1)
    assert TokensToMap(prefix)(tokens).flatten().tolist() == list(range(prefix, prefix + 16))
    named = _load(monkeypatch, _Transformer(prefix), crop=32, cam_layer="blocks.0")
    assert (named.cam_layer, named.reshape_transform) == ("blocks.0", TokensToMap(prefix))


def test_a_patch_embedding_is_no_map_layer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = _load(monkeypatch, _Transformer(norm="other"), crop=32)
    assert made.cam_layer is None
    assert "no layer for class activation maps was found: name one with --cam-layer" in caplog.text
    with pytest.raises(InvalidInput, match=r"--cam-layer.*--reference.*--objective faithful"):
        heat_map(made, np.zeros((32, 32, 3), np.uint8), "gradcam")


def test_no_hook_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _Plain().eval()
    made = Classifier("plain", module, ())
    assert find_map_layer(module, trace_calls(made, 16)) is not None
    with pytest.raises(LimeTunerError, match=r"test_map_layers\.py line .*: RuntimeError"):
        trace_calls(Classifier("fixed", _Transformer(), ()), 40)
    assert all(not part._forward_hooks for part in module.modules())


@pytest.mark.parametrize(
    ("config", "mean", "geometry", "message"),
    [
        (
            {"mean": (0.5,) * 3, "std": (0.5,) * 3, "input_size": (3, 96, 96), "crop_pct": 0.9},
            (0.5,) * 3,
            Geometry(106, 96),
            "as its 0.pretrained_cfg says",
        ),
        (
            {"mean": (51.0,) * 3, "std": (51.0,) * 3, "input_size": (3, 96, 96), "crop_pct": 1.0},
            (0.2,) * 3,
            Geometry(96, 96),
            "in units of 0 to 255",
        ),
        (
            {"mean": (0.5,) * 2, "std": None, "input_size": (3, 96, 64)},
            IMAGENET_MEAN,
            Geometry(256, 224),
            "mean=(0.5, 0.5) and std=None ignored",
        ),
        ({}, IMAGENET_MEAN, Geometry(256, 224), "the usual values, for the module says nothing"),
    ],
)
def test_what_a_module_says_about_its_input(
    config: dict[str, Any],
    mean: tuple[float, ...],
    geometry: Geometry,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = _Plain()
    module.pretrained_cfg = config  # type: ignore[assignment]
    made = _load(monkeypatch, nn.Sequential(module))
    assert (made.mean, made.geometry) == (pytest.approx(mean), geometry)
    assert message in caplog.text
    assert "layer '0.act'" in caplog.text


def test_a_network_of_one_size(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    made = _load(monkeypatch, _Transformer(side=32))
    assert made.geometry == Geometry(32, 32)
    assert "gets 32 × 32 pixels, which alone it takes" in caplog.text
    odd = _Transformer(side=40)
    with pytest.raises(InvalidInput, match=r"224 × 224.*RuntimeError.*geometry=.*\[geometry\]"):
        _load(monkeypatch, odd)
    assert _load(monkeypatch, odd, crop=40).geometry.crop == 40
    with pytest.raises(InvalidInput, match=r"56 × 56, as the catalogue's \[geometry\]"):
        _load(monkeypatch, odd, crop=56)
    odd.img_size = (40, 40)  # type: ignore[assignment]
    assert _load(monkeypatch, odd).geometry == Geometry(40, 40)


class _Cut(nn.Module):
    """Where the gradient ends, or does not."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.features = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.how == "twice":
            return self.head(self.features(self.features(images)).mean((2, 3)))  # type: ignore[no-any-return]
        with torch.set_grad_enabled(self.how != "frozen"):
            features = self.features(images)
        if self.how == "detached":
            features = features.detach()
        if self.how == "nan":
            features = features * float("nan")
        if self.how == "in place":
            features.relu_()
        return self.head(features.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize(
    ("how", "layer", "said"),
    [
        (
            "detached",
            "features",
            "no gradient reaches layer 'features' of cut: .*--cam-layer.*--ref",
        ),
        ("frozen", "unused", "'unused' of cut is not called for an answer.*--objective faithful"),
        ("twice", "features", "'features' of cut is called 2 times"),
        ("nan", "features", "cut answers NaN, which is no probability: check its weights"),
    ],
)
def test_why_there_is_no_map(how: str, layer: str, said: str, size: int) -> None:
    """Never because of the picture's size."""
    module = _Cut(how)
    cut = Classifier("cut", module, (), geometry=Geometry(None, 32), cam_layer=layer)
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    with pytest.raises(LimeTunerError, match=said):
        heat_map(cut, image, "gradcam", 1)
    assert all(not part._forward_hooks for part in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_eigencam_of_very_many_cells_is_refused() -> None:
    """Its matrix of cells × cells would not fit into memory."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier("wide", net, (), geometry=Geometry(None, 160), cam_layer="0")
    image = np.random.default_rng(0).integers(0, 256, (160, 160, 3)).astype(np.uint8)
    with pytest.raises(LimeTunerError, match=r"'0' of wide has 160 x 160 cells, and eigencam"):
        heat_map(classifier, image, "eigencam", 1)
    assert heat_map(classifier, image[:32, :32], "eigencam", 1).shape == (32, 32)


def test_a_frozen_backbone_has_the_same_map() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    made = [_Cut(how) for how in ("open", "frozen")]
    made[1].load_state_dict(made[0].state_dict())
    maps = [
        heat_map(Classifier("cut", m, (), cam_layer="features"), image, "gradcam", 1) for m in made
    ]
    assert np.array_equal(*maps)


class _Views(nn.Module):
    """As PyTorch's CIFAR-10 and MNIST examples: rows are made of whatever features there are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 5)
        self.head = nn.Linear(4 * 5 * 5, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = nn.functional.max_pool2d(self.conv(images).relu(), 5)
        return self.head(features.view(-1, 4 * 5 * 5))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("channels", "message"), [(3, "gets 32 × 32 pixels"), (1, "32 × 32 grey")])
def test_a_size_is_taken_that_gives_a_row_for_each_image(
    channels: int, message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    made = _load(monkeypatch, _Views(channels))  # 256 gives 100 rows for one image
    assert (made.geometry, len(made.mean)) == (Geometry(32, 32), channels)
    assert message in caplog.text
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    expected = made.predict_proba(images)
    # Features of channels-last images have no such view.
    np.testing.assert_allclose(TorchEngine(made).predict_proba(images), expected, atol=1e-6)
    for method in ("scorecam", "ablationcam"):
        assert heat_map(made, images[0], method, 1).shape == (32, 32)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (lambda x: torch.stack([x.mean((2, 3))] * 4), r"shape \(4, 2, 3\) float32 for 2 images"),
        (lambda x: x.view(1, -1)[:, :5], r"shape \(1, 5\) float32 for 2 images"),
        (lambda x: sys.exit(3), "SystemExit: 3"),
        (lambda x: x["image"], "IndexError|TypeError"),
        (nn.Conv2d(4, 2, 3), "4 channels, but got 3"),
    ],
)
@pytest.mark.parametrize("crop", [None, 40])
def test_another_cause_than_the_size(
    forward: Any, said: str, crop: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = forward if isinstance(forward, nn.Module) else nn.Module()
    if module is not forward:
        module.forward = forward
    with pytest.raises(InvalidInput, match=f"whatever their size .*{said}"):
        _load(monkeypatch, module, crop=crop)
