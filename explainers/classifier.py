"""Classifiers: a module, how pictures become its input, and what its outputs are called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.images import Geometry

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Classifier", "pick_device"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ReshapeTransform = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier as everything in this project sees it.

    ``predict_proba`` is what a user would hand to stock lime: plain PyTorch, no tricks. It is
    the path that verification times; faster engines must agree with it.

    Attributes:
        name: what it is called in studies and reports.
        module: maps (N, 3, H, W) float32 normalised images to (N, C) logits; in eval mode.
        class_names: C names, in the order of the outputs; numbers as text when unknown.
        geometry: how photographs are prepared unless a catalogue says otherwise.
        mean, std: per channel, of pixels scaled to [0, 1].
        cam_layer: module path of the layer that class activation maps are taken from;
            ``None`` when there is none.
        reshape_transform: brings that layer's output to (N, channels, h, w) where it is not.
        outputs_probabilities: the module ends in a softmax of its own.
        spec: what :func:`explainers.zoo.load_classifier` was called with, so that another process
            can load the same classifier; ``None`` for one built by hand.
    """

    name: str
    module: torch.nn.Module
    class_names: tuple[str, ...]
    geometry: Geometry = field(default_factory=Geometry)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    cam_layer: str | None = None
    reshape_transform: ReshapeTransform | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    outputs_probabilities: bool = False
    spec: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.module.to(self.device).eval()

    def normalise(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """(N, H, W, 3) uint8 → (N, 3, H, W) float32 on the device, as the module wants it."""
        return self.normalise_planes(
            torch.from_numpy(images if images.flags.writeable else images.copy())
            .to(self.device)
            .permute(0, 3, 1, 2)
        )

    def normalise_planes(self, planes: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 on the device → float32, scaled as the module wants it."""
        scaled = planes.contiguous().to(torch.float32).div_(255.0)
        mean = torch.tensor(self.mean, device=self.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(1, 3, 1, 1)
        return scaled.sub_(mean).div_(std)

    def predict_proba(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities of prepared images.

        Args:
            images: (N, H, W, 3) uint8.

        Returns:
            (N, C) float32; rows sum to 1.
        """
        with torch.inference_mode():
            output = self.module(self.normalise(images))
            if not self.outputs_probabilities:
                output = torch.softmax(output, dim=1)
            answer: NDArray[np.float32] = output.to("cpu", torch.float32).numpy()
        return answer

    def to_json(self) -> dict[str, Any]:
        """What the module is taken for: ``output``, ``mean``, ``std``, ``resize``, ``crop``,
        ``channels``, ``map_layer``."""
        return {
            "output": "probabilities" if self.outputs_probabilities else "logits",
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": self.geometry.resize,
            "crop": self.geometry.crop,
            "channels": len(self.mean),
            "map_layer": self.cam_layer,
        }

    def class_name(self, index: int) -> str:
        """Name of a class; its number as text when the classifier has no names."""
        return self.class_names[index] if index < len(self.class_names) else str(index)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) over everything that decides an answer: architecture, weights, scaling."""
        digest = hashlib.sha256()
        digest.update(repr((type(self.module).__name__, self.mean, self.std)).encode())
        digest.update(repr(self.outputs_probabilities).encode())
        # The printed structure tells apart networks with equal weights (a stride, a pooling).
        digest.update(str(self.module).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            data = tensor.detach().to("cpu").contiguous()
            digest.update(data.view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def cam_target(self, module: torch.nn.Module | None = None) -> torch.nn.Module:
        """The layer at ``cam_layer``, in ``module`` (a copy, say) or in the classifier's own.

        Raises:
            InvalidInput: there is no such layer, or none was named.
        """
        root = self.module if module is None else module
        if self.cam_layer is None:
            raise InvalidInput(
                f"no last convolutional layer is known for {self.name}: "
                "name one with --cam-layer, e.g. --cam-layer layer4, give masks with --reference, "
                "or use --objective faithful"
            )
        try:
            return root.get_submodule(self.cam_layer)
        except AttributeError as error:
            known = ", ".join(name for name, _ in root.named_children())
            raise InvalidInput(
                f"{self.name} has no layer '{self.cam_layer}'; its top-level layers are: {known}"
            ) from error

    def with_cam_layer(self, path: str) -> Classifier:
        """The same classifier with another layer for class activation maps.

        A reshape transform is kept: the blocks of a transformer all have the same layout.
        """
        spec = None if self.spec is None else {**self.spec, "cam_layer": path}
        changed = replace(self, cam_layer=path, spec=spec)
        changed.cam_target()
        return changed


def pick_device(name: str | None) -> torch.device:
    """``None`` or ``auto``: CUDA, else Apple's MPS, else CPU; otherwise the device of that name.

    Raises:
        InvalidInput: the device does not exist here.
    """
    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidInput(
            f"device '{name}' cannot be used here: give cpu, cuda, cuda:N, mps or auto"
        ) from error
    return device
