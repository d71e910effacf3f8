"""Recognising what a network's outputs are, logits or probabilities, from how they are computed.

A module does not say whether it ends in a softmax. So it is run on a few synthetic images with
gradients recorded, and its last operation decides. Where nothing is recorded (``no_grad`` inside,
quantised layers), the calls of softmax and sigmoid decide, and finally the numbers themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from explainers.classifiers.outputs import (
    OutputKind,
    UnusableOutput,
    class_scores,
    described,
    last_step,
)

_SUM = 5e-3  # how far rows of probabilities in half precision may sum from 1
_RANGE = 1e-6
# Last operations whose results lie in [0, 1] only by chance.
_LINEAR = {
    "Addmm", "Mm", "Bmm", "Mv", "Add", "Mul", "Mean", "Convolution", "Linear", "NativeBatchNorm",
}  # fmt: skip
_DIFFERENT_IN_TRAINING = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.Dropout, nn.Dropout1d,
    nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
)  # fmt: skip
_SINGLE = {
    OutputKind.LOGITS: OutputKind.ONE_LOGIT,
    OutputKind.PROBABILITIES: OutputKind.ONE_PROBABILITY,
    OutputKind.SIGMOIDS: OutputKind.ONE_PROBABILITY,
}


@dataclass(frozen=True)
class Recognised:
    """A recognised kind of output, and what users should know about it.

    Attributes:
        remarks: parts of one sentence; empty for plain logits in a plain tensor.
    """

    kind: OutputKind
    remarks: tuple[str, ...] = ()


def probing_images(height: int, width: int) -> NDArray[np.uint8]:
    """(3, height, width, 3) uint8: noise, coloured ramps and grey; always the same."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    down = np.linspace(0, 255, height)[:, None, None]
    across = np.linspace(255, 0, width)[None, :, None]
    ramps = (down * np.array([1, 0, 0.5]) + across * np.array([0, 1, 0.5])).clip(0, 255)
    grey = np.full((height, width, 3), 128)
    return np.stack([noise, ramps, grey]).astype(np.uint8)


def in_train_mode(module: nn.Module) -> bool:
    """Whether batch normalisation or dropout in it is left in train mode."""
    return any(
        part.training for part in module.modules() if isinstance(part, _DIFFERENT_IN_TRAINING)
    )


def recognise(module: Callable[[torch.Tensor], Any], inputs: torch.Tensor) -> Recognised:
    """Run a module on inputs and recognise the kind of its output.

    Args:
        inputs: (N, c, H, W), several different images, scaled for the module.

    Raises:
        UnusableOutput: the output has no row of scores for each image.
        Exception: whatever the module raises.
    """
    calls = _Calls()
    try:
        # A copy: modules that work in place may not do so on a leaf.
        with torch.enable_grad(), calls:
            output = module(inputs.detach().requires_grad_().clone())
    except RuntimeError:  # no gradients are possible, or another failure, which recurs
        with torch.no_grad(), calls:
            output = module(inputs.clone())
    scores = class_scores(output, len(inputs))
    kind, reason = _kind(scores, calls)
    remarks = []
    if isinstance(output, (tuple, list, Mapping)) and not hasattr(output, "logits"):
        remarks.append(
            f"returns {described(output)}, of which shape {tuple(scores.shape)} is taken"
        )
    if scores.shape[1] == 1:
        kind = _SINGLE.get(kind, kind)
    if reason or kind is not OutputKind.LOGITS:
        remarks.append(f"its outputs are taken for {kind}{f' ({reason})' if reason else ''}")
    if isinstance(module, nn.Module) and in_train_mode(module):
        remarks.append("stays in train mode, where an answer depends on chance or on its batch")
    return Recognised(kind, tuple(remarks))


def _kind(scores: torch.Tensor, calls: _Calls) -> tuple[OutputKind, str]:
    """The kind of output, and the reason for it; "" for logits without doubt."""
    name, kind, _ = last_step(scores)
    if kind is None and not name:
        kind = calls.made(scores)
    values = scores.detach().to("cpu", torch.float64)  # MPS has no float64
    if kind is not None:
        _refuse_softmax_of_images(values, kind)
        return kind, f"it ends in a {_ENDINGS[kind]}"
    if sum_to_one(values / 100):
        raise UnusableOutput("percentages (its rows sum to 100)")
    if sum_to_one(values):
        return OutputKind.PROBABILITIES, "its rows sum to 1"
    if bool((values <= _RANGE).all()) and sum_to_one(values.exp()):
        return OutputKind.LOG_PROBABILITIES, "its rows are logarithms that sum to 1"
    if _in_range(values) and name not in _LINEAR and float(values.max() - values.min()) > _SUM:
        return OutputKind.LOGITS, "they lie in [0, 1], but no softmax and no sigmoid was seen"
    return OutputKind.LOGITS, ""


_ENDINGS = {
    OutputKind.PROBABILITIES: "softmax",
    OutputKind.LOG_PROBABILITIES: "log-softmax",
    OutputKind.SIGMOIDS: "sigmoid",
}


def _in_range(values: torch.Tensor) -> bool:
    return bool(((values >= -_RANGE) & (values <= 1 + _RANGE)).all())


def sum_to_one(values: torch.Tensor, axis: int = 1) -> bool:
    """Whether (N, C) values look like shares of several classes."""
    return (
        values.shape[axis] > 1
        and _in_range(values)
        and bool(((values.sum(dim=axis) - 1).abs() <= _SUM).all())
    )


def _refuse_softmax_of_images(values: torch.Tensor, kind: OutputKind) -> None:
    shares = values.exp() if kind is OutputKind.LOG_PROBABILITIES else values
    if kind is not OutputKind.SIGMOIDS and not sum_to_one(shares) and sum_to_one(shares, 0):
        raise UnusableOutput(
            "a softmax over the images of a batch (its columns sum to 1, its rows do not; its "
            "dim must be 1)"
        )


_FUNCTIONS = {
    "softmax": OutputKind.PROBABILITIES,
    "log_softmax": OutputKind.LOG_PROBABILITIES,
    "sigmoid": OutputKind.SIGMOIDS,
    "sigmoid_": OutputKind.SIGMOIDS,
    "expit": OutputKind.SIGMOIDS,
    "hardsigmoid": OutputKind.SIGMOIDS,
}


class _Calls(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
    """A context that records the results of softmax, sigmoid and similar functions."""

    def __init__(self) -> None:
        super().__init__()
        self._results: list[tuple[torch.Tensor, OutputKind]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        kind = _FUNCTIONS.get(getattr(func, "__name__", ""))
        if kind is not None and isinstance(result, torch.Tensor):
            self._results.append((result, kind))
        return result

    def made(self, scores: torch.Tensor) -> OutputKind | None:
        """The kind of the recorded call whose result the scores are; ``None`` if there is none."""
        for result, kind in reversed(self._results):
            same = result.numel() == scores.numel() and result.data_ptr() == scores.data_ptr()
            if same and result.dtype == scores.dtype:
                return kind
        return None
