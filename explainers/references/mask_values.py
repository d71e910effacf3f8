"""Finding the object in the values of a mask: two values, labels, colours, probabilities.

Zero is the background. Every other label is the object, except void (255); probabilities and soft
edges are cut at half of their range. Anything else raises :class:`InvalidInput`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.messages import shortened
from explainers.references.decisions import MaskSource

VOID = 255
"""The label of pixels that data sets leave out of their measures, such as borders of objects."""

# No data set of everyday objects has more labels in one picture; photographs have more greys.
_MOST_LABELS = 64
# Labels beside a value at the top of the range are small; {0, 128, 255} may be a trimap.
_SMALL_LABEL = 64
# The border of a small object may be larger than the object, but not by much.
_MOST_VOID = 10
# Where several labels cover a larger share, the whole scene is labelled, and not an object.
_SCENE = 0.9
# Largest share of pixels that are neither nearly 0 nor nearly full: with few levels only the edges
# are, with more levels a soft mask has more of them.
_FEW_LEVELS, _FEW_BETWEEN, _MOST_BETWEEN = 16, 0.05, 0.25
# How far apart the channels of a grey pixel may come out of a lossy format.
_LOSSY_SPREAD = 16
_RANGES = (1, 255, 65535)
# A fifth of 255; fifths may be shares of five annotators who have marked a pixel.
_LEAST_SHARE = 51
_UNITED = "several labels together are taken as the object"
_CUT = "soft masks are cut at half of their range"
_SAVE = "save it with 0 for the background and 255 for the object"


def array_object(
    array: Any, shapes: Iterable[tuple[int, int]], source: MaskSource
) -> NDArray[np.bool_]:
    """The object in an array of any shape and type that masks come in.

    Args:
        array: (H, W), (H, W, C) channels or instances, or (N, H, W) instances; axes of length 1
            do not matter.
        shapes: each (H, W) that a mask may have; they distinguish channels from rows.

    Returns:
        (H, W) bool.

    Raises:
        InvalidInput: the array is ambiguous, or no array of numbers.
    """
    try:
        values = np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:  # a ragged list, a tensor of a GPU
        reason = str(error).splitlines()[0]
        raise source.error(f"is no array ({reason}): give one of NumPy") from error
    if values.dtype.kind not in "biuf":
        raise source.error(f"holds {values.dtype}: a mask is an array of numbers or booleans")
    given, known = values.shape, set(shapes)
    if values.size:
        if values.ndim > 2:
            values = values.reshape([length for length in given if length != 1])
        if values.ndim == 2:
            return grey_object(values, source)
        if values.ndim == 3 and values.shape[:2] in known:
            return _layers_object(values, source, colours=True)
        if values.ndim == 3 and values.shape[1:] in known:
            return _layers_object(np.moveaxis(values, 0, -1), source, colours=False)
    allowed = " or ".join(str(shape) for shape in sorted(known))
    raise source.error(
        f"has shape {given}: a mask is (height, width), here {allowed}, or several of them"
    )


def _layers_object(values: NDArray[Any], source: MaskSource, *, colours: bool) -> NDArray[np.bool_]:
    """The object in (H, W, C): identical channels, a picture in colours, or one mask a layer."""
    values = _as_colours(values) if colours else values
    layers: list[Any] = list(np.moveaxis(values, -1, 0))
    if all(np.array_equal(layers[0], layer) for layer in layers[1:]):
        return grey_object(layers[0], source)
    if colours and len(layers) in (2, 3, 4) and values.dtype == np.uint8 and values.max() > 1:
        if len(layers) == 3:
            return coloured_object(values, source)
        return alpha_object(values[..., :-1], layers[-1], source)
    total = sum(layer.astype(np.float64) for layer in layers)
    if np.allclose(total, total.flat[0], rtol=1e-3) and total.flat[0] > 0:
        raise source.error(
            f"has {len(layers)} layers that add up to the same everywhere, one for each class: "
            "give the layer of the object alone"
        )
    source.record("several masks of one picture are united", f"{len(layers)} layers")
    return np.asarray(np.any([grey_object(each, source) for each in layers], axis=0))


def _as_colours(values: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C) as uint8 where it must be a picture in colours; without alpha if that is opaque.

    Matplotlib reads PNG files as fractions, with an alpha channel; computations give other values.
    """
    alpha, top = values[..., -1], values.max()
    opaque = values.shape[2] in (2, 4) and top in (1, VOID) and (alpha == top).all()
    values = values[..., :-1] if opaque else values
    channels, fractions = values.shape[2], _times_255(values)
    if (values == values[..., :1]).all():
        return values
    if fractions is not None and channels in (3, 4) and (opaque or len(np.unique(fractions)) > 2):
        return fractions.astype(np.uint8)
    whole = values.dtype.kind in "iu" and channels == 4 and top == VOID and values.min() >= 0
    return values.astype(np.uint8) if whole else values


