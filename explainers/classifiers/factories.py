"""Classifiers made by the user's own code: ``package.module:factory``."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from explainers.classifiers.classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier
from explainers.classifiers.input_config import InputConfig, stated_input, stated_sizes
from explainers.classifiers.map_layers import Call, find_map_layer, layout_of, trace_calls
from explainers.classifiers.module_copies import copied
from explainers.classifiers.user_code import failure, import_user_object, module_spec
from explainers.classifiers.weights import load_state
from explainers.errors import InvalidInput, LimeTunerError
from explainers.images import Geometry
from explainers.messages import warn_once

_logger = logging.getLogger(__name__)

# Tried where the module states no size and fails at ImageNet's 224: the sizes of MNIST, CIFAR,
# FER2013, Tiny ImageNet and STL-10, and those that published networks are made for.
_COMMON_SIZES = (28, 32, 48, 64, 96, 128, 160, 256, 299, 384, 448, 512)
_OTHER_SIZES = (64, 224)  # tried to find out whether the size matters
_CHANNELS = re.compile(r"to have \d+ channels, but got \d+ channels")  # torch's words
_ACCEPTED = "it must return a torch.nn.Module or an explainers.classifiers.Classifier"


def load_from_factory(
    spec: str,
    weights: str | None,
    device: torch.device,
    cam_layer: str | None = None,
    crop: int | None = None,
) -> Classifier:
    """The classifier of ``package.module:factory``: a function without arguments, a module's class,
    or a module itself.

    For a bare module size and scaling are read from its attributes
    (:mod:`explainers.classifiers.input_config`), and a layer for class activation maps is found
    (:mod:`explainers.classifiers.map_layers`). Both are logged.

    Args:
        weights: a file with a state dict; ``None`` or ``random``: as the factory made it.
        cam_layer: names the layer for class activation maps.
        crop: side in pixels of the catalogue's pictures; ``None`` where it states none.

    Raises:
        InvalidInput: it cannot be imported, takes arguments or returns something else.
        LimeTunerError: it failed.
    """
    spec = module_spec(spec)
    what = f"classifier factory '{spec}'"
    _, factory = import_user_object(spec, what)
    made = _made_by(factory, what)
    module = made.module if isinstance(made, Classifier) else made
    if weights is not None and weights != "random":
        load_state(module, Path(weights), spec)
    if isinstance(made, Classifier):
        made = replace(made, device=device)
        if cam_layer is None and made.cam_layer is not None:
            return made
        return with_found_layer(made, cam_layer, spec)
    return _of_bare_module(spec, _unwrapped(made), device, cam_layer, crop)


def with_found_layer(made: Classifier, cam_layer: str | None, spec: str) -> Classifier:
    """The classifier with the layer for class activation maps that is named, else with the one that
    is found, which is logged.

    Args:
        spec: what messages call it.
    """
    _, calls, problem = _traced(made, made.geometry.crop)
    if problem:
        return made if cam_layer is None else made.with_cam_layer(cam_layer)
    made = _with_map_layer(made, calls, cam_layer)
    if cam_layer is None:
        warn_once(_logger, f"{spec}: {_layer_note(made)}")
    return made


def load_from_module(module: nn.Module) -> Classifier:
    """The classifier of a module that is at hand, which stays as it is; see
    :func:`load_from_factory`.

    Raises:
        LimeTunerError: it cannot be copied, or fails on images.
    """
    name, inner = type(module).__name__, _unwrapped(module)
    device = next((each.device for each in inner.parameters()), torch.device("cpu"))
    return _of_bare_module(name, copied(inner, name), device, None, None)


def _made_by(factory: Any, what: str) -> nn.Module | Classifier:
    if isinstance(factory, nn.Module):  # copied, so that the user's own stays unchanged
        return copied(factory, what)
    if isinstance(factory, Classifier):
        return replace(factory, module=copied(factory.module, what))
    if not callable(factory):
        raise InvalidInput(
            f"{what} is a {type(factory).__name__}, not a function: give package.module:function"
        )
    needed = _required_arguments(factory)
    if needed:
        raise InvalidInput(
            f"{what} takes arguments ({', '.join(needed)}), and is called without: write a "
            "function without arguments that returns the network, and name it"
        )
    try:
        made = factory()
    except LimeTunerError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise LimeTunerError(f"{what} failed ({failure(error)})") from error
    if isinstance(made, (nn.Module, Classifier)):
        return made
    if inspect.iscoroutine(made):
        made.close()
    raise InvalidInput(f"{what} returned {_described(made)}; {_ACCEPTED}")


def _required_arguments(factory: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # compiled functions have no signature
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _described(made: Any) -> str:
    if made is None:
        return "NoneType (is a return missing?)"
    if isinstance(made, (tuple, list)):
        inside = ", ".join(type(each).__name__ for each in made[:4])
        return (
            f"{type(made).__name__} of {inside} (open_clip's and timm's transforms are not taken: "
            "give mean, std and geometry to a Classifier)"
        )
    if inspect.iscoroutine(made):
        return "a coroutine (it is an async function)"
    if isinstance(made, type):
        return f"the class {made.__name__}, not an instance of it"
    return type(made).__name__


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DataParallel and torch.compile, whose layers hooks do not reach."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif "_orig_mod" in dict(module.named_children()):
            module = module.get_submodule("_orig_mod")
        else:
            return module


def _of_bare_module(
    spec: str, module: nn.Module, device: torch.device, cam_layer: str | None, crop: int | None
) -> Classifier:
    config = stated_input(module)
    made = Classifier(
        name=spec,
        module=module,
        class_names=(),
        geometry=Geometry(crop, crop) if crop is not None else config.geometry or Geometry(),
        mean=config.mean or IMAGENET_MEAN,
        std=config.std or IMAGENET_STD,
        device=device,
    )
    made, calls, why_size = _of_a_size_it_takes(made, crop is not None)
    if calls:
        made = _with_map_layer(made, calls, cam_layer)
    elif cam_layer is not None:
        made = made.with_cam_layer(cam_layer)
    warn_once(_logger, f"{spec}: {_input_note(made, config, why_size)}; {_layer_note(made)}")
    return made


def _traced(classifier: Classifier, crop: int) -> tuple[Classifier, list[Call], str]:
    """Run the classifier on pictures of a size, then on grey ones if it fails.

    Returns:
        The classifier (for grey pictures where it takes only these); the calls of its modules; and
        why it failed, or "".
    """
    problem = ""
    grey = len(classifier.mean) == 1
    for asked in (classifier,) if grey else (classifier, classifier.of_grey()):
        try:
            return asked, trace_calls(asked, crop), ""
        except LimeTunerError as error:
            of_channels = _CHANNELS.search(problem) and not _CHANNELS.search(str(error))
            problem = str(error) if not problem or of_channels else problem
    return classifier, [], problem


def _of_a_size_it_takes(made: Classifier, fixed: bool) -> tuple[Classifier, Sequence[Call], str]:
    """The classifier with its size or, where that fails, with the only other size that works.

    Args:
        fixed: the catalogue prescribes the size, so no other is taken.

    Returns:
        The classifier, the calls of its modules, and where the size is from, or "".
    """
    crop = made.geometry.crop
    asked, calls, problem = _traced(made, crop)
    if not problem:
        return asked, calls, "as the catalogue says" if fixed else ""
    problems, works = {problem}, list[int]()
    if fixed:
        problems |= {_traced(made, side)[2] for side in _OTHER_SIZES if side != crop}
        _refuse_whatever_the_size(made, problem, problems)
        raise InvalidInput(
            f"{made.name} does not take pictures of {crop} × {crop}, as the catalogue's [geometry] "
            f"has them ({problem}): give the size that it takes there"
        )
    stated = [side for side in stated_sizes(made.module) if side != crop]
    for sizes in (stated, [s for s in _COMMON_SIZES if s != crop]):
        tried = {side: _traced(made, side) for side in sizes}
        problems |= {found[2] for found in tried.values()}
        works = [side for side, found in tried.items() if not found[2]]
        if len(works) == 1:
            asked, calls, _ = tried[works[0]]
            geometry = Geometry(works[0], works[0])
            return replace(asked, geometry=geometry), calls, "which alone it takes"
    _refuse_whatever_the_size(made, problem, problems)
    others = f", but of {' and '.join(map(str, works))}" if works else ""
    raise InvalidInput(
        f"{made.name} does not take pictures of {crop} × {crop}, which it gets where its "
        f"pretrained_cfg names no other size{others} ({problem}): let the factory return "
        "explainers.classifiers.Classifier(..., geometry=Geometry(resize, crop)), or give "
        "[geometry] in the catalogue"
    )


def _refuse_whatever_the_size(made: Classifier, problem: str, problems: set[str]) -> None:
    """Raise if the module fails for another reason than the size of the pictures.

    Args:
        problem: how it fails for pictures of the wanted size.
        problems: how it fails for each size that was tried; "" where it does not.
    """
    if "" not in problems and (len(problems) == 1 or _CHANNELS.search(problem)):
        raise InvalidInput(
            f"{made.name} fails on two pictures, whatever their size ({problem}): its forward must "
            "take one float tensor of shape (N, 3, H, W) or (N, 1, H, W) on the device, of any "
            "N, and return logits (N, C)"
        )


def _with_map_layer(made: Classifier, calls: Sequence[Call], cam_layer: str | None) -> Classifier:
    if cam_layer is not None:
        reshape = made.reshape_transform or layout_of(calls, cam_layer)
        return replace(made, reshape_transform=reshape).with_cam_layer(cam_layer)
    found = find_map_layer(made.module, calls)
    if found is None:
        return made
    reshape = made.reshape_transform or found.reshape
    return replace(made, cam_layer=found.path, reshape_transform=reshape)


def _input_note(made: Classifier, config: InputConfig, size: str) -> str:
    resize, crop = made.geometry.resize, made.geometry.crop
    stated = f"as its {config.source} says"
    usual = "the usual values, for the module says nothing"
    why_size = size or (stated if config.geometry is not None else usual)
    why_scaling = stated if config.mean is not None else usual
    pixels = f"{crop} × {crop} {'grey ' if len(made.mean) == 1 else ''}pixels" + (
        f" of {resize}" if resize not in (None, crop) else ""
    )
    scaling = f"mean {_short(made.mean)} and std {_short(made.std)}"
    ignored = f" ({', '.join(config.ignored)} ignored)" if config.ignored else ""
    if why_size == why_scaling:
        return f"gets {pixels} with {scaling}, {why_size}{ignored}"
    return f"gets {pixels}, {why_size}, with {scaling}, {why_scaling}{ignored}"


def _layer_note(made: Classifier) -> str:
    if made.cam_layer is None:
        return (
            "no layer for class activation maps was found: name one with --cam-layer, give masks "
            "with --reference, or use --objective faithful"
        )
    return f"class activation maps are taken from its layer '{made.cam_layer}'"


def _short(values: Sequence[float]) -> str:
    return "/".join(f"{value:g}" for value in values)
