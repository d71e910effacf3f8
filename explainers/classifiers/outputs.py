"""Turning whatever a network returned into (N, C) scores and class probabilities.

Networks return tensors, tuples with auxiliary heads, dictionaries, objects with ``logits``; logits,
probabilities, one number an image. All are converted here, or refused with a one-line reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch


class OutputKind(str, Enum):
    """What the numbers that a network returns are."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log-probabilities"
    SIGMOIDS = "independent probabilities"
    ONE_LOGIT = "one logit"
    ONE_PROBABILITY = "one probability"
    UNKNOWN = "unknown"
    """To be recognised from the outputs: :mod:`explainers.classifiers.recognition`."""

    __str__ = str.__str__  # as enum.StrEnum, which Python 3.10 lacks

    @property
    def single(self) -> bool:
        """Whether there is one number an image, for two classes: "not" and the named one."""
        return self in (OutputKind.ONE_LOGIT, OutputKind.ONE_PROBABILITY)


class UnusableOutput(ValueError):
    """A network's output has no row of scores for each image; the text describes the output."""


_KEYS = ("logits", "out", "output")
_DEPTH = 3  # levels of nested containers that are searched for scores


def class_scores(output: Any, count: int) -> torch.Tensor:
    """The scores in whatever a module returned for ``count`` images.

    Taken: a tensor; of a tuple or list the first entry; of a mapping the entry ``logits``, ``out``
    or ``output``, or its only one; of any object its attribute ``logits``. Axes of length one are
    dropped, and axes that ``squeeze()`` took from a single image are restored. Values with their
    places, as ``topk`` and ``max`` return them, are refused.

    Returns:
        (N, C) of a floating type.

    Raises:
        UnusableOutput: anything else.
    """
    scores = _tensor_in(output, _DEPTH)
    if scores is None:
        raise UnusableOutput(described(output))
    if _are_chosen(output):
        raise UnusableOutput(f"{described(output)}, the chosen values and their places")
    if not scores.is_floating_point():
        raise UnusableOutput(f"{described(output)}, whole numbers and no scores")
    if scores.ndim <= 1:
        return _unsqueezed(scores, count, output)
    if len(scores) != count:
        raise UnusableOutput(f"{described(output)}, not one row for each image")
    longer = [size for size in scores.shape[1:] if size != 1]
    if len(longer) > 1:
        kind = ", a map and no scores of the whole image" if scores.ndim == 4 else ""
        raise UnusableOutput(described(output) + kind)
    if scores.numel() == 0:
        raise UnusableOutput(f"{described(output)}, which is empty")
    return scores if scores.ndim == 2 else scores.flatten(1)


def row_count(output: Any) -> int | None:
    """Number of rows of the scores in an output; ``None`` where there are no scores."""
    scores = _tensor_in(output, _DEPTH)
    return None if scores is None or scores.ndim < 2 else len(scores)


def _are_chosen(output: Any) -> bool:
    """Whether an output is that of ``topk``, ``sort`` or ``max``: values by rank, not by class."""
    if type(output).__module__ == "torch.return_types":
        return True
    if not (isinstance(output, (tuple, list)) and len(output) == 2):
        return False
    values, places = output
    return (
        isinstance(values, torch.Tensor)
        and isinstance(places, torch.Tensor)
        and places.dtype == torch.int64
        and values.shape == places.shape
        and values.ndim == 2
        and values.shape[1] > 1
    )


def _unsqueezed(scores: torch.Tensor, count: int, output: Any) -> torch.Tensor:
    if scores.numel() == count:  # one number an image
        return scores.reshape(-1, 1)
    if count == 1 and scores.ndim == 1 and len(scores) > 1:
        return scores[None]
    raise UnusableOutput(f"{described(output)}, not one row for each image")


def _tensor_in(output: Any, depth: int) -> torch.Tensor | None:
    if isinstance(output, torch.Tensor):
        # Tensor subclasses of libraries may change what softmax returns.
        return output if type(output) is torch.Tensor else output.as_subclass(torch.Tensor)
    if isinstance(output, np.ndarray) and output.dtype.kind in "fiub":
        return torch.from_numpy(output)
    if depth == 0 or output is None:
        return None
    inner: Any = getattr(output, "logits", None)
    if inner is None and isinstance(output, Mapping):
        named = [output[key] for key in _KEYS if key in output] or list(output.values())
        inner = named[0] if len(named) == 1 or any(key in output for key in _KEYS) else None
    elif inner is None and isinstance(output, (tuple, list)) and output:
        inner = output[0]
    return None if inner is None else _tensor_in(inner, depth - 1)


