"""PyTorch in the channels-last memory layout, which is fastest for its convolutions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifiers import Classifier, copied
from explainers.errors import LimeTunerError, NotFinite
from explainers.lime import Perturbation

_logger = logging.getLogger(__name__)

ACCELERATOR_BATCHES = (32, 64, 128, 256)
"""Batch sizes on an accelerator; smaller batches are filled up with copies of the last image.

cuDNN plans every convolution anew for every size of batch, which took 0.5 s for mobilenet_v2.
Filling up costs milliseconds: with 32 images instead of 8 an H200 took 4.1 instead of 3.2 ms for
mobilenet_v2, 14.0 instead of 5.5 for resnet50.
"""


class TorchEngine:
    """PyTorch with channels-last memory, about twice as fast for convolutions on a CPU; in the
    contiguous layout for a network that fails in that one.

    On an accelerator perturbed images are built there, so that patterns of bits are transferred
    instead of images. On CUDA it computes in full single precision: with TF32, PyTorch's default
    for convolutions, a prediction depends on the size of its batch, by up to 0.006 for mobilenet_v2
    on an H200 (5e-6 without).

    Attributes:
        module: a copy of the classifier's, or that itself where it cannot be copied.
    """

    name = "torch-channels-last"

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        pixels = classifier.geometry.crop**2
        self.batch_size = 64
        if classifier.device.type == "cpu":
            # The allocator maps fresh pages for every layer of a large batch. Four images of
            # 224 × 224 were about the best.
            self.batch_size = min(32, max(1, 4 * 224 * 224 // pixels))
        self._layout = torch.channels_last
        self.module = _laid_out(classifier.module, self._layout)
        self._placed: tuple[Perturbation, torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @property
    def fingerprint(self) -> str:
        """The classifier's fingerprint, the engine's name, and the device type unless it is cpu."""
        where = f"-{self.device.type}" if self.on_accelerator else ""
        return f"{self._classifier.fingerprint}/{self.name}{where}"

    @property
    def device(self) -> torch.device:
        """The classifier's device."""
        return self._classifier.device

    @property
    def on_accelerator(self) -> bool:
        """Whether perturbed images are built on the device."""
        return self.device.type != "cpu"

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 → (N, C) float32 probabilities."""
        with torch.inference_mode():
            return self._answer(self._classifier.normalise(images))

    def predict_perturbed(
        self, perturbation: Perturbation, rows: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """(S, n_superpixels) patterns → (S, C) float32 probabilities."""
        if self.on_accelerator:
            return self.predict_on_device(perturbation, rows)
        return self.predict_proba(perturbation.images(rows))

    def predict_on_device(
        self, perturbation: Perturbation, rows: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """:meth:`predict_perturbed` with the images built on the classifier's device."""
        device = self.device
        if self._placed is None or self._placed[0] is not perturbation:
            self._placed = (
                perturbation,
                torch.tensor(perturbation.labels, device=device),  # a copy: it may be read-only
                torch.from_numpy(perturbation.difference).to(device),
                torch.from_numpy(perturbation.hidden).to(device),
            )
        _, labels, difference, hidden = self._placed
        height, width, _ = perturbation.shape
        with torch.inference_mode():
            shown = torch.from_numpy(rows.astype(np.uint8) * np.uint8(255)).to(device)
            planes = (shown[:, labels][:, None, :] & difference) ^ hidden
            return self._answer(
                self._classifier.normalise_planes(planes.reshape(-1, 3, height, width))
            )

    def _answer(self, batch: torch.Tensor) -> NDArray[np.float32]:
        """(N, c, H, W) normalised → (N, C) float32 probabilities."""
        count = len(batch)
        if self.on_accelerator:
            missing = _planned(count) - count
            # Not with blank images, on which some networks fail.
            batch = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])
        with _full_precision(self.device):
            try:
                return self._asked(batch)[:count]
            except LimeTunerError as error:
                if self._layout is torch.contiguous_format or not _may_be_the_layout(error):
                    raise
            # Some operations, e.g. ``view``, need the contiguous layout.
            self._layout = torch.contiguous_format
            self.module = _laid_out(self._classifier.module, self._layout)
            return self._asked(batch)[:count]

    def _asked(self, batch: torch.Tensor) -> NDArray[np.float32]:
        laid_out = batch.contiguous(memory_format=self._layout)
        return self._classifier.answers(laid_out, self.module)


def _may_be_the_layout(error: LimeTunerError) -> bool:
    no_memory = isinstance(error.__cause__, torch.OutOfMemoryError)
    return not no_memory and not isinstance(error, NotFinite)


def _laid_out(module: torch.nn.Module, layout: torch.memory_format) -> torch.nn.Module:
    """A copy in a memory layout; the module itself where it cannot be copied."""
    try:
        own = copied(module, type(module).__name__)
    except LimeTunerError as error:
        _logger.debug("%s", error)
        return module
    with torch.no_grad():  # else parameters of compiled modules become results of operations
        own.to(memory_format=layout)  # type: ignore[call-overload]
    for parameter in own.parameters():
        if parameter.is_leaf:
            parameter.requires_grad_(False)
    return own


def _planned(count: int) -> int:
    """The smallest batch that holds so many images: a known one, or a multiple of the largest."""
    largest = ACCELERATOR_BATCHES[-1]
    fitting = (size for size in ACCELERATOR_BATCHES if size >= count)
    return next(fitting, -(-count // largest) * largest)


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """A context without TF32, which is a setting of the whole process."""
    if device.type != "cuda":
        yield
        return
    previous = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = previous
