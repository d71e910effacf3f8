"""The layer that class activation maps are taken from: a table for torchvision's families, a search
in all other networks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from explainers.classifiers.classifier import Classifier, ReshapeTransform
from explainers.classifiers.outputs import described, row_count
from explainers.classifiers.user_code import failure
from explainers.errors import LimeTunerError

# The layer with the last spatial feature map, by torchvision's module that defines the family.
# For VGG, MobileNet and the like the last block of ``features`` is the last convolutional stage.
_CAM_LAYERS = {
    **dict.fromkeys(
        ("alexnet", "convnext", "densenet", "efficientnet", "mobilenetv2", "mobilenetv3",
         "squeezenet", "vgg"),
        "features.-1",
    ),
    "googlenet": "inception5b",
    "inception": "Mixed_7c",
    "maxvit": "blocks.-1",
    "mnasnet": "layers.-1",
    "regnet": "trunk_output.-1",
    "resnet": "layer4.-1",
    "shufflenetv2": "conv5",
    "swin_transformer": "features.-1.-1.norm1",
    "vision_transformer": "encoder.layers.-1.ln_1",
}  # fmt: skip
_FAMILIES = "torchvision.models."

# Names of the normalisation before a block's attention in timm and Swin, in torchvision and
# open_clip, in Hugging Face. Behind the last block only the class token counts, so gradients of the
# other tokens are zero there.
_BEFORE_ATTENTION = {"norm1", "ln_1", "layernorm_before"}
_MOST_PREFIX_TOKENS = 16  # class token, distillation token, registers
_TRACED = 2  # pictures: refuses networks that take one at a time, or a whole batch for one
_UNCHANGING = ("Dropout", "DropPath", "Identity", "Pool")


@dataclass(frozen=True)
class MapLayer:
    """Module path of a layer, and the function that reshapes its output to (N, channels, h, w)."""

    path: str
    reshape: ReshapeTransform | None = None


@dataclass(frozen=True)
class Call:
    """A module that was called in a forward pass, and its output's shape where that is a tensor."""

    path: str
    module: nn.Module
    shape: tuple[int, ...] | None

    @property
    def spatial(self) -> bool:
        """Whether the output is (N, channels, h, w) with more than one cell a side.

        What has no picture's row is no map: a table of relative positions, windows of an attention.
        """
        shape = self.shape
        return shape is not None and len(shape) == 4 and shape[0] == _TRACED and min(shape[2:]) > 1


