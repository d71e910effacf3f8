"""Classifiers by name: torchvision's, other packages', the embedded demo network, and the user's
own factory.

The demo network is trained by ``python -m studies.catalog.demo.train`` on drawn scenes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explainers.classifiers.black_box import PREFIX, black_box_of, load_black_box
from explainers.classifiers.classifier import Classifier
from explainers.classifiers.factories import load_from_factory, load_from_module
from explainers.classifiers.map_layers import known_map_layer
from explainers.classifiers.outputs import OutputKind
from explainers.classifiers.sources import (
    EFFICIENTNET_LITE0,
    HF,
    TIMM,
    load_efficientnet_lite0,
    load_hf,
    load_timm,
)
from explainers.classifiers.user_code import import_torchvision
from explainers.classifiers.weights import fill, fitted_keys, other_class_count, read_state
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry


def load_classifier(
    model: str,
    *,
    weights: str | None = None,
    device: str | None = None,
    cam_layer: str | None = None,
    crop: int | None = None,
) -> Classifier:
    """Load a classifier by specification.

    Args:
        model: ``demo`` (the embedded network), ``efficientnet_lite0`` (an ImageNet network with
            weights from the package index), a torchvision classifier's name (``resnet50``),
            ``timm:NAME`` (:mod:`explainers.classifiers.sources.timm_networks`),
            ``hf:NAME_OR_FOLDER`` (:mod:`explainers.classifiers.sources.hf_networks`),
            ``package.module:factory`` (:mod:`explainers.classifiers.factories`), or
            ``function:package.module:name``, a black box (:mod:`explainers.classifiers.black_box`).
        weights: a file with a state dict, or the name of a torchvision weights enum member
            (``IMAGENET1K_V2``); ``None``: the library's default weights, downloaded once.
            ``random``: no weights, for measuring speed only.
        device: ``auto`` (default), ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        cam_layer: module path that overrides the layer for class activation maps.
        crop: side in pixels that the pictures will have; only for a factory's module that does not
            state its own.

    Raises:
        InvalidInput: unknown model, layer or device; weights of another architecture.
        MissingAsset: the weights file does not exist, or cannot be downloaded.
    """
    target = pick_device(device)
    spec: dict[str, Any] = {
        "model": model,
        "weights": weights,
        "device": device,
        "cam_layer": cam_layer,
    }
    classifier: Classifier
    if model == "demo":
        classifier = _demo(target)
    elif model == EFFICIENTNET_LITE0:
        if weights is not None:
            raise InvalidInput(f"{model} comes with its weights: it takes no --weights")
        classifier = load_efficientnet_lite0(target)
    elif model.startswith(PREFIX):
        if weights is not None or cam_layer is not None:
            raise InvalidInput(f"{model} is a black box: it takes no --weights and no --cam-layer")
        classifier = load_black_box(model[len(PREFIX) :])
    elif model.startswith(TIMM):
        classifier = load_timm(model[len(TIMM) :], weights, target, cam_layer)
    elif model.startswith(HF):
        classifier = load_hf(model[len(HF) :], weights, target, cam_layer)
    elif ":" in model:
        if crop is not None:
            spec["crop"] = crop
        made = load_from_factory(model, weights, target, cam_layer, crop)
        return _known(replace(made, spec=spec).recognised())
    else:
        classifier = _torchvision(model, weights, target)
    classifier = replace(classifier, spec=spec)
    return _known(classifier if cam_layer is None else classifier.with_cam_layer(cam_layer))


def as_classifier(
    model: str | nn.Module | Classifier | Callable[[NDArray[np.uint8]], Any],
    *,
    lasting: bool = False,
) -> Classifier:
    """The classifier of whatever a notebook has.

    Args:
        model: a specification (:func:`load_classifier`), a classifier, a module, which is copied
            and treated like a factory's (:mod:`explainers.classifiers.factories`), or a function
            from (N, H, W, 3) uint8 to (N, C) probabilities
            (:func:`explainers.classifiers.black_box.black_box_of`).
        lasting: its predictions are kept for other processes.

    Raises:
        InvalidInput, MissingAsset: it is none of these, or cannot be loaded.
    """
    if isinstance(model, Classifier):
        return model
    if isinstance(model, str):
        return load_classifier(model)
    if isinstance(model, nn.Module):
        return _known(load_from_module(model).recognised())
    if isinstance(model, type) or not callable(model):
        what = model.__name__ if isinstance(model, type) else type(model).__name__
        raise InvalidInput(
            f"{what} is no classifier: give a name ('resnet50'), a torch.nn.Module, an "
            "explainers.classifiers.Classifier, or a function from (N, H, W, 3) uint8 to (N, C) "
            "probabilities"
        )
    return _known(black_box_of(model, lasting=lasting))


def _known(classifier: Classifier) -> Classifier:
    """Compute the fingerprint now, because a forward pass changes some modules."""
    _ = classifier.fingerprint
    return classifier


def _demo(device: torch.device) -> Classifier:
    return Classifier(
        name="demo",
        module=load_demo_network(),
        class_names=tuple(DEMO_CLASS_NAMES),
        geometry=Geometry(resize=None, crop=128),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        cam_layer="features",
        device=device,
        output=OutputKind.LOGITS,
    )


def _torchvision(name: str, weights: str | None, device: torch.device) -> Classifier:
    torchvision = import_torchvision()
    models = torchvision.models
    known = models.list_models(module=models)
    if name not in known:
        close = [k for k in known if name.lower().replace("-", "_")[:5] in k][:6]
        hint = f"did you mean one of {', '.join(close)}? " if close else ""
        raise InvalidInput(
            f"unknown model '{name}': {hint}Give a torchvision classifier "
            "(resnet50, mobilenet_v2, vit_b_16, ...), 'efficientnet_lite0', 'demo', timm:NAME, "
            "hf:NAME_OR_FOLDER, package.module:factory, or function:package.module:name"
        )
    enum = models.get_model_weights(name)
    entry = enum.DEFAULT if weights is None else enum.__members__.get(weights)
    preset_of = entry if entry is not None else next(iter(enum))
    class_names = tuple(preset_of.meta["categories"])
    if entry is not None:
        try:
            module = models.get_model(name, weights=entry)
        except OSError as error:  # urllib's URLError and HTTPError are OSErrors
            raise MissingAsset(
                f"the weights {name}/{entry.name} are not in torch's cache and cannot be "
                f"downloaded ({error}): give a local file with --weights FILE"
            ) from error
    else:
        keywords = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        module = models.get_model(name, weights=None, **keywords)
        if weights != "random":
            assert weights is not None
            path = Path(weights)
            if not path.is_file():
                raise MissingAsset(
                    f"--weights {weights} is neither a file nor one of "
                    f"{', '.join(enum.__members__)} of {name}"
                )
            state = fitted_keys(module, read_state(path), path)
            classes = other_class_count(module, state)
            if classes is not None:  # trained for another data set than ImageNet
                module = models.get_model(name, weights=None, num_classes=classes, **keywords)
                class_names = ()
            fill(module, state, path, name)
    preset = preset_of.transforms()
    resize = int(preset.resize_size[0])
    layer = known_map_layer(module)
    assert layer is not None, f"{name} is missing in the table of layers"
    return Classifier(
        name=name,
        module=module,
        class_names=class_names,
        geometry=Geometry(resize=resize, crop=int(preset.crop_size[0])),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        cam_layer=layer.path,
        reshape_transform=layer.reshape,
        device=device,
        output=OutputKind.LOGITS,
    )


DEMO_CLASS_NAMES = (
    "fish", "bird", "butterfly", "snail", "cat", "house", "boat", "mug", "key", "umbrella",
)  # fmt: skip
_WIDTHS = (16, 24, 40, 56, 72)
_WEIGHTS = "data/demo_network.pt"


class DemoNetwork(nn.Module):
    """Five convolutional stages, global average pooling, one linear layer.

    Maps (N, 3, 128, 128) float32, pixels scaled to [-1, 1], to (N, 10) logits. ``features`` ends
    in a map of 8 × 8, which is what class activation maps are taken from.
    """

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for index, width in enumerate(_WIDTHS):
            stages.append(_stage(before, width, pool=index < 4))
            before = width
        self.features = nn.Sequential(*stages)
        self.fc = nn.Linear(before, len(DEMO_CLASS_NAMES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 128, 128) → (N, 10) logits."""
        logits: torch.Tensor = self.fc(self.features(images).mean(dim=(2, 3)))
        return logits


def _stage(before: int, width: int, *, pool: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(before, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def load_demo_network() -> DemoNetwork:
    """The trained network, in eval mode.

    Raises:
        MissingAsset: the weights are not in the installed package.
    """
    try:
        blob = resources.files("explainers.classifiers").joinpath(_WEIGHTS).read_bytes()
    except OSError as error:
        raise MissingAsset(
            f"the demo network's weights ({_WEIGHTS}) are missing: install the package again, or "
            "train them with python -m studies.catalog.demo.train"
        ) from error
    network = DemoNetwork()
    network.load_state_dict(torch.load(io.BytesIO(blob), weights_only=True))
    return network.eval()


def pick_device(name: str | None) -> torch.device:
    """``None`` or ``auto``: CUDA, else Apple's MPS, else CPU; otherwise the device of that name.

    Raises:
        InvalidInput: the device does not exist here.
    """
    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidInput(
            f"device '{name}' cannot be used here: give cpu, cuda, cuda:N, mps or auto"
        ) from error
    return device
