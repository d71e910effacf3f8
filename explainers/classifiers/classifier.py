"""Classifiers: a module with the preparation of its input and the names of its outputs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifiers.fingerprints import update_with_code, update_with_state
from explainers.classifiers.outputs import (
    Convention,
    OutputKind,
    UnusableOutput,
    as_probabilities,
    class_scores,
    map_scores,
)
from explainers.classifiers.recognition import (
    Recognised,
    in_train_mode,
    probing_images,
    recognise,
    sum_to_one,
)
from explainers.errors import InvalidInput, LimeTunerError, NotFinite
from explainers.images import Geometry
from explainers.messages import error_line, warn_once

_logger = logging.getLogger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ReshapeTransform = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier, as all modules of this project take it.

    ``predict_proba`` is what a user would hand to stock lime: plain PyTorch without
    optimisations. Verification times it, and faster engines must agree with it.

    Attributes:
        name: what it is called in studies and reports.
        module: maps (N, c, H, W) normalised images, of its parameters' floating type, to (N, C)
            logits; in eval mode. :mod:`explainers.classifiers.outputs` lists what else it may
            return.
        class_names: C names, in the order of the outputs; numbers as text when unknown.
        geometry: how photographs are prepared unless a catalogue says otherwise.
        mean, std: per channel, of pixels scaled to [0, 1]; of one number each for a network that
            takes grey images.
        cam_layer: module path of the layer that class activation maps are taken from;
            ``None`` when there is none.
        reshape_transform: brings that layer's output to (N, channels, h, w) where it is not.
        outputs_probabilities: the module ends in a softmax of its own; the same as
            ``output="probabilities"``.
        spec: what :func:`explainers.classifiers.load_classifier` was called with, so that another
            process can load the same classifier; ``None`` for one built by hand.
        output: what the module's numbers are; ``None`` means logits. ``unknown``: recognised from
            its outputs for synthetic images (:mod:`explainers.classifiers.recognition`), and
            reported unless they are logits. A factory's module is ``unknown`` unless it says
            otherwise.
    """

    name: str
    module: torch.nn.Module
    class_names: tuple[str, ...]
    geometry: Geometry = field(default_factory=Geometry)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    cam_layer: str | None = None
    reshape_transform: ReshapeTransform | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    outputs_probabilities: bool = False
    spec: dict[str, Any] | None = None
    output: OutputKind | None = None

    def __post_init__(self) -> None:
        if self.output is None and self.outputs_probabilities:
            object.__setattr__(self, "output", OutputKind.PROBABILITIES)
        elif self.output is not None:
            if self.output not in set(OutputKind):
                raise InvalidInput(
                    f"{self.name} has output={self.output!r}: give one of {', '.join(OutputKind)}"
                )
            object.__setattr__(self, "output", OutputKind(self.output))
        if self.output is not None and self.output.single and len(self.class_names) == 1:
            (name,) = self.class_names
            object.__setattr__(self, "class_names", (f"not {name}", name))
        try:
            self.module.to(self.device)
        except NotImplementedError as error:  # meta tensors
            raise InvalidInput(
                f"{self.name} cannot be put on {self.device} ({error_line(error)}): give a "
                "torch.nn.Module that has its weights"
            ) from error
        with contextlib.suppress(NotImplementedError):  # exported programs have no modes
            self.module.eval()

    def normalise(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """(N, H, W, 3) uint8 → (N, c, H, W) on the device, scaled for the module."""
        return self.normalise_planes(
            torch.from_numpy(images if images.flags.writeable else images.copy())
            .to(self.device)
            .permute(0, 3, 1, 2)
        )

    def normalise_planes(self, planes: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 on the device → (N, c, H, W), scaled for the module."""
        convention = self.convention(planes.shape[2], planes.shape[3])
        return convention.scaled(planes, self.input_dtype)

    @cached_property
    def input_dtype(self) -> torch.dtype:
        """The floating type of the module's first parameter: its input has to have the same."""
        types = (each.dtype for each in self.module.parameters() if each.is_floating_point())
        return next(types, torch.float32)

    def predict_proba(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities of prepared images.

        Args:
            images: (N, H, W, 3) uint8.

        Returns:
            (N, C) float32; rows sum to 1 unless the network gives independent probabilities.

        Raises:
            LimeTunerError: the module failed, or did not return scores.
        """
        with torch.inference_mode():
            return self.answers(self.normalise(images))

    def answers(
        self, inputs: torch.Tensor, module: torch.nn.Module | None = None
    ) -> NDArray[np.float32]:
        """(N, c, H, W) normalised → (N, C) float32 probabilities, by ``module`` (a copy, say) or
        the classifier's own.

        Raises:
            LimeTunerError: as for :meth:`predict_proba`.
        """
        scores = self.scores(inputs, module)
        if self.output is None:
            self._warn_unless_logits(scores)
        convention = self.convention(inputs.shape[2], inputs.shape[3])
        probabilities = as_probabilities(scores, convention.output)
        return self.checked(probabilities.to("cpu").numpy())

    def scores(self, inputs: torch.Tensor, module: torch.nn.Module | None = None) -> torch.Tensor:
        """(N, c, H, W) normalised → (N, C), the numbers that the network returns.

        Raises:
            LimeTunerError: as for :meth:`predict_proba`.
        """
        try:
            output = (self.module if module is None else module)(inputs)
        except (Exception, SystemExit) as error:  # the user's own code may raise anything
            raise self._failed(error, inputs) from error
        return self._taken(output, inputs)

    def map_scores(self, output: Any, inputs: torch.Tensor) -> torch.Tensor:
        """Convert the module's output to (N, C) scores for class activation maps, whose gradients
        are those of the logits (:func:`explainers.classifiers.map_scores`).

        Args:
            output: what the module returned for the inputs.
            inputs: (N, c, H, W).

        Raises:
            InvalidInput: the output has no scores.
        """
        convention = self.convention(inputs.shape[2], inputs.shape[3])
        return map_scores(self._taken(output, inputs), convention.output)

    def _taken(self, output: Any, inputs: torch.Tensor) -> torch.Tensor:
        try:
            return class_scores(output, len(inputs))
        except UnusableOutput as error:
            raise self._failed(error, inputs) from error

    def checked(self, answers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the predictions unchanged.

        Raises:
            NotFinite: some are NaN or infinite.
        """
        if not np.isfinite(answers).all():
            worst = answers[~np.isfinite(answers)][0]
            raise NotFinite(
                f"{self.name} answers {'NaN' if np.isnan(worst) else worst}, which is no "
                f"probability: {self._why_not_finite()}"
            )
        return answers

    def _why_not_finite(self) -> str:
        dtype = str(self.input_dtype).removeprefix("torch.")
        return f"check its weights (training that diverged, numbers too large for {dtype})"

    def _failed(self, error: BaseException, inputs: torch.Tensor) -> LimeTunerError:
        """The exception to raise for a module that raised ``error``, or returned no scores."""
        if isinstance(error, LimeTunerError):
            return error
        if isinstance(error, torch.OutOfMemoryError):
            return LimeTunerError(
                f"{self.name} found no memory on {self.device} for {len(inputs)} images "
                f"({error_line(error)}): end what else uses it, or take another --device"
            )
        if isinstance(error, UnusableOutput):
            return InvalidInput(
                f"{self.name} returned {error} for {len(inputs)} images: give a wrapper whose "
                "forward returns logits (N, C)"
            )
        if in_train_mode(self.module):
            return LimeTunerError(
                f"{self.name} failed ({error_line(error)}): parts of it stay in train mode, its "
                "train(False) has to switch that off"
            )
        given = f"{tuple(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"
        return LimeTunerError(
            f"{self.name} failed on an input of {given} ({error_line(error)}): images have to be "
            "of the size and the channels that it takes (resize and crop of its Geometry or of the "
            "catalogue; mean and std of one number each for grey ones)"
        )

    def convention(self, height: int, width: int) -> Convention:
        """Input scaling and kind of output of the module, for images of a size in pixels.

        Raises:
            LimeTunerError: the module fails on such images, so its output cannot be recognised.
        """
        if self.usual_convention is not None:
            return self.usual_convention
        # The module fails on images of its own geometry; a catalogue's may have another size.
        if (height, width) not in self._conventions:
            self._conventions[height, width] = self._seen(height, width)
        return self._conventions[height, width]

    @cached_property
    def _conventions(self) -> dict[tuple[int, int], Convention]:
        """Conventions by (height, width) of images that are not of the classifier's geometry."""
        return {}

    @cached_property
    def usual_convention(self) -> Convention | None:
        """The convention for images of the classifier's geometry; ``None`` where the module fails
        on them."""
        if self.output is not OutputKind.UNKNOWN:
            return Convention(self.output or OutputKind.LOGITS, self.mean, self.std)
        try:
            return self._seen(self.geometry.crop, self.geometry.crop)
        except LimeTunerError as error:
            _logger.debug("%s", error)
            return None

    def _seen(self, height: int, width: int) -> Convention:
        images = torch.from_numpy(probing_images(height, width)).to(self.device)
        usual = Convention(OutputKind.UNKNOWN, self.mean, self.std)
        failure: LimeTunerError | None = None
        for convention in (usual,) if usual.grey else (usual, usual.as_grey()):
            inputs = convention.scaled(images.permute(0, 3, 1, 2), self.input_dtype)
            try:
                recognised = recognise(self.module, inputs)
            except (Exception, SystemExit) as error:  # noqa: BLE001  raised below unless grey images work
                failure = self._failed(error, inputs) if failure is None else failure
                continue
            self._warn(recognised, grey=convention is not usual)
            return replace(convention, output=recognised.kind)
        assert failure is not None
        raise failure

    def _warn(self, recognised: Recognised, *, grey: bool) -> None:
        """Log everything that was guessed as one warning."""
        remarks = list(recognised.remarks)
        if grey:
            remarks.append("takes one channel and is given grey images")
        if self.input_dtype != torch.float32:
            remarks.append(
                f"is given {str(self.input_dtype).removeprefix('torch.')}, as its weights"
            )
        if remarks:
            line = (
                f"{self.name}: {'; '.join(remarks)}. A factory can return a Classifier that says "
                "otherwise (output=, mean=, std=)"
            )
            warn_once(_logger, line)

    def _warn_unless_logits(self, scores: torch.Tensor) -> None:
        if sum_to_one(scores.detach().float()):
            line = (
                f"{self.name} returns rows in [0, 1] that sum to 1, which are taken for logits: "
                'give Classifier(output="probabilities"), or output="logits" if they are'
            )
            warn_once(_logger, line)

    def recognised(self) -> Classifier:
        """The classifier with its output kind and scaling recognised, where they were not given."""
        if self.output not in (None, OutputKind.UNKNOWN):
            return self
        asked = replace(self, output=OutputKind.UNKNOWN)
        convention = asked.usual_convention
        if convention is None:
            return asked
        return replace(asked, output=convention.output, mean=convention.mean, std=convention.std)

    def of_grey(self) -> Classifier:
        """The classifier for a module of one input channel: mean and std are averaged."""
        grey = Convention(OutputKind.UNKNOWN, self.mean, self.std).as_grey()
        return replace(self, mean=grey.mean, std=grey.std)

    def to_json(self) -> dict[str, Any]:
        """How the module is used, as JSON values: ``output``, ``mean``, ``std``, ``resize``,
        ``crop`` (and ``interpolation``, ``squash``, ``floor`` where they are not as usual),
        ``channels``, ``map_layer``."""
        # A module that fails on its own size may have been recognised at another one since.
        seen = self.usual_convention or next(iter(self._conventions.values()), None)
        convention = seen or Convention(OutputKind.UNKNOWN, self.mean, self.std)
        return {
            "output": str(convention.output),
            "mean": list(convention.mean),
            "std": list(convention.std),
            **self.geometry.to_json(),
            "channels": len(convention.mean),
            "map_layer": self.cam_layer,
        }

    def class_name(self, index: int) -> str:
        """Name of a class; its number as text when the classifier has no names."""
        return self.class_names[index] if index < len(self.class_names) else str(index)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of everything that decides a prediction: architecture, weights, scaling."""
        digest = hashlib.sha256()
        convention = self.usual_convention
        output = convention and convention.output
        mean, std = (
            (self.mean, self.std) if convention is None else (convention.mean, convention.std)
        )
        digest.update(repr((type(self.module).__name__, mean, std)).encode())
        digest.update(repr(output is OutputKind.PROBABILITIES).encode())
        if output not in (OutputKind.LOGITS, OutputKind.PROBABILITIES):
            digest.update(str(output).encode())
        update_with_state(digest, self.module)
        update_with_code(digest, self.module)
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
