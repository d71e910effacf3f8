"""COCO's run lengths, as numbers and compressed."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["decoded_counts", "run_lengths_to_mask"]


def run_lengths_to_mask(counts: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Alternating runs of background and object, down the columns, background first.

    Raises:
        ValueError: the runs do not add up to the picture.
    """
    lengths = np.asarray(counts, dtype=np.float64)
    if (
        lengths.ndim != 1
        or not ((lengths >= 0) & (lengths == np.floor(lengths))).all()
        or int(lengths.sum()) != shape[0] * shape[1]
    ):
        raise ValueError(f"runs do not add up to {shape[0]} × {shape[1]} pixels")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths.astype(np.int64)).reshape(shape, order="F")


def decoded_counts(text: str | bytes) -> list[int]:
    """The numbers in compressed run lengths.

    They are characters of six bits from "0" on, five bits each of a number; the sixth says that
    more follow, the last one's fifth is the sign. From the fourth number on it is the difference
    to the last but one before.

    Args:
        text: also as Python shows bytes (``b'...'``), which ``str(counts)`` leaves in many files.

    Raises:
        ValueError: not such a text.
    """
    if isinstance(text, str) and len(text) > 2 and text[:2] in ("b'", 'b"') and text[-1] == text[1]:
        try:
            text = ast.literal_eval(text)
        except SyntaxError as error:
            raise ValueError("compressed run lengths that are cut off") from error
    if isinstance(text, bytes):
        text = text.decode("ascii")
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r} in compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number")
    return counts