def _times_255(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """The values times 255, if these are whole numbers of 8 bits; else ``None``."""
    if values.dtype.kind != "f" or not (values >= 0).all() or values.max() > 1:
        return None
    scaled = values.astype(np.float64) * VOID
    whole = np.rint(scaled)
    return whole.astype(np.int64) if np.abs(scaled - whole).max() < 1e-3 else None


def grey_object(
    values: NDArray[Any], source: MaskSource, *, lossy: bool = False, labels: bool = True
) -> NDArray[np.bool_]:
    """The object in one channel of two values, of labels, or of soft values.

    Args:
        values: (H, W) of numbers or booleans.
        lossy: from a format that cannot keep labels, such as JPEG.
        labels: whether small numbers may be labels, and 255 void, as they are not in an alpha
            channel.

    Raises:
        InvalidInput: the values are not unambiguously one of these.
    """
    if values.dtype.kind == "b":
        return values.astype(bool)
    if not np.isfinite(values).all():
        raise source.error("has values that are no numbers (NaN or infinite): " + _SAVE)
    distinct, counts = np.unique(values, return_counts=True)
    if distinct[0] < 0:
        raise source.error(f"has values below 0 (from {distinct[0]:g} on): {_SAVE}")
    if len(distinct) == 1 or (len(distinct) == 2 and distinct[0] == 0):
        return np.asarray(values != 0)
    whole = values.dtype.kind != "f" or bool((distinct == np.floor(distinct)).all())
    if labels and whole and not lossy and distinct[0] == 0 and _are_labels(distinct, counts):
        return label_object(values, source)
    if not whole and _are_small_fractions(distinct, counts):
        source.record("fractions are taken as labels divided by 255, as matplotlib reads them")
        return label_object(np.rint(values.astype(np.float64) * VOID).astype(int), source)
    full = next((top for top in _RANGES if distinct[-1] <= top), None)
    if full is not None and _is_soft(distinct, counts, full, probabilities=not whole and full == 1):
        source.record(_CUT)
        return np.asarray(values > full / 2)
    listed = shortened([f"{value:g}" for value in distinct], 8)
    if distinct[0] != 0 and len(distinct) <= _MOST_LABELS:
        raise source.error(f"has no 0, which is the background, but {listed}: {_SAVE}")
    raise source.error(
        f"has {len(distinct)} values ({listed}), neither two, nor plainly labels, nor plainly a "
        f"soft mask: {_SAVE}"
    )


def label_object(indices: NDArray[Any], source: MaskSource) -> NDArray[np.bool_]:
    """(H, W) bool: every label but 0 and void.

    Args:
        indices: (H, W) whole numbers.

    Raises:
        InvalidInput: there is no background, or hardly any beside several labels, or there are far
            too many labels.
    """
    distinct = np.unique(indices)
    # If there are larger ones, the labels are numbers of instances, and so is 255.
    void = VOID in distinct and distinct[-1] == VOID
    labels = [int(label) for label in distinct if label != 0 and not (void and label == VOID)]
    if distinct[0] != 0:
        raise source.error(
            f"has no label 0, which is the background, but "
            f"{shortened([str(i) for i in distinct], 8)}: {_SAVE}"
        )
    if len(labels) > _MOST_LABELS:
        raise source.error(
            f"has {len(labels)} labels or colours: it looks like a photograph, not like a mask"
        )
    if void:
        source.record(f"label {VOID} is taken as void, which is not the object")
    united = np.asarray(np.isin(indices, labels))
    if len(labels) > 1:
        listed = f"labels {shortened([str(label) for label in labels], 8)}"
        if united.mean() > _SCENE:
            raise source.error(
                f"has {listed}, which cover {united.mean():.0%} of the picture together, as in a "
                f"labelled scene: which is the object? {_SAVE}"
            )
        source.record(_UNITED, listed)
    return united


def coloured_object(
    colours: NDArray[np.uint8], source: MaskSource, *, lossy: bool = False
) -> NDArray[np.bool_]:
    """The object in a picture of equal channels, or of black and one other colour.

    Args:
        colours: (H, W, C) uint8.

    Raises:
        InvalidInput: it has more colours, or no black.
    """
    spread = colours.max(axis=-1).astype(int) - colours.min(axis=-1)
    if spread.max() <= (_LOSSY_SPREAD if lossy else 0):
        return grey_object(colours[..., 0], source, lossy=lossy)
    distinct = _distinct(colours.reshape(-1, colours.shape[-1]))
    if len(distinct) == 2 and not distinct[0].any():
        return np.asarray(colours.any(axis=-1))
    listed = shortened([str(tuple(colour.tolist())) for colour in distinct])
    raise source.error(
        f"has {len(distinct)} colours ({listed}): only black and one other colour are "
        f"plainly a mask; {_SAVE}"
    )


def alpha_object(
    colours: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    source: MaskSource,
    *,
    lossy: bool = False,
) -> NDArray[np.bool_]:
    """The object in a picture with transparency: what is not transparent.

    Where everything is opaque, or equally transparent, the colours count.

    Args:
        colours: (H, W, C) uint8.
        alpha: (H, W) uint8; 0 is transparent.

    Raises:
        InvalidInput: colours and transparency contradict each other, or are ambiguous.
    """
    if alpha.min() == alpha.max() or alpha.min() > VOID * 7 // 8:
        return coloured_object(colours, source, lossy=lossy)
    visible = _distinct(colours[alpha > 0])
    if len(visible) == 2 and not visible[0].any():
        raise source.error(
            "is black and one other colour where it is not transparent: is black the object, or "
            f"the background? {_SAVE}, without transparency"
        )
    if len(visible) > 1:
        source.record("what is not transparent is taken as the object, whatever its colour")
    return grey_object(alpha, source, lossy=lossy, labels=False)


def _are_labels(distinct: NDArray[Any], counts: NDArray[np.intp]) -> bool:
    """Whether values from 0 on may be labels: few, and small where the top of a range occurs."""
    if len(distinct) > _MOST_LABELS + 2:
        return False
    if distinct[-1] not in _RANGES:
        return True
    return bool(distinct[-2] < _SMALL_LABEL and counts[-1] <= _MOST_VOID * counts[1:-1].sum())


def _are_small_fractions(distinct: NDArray[Any], counts: NDArray[np.intp]) -> bool:
    """Whether values are small labels and perhaps void, divided by 255."""
    labels = _times_255(distinct)
    if labels is None or labels[0] != 0 or labels[labels < VOID].max() >= _LEAST_SHARE:
        return False
    return _are_labels(labels, counts)


def _is_soft(
    distinct: NDArray[Any], counts: NDArray[np.intp], full: int, *, probabilities: bool
) -> bool:
    """Whether nearly all pixels are near 0 or near ``full``, or the values are probabilities."""
    if probabilities:  # which may take any value
        return True
    low, high = distinct <= full / 8, distinct >= full * 7 / 8
    between = counts[~(low | high)].sum() / counts.sum()
    most = _FEW_BETWEEN if len(distinct) < _FEW_LEVELS else _MOST_BETWEEN
    return bool(low.any() and high.any() and between <= most)


def _distinct(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The different rows of (N, C), sorted by the first channel, then the next."""
    packed = np.zeros(len(colours), dtype=np.uint32)
    for channel in colours.T:
        packed = (packed << np.uint32(8)) | channel
    _, first = np.unique(packed, return_index=True)
    return np.asarray(colours[first])
