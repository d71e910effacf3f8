"""Masks: read out of explanations and heat maps, compared, and kept as text in studies."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidInput, StorageError, UnusableReference

__all__ = [
    "MASK_RULE",
    "MaskRule",
    "check_own_mask",
    "check_reference",
    "consensus",
    "coverage",
    "intersection_over_union",
    "mask_from_text",
    "mask_to_text",
    "selected_superpixels",
    "stored_coverage",
    "stretched",
]


@dataclass(frozen=True)
class MaskRule:
    """How a mask is read out of an explanation: arguments of lime's ``get_image_and_mask``."""

    positive_only: bool = True
    num_features: int = 5
    hide_rest: bool = False
    min_weight: float = 0.0

    def as_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of ``ImageExplanation.get_image_and_mask`` but the label."""
        return asdict(self)


MASK_RULE = MaskRule()
"""The grading protocol's rule: the five heaviest positive superpixels of the top label."""


def selected_superpixels(
    weights: Sequence[tuple[int, float]], rule: MaskRule = MASK_RULE
) -> list[int]:
    """The superpixels that ``get_image_and_mask`` switches on.

    Args:
        weights: (superpixel, weight) by decreasing absolute weight, as in lime's ``local_exp``.

    Returns:
        At most ``rule.num_features`` superpixel numbers, heaviest first.
    """
    if rule.positive_only:
        kept = [int(s) for s, w in weights if w > 0 and w > rule.min_weight]
        return kept[: rule.num_features]
    return [int(s) for s, w in weights[: rule.num_features] if w >= max(rule.min_weight, 0)]


def intersection_over_union(mask: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """|A ∩ B| / |A ∪ B| of two (H, W) bool masks, in [0, 1]; two empty masks agree (1.0).

    Raises:
        InvalidInput: the masks differ in shape.
    """
    if mask.shape != reference.shape:
        raise InvalidInput(
            f"masks of shape {mask.shape} and {reference.shape} cannot be compared: "
            "both must be in the image's geometry"
        )
    union = int(np.count_nonzero(mask | reference))
    return 1.0 if union == 0 else int(np.count_nonzero(mask & reference)) / union


def consensus(heat_maps: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of heat maps of one shape, each in [0, 1]."""
    return np.asarray(np.mean(np.stack(list(heat_maps)), axis=0, dtype=np.float32))


def stretched(heat_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map scaled to its own minimum (0) and maximum (1); a flat one becomes zero."""
    above = heat_map - heat_map.min()
    peak = float(above.max())
    return np.asarray(above / peak if peak > 0 else above)


def check_reference(mask: NDArray[np.bool_], name: str) -> None:
    """Refuse a computed mask that no explanation can be scored against.

    Args:
        name: of the image.

    Raises:
        UnusableReference: the mask is empty or covers the whole image.
    """
    other = "choose another method, or give a mask of your own"
    _check_two_sided(
        mask,
        f"the reference mask of {name}",
        empty=f"lower the threshold of the rule (e.g. gradcam@0.2), {other}",
        full=f"raise the threshold of the rule (e.g. gradcam@0.5), {other}",
    )


def check_own_mask(mask: NDArray[np.bool_], what: str) -> None:
    """Refuse a user's mask that no explanation can be scored against.

    Args:
        what: the mask in words, for the message.

    Raises:
        UnusableReference: the mask is empty or covers the whole image.
    """
    _check_two_sided(
        mask,
        what,
        empty="nothing is marked as the object; draw it (255, or any label but 0), or leave the "
        "image out",
        full="nothing is left as the background (0); draw the object alone, or leave the image out",
    )


def _check_two_sided(mask: NDArray[np.bool_], what: str, *, empty: str, full: str) -> None:
    if not mask.any():
        raise UnusableReference(f"{what} is empty: {empty}")
    if mask.all():
        raise UnusableReference(f"{what} covers the whole image: {full}")


def mask_to_text(mask: NDArray[np.bool_]) -> str:
    """An (H, W) bool mask as a PNG of one bit a pixel, in base64."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def mask_from_text(text: str) -> NDArray[np.bool_]:
    """The inverse of :func:`mask_to_text`, (H, W) bool.

    Raises:
        StorageError: the text is no PNG in base64.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            mask: NDArray[np.bool_] = np.asarray(picture.convert("L")) > 127
    except (OSError, ValueError, TypeError, SyntaxError) as error:
        raise StorageError(f"the stored mask of a study is damaged ({error})") from error
    return mask


def coverage(mask: NDArray[np.bool_]) -> float:
    """The share of the picture that a mask covers, in [0, 1]."""
    return float(mask.mean())


def stored_coverage(reference: Mapping[str, Any] | None) -> float | None:
    """The coverage of a study's attribute ``reference``; ``None`` where it keeps no mask.

    Also ``None`` where that mask is damaged: code that reads the mask itself raises.
    """
    text = (reference or {}).get("mask_png")
    if text is None:
        return None
    try:
        mask = mask_from_text(text)
    except StorageError:
        return None
    # Studies without a reference store an empty mask.
    return round(coverage(mask), 4) if mask.any() else None
