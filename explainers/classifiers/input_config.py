"""Reading the input size and scaling of a bare module from its attributes: timm's configuration,
torchvision's transforms, plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from explainers.images import Geometry

_CROP_PCT = 0.875  # timm's default
_SMALLEST = 8
_WHITE = 255.0  # some frameworks do not scale pixels to [0, 1]
_CONFIGS = ("pretrained_cfg", "default_cfg")
_TRANSFORMS = ("transforms", "preprocess", "transform")
_SIZES = ("image_size", "img_size", "input_size")


@dataclass(frozen=True)
class InputConfig:
    """Size and scaling as stated by a module; ``None`` for what is not stated.

    Attributes:
        mean, std: one or three values, of pixels scaled to [0, 1].
        source: the attribute that states it, for a message.
        ignored: impossible values, as ``name=value``.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    geometry: Geometry | None = None
    source: str = ""
    ignored: tuple[str, ...] = field(default=())


def stated_input(module: nn.Module) -> InputConfig:
    """Size and scaling as stated by a module or the first of its parts that states any."""
    for path, part in module.named_modules():
        for name in _CONFIGS:
            config = getattr(part, name, None)
            if config is not None and not isinstance(config, nn.Module):
                stated = _of_timm(config, f"{path}.{name}".lstrip("."))
                if stated is not None:
                    return stated
    for path, part in (("", module), *module.named_children()):
        for name in _TRANSFORMS:
            preset = getattr(part, name, None)
            if hasattr(preset, "mean") and hasattr(preset, "std") and hasattr(preset, "crop_size"):
                return _of_preset(preset, f"{path}.{name}".lstrip("."))
        if hasattr(part, "image_mean") and hasattr(part, "image_std"):  # open_clip's towers
            values = {"mean": part.image_mean, "std": part.image_std}
            return _scaling(values, f"{path}.image_mean".lstrip("."), None)
    return InputConfig()


def stated_sizes(module: nn.Module) -> list[int]:
    """Side lengths in pixels among the attributes of the module and its parts, outermost first."""
    sizes: list[int] = []
    for _, part in module.named_modules():
        for holder in (part, getattr(part, "config", None)):
            for name in _SIZES:
                side = _side(getattr(holder, name, None))
                if side is not None and side not in sizes:
                    sizes.append(side)
    return sizes


def _of_timm(config: Any, source: str) -> InputConfig | None:
    """Read ``mean``, ``std``, ``input_size``, ``crop_pct`` of a dictionary or a data class."""
    names = ("mean", "std", "input_size", "crop_pct")
    if isinstance(config, Mapping):
        values = {name: config.get(name) for name in names}
    else:
        values = {name: getattr(config, name, None) for name in names}
    if all(value is None for value in values.values()):
        return None
    size, share = values["input_size"], values["crop_pct"]
    ignored: list[str] = []
    geometry = None
    if size is not None:
        side = _side(tuple(size)[1:]) if isinstance(size, (tuple, list)) else None
        if side is None:
            ignored.append(f"input_size={size!r}")
        else:
            if share is None:
                share = _CROP_PCT
            elif not (isinstance(share, (int, float)) and 0.1 < share <= 1):
                ignored.append(f"crop_pct={share!r}")
                share = _CROP_PCT
            geometry = Geometry(max(side, math.floor(side / share)), side)
    return _scaling(values, source, geometry, tuple(ignored))


def _of_preset(preset: Any, source: str) -> InputConfig:
    """Read torchvision's ``ImageClassification``, as made by a weights entry's ``transforms()``."""
    crop = _side(_first(preset.crop_size))
    resize = _side(_first(getattr(preset, "resize_size", None)))
    values = {"mean": list(preset.mean), "std": list(preset.std)}
    geometry = None if crop is None else Geometry(max(resize or crop, crop), crop)
    return _scaling(values, source, geometry)


def _scaling(
    values: Mapping[str, Any],
    source: str,
    geometry: Geometry | None,
    ignored: tuple[str, ...] = (),
) -> InputConfig:
    mean, std = _numbers(values["mean"]), _numbers(values["std"])
    if mean and std and min(*mean, *std) > 1 and max(*mean, *std) <= _WHITE:
        mean, std = (tuple(value / _WHITE for value in each) for each in (mean, std))
        source = f"{source} (in units of 0 to 255)"
    usable = (
        mean is not None
        and std is not None
        and len(mean) == len(std) in (1, 3)
        and all(0 <= value <= 1 for value in mean)
        and all(0 < value <= 1 for value in std)
    )
    if usable:
        return InputConfig(mean, std, geometry, source, ignored)
    if values["mean"] is not None or values["std"] is not None:
        ignored = (*ignored, f"mean={values['mean']!r} and std={values['std']!r}")
    return InputConfig(None, None, geometry, source, ignored)


def _numbers(values: Any) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if all(math.isfinite(value) for value in numbers) else None


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, (tuple, list)) and values else values


def _side(size: Any) -> int | None:
    """The side of ``224`` or ``(224, 224)``; ``None`` for anything else."""
    if isinstance(size, (tuple, list)):
        if not size or any(each != size[0] for each in size):
            return None
        size = size[0]
    if isinstance(size, bool) or not isinstance(size, int) or size < _SMALLEST:
        return None
    return size
