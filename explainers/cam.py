"""Class activation maps, by grad-cam's own code on a private copy of the model.

grad-cam switches the model to eval mode and hooks layers, and what it hooks may stay hooked when an
exception passes. Working on a copy leaves the caller's model as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.channel_weights import CHANNEL_WEIGHTS, ChannelWeights, Progress
from explainers.classifier import Classifier
from explainers.errors import InvalidInput, LimeTunerError
from explainers.score_module import ScoreModule
from explainers.torchvision_import import import_torchvision

__all__ = ["CAM_METHODS", "ActivationMaps", "Progress"]

CAM_METHODS: Mapping[str, str | None] = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "scorecam": None,
    "ablationcam": None,
}
"""Our name → grad-cam's class; ``None`` where we find the weights ourselves."""


class ActivationMaps:
    """One method's maps of the layer ``classifier.cam_layer``, for pictures of any size.

    A context manager; the copy of the model is thrown away with it.

    Args:
        method: one of :data:`CAM_METHODS`.
        progress: told about the methods that ask many times (Score-CAM, Ablation-CAM).

    Raises:
        InvalidInput: the classifier has no such layer.
    """

    def __init__(
        self, classifier: Classifier, method: str, progress: Progress | None = None
    ) -> None:
        import_torchvision()
        import pytorch_grad_cam
        from pytorch_grad_cam.base_cam import BaseCAM

        classifier.cam_target()  # a layer that does not exist is told before anything is copied
        self.classifier = classifier
        module = copy.deepcopy(classifier.module)
        target = classifier.cam_target(module)
        # No gradient goes further back than the layer; the maps are the same to the last bit.
        module.requires_grad_(False)
        target.register_forward_hook(_begin_gradients)
        common: dict[str, Any] = {
            "model": ScoreModule(classifier, module),
            "target_layers": [target],
            "reshape_transform": classifier.reshape_transform,
        }
        kind = CAM_METHODS[method]
        if kind is None:
            self._cam = BaseCAM(**common, uses_gradients=False)
            weights = ChannelWeights(classifier, progress)
            self._cam.get_cam_weights = partial(CHANNEL_WEIGHTS[method], weights)
        else:
            self._cam = getattr(pytorch_grad_cam, kind)(**common)

    def __enter__(self) -> ActivationMaps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cam.activations_and_grads.release()

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the layer's answer to the pictures that were asked about last."""
        rows, columns = self._cam.activations_and_grads.activations[0].shape[-2:]
        return int(rows), int(columns)

    def enlarged(self, images: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
        """The maps at the size of the pictures, as grad-cam itself returns them.

        Args:
            images: (N, H, W, 3) uint8.
            class_index: the class that is explained.

        Returns:
            (N, H, W) float32 in [0, 1], each scaled to its own minimum and maximum.

        Raises:
            LimeTunerError: the layer's output is no feature map, or the model takes pictures of
                one size only.
        """
        maps = self._computed(images, class_index)
        if maps.shape != images.shape[:3]:
            raise LimeTunerError(
                f"layer '{self.classifier.cam_layer}' of {self.classifier.name} gave a map of "
                f"shape {maps.shape[1:]} for an image of {images.shape[1:3]}: name another with "
                "--cam-layer"
            )
        return maps

    def _computed(self, images: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        classifier = self.classifier
        crop = classifier.geometry.crop
        try:
            maps = self._cam(
                input_tensor=classifier.normalise(images),
                targets=[ClassifierOutputTarget(class_index)] * len(images),
            )
        except (ValueError, IndexError, np.exceptions.AxisError) as error:
            raise LimeTunerError(
                f"layer '{classifier.cam_layer}' of {classifier.name} does not give a feature map "
                f"({error}): name a convolutional layer with --cam-layer"
            ) from error
        except (AssertionError, RuntimeError) as error:
            if images.shape[1:3] == (crop, crop):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InvalidInput(
                f"{classifier.name} takes pictures of {crop} × {crop} only, not "
                f"{images.shape[2]} × {images.shape[1]} ({reason}): use a method of one scale, "
                "e.g. --reference gradcam@0.3"
            ) from error
        return np.nan_to_num(np.asarray(maps, dtype=np.float32)).clip(0.0, 1.0)


def _begin_gradients(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
    """Forward hook: the graph of operations starts with the layer's output."""
    if not (torch.is_grad_enabled() and isinstance(output, torch.Tensor)):
        return output
    # The next layer may work in place, which a leaf of the graph does not allow.
    return output.requires_grad_().clone()
