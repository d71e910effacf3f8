"""Networks of timm by name (``timm:NAME``), with timm's preparation and class names."""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from torch import nn

from explainers.classifiers.classifier import Classifier
from explainers.classifiers.factories import with_found_layer
from explainers.classifiers.outputs import OutputKind
from explainers.classifiers.sources.preparation import warn_if_prepared_otherwise
from explainers.classifiers.user_code import let_torchvision_import
from explainers.classifiers.weights import fill, fitted_keys, other_class_count, read_state
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry
from explainers.messages import error_line

PREFIX = "timm:"


def load_timm(
    name: str, weights: str | None, device: torch.device, cam_layer: str | None = None
) -> Classifier:
    """The classifier of timm with that name.

    Args:
        name: ``resnet50``, ``resnet50.a1_in1k``; also timm's ``hf-hub:...`` and ``local-dir:...``.
        weights: a file with a state dict; ``None``: timm's own, downloaded once; ``random``: none.
        cam_layer: names the layer for class activation maps.

    Raises:
        InvalidInput: timm is not installed or has no such network; the network has no classes, or
            takes no square pictures; weights of another architecture.
        MissingAsset: the weights cannot be downloaded, or the file does not exist.
    """
    spec = f"{PREFIX}{name}"
    let_torchvision_import()
    try:
        import timm
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"--model {spec} needs the package {error.name}: pip install 'lime-tuner[timm]'"
        ) from error
    if ":" not in name:
        _check_known(timm, name)
    module = _network(timm, name, weights)
    if not module.num_classes:
        raise InvalidInput(f"{spec} gives features, not classes: give a network with a classifier")
    config = timm.data.resolve_model_data_config(module)
    height, width = config["input_size"][1:]
    if height != width:
        raise InvalidInput(f"{spec} takes pictures of {width} × {height}: only squares can be made")
    made = Classifier(
        name=spec,
        module=module,
        class_names=_class_names(timm, module),
        geometry=Geometry(
            math.floor(height / config["crop_pct"]),
            height,
            config["interpolation"],
            squash=config["crop_mode"] == "squash",
        ),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        device=device,
        output=OutputKind.LOGITS,
    )
    transform = timm.data.create_transform(**config, is_training=False)

    def own(picture: Image.Image) -> torch.Tensor:
        prepared: torch.Tensor = transform(picture)
        return prepared

    warn_if_prepared_otherwise(made, own, f"timm's crop_mode={config['crop_mode']}")
    return with_found_layer(made, cam_layer, spec)


def _check_known(timm: ModuleType, name: str) -> None:
    pretrained = timm.list_pretrained()
    if timm.is_model(name) and ("." not in name or name in pretrained):
        return
    close = difflib.get_close_matches(name.lower(), [*timm.list_models(), *pretrained], 5)
    hint = f"did you mean one of {', '.join(close)}? " if close else ""
    raise InvalidInput(
        f"timm {timm.__version__} has no '{name}': {hint}timm.list_models() lists its names"
    )


def _network(timm: ModuleType, name: str, weights: str | None) -> nn.Module:
    try:
        module: nn.Module = timm.create_model(name, pretrained=weights is None)
    except Exception as error:  # timm's and the hub's own types, a dozen
        raise MissingAsset(
            f"{PREFIX}{name} and its weights are not in the hub's cache and cannot be downloaded "
            f"({error_line(error)}): give a local file with --weights FILE"
        ) from error
    if weights is None or weights == "random":
        return module
    path = Path(weights)
    state = fitted_keys(module, read_state(path), path)
    classes = other_class_count(module, state)
    if classes is not None:  # trained for another data set
        module = timm.create_model(name, num_classes=classes)
    fill(module, state, path, f"{PREFIX}{name}")
    return module


def _class_names(timm: ModuleType, module: Any) -> tuple[str, ...]:
    """The names in the network's configuration, else ImageNet's where the number is ImageNet's."""
    labels = module.pretrained_cfg.get("label_names")
    descriptions = module.pretrained_cfg.get("label_descriptions") or {}
    if labels:
        names = tuple(descriptions.get(each, each) for each in labels)
    else:
        subset = timm.data.infer_imagenet_subset(module)
        names = () if subset is None else tuple(timm.data.ImageNetInfo(subset).label_descriptions())
    return names if len(names) == module.num_classes else ()
