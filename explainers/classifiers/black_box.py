"""Classifiers of which only predictions are available: endpoints, models of any library.

``--model function:package.module:name`` names a function from (N, H, W, 3) uint8 to (N, C)
probabilities. It has neither gradients nor layers, so there are no class activation maps of it, and
no engine can convert it.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifiers.classifier import Classifier
from explainers.classifiers.outputs import described
from explainers.classifiers.recognition import probing_images
from explainers.classifiers.user_code import import_user_object, module_spec
from explainers.errors import InvalidInput, LimeTunerError
from explainers.images import Geometry
from explainers.messages import error_line, warn_once

_logger = logging.getLogger(__name__)

PREFIX = "function:"
_ROUNDING = 1e-3
_PERCENT = 100
_SUM = 0.02  # how far rows may sum from 1 by rounding


class _Opaque(torch.nn.Module):
    """Placeholder for the network that a function does not have."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, *_: Any) -> NoReturn:
        raise InvalidInput(
            f"{self._name} is a black box without gradients or layers: give masks of your own with "
            "--reference, or tune with --objective faithful"
        )


@dataclass(frozen=True, eq=False)
class BlackBox(Classifier):
    """A classifier that is a function.

    Attributes:
        function: (N, H, W, 3) uint8 → (N, C) probabilities.
        identity: text that differs where predictions may differ; hashed for the fingerprint.
    """

    function: Callable[[NDArray[np.uint8]], Any] = lambda images: images
    identity: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of the identity."""
        return hashlib.sha256(f"function {self.identity}".encode()).hexdigest()

    def predict_proba(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The function's predictions, (N, C) float32, checked.

        It gets a copy of the images, as from stock lime, because it may change them in place.

        Raises:
            LimeTunerError: it failed, or did not return probabilities.
        """
        try:
            returned = self.function(np.array(images, order="C"))
        except LimeTunerError:
            raise
        except (Exception, SystemExit) as error:  # the user's own code may raise anything
            raise LimeTunerError(f"{self.name} failed ({error_line(error)})") from error
        answers = self._rows(returned, len(images))
        self.checked(answers)
        in_range = (answers >= -_ROUNDING) & (answers <= 1 + _ROUNDING)
        if not in_range.all():
            worst = answers[~in_range][0]
            raise LimeTunerError(
                f"{self.name} returned {worst:g}, which is no probability: {_remedy(answers)}"
            )
        self._warn_sums(answers)
        return answers

    def _why_not_finite(self) -> str:
        return "the function has to return finite numbers"

    def _rows(self, returned: Any, count: int) -> NDArray[np.float32]:
        """Convert an array, list, data frame or tensor of any library to (N, C) float32.

        Raises:
            LimeTunerError: ``returned`` is none of these, or has another shape.
        """
        if isinstance(returned, torch.Tensor):
            returned = returned.detach().to("cpu", torch.float32).numpy()
        try:
            answers = np.asarray(returned)
            numbers = answers.dtype.kind in "fiub" or answers.dtype == object
            answers = answers.astype(np.float32) if numbers else answers
        except Exception:  # noqa: BLE001  other libraries' objects raise anything: reported below
            numbers = False
        if not numbers or returned is None:
            raise LimeTunerError(
                f"{self.name} returned {described(returned)}: it must return (N, C), a row of "
                "class probabilities for each image"
            )
        if count == 1 and answers.ndim == 1 and len(answers) > 1:  # the function squeezed it
            answers = answers[None]
        if answers.ndim != 2 or len(answers) != count or answers.shape[1] < 1:
            raise LimeTunerError(
                f"{self.name} returned shape {answers.shape} for {count} images: it must "
                "return (N, C), a row of class probabilities for each"
            )
        return answers

    def _warn_sums(self, answers: NDArray[np.float32]) -> None:
        """Warn once where the rows of several classes do not sum to 1."""
        sums = answers.sum(axis=1)
        if answers.shape[1] > 1 and np.abs(sums - 1).max() > _SUM:
            warn_once(
                _logger,
                f"{self.name} returned probabilities that sum to "
                f"{sums[np.abs(sums - 1).argmax()]:.3g}: they are taken for independent ones, of "
                "several labels",
                f"{self.name} sums",
            )

    def to_json(self) -> dict[str, Any]:
        """:meth:`Classifier.to_json` with ``None`` for mean and std, which a function has not."""
        return {**super().to_json(), "mean": None, "std": None}

    def cam_target(self, module: torch.nn.Module | None = None) -> torch.nn.Module:
        """Raise :class:`InvalidInput`, because a function has no layers."""
        self.module()  # raises
        raise AssertionError("a black box has no layers")


