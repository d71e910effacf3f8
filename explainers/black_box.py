"""A classifier of which nothing is known but its answers: an endpoint, any library's model.

``--model function:package.module:name`` names a function from (N, H, W, 3) uint8 to (N, C)
probabilities. It has no gradients and no layers, so there are no class activation maps of it, and
nothing to be converted for an engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.errors import InvalidInput, LimeTunerError
from explainers.images import Geometry
from explainers.user_code import import_user_object, module_spec

__all__ = ["PREFIX", "BlackBox", "load_black_box"]

PREFIX = "function:"
_ROUNDING = 1e-3


class _Opaque(torch.nn.Module):
    """Stands where other classifiers have their network."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, *_: Any) -> Any:
        raise InvalidInput(
            f"{self._name} is a black box without gradients or layers: give masks of your own with "
            "--reference, or tune with --objective faithful"
        )


@dataclass(frozen=True, eq=False)
class BlackBox(Classifier):
    """A classifier that is a function.

    Attributes:
        function: (N, H, W, 3) uint8 → (N, C) probabilities.
        identity: what decides its answers; equal for two that answer alike.
    """

    function: Callable[[NDArray[np.uint8]], Any] = lambda images: images
    identity: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of the identity."""
        return hashlib.sha256(f"function {self.identity}".encode()).hexdigest()

    def predict_proba(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The function's answers, (N, C) float32, checked.

        Raises:
            LimeTunerError: it failed, or what it returned are not probabilities.
        """
        try:
            answers = np.asarray(self.function(images), dtype=np.float32)
        except LimeTunerError:
            raise
        except Exception as error:  # the user's own code may raise anything
            reason = " ".join(str(error).split())[:200]
            raise LimeTunerError(
                f"{self.name} failed ({type(error).__name__}: {reason})"
            ) from error
        if answers.ndim != 2 or len(answers) != len(images) or answers.shape[1] < 1:
            raise LimeTunerError(
                f"{self.name} returned shape {answers.shape} for {len(images)} images: it must "
                "return (N, C), a row of class probabilities for each"
            )
        in_range = (answers >= -_ROUNDING) & (answers <= 1 + _ROUNDING)  # false for nan
        if not in_range.all():
            worst = answers[~in_range][0]
            raise LimeTunerError(
                f"{self.name} returned {worst:g}, which is no probability: apply softmax first"
            )
        return answers

    def cam_target(self, module: torch.nn.Module | None = None) -> torch.nn.Module:
        """Never: there is none."""
        self.module()
        raise AssertionError("a black box has no layers")


def load_black_box(spec: str) -> BlackBox:
    """The black box of ``package.module:name``; ``name`` may have dots (``model.predict_proba``).

    The function may carry attributes: ``class_names``, ``resize`` and ``crop`` (how photographs
    are prepared, 256 and 224 otherwise), and ``fingerprint``, a text that changes when its answers
    do. Without the last one the content of its source file counts.

    Raises:
        InvalidInput: it cannot be imported, is no function, or needs a fingerprint.
    """
    spec = module_spec(spec)
    name = f"{PREFIX}{spec}"
    module, function = import_user_object(spec, f"'{name}'")
    if not callable(function):
        raise InvalidInput(
            f"'{name}' is a {type(function).__name__}, not a function from (N, H, W, 3) uint8 to "
            "(N, C) probabilities"
        )
    given = getattr(function, "fingerprint", None)
    if given is None:
        source = getattr(module, "__file__", None)
        if source is None or not Path(source).is_file():
            raise InvalidInput(
                f"'{name}' has no source file that answers could be told apart by: set its "
                "attribute fingerprint, a text that changes when its answers do"
            )
        given = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    resize = getattr(function, "resize", Geometry().resize)
    return BlackBox(
        name=name,
        module=_Opaque(name),
        class_names=tuple(str(each) for each in getattr(function, "class_names", ())),
        geometry=Geometry(resize=resize, crop=int(getattr(function, "crop", Geometry().crop))),
        device=torch.device("cpu"),
        outputs_probabilities=True,
        function=function,
        identity=f"{spec} {given}",
    )
