"""Classifiers by name: torchvision's, the embedded demo network, and the user's own factory."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from explainers.black_box import PREFIX, load_black_box
from explainers.classifier import Classifier, pick_device
from explainers.errors import InvalidInput, LimeTunerError, MissingAsset
from explainers.images import Geometry
from explainers.model_outputs import OutputKind
from explainers.torchvision_import import import_torchvision

__all__ = ["load_classifier"]

# Where the last spatial feature map lives, by the module of torchvision that defines the family.
# For VGG, MobileNet and the like the last block of ``features`` is the last convolutional stage.
_CAM_LAYERS = {
    "alexnet": "features",
    "convnext": "features",
    "densenet": "features",
    "efficientnet": "features",
    "googlenet": "inception5b",
    "inception": "Mixed_7c",
    "maxvit": "blocks",
    "mnasnet": "layers",
    "mobilenetv2": "features",
    "mobilenetv3": "features",
    "regnet": "trunk_output",
    "resnet": "layer4",
    "shufflenetv2": "conv5",
    "squeezenet": "features",
    "swin_transformer": "features.-1.-1.norm1",
    "vgg": "features",
    "vision_transformer": "encoder.layers.-1.ln_1",
}
# Families whose container is indexed from its end rather than taken whole.
_LAST_OF = {
    "convnext", "densenet", "efficientnet", "maxvit", "mobilenetv2", "mobilenetv3", "resnet",
    "vgg", "squeezenet", "regnet", "alexnet", "mnasnet",
}  # fmt: skip


def load_classifier(
    model: str,
    *,
    weights: str | None = None,
    device: str | None = None,
    cam_layer: str | None = None,
) -> Classifier:
    """Load a classifier by specification.

    Args:
        model: ``demo`` (the embedded network), a torchvision classifier's name (``resnet50``),
            ``package.module:factory``, a callable without arguments that returns a
            :class:`Classifier` or a :class:`torch.nn.Module`, or ``function:package.module:name``,
            a black box (:mod:`explainers.black_box`).
        weights: a file with a state dict, or the name of a torchvision weights enum member
            (``IMAGENET1K_V2``); ``None``: torchvision's default weights, downloaded once.
            ``random``: no weights, for measuring speed only.
        device: ``auto`` (default), ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        cam_layer: module path that overrides the layer for class activation maps.

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
    elif model.startswith(PREFIX):
        if weights is not None or cam_layer is not None:
            raise InvalidInput(f"{model} is a black box: it takes no --weights and no --cam-layer")
        classifier = load_black_box(model[len(PREFIX) :])
    elif ":" in model:
        classifier = _from_factory(model, weights, target)
    else:
        classifier = _torchvision(model, weights, target)
    classifier = replace(classifier, spec=spec)
    return classifier.with_cam_layer(cam_layer) if cam_layer is not None else classifier


def _demo(device: torch.device) -> Classifier:
    from explainers.demo_network import DEMO_CLASS_NAMES, load_demo_network

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


def _from_factory(spec: str, weights: str | None, device: torch.device) -> Classifier:
    module_name, _, attribute = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # a factory beside the user's notebook
        sys.path.insert(0, here)
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput(
            f"classifier factory '{spec}' cannot be imported ({error}): give "
            "package.module:function, importable from the working folder"
        ) from error
    if not callable(factory):
        raise InvalidInput(
            f"classifier factory '{spec}' is a {type(factory).__name__}, not a function: "
            "give package.module:function"
        )
    try:
        made = factory()
    except LimeTunerError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise LimeTunerError(
            f"classifier factory '{spec}' failed ({type(error).__name__}: {error})"
        ) from error
    if isinstance(made, torch.nn.Module):
        made = Classifier(
            name=spec, module=made, class_names=(), cam_layer=_last_convolution(made), device=device
        )
    if not isinstance(made, Classifier):
        raise InvalidInput(
            f"classifier factory '{spec}' returned {type(made).__name__}; "
            "it must return a torch.nn.Module or an explainers.classifier.Classifier"
        )
    if weights is not None and weights != "random":
        _load_state(made.module, Path(weights), spec)
    return replace(made, device=device).recognised()


def _last_convolution(module: torch.nn.Module) -> str | None:
    convolutions = [n for n, m in module.named_modules() if isinstance(m, torch.nn.Conv2d)]
    return convolutions[-1] if convolutions else None


