"""Whether photographs are prepared as the library of a network prepares them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from PIL import Image

from explainers.classifiers.classifier import Classifier
from explainers.classifiers.recognition import probing_images
from explainers.images import prepare
from explainers.messages import error_line, warn_once

_logger = logging.getLogger(__name__)

# Not square, and of sides whose margins round differently.
_HEIGHT, _WIDTH = 307, 411
_LEVELS = 3  # of 255: other implementations of one filter round differently

Own = Callable[[Image.Image], torch.Tensor]
"""A library's preparation: a picture → (3, H, W), scaled for the network."""


def warn_if_prepared_otherwise(classifier: Classifier, own: Own, how: str) -> None:
    """Compare the preparation of a synthetic picture with the library's own; warn if they differ.

    Args:
        how: what the library's preparation is called, for the message.
    """
    noise, ramps, _ = probing_images(_HEIGHT, _WIDTH)  # details show another interpolation
    picture = Image.fromarray(noise // 2 + ramps // 2)
    ours = classifier.normalise(prepare(picture, classifier.geometry)[None])[0].cpu().float()
    try:
        theirs = own(picture)
    except Exception as error:  # noqa: BLE001  other libraries' code may raise anything
        why = f"fails ({error_line(error)})"
    else:
        scale = 255 * torch.tensor(classifier.std).view(-1, 1, 1)
        if theirs.shape == ours.shape:
            levels = float(((theirs - ours) * scale).abs().max())
            if levels <= _LEVELS:
                return
            why = f"gives values up to {levels:.0f} of 255 away"
        else:
            why = f"gives {' × '.join(map(str, theirs.shape[1:]))} pixels"
    resize, crop = classifier.geometry.resize, classifier.geometry.crop
    warn_once(
        _logger,
        f"{classifier.name}: photographs are resized to {resize} and cropped to {crop}; {how} "
        f"{why}, so predictions may differ from the library's own",
    )