def described(output: Any) -> str:
    """Type and shape in a few words, e.g. ``a tuple of (2, 3) float32 and (2, 64) float32``."""
    if isinstance(output, (torch.Tensor, np.ndarray)):
        return f"shape {tuple(output.shape)} {str(output.dtype).removeprefix('torch.')}"
    name = type(output).__name__
    if isinstance(output, Mapping):
        parts = [f"{str(key)[:30]!r}: {_brief(value)}" for key, value in list(output.items())[:4]]
    elif isinstance(output, (tuple, list)):
        parts = [_brief(value) for value in output[:4]]
    else:
        return "None" if output is None else f"a {name}"
    more = ", …" if len(output) > len(parts) else ""
    return f"a {name} of {', '.join(parts) or 'nothing'}{more}"


def _brief(value: Any) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return described(value)
    return type(value).__name__


def as_probabilities(scores: torch.Tensor, kind: OutputKind) -> torch.Tensor:
    """(N, C) scores → (N, C) float32 probabilities; (N, 1) → (N, 2), of "not" and of the class.

    Rows of independent probabilities need not sum to 1. Computed in single precision, also where
    the network has half: there a softmax over a thousand classes loses differences that LIME needs.
    """
    scores = scores.to(torch.float32)
    single = scores.shape[1] == 1
    if kind in (OutputKind.LOGITS, OutputKind.ONE_LOGIT):
        if not single:
            return torch.softmax(scores, dim=1)
        scores = torch.sigmoid(scores)
    elif kind is OutputKind.LOG_PROBABILITIES:
        scores = torch.exp(scores)
    return torch.cat([1 - scores, scores], dim=1) if single else scores


# Operations that do not change the numbers.
_PASSED_ON = (
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "ToCopy", "Clone", "Alias",
    "Transpose", "T", "Permute", "Select", "Slice", "AsStrided", "Contiguous",
)  # fmt: skip
_ENDS = {
    "Softmax": OutputKind.PROBABILITIES,
    "LogSoftmax": OutputKind.LOG_PROBABILITIES,
    "Sigmoid": OutputKind.SIGMOIDS,
    "Hardsigmoid": OutputKind.SIGMOIDS,
}
_LEAST, _MOST = 1e-30, 1 - 1e-7  # keep logarithms finite in float32


def last_step(scores: torch.Tensor) -> tuple[str, OutputKind | None, Any]:
    """The last operation that computed the scores, as autograd recorded it.

    Returns:
        Its name without ``Backward0`` ("" where nothing was recorded), the kind of output that
        follows from it, and its node in the graph.
    """
    node: Any = scores.grad_fn
    while node is not None:
        name = node.name().rpartition("Backward")[0].rpartition("::")[2]
        if name not in _PASSED_ON or not node.next_functions:
            return name, _ENDS.get(name), node
        node = node.next_functions[0][0]
    return "", None, None


def map_scores(scores: torch.Tensor, kind: OutputKind) -> torch.Tensor:
    """(N, C) scores → (N, C) of which the gradients are those of the logits.

    The gradient of a probability vanishes where the network is sure, so a softmax or a sigmoid at
    the end is passed over: the gradient goes through it unchanged. Where it is not found in the
    graph, and where no gradient is asked for, the logarithm of the probability or of the odds
    stands for the logit. (N, 1) → (N, 2), the first class being the opposite of the second.
    """
    _, end, node = last_step(scores)
    if end is not None:
        node.register_hook(lambda inward, outward: outward)
        logits = scores
    elif kind is OutputKind.PROBABILITIES and scores.shape[1] > 1:
        logits = scores.clamp_min(_LEAST).log()
    elif kind in (OutputKind.PROBABILITIES, OutputKind.SIGMOIDS, OutputKind.ONE_PROBABILITY):
        logits = torch.logit(scores.to(torch.float32).clamp(_LEAST, _MOST))
    else:
        logits = scores
    return torch.cat([-logits, logits], dim=1) if scores.shape[1] == 1 else logits


LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey input of one-channel networks (ITU-R BT.601)."""


@dataclass(frozen=True)
class Convention:
    """How a module's input is scaled, and what its outputs are.

    Attributes:
        output: what the numbers in its output are.
        mean, std: one number for each input channel, three or one.
    """

    output: OutputKind
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def grey(self) -> bool:
        """Whether the module takes one channel."""
        return len(self.mean) == 1

    def as_grey(self) -> Convention:
        """The convention for one channel, with the averages of mean and std."""
        mean, std = (sum(each) / len(each) for each in (self.mean, self.std))
        return Convention(self.output, (mean,), (std,))

    def scaled(self, planes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(N, 3, H, W) uint8 → (N, c, H, W) of type ``dtype``."""
        device = planes.device
        scaled = planes.contiguous().to(torch.float32).div_(255.0)
        if self.grey:
            shares = torch.tensor(LUMINANCE, device=device).view(1, 3, 1, 1)
            scaled = (scaled * shares).sum(dim=1, keepdim=True)
        mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, -1, 1, 1)
        return scaled.sub_(mean).div_(std).to(dtype)