def _torchvision(name: str, weights: str | None, device: torch.device) -> Classifier:
    torchvision = import_torchvision()
    models = torchvision.models
    known = models.list_models(module=models)
    if name not in known:
        close = [k for k in known if name.lower().replace("-", "_")[:5] in k][:6]
        hint = f"did you mean one of {', '.join(close)}? " if close else ""
        raise InvalidInput(
            f"unknown model '{name}': {hint}Give a torchvision classifier "
            "(resnet50, mobilenet_v2, vit_b_16, ...), 'demo', package.module:factory, or "
            "function:package.module:name"
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
            state = _read_state(path)
            classes = _other_class_count(module, state)
            if classes is not None:  # trained on something other than ImageNet
                module = models.get_model(name, weights=None, num_classes=classes, **keywords)
                class_names = ()
            _fill(module, state, path, name)
    preset = preset_of.transforms()
    resize = int(preset.resize_size[0])
    return Classifier(
        name=name,
        module=module,
        class_names=class_names,
        geometry=Geometry(resize=resize, crop=int(preset.crop_size[0])),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        **_cam_target(module),
        device=device,
        output=OutputKind.LOGITS,
    )


def _load_state(module: torch.nn.Module, path: Path, name: str) -> None:
    """Load a state dict file and insist on a fit."""
    _fill(module, _read_state(path), path, name)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """A state dict file, plain or wrapped as ``{"state_dict": ...}``, of one GPU or several."""
    if not path.is_file():
        raise MissingAsset(f"weights file {path} does not exist: check the path after --weights")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types here, all meaning the same to a user
        raise InvalidInput(
            f"{path} is not a PyTorch state dict that can be loaded safely "
            f"({type(error).__name__}): save it with torch.save(model.state_dict(), FILE)"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InvalidInput(
            f"{path} holds {type(state).__name__}, not a state dict: "
            "save it with torch.save(model.state_dict(), FILE)"
        )
    return {re.sub(r"^module\.", "", key): value for key, value in state.items()}


def _other_class_count(module: torch.nn.Module, state: dict[str, torch.Tensor]) -> int | None:
    """How many classes the weights have, where that is all that keeps them from fitting."""
    own = module.state_dict()
    other = {
        key: len(state[key])
        for key, value in own.items()
        if key in state
        and value.ndim
        and value.shape != state[key].shape
        and value.shape[1:] == state[key].shape[1:]
    }
    head = next(reversed(own))
    # Checkpoints from before PyTorch 0.4.1 do not count batches.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    heads_only = len(set(other.values())) == 1 and head in other
    return other[head] if heads_only and not missing and not unknown else None


def _fill(module: torch.nn.Module, state: dict[str, torch.Tensor], path: Path, name: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        own = module.state_dict()
        wrong = [k for k in state if k not in own or own[k].shape != state[k].shape]
        missing = [k for k in own if k not in state]
        example = (wrong or missing or ["?"])[0]
        raise InvalidInput(
            f"{path} does not hold weights of {name} ({len(missing)} tensors missing, "
            f"{len(wrong)} unknown or of another shape, e.g. '{example}'): "
            "give the file of the same architecture"
        ) from error


def _cam_target(module: torch.nn.Module) -> dict[str, Any]:
    family = type(module).__module__.rsplit(".", 1)[-1]
    path = _CAM_LAYERS.get(family)
    if path is None:
        last = _last_convolution(module)
        return {"cam_layer": last}
    if family in _LAST_OF:
        path += ".-1"
    resolved = _resolve_negative(module, path)
    if family == "vision_transformer":
        return {"cam_layer": resolved, "reshape_transform": _tokens_to_map}
    if family == "swin_transformer":
        return {"cam_layer": resolved, "reshape_transform": _channels_first}
    return {"cam_layer": resolved}


def _resolve_negative(module: torch.nn.Module, path: str) -> str:
    """Replace ``-1`` in a module path by the name of the last child there."""
    names: list[str] = []
    at = module
    for part in path.split("."):
        if part == "-1":
            children = [name for name, _ in at.named_children()]
            if not children:
                where = ".".join(names)
                raise LimeTunerError(f"layer '{where}' of {type(module).__name__} is bare")
            part = children[-1]
        at = at.get_submodule(part)
        names.append(part)
    return ".".join(names)


def _tokens_to_map(tokens: torch.Tensor) -> torch.Tensor:
    """ViT: (N, 1 + h·w, C) with the class token first → (N, C, h, w)."""
    side = round((tokens.shape[1] - 1) ** 0.5)
    grid = tokens[:, 1:, :].reshape(tokens.shape[0], side, side, tokens.shape[2])
    return grid.permute(0, 3, 1, 2)


def _channels_first(features: torch.Tensor) -> torch.Tensor:
    """Swin: (N, h, w, C) → (N, C, h, w)."""
    return features.permute(0, 3, 1, 2)