def trace_calls(classifier: Classifier, crop: int) -> list[Call]:
    """The modules that are called for two synthetic pictures, in the order in which they finish.

    Args:
        crop: pixels a side.

    Raises:
        LimeTunerError: the module fails on pictures of that size; says where and how.
    """
    calls: list[Call] = []

    def keep(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
        calls.append(Call(path, module, shape))

    images = np.random.default_rng(0).integers(0, 256, (_TRACED, crop, crop, 3)).astype(np.uint8)
    handles = [
        module.register_forward_hook(partial(keep, path))
        for path, module in classifier.module.named_modules()
        if path and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with torch.inference_mode():
            output = classifier.module(classifier.normalise(images))
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise LimeTunerError(failure(error)) from error
    finally:
        for handle in handles:
            handle.remove()
    rows = row_count(output)
    if rows not in (None, len(images)):
        raise LimeTunerError(f"it returned {described(output)} for {len(images)} images")
    return calls


def known_map_layer(module: nn.Module) -> MapLayer | None:
    """The layer of one of torchvision's networks; ``None`` for any other."""
    for family in _families(module):
        try:
            resolved = _resolve_negative(module, _CAM_LAYERS[family])
        except AttributeError:  # only a part of such a network
            continue
        return MapLayer(resolved, _RESHAPES.get(family))
    return None


def find_map_layer(module: nn.Module, calls: Sequence[Call]) -> MapLayer | None:
    """The map layer of any network.

    Where it contains one of torchvision's networks, the table decides. Otherwise the layer is the
    normalisation before the attention of a transformer's last block, or the last module with the
    resolution of the last convolution, whichever is called later.

    Args:
        calls: of a forward pass of the module.

    Returns:
        ``None`` where nothing that was called has a map.
    """
    often = Counter(call.path for call in calls)
    once = {call.path: place for place, call in enumerate(calls) if often[call.path] == 1}
    inside = [
        MapLayer(f"{path}.{layer.path}".lstrip("."), layer.reshape)
        for path, part in module.named_modules()
        if (layer := known_map_layer(part)) is not None
    ]
    inside = [layer for layer in inside if layer.path in once]
    if inside:
        return max(inside, key=lambda layer: once[layer.path])
    attention = max(_attention(calls, once), default=None, key=lambda found: found[0])
    convolution = _last_convolution(calls, once)
    if attention is None:
        return None if convolution is None else MapLayer(calls[convolution].path)
    if convolution is not None and convolution > attention[0]:
        return MapLayer(calls[convolution].path)
    return attention[1]


def layout_of(calls: Sequence[Call], path: str) -> ReshapeTransform | None:
    """The function that reshapes the output of layer ``path`` to (N, channels, h, w) if it consists
    of tokens or has its channels last; ``None`` where none is needed or known."""
    for place, call in enumerate(calls):
        if call.path == path and call.shape is not None:
            if len(call.shape) == 3:
                return _tokens(calls, place)
            if len(call.shape) == 4 and call.shape[1] == call.shape[2] != call.shape[3]:
                return channels_first
    return None


def _attention(calls: Sequence[Call], once: dict[str, int]) -> Iterator[tuple[int, MapLayer]]:
    for path, place in once.items():
        if path.rpartition(".")[2] in _BEFORE_ATTENTION:
            reshape = layout_of(calls, path)
            if reshape is not None:
                yield place, MapLayer(path, reshape)


def _last_convolution(calls: Sequence[Call], once: dict[str, int]) -> int | None:
    """Place in ``calls`` of the last module with the resolution of the last convolution."""
    for place in reversed(range(len(calls))):
        call = calls[place]
        convolution = isinstance(call.module, nn.Conv2d) and call.spatial
        if not convolution:
            continue
        if _becomes_tokens(calls, place):  # as do all convolutions before it
            return None
        assert call.shape is not None
        cells = call.shape[2:]
        same = [
            at
            for at in once.values()
            if at >= place
            and calls[at].spatial
            and (calls[at].shape or ())[2:] == cells
            and not any(kind in type(calls[at].module).__name__ for kind in _UNCHANGING)
        ]
        return max(same, default=None)
    return None


def _becomes_tokens(calls: Sequence[Call], place: int) -> bool:
    """Whether a convolution's cells become the tokens of a transformer, for good."""
    shape = calls[place].shape
    assert shape is not None
    patches = shape[2] * shape[3]
    return any(
        later.shape is not None
        and len(later.shape) == 3
        and any(0 <= tokens - patches < _MOST_PREFIX_TOKENS for tokens in later.shape[:2])
        and not any(call.spatial for call in calls[at + 1 :])
        for at, later in enumerate(calls[place + 1 :], place + 1)
    )


def _tokens(calls: Sequence[Call], place: int) -> ReshapeTransform | None:
    """Reshape tokens to a map, without the first ones that exceed the number of patches."""
    shape = calls[place].shape
    assert shape is not None
    for earlier in reversed(calls[:place]):
        if earlier.spatial and earlier.shape is not None:
            prefix = shape[1] - earlier.shape[2] * earlier.shape[3]
            if 0 <= prefix < _MOST_PREFIX_TOKENS and earlier.shape[2] == earlier.shape[3]:
                return TokensToMap(prefix)
    return TokensToMap(0) if shape[1] > 1 and math.isqrt(shape[1]) ** 2 == shape[1] else None


def _families(module: nn.Module) -> list[str]:
    """The families of torchvision whose class the module's is, or inherits from."""
    bases = [base.__module__ for base in type(module).__mro__]
    names = [name.rpartition(".")[2] for name in bases if name.startswith(_FAMILIES)]
    return [name for name in names if name in _CAM_LAYERS]


def _resolve_negative(module: nn.Module, path: str) -> str:
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


@dataclass(frozen=True)
class TokensToMap:
    """ViT: (N, prefix + h·w, C), with class token and registers first → (N, C, h, w); h = w."""

    prefix: int

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        side = math.isqrt(tokens.shape[1] - self.prefix)
        grid = tokens[:, self.prefix :, :].reshape(tokens.shape[0], side, side, tokens.shape[2])
        return grid.permute(0, 3, 1, 2)


def channels_first(features: torch.Tensor) -> torch.Tensor:
    """Swin: (N, h, w, C) → (N, C, h, w)."""
    return features.permute(0, 3, 1, 2)


_RESHAPES: dict[str, ReshapeTransform] = {
    "vision_transformer": TokensToMap(1),
    "swin_transformer": channels_first,
}
