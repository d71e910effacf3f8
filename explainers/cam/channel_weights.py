"""The channel weights of Score-CAM and Ablation-CAM: one forward pass per channel.

grad-cam's own classes keep every intermediate output, hold all masked inputs in memory at once,
and send the whole picture through the whole network for every ablated channel. Here pictures are
masked batch by batch, in the memory layout that is fastest for convolutions; and for Ablation-CAM
only the part of the network behind the layer is computed for every channel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.optimization import fuse

from explainers.classifiers import (
    Classifier,
    OutputKind,
    UnusableOutput,
    as_probabilities,
    class_scores,
    copied,
    map_scores,
)

_Thing = TypeVar("_Thing", torch.nn.Module, torch.Tensor)

Progress = Callable[[int, int], None]
"""Called with (channels so far, channels in all)."""

_PIXELS_ON_CPU = 4 * 224 * 224  # in one batch; larger batches are slower there
_BATCH_ON_DEVICE = 64
_ABLATED_AT_ONCE = 32
# Raised by tracing, which runs the model's own code with proxies instead of tensors.
_UNTRACEABLE = (
    TypeError, ValueError, RuntimeError, AttributeError, LookupError, AssertionError,
)  # fmt: skip
_SHADES = 1_000_000.0  # masks are equal if they agree after rounding to 1 / _SHADES
# Accepted difference of two computations in float32, relative to the largest logit.
_SAME = 1e-3


class ChannelWeights:
    """Weights of a layer's channels, computed with a private copy of a classifier.

    Args:
        classifier: its ``cam_layer`` is the layer; the module is left as it is.
        method: ``scorecam`` or ``ablationcam``.
        progress: called after every batch.
    """

    def __init__(
        self, classifier: Classifier, method: str, progress: Progress | None = None
    ) -> None:
        self._classifier, self._method = classifier, method
        module = copied(classifier.module, classifier.name)
        self._module = in_single_precision(module, classifier)
        self._layout = torch.channels_last  # the faster one
        self._layer = classifier.cam_target(self._module)
        # Layers whose output needs a transform to become (N, channels, h, w) have channels last.
        self._channels_last = classifier.reshape_transform is not None
        self._progress = progress

    def __call__(
        self,
        inputs: torch.Tensor,
        layer: Any,
        targets: Sequence[Any],
        activations: NDArray[np.float32],
        gradients: Any,
    ) -> NDArray[np.float32]:
        """The weights, (N, C) float32; the signature of grad-cam's ``get_cam_weights``.

        Args:
            inputs: (N, c, H, W) normalised.
            targets: one per picture, with its class as ``category``.
            activations: (N, C, h, w).
        """
        inputs = self._typed(inputs)
        weigh = _METHODS[self._method]
        with torch.inference_mode():
            weights = [
                weigh(self, image, torch.from_numpy(maps).to(image.device), target.category)
                for image, target, maps in zip(inputs, targets, activations, strict=True)
            ]
        return torch.stack(weights).cpu().numpy()

    def _score(self, image: torch.Tensor, maps: torch.Tensor, category: int) -> torch.Tensor:
        """Score-CAM (Wang et al. 2020): softmax of the logits of the picture masked by channels.

        Many channels are zero, or active in the same cell only: equal masks are predicted once.
        """
        low = maps.flatten(1)
        least, most = low.amin(1, keepdim=True), low.amax(1, keepdim=True)
        shapes = torch.where(most > least, (low - least) / (most - least), 0.0)
        different, place = torch.unique(shapes.mul(_SHADES).round(), dim=0, return_inverse=True)
        masks_of = (different / _SHADES).view(-1, 1, *maps.shape[1:])
        network, found = self._folded(image), []
        batch = _BATCH_ON_DEVICE
        if image.device.type == "cpu":
            batch = max(1, _PIXELS_ON_CPU // (image.shape[-2] * image.shape[-1]))
        for start in range(0, len(different), batch):
            masks = torch.nn.functional.interpolate(
                masks_of[start : start + batch],
                size=image.shape[-2:],
                mode="bilinear",
                align_corners=True,
            )
            # Interpolation may miss the extremes.
            least, most = masks.amin((2, 3), True), masks.amax((2, 3), True)
            masks = (masks - least) / (most - least + 1e-8)
            shown = (image[None] * masks).contiguous(memory_format=self._layout)
            scores = self._classifier.map_scores(network(shown), shown)
            found.append(scores[:, category])
            self._report(min(start + batch, len(different)), len(different))
        return torch.softmax(torch.cat(found)[place], dim=0)

    def _folded(self, image: torch.Tensor) -> torch.nn.Module:
        """The network with batch normalisation folded into the convolutions before it, where torch
        can trace it and the logits stay the same; about 1.6 times faster on a CPU."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's, about its own imports
        try:
            folded: torch.nn.Module = fuse(self._module)
            found, unfolded = (
                class_scores(network(image[None]), 1) for network in (folded, self._module)
            )
        except _UNTRACEABLE:
            return self._module
        allowed = _SAME * float(unfolded.abs().max())
        return folded if float((found - unfolded).abs().max()) <= allowed else self._module

    def _ablation(self, image: torch.Tensor, maps: torch.Tensor, category: int) -> torch.Tensor:
        """Ablation-CAM (Desai and Ramaswamy 2020): the share of the class's logit that is lost
        when a channel is set to zero.

        grad-cam sets channels far below zero where the layer has negative outputs, further with
        every picture of a batch; the paper's zero is used here for all.
        """
        image = image[None]
        outputs: list[torch.Tensor] = []
        handle = self._layer.register_forward_hook(
            # The next layer may work in place.
            lambda module, given, output: outputs.append(output.clone())
        )
        try:
            whole = self._answer(image, 1)
        finally:
            handle.remove()
        output = outputs[-1]
        axis = output.ndim - 1 if self._channels_last else 1
        channels = output.shape[axis]
        alone = self._goes_on_alone(image, output, whole)
        original = float(whole[0, category])
        drops: list[torch.Tensor] = []
        for start in range(0, channels, _ABLATED_AT_ONCE):
            chosen = range(start, min(start + _ABLATED_AT_ONCE, channels))
            ablated = output.repeat_interleave(len(chosen), dim=0)
            for row, channel in enumerate(chosen):
                ablated[row].select(axis - 1, channel).zero_()
            shown = image if alone else image.repeat_interleave(len(chosen), dim=0)
            drops.append(original - self._continued(shown, ablated)[:, category])
            self._report(chosen.stop, channels)
        return torch.cat(drops) / original

    def _goes_on_alone(
        self, image: torch.Tensor, output: torch.Tensor, whole: torch.Tensor
    ) -> bool:
        """Whether the network behind the layer accepts more pictures than its input had, as most
        do; tried with the layer's output, repeated."""
        try:
            twice = self._continued(image, torch.cat([output, output]))
        except (RuntimeError, UnusableOutput):  # shapes do not fit; other failures recur later
            return False
        allowed = _SAME * float(whole.abs().max())
        return twice.shape == (2, whole.shape[1]) and bool((twice - whole).abs().max() <= allowed)

    def _continued(self, image: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The network's logits if the layer had this output."""
        handle = self._layer.register_forward_hook(lambda module, given, own: output)
        try:
            return self._answer(image, len(output))
        finally:
            handle.remove()

    def _answer(self, inputs: torch.Tensor, count: int) -> torch.Tensor:
        """(count, C) logits, or probabilities of a network without logits.

        Ablation-CAM takes the share of the score that is lost, so both will do.
        """
        output = self._module(inputs.contiguous(memory_format=self._layout))
        scores = class_scores(output, count)
        kind = self._classifier.convention(inputs.shape[2], inputs.shape[3]).output
        if kind in (OutputKind.LOGITS, OutputKind.ONE_LOGIT):
            return map_scores(scores, kind)
        return as_probabilities(scores, kind)

    def _typed(self, inputs: torch.Tensor) -> torch.Tensor:
        inputs = in_single_precision(inputs, self._classifier)
        self._lay_out(torch.channels_last)
        try:
            with torch.inference_mode():
                self._answer(inputs[:1], 1)
        except RuntimeError:  # e.g. ``view`` on this layout; other failures recur later
            self._lay_out(torch.contiguous_format)
        return inputs

    def _lay_out(self, layout: torch.memory_format) -> None:
        self._layout = layout
        self._module.to(memory_format=layout)  # type: ignore[call-overload]

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)


_METHODS = {"scorecam": ChannelWeights._score, "ablationcam": ChannelWeights._ablation}


class ScoreModule(torch.nn.Module):
    """(N, c, H, W) normalised → (N, C) scores whose gradients are those of the logits.

    Args:
        classifier: says what the module's outputs are.
        module: a private copy of the classifier's; half precision becomes single.
    """

    def __init__(self, classifier: Classifier, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = in_single_precision(module, classifier)
        self._classifier = classifier

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores of the inputs; exceptions of the module itself are not caught.

        Raises:
            InvalidInput: the module returned no scores.
        """
        inputs = in_single_precision(inputs, self._classifier)
        return self._classifier.map_scores(self.module(inputs), inputs)


def in_single_precision(thing: _Thing, classifier: Classifier) -> _Thing:
    """Convert a half-precision module or input to float32, because maps are long sums."""
    return thing.float() if classifier.input_dtype.itemsize < 4 else thing
