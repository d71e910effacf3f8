"""Draw a photograph, its heat maps and its LIME explanations as pictures of one size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from explainers.images import heat_overlay
from explainers.metrics import Explanation
from studies.records import ComparedImage
from studies.report.charts.palette import AGAINST, FOR

__all__ = ["Panel", "class_panels", "panels"]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_STRENGTH = 0.65  # opacity of the heaviest superpixel's colour
_JPEG_QUALITY = 88


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with a title, a caption and a text alternative.

    Attributes:
        pixels: (H, W, 3) uint8.
    """

    title: str
    caption: str
    alternative: str
    pixels: NDArray[np.uint8]

    @property
    def source(self) -> str:
        """The picture as a JPEG data URI, for the ``src`` of an HTML image."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _evidence_overlay(
    image: NDArray[np.uint8], explanation: Explanation, reference: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Colour LIME's superpixels by weight, and outline the mask in black, the reference in white.

    Superpixels for the class are blue, those against it orange.
    """
    surrogate = explanation.surrogate
    assert surrogate is not None
    heaviest = max((abs(w) for w in surrogate.weights.values()), default=0.0) or 1.0
    share = np.abs(explanation.ranking) / heaviest * _STRENGTH
    colour = np.where(
        (explanation.ranking > 0)[..., None], np.array(FOR, float), np.array(AGAINST, float)
    )
    grey = image.mean(axis=2, keepdims=True) * 0.6 + 90
    blended = grey * (1 - share[..., None]) + colour * share[..., None]
    return _outlined(blended.clip(0, 255).astype(np.uint8), explanation.mask, reference)


def _outlined(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None, reference: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Outline a reference in white, and over it a mask in black."""
    drawn = picture.copy()
    drawn[find_boundaries(reference, mode="outer")] = _WHITE
    if mask is not None:
        drawn[find_boundaries(mask, mode="inner")] = _BLACK
    return drawn


def panels(image: ComparedImage) -> list[Panel]:
    """Return panels of the photograph and of every explanation, in the order they were made."""
    explained = [each.explanation.class_index for each in image.comparison.explanations]
    first = explained[0] if explained else image.comparison.facts.top_classes[0][0]
    found = [
        Panel(
            "photograph",
            _class(image, first)[1],
            f"The photograph {image.key} with the outline of its reference mask, which covers "
            f"{image.reference.mean():.0%} of it.",
            _outlined(image.pixels, None, image.reference),
        )
    ]
    for measured in image.comparison.explanations:
        explanation = measured.explanation
        iou = measured.measures.get("iou", float("nan"))
        pixels, kind = _drawn(image, explanation)
        found.append(
            Panel(
                explanation.method,
                f"IoU {iou:.2f}, {explanation.seconds:.2g} s",
                f"{explanation.method} of {image.key}: {kind}, the mask outlined in black; IoU "
                f"with the reference {iou:.2f}.",
                pixels,
            )
        )
    return found


def class_panels(image: ComparedImage) -> list[Panel]:
    """Return panels of all explained classes, for the methods that explained several."""
    others = image.comparison.other_classes
    methods = list(dict.fromkeys(each.method for each in others))
    firsts = [each.explanation for each in image.comparison.explanations]
    found = []
    ordered = [e for method in methods for e in [*firsts, *others] if e.method == method]
    for explanation in ordered:
        name, title = _class(image, explanation.class_index)
        pixels, kind = _drawn(image, explanation)
        found.append(
            Panel(
                title,
                explanation.method,
                f"{explanation.method} of {image.key} for the class {name}: {kind}, the mask "
                "outlined in black.",
                pixels,
            )
        )
    return found


def _class(image: ComparedImage, index: int) -> tuple[str, str]:
    """Return a class's name, and the name with its probability if that is stored."""
    for name, (likely, probability) in zip(
        image.class_names, image.comparison.facts.top_classes, strict=True
    ):
        if likely == index:
            return name, f"{name} ({probability:.0%})"
    return image.explained, image.explained


def _drawn(image: ComparedImage, explanation: Explanation) -> tuple[NDArray[np.uint8], str]:
    """Draw an explanation over its photograph, and describe the drawing in words."""
    if explanation.surrogate is not None:
        return (
            _evidence_overlay(image.pixels, explanation, image.reference),
            "superpixels for the class in blue and against it in orange",
        )
    overlay = heat_overlay(image.pixels, explanation.ranking.astype(np.float32))
    return _outlined(overlay, explanation.mask, image.reference), "heat map"