def load_black_box(spec: str) -> BlackBox:
    """The black box of ``package.module:name``; ``name`` may have dots (``model.predict_proba``).

    The function may have attributes: ``class_names``, ``resize`` and ``crop`` (how photographs are
    prepared, 256 and 224 otherwise), and ``fingerprint``, a text that changes when its predictions
    do. Without a fingerprint the content of its source file is hashed.

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
    return _black_box(function, name, f"{spec} {given}")


def black_box_of(function: Callable[[NDArray[np.uint8]], Any], *, lasting: bool) -> BlackBox:
    """The black box of a function that is at hand.

    It may have the attributes that :func:`load_black_box` describes; a missing size is logged.
    Without a fingerprint it is told apart by its answers about three drawn images.

    Args:
        lasting: its answers are kept for other processes, where this is not enough.

    Raises:
        InvalidInput: it takes no images, or needs a fingerprint.
        LimeTunerError: it failed on the drawn images.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    if not _takes_images(function):
        raise InvalidInput(
            f"{name} takes no argument: give a function from (N, H, W, 3) uint8 to (N, C) "
            "probabilities, or the network that it returns"
        )
    given = getattr(function, "fingerprint", None)
    if given is None and lasting:
        raise InvalidInput(
            f"{name} needs an attribute fingerprint, a text that changes when its answers do: they "
            "are kept in a storage or a cache, where those of another function would be taken for "
            "its own"
        )
    made = _black_box(function, name, f"{name} {given}")
    size = made.geometry
    if getattr(function, "crop", None) is None:
        warn_once(
            _logger,
            f"{name} names no size of images: it gets {size.crop} × {size.crop} pixels of "
            f"{size.resize} (its attributes crop and resize say otherwise)",
        )
    if given is not None:
        return made
    answers = made.predict_proba(probing_images(size.crop, size.crop))
    digest = hashlib.sha256(np.round(answers, 4).tobytes()).hexdigest()
    return replace(made, identity=f"{name} {digest}")


def _takes_images(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # compiled functions have no signature
        pass
    return True


def _black_box(function: Any, name: str, identity: str) -> BlackBox:
    return BlackBox(
        name=name,
        module=_Opaque(name),
        class_names=_class_names(function, name),
        geometry=Geometry(
            getattr(function, "resize", Geometry.resize), getattr(function, "crop", Geometry.crop)
        ),
        device=torch.device("cpu"),
        outputs_probabilities=True,
        function=function,
        identity=identity,
    )


def _class_names(function: Any, name: str) -> tuple[str, ...]:
    given = getattr(function, "class_names", None)
    if given is None:
        return ()
    if isinstance(given, Mapping) and set(given) == set(range(len(given))):
        given = [given[number] for number in range(len(given))]
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise InvalidInput(
            f"'{name}' has class_names of type {type(given).__name__}: give a list of names, in "
            "the order of its columns"
        )
    return tuple(str(each) for each in given)


def _remedy(answers: NDArray[np.float32]) -> str:
    """Advice for a message: how to turn the numbers into probabilities."""
    if answers.min() >= 0 and answers.max() <= _PERCENT + _ROUNDING:
        sums = answers.sum(axis=1)
        if answers.shape[1] > 1 and np.abs(sums / _PERCENT - 1).max() <= _SUM:
            return "they are percentages, divide them by 100"
    if answers.max() <= _ROUNDING and np.abs(np.exp(answers).sum(axis=1) - 1).max() <= _SUM:
        return "they are logarithms, apply exp first"
    return "apply softmax first, or sigmoid for independent classes"
