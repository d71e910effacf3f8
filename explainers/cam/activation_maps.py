"""Class activation maps, by grad-cam's own code on a private copy of the model.

grad-cam switches the model to eval mode and hooks layers, and what it hooks may stay hooked when an
exception passes. Working on a copy leaves the caller's model as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.cam.channel_weights import ChannelWeights, Progress, ScoreModule
from explainers.classifiers import Classifier, copied, import_torchvision
from explainers.errors import InvalidInput, LimeTunerError

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
"""Our name → grad-cam's class; ``None`` for the methods of ``channel_weights``."""

POSITIVE_GRADIENTS = "positive-gradients"
"""A method of :class:`ActivationMaps` only: on the last layer of a network that averages its cells
the gradients are one number a channel, and the map is flat."""

_ROUNDING = 1e-6
# grad-cam's EigenCAM computes a matrix of cells × cells numbers: 1 GiB for 128 × 128 cells.
_MOST_EIGENCAM_CELLS = 128 * 128
_REMEDY = "name another with --cam-layer, give masks with --reference, or use --objective faithful"


class ActivationMaps:
    """One method's maps of the layer ``classifier.cam_layer``, for pictures of any size.

    A context manager; the copy of the model is thrown away with it.

    Args:
        method: one of :data:`CAM_METHODS`, or :data:`POSITIVE_GRADIENTS`.
        progress: called by the methods of many forward passes (Score-CAM, Ablation-CAM).

    Raises:
        InvalidInput: the classifier has no such layer.
    """

    def __init__(
        self, classifier: Classifier, method: str, progress: Progress | None = None
    ) -> None:
        import_torchvision()
        import pytorch_grad_cam
        from pytorch_grad_cam.base_cam import BaseCAM

        classifier.cam_target()  # raises before anything is copied if the layer does not exist
        self.classifier = classifier
        module = copied(classifier.module, classifier.name)
        target = classifier.cam_target(module)
        # Gradients stop at the layer; this changes no bit of the maps.
        module.requires_grad_(False)
        self._seen = _Seen()
        target.register_forward_hook(self._seen.begin_gradients)
        module.register_forward_hook(self._seen.answered)
        if method == "eigencam":
            target.register_forward_hook(self._refuse_many_cells)
        common: dict[str, Any] = {
            "model": ScoreModule(classifier, module),
            "target_layers": [target],
            "reshape_transform": classifier.reshape_transform,
        }
        self._method = method
        if method == POSITIVE_GRADIENTS:
            self._cam = BaseCAM(**common)
            self._cam.get_cam_image = _positive_gradients
        elif (kind := CAM_METHODS[method]) is None:
            self._cam = BaseCAM(**common, uses_gradients=False)
            self._cam.get_cam_weights = ChannelWeights(classifier, method, progress)
        else:
            self._cam = getattr(pytorch_grad_cam, kind)(**common)
        self._cam.get_cam_image = _without_noise(self._cam.get_cam_image)

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
        """Rows and columns of the layer's output in the last forward pass."""
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

        classifier, seen = self.classifier, self._seen
        seen.begin()
        try:
            maps = self._cam(
                input_tensor=classifier.normalise(images),
                targets=[ClassifierOutputTarget(class_index)] * len(images),
            )
        except torch.OutOfMemoryError:
            raise
        except (
            ValueError, IndexError, TypeError, AttributeError, np.exceptions.AxisError,
            AssertionError, RuntimeError,
        ) as error:  # fmt: skip
            self._explain(error, images.shape[1], images.shape[2])
            raise
        self._refuse_layer()
        found = np.asarray(maps, dtype=np.float32)
        if np.isnan(found).any():
            raise LimeTunerError(
                f"the {self._method} map of layer '{classifier.cam_layer}' of {classifier.name} is "
                f"NaN for class {class_index}: its answers or that layer's are not finite (weights "
                "of a training that diverged, or an overflow in half precision)"
            )
        return found.clip(0.0, 1.0)

    def _refuse_layer(self) -> None:
        """Raise if the hooks have seen that the layer cannot have a map.

        grad-cam may return a map all the same.
        """
        seen, classifier = self._seen, self.classifier
        if seen.is_answered and seen.calls == 0:
            reason = "is not called for an answer (as an auxiliary head is not)"
        elif seen.calls > 1:
            reason = f"is called {seen.calls} times for one answer, so it has no one map"
        elif seen.calls and not seen.is_tensor:
            reason = f"gives a {seen.kind}, not a feature map"
        elif seen.is_answered and self._cam.uses_gradients and not seen.is_reached:
            reason = ""
        else:
            return
        what = f"layer '{classifier.cam_layer}' of {classifier.name}"
        raise LimeTunerError(
            f"{what} {reason}: {_REMEDY}" if reason else f"no gradient reaches {what}: {_REMEDY}"
        )

    def _refuse_many_cells(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
        if len(shape) == 4 and shape[2] * shape[3] > _MOST_EIGENCAM_CELLS:
            classifier = self.classifier
            raise LimeTunerError(
                f"layer '{classifier.cam_layer}' of {classifier.name} has {shape[2]} x {shape[3]} "
                f"cells, and eigencam takes {_MOST_EIGENCAM_CELLS} at most: name a later layer "
                "with --cam-layer, or take gradcam"
            )

    def _explain(self, error: Exception, height: int, width: int) -> None:
        """Raise an error with the reason why there are no maps, if it is known."""
        classifier, seen = self.classifier, self._seen
        try:
            self._refuse_layer()
        except LimeTunerError as refused:
            raise refused from error
        if isinstance(error, (ValueError, IndexError)):
            raise LimeTunerError(
                f"layer '{classifier.cam_layer}' of {classifier.name} does not give a feature map "
                f"({error}): name a convolutional layer with --cam-layer"
            ) from error
        crop = classifier.geometry.crop
        size_may_be_wrong = isinstance(error, (AssertionError, RuntimeError))
        if size_may_be_wrong and not seen.is_answered and (height, width) != (crop, crop):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InvalidInput(
                f"{classifier.name} takes pictures of {crop} × {crop} only, not "
                f"{width} × {height} ({reason}): use a method of one scale, "
                "e.g. --reference gradcam@0.3"
            ) from error


def _positive_gradients(
    input_tensor: Any, target_layer: Any, targets: Any, activations: Any,
    gradients: NDArray[np.float32], eigen_smooth: Any = False,
) -> NDArray[np.float32]:  # fmt: skip
    """(N, channels, h, w) gradients → (N, h, w): the sum over channels of the positive ones."""
    return np.asarray(np.maximum(gradients, 0).sum(axis=1))


def _without_noise(
    get_cam_image: Callable[..., NDArray[np.float32]],
) -> Callable[..., NDArray[np.float32]]:
    """Make constant maps zero: grad-cam would scale their rounding errors to [0, 1]."""

    def get(*arguments: Any, **options: Any) -> NDArray[np.float32]:
        maps = get_cam_image(*arguments, **options)
        for values in maps:
            if np.ptp(values) <= _ROUNDING * np.abs(values).max():
                values[:] = 0
        return maps

    return get


class _Seen:
    """Forward hooks that record what a forward and a backward pass do at the layer."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Reset the record before a forward pass."""
        self.calls = 0
        self.kind = ""
        self.is_tensor = self.is_answered = self.is_reached = False

    def begin_gradients(self, module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        """Start the autograd graph at the layer's output, also where the network computes the layer
        without gradients (a frozen backbone under ``no_grad``)."""
        self.calls += 1
        self.kind = type(output).__name__
        self.is_tensor = isinstance(output, torch.Tensor)
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return output
        with torch.inference_mode(False), torch.enable_grad():
            # The next layer may work in place, which a leaf of the graph does not allow.
            begun = output.detach().clone().requires_grad_()
            begun.register_hook(self._reached)  # type: ignore[no-untyped-call]
            return begun.clone()

    def answered(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        """Note that the network finished its forward pass."""
        self.is_answered = True

    def _reached(self, gradient: torch.Tensor) -> None:
        self.is_reached = True
