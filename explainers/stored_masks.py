"""Masks as text, as studies keep them, and the share of the picture that they cover."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import StorageError

__all__ = ["coverage", "mask_from_text", "mask_to_text", "stored_coverage"]


def mask_to_text(mask: NDArray[np.bool_]) -> str:
    """An (H, W) bool mask as a PNG of one bit a pixel, in base64."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def mask_from_text(text: str) -> NDArray[np.bool_]:
    """The inverse of :func:`mask_to_text`.

    Raises:
        StorageError: it is damaged.
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

    Also where that mask is damaged: whoever needs the mask itself says so.
    """
    text = (reference or {}).get("mask_png")
    if text is None:
        return None
    try:
        mask = mask_from_text(text)
    except StorageError:
        return None
    # Without a reference an empty mask is kept.
    return round(coverage(mask), 4) if mask.any() else None
