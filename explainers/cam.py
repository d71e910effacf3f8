"""Class activation maps, by grad-cam's own code on a private copy of the model.

grad-cam switches the model to eval mode, hooks layers, and (Ablation-CAM) swaps one, which it does
not put back when an exception passes. Working on a copy leaves the caller's model as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.errors import InvalidInput, LimeTunerError
from explainers.masks import consensus
from explainers.torchvision_import import import_torchvision

__all__ = ["CAM_METHODS", "CONSENSUS_OF", "HEAT_MAP_METHODS", "heat_map"]

Progress = Callable[[int, int], None]
"""Called with (classifier answers so far, answers expected in all)."""

_BATCH = 16

CAM_METHODS: Mapping[str, str] = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
}
"""Our name → grad-cam's class."""

CONSENSUS_OF: Sequence[str] = ("gradcam", "scorecam", "ablationcam")
"""The methods whose mean is the method ``consensus``."""

HEAT_MAP_METHODS: Sequence[str] = (*CAM_METHODS, "consensus")


def heat_map(
    classifier: Classifier,
    image: NDArray[np.uint8],
    method: str,
    class_index: int | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The class activation map of one image.

    Args:
        image: (H, W, 3) uint8, in the classifier's geometry.
        method: one of :data:`HEAT_MAP_METHODS`.
        class_index: the class that is explained; the likeliest when ``None``.
        progress: told about the methods that ask many times (Score-CAM, Ablation-CAM).

    Returns:
        (H, W) float32 in [0, 1], scaled to the image's own minimum and maximum; the map of the
        last convolutional layer, enlarged.

    Raises:
        InvalidInput: unknown method, class or layer.
        LimeTunerError: the layer's output is no feature map.
    """
    if method not in HEAT_MAP_METHODS:
        raise InvalidInput(
            f"CAM method '{method}' is unknown: use one of {', '.join(HEAT_MAP_METHODS)}"
        )
    probabilities = classifier.predict_proba(image[None])[0]
    if class_index is None:
        class_index = int(np.argmax(probabilities))
    if not 0 <= class_index < len(probabilities):
        raise InvalidInput(
            f"class {class_index} does not exist: {classifier.name} has classes 0 to "
            f"{len(probabilities) - 1}"
        )
    if method == "consensus":
        return consensus(
            _one_method(classifier, image, each, class_index, progress) for each in CONSENSUS_OF
        )
    return _one_method(classifier, image, method, class_index, progress)


def _one_method(
    classifier: Classifier,
    image: NDArray[np.uint8],
    method: str,
    class_index: int,
    progress: Progress | None,
) -> NDArray[np.float32]:
    import_torchvision()
    import pytorch_grad_cam
    from pytorch_grad_cam.ablation_layer import AblationLayer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier.cam_target()  # a layer that does not exist is told before anything is copied
    module = copy.deepcopy(classifier.module)
    options: dict[str, Any] = {}
    if method == "ablationcam":
        # The default argument is one instance shared by everybody.
        options = {"batch_size": _BATCH, "ablation_layer": AblationLayer()}
    cam_class = getattr(pytorch_grad_cam, CAM_METHODS[method])
    cam = cam_class(
        model=module,
        target_layers=[classifier.cam_target(module)],
        reshape_transform=classifier.reshape_transform,
        **options,
    )
    if method == "scorecam":
        cam.batch_size = _BATCH
    if progress is not None and method in ("scorecam", "ablationcam"):
        module.register_forward_hook(partial(_count_answers, cam, progress, [0]))
    try:
        # Score-CAM sums grad-requiring outputs it never differentiates; the copy is thrown away.
        maps = cam(
            input_tensor=classifier.normalise(image[None]),
            targets=[ClassifierOutputTarget(class_index)],
        )
    except (ValueError, IndexError, np.exceptions.AxisError) as error:
        raise LimeTunerError(
            f"layer '{classifier.cam_layer}' of {classifier.name} does not give a feature map "
            f"({error}): name a convolutional layer with --cam-layer"
        ) from error
    finally:
        cam.activations_and_grads.release()
    result = np.nan_to_num(np.asarray(maps[0], dtype=np.float32)).clip(0.0, 1.0)
    if result.shape != image.shape[:2]:
        raise LimeTunerError(
            f"layer '{classifier.cam_layer}' of {classifier.name} gave a map of shape "
            f"{result.shape} for an image of {image.shape[:2]}: name another with --cam-layer"
        )
    return result


def _count_answers(
    cam: Any,
    progress: Progress,
    count: list[int],
    module: torch.nn.Module,
    inputs: tuple[Any, ...],
    output: torch.Tensor,
) -> None:
    """Forward hook: one answer per image, about one per channel of the target layer in all."""
    count[0] += len(output)
    activations = cam.activations_and_grads.activations
    channels = activations[0].shape[1] if activations else 0
    progress(min(count[0], channels + 2), channels + 2)
