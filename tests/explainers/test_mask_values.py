"""What the values of arrays mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.references import Decisions
from explainers.references.decisions import MaskSource
from explainers.references.mask_values import array_object

_SHAPE = (8, 10)
_OBJECT = np.zeros(_SHAPE, bool)
_OBJECT[2:6, 3:8] = True
_LEFT = _OBJECT & (np.arange(10) < 5)
_RIGHT = _OBJECT & ~_LEFT
_RIM = np.zeros(_SHAPE, bool)
_RIM[1:7, 2:9] = True
_RIM &= ~_OBJECT


def _read(array: Any, decisions: Decisions | None = None) -> NDArray[np.bool_]:
    return array_object(array, [_SHAPE], MaskSource("cat.npy", decisions or Decisions()))


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "i8", ">i2", "u8", "f2", "f8"])
@pytest.mark.parametrize("top", [1, 12, 127, 255])
def test_two_values_of_any_type(dtype: str, top: int) -> None:
    values = _OBJECT.astype(dtype) * np.dtype(dtype).type(min(top, 127) if dtype == "i1" else top)
    assert np.array_equal(_read(values), _OBJECT)


_U1 = _OBJECT.astype(np.uint8)
_MEANT: dict[str, tuple[Any, str]] = {
    "label with void": (_U1 * 12 + _RIM * 255, "void"),
    "label with void, as floats": ((_U1 * 12 + _RIM * 255).astype(float), "void"),
    "two labels": (_LEFT * 8 + _RIGHT * 15, r"labels 8, 15"),
    "numbers of instances": (_LEFT * 26001 + _RIGHT * 26002, "26001, 26002"),
    "0 and 255 beside stray ones": (_OBJECT * 255 + (np.arange(80) == 0).reshape(_SHAPE), "half"),
    "probabilities": (0.1 + 0.8 * _OBJECT + 0.01 * _RIM, "half"),
    "soft edges of 16 bits": (_OBJECT * 65535 + (np.arange(80) == 0).reshape(_SHAPE), "half"),
    "rows of one mask": (_OBJECT[None, None], ""),
    "last axis of length one": (_OBJECT[..., None], ""),
    "equal channels": (np.stack([_U1 * 255] * 3, axis=2), ""),
    "equal channels first": (np.stack([_U1] * 3), ""),
    "instances first": (np.stack([_LEFT, _RIGHT]), "2 layers"),
    "instances last": (np.stack([_LEFT, _RIGHT, _LEFT, _RIGHT, _LEFT], axis=2), "5 layers"),
    "soft instances": (np.stack([0.9 * _LEFT + 0.02, 0.8 * _RIGHT])[:, None], "half"),
    "black and blue": (np.stack([_U1 * 0, _U1 * 0, _U1 * 200], axis=2), ""),
    "labels over 255": ((_LEFT * 8 + _RIGHT * 15) / 255, "labels 8, 15"),
    "labels over 255 with void": (
        ((_U1 * 12 + _RIM * 255) / 255).astype(np.float32), "labels divided by 255"
    ),
    "shares of five people": (_OBJECT * 0.8 + _RIM * 0.2 + (np.arange(80) == 0).reshape(_SHAPE)
                              * 0.4, "half"),
    "grey and alpha as fractions": (np.stack([_U1, _U1, _U1, _U1 * 0 + 1], axis=2) / 1, ""),
    "grey and alpha as numbers": (np.stack([_U1, _U1, _U1, _U1 * 0 + 1], axis=2) * 255 + 0, ""),
    "grey and alpha of other numbers": (
        np.stack([_U1, _U1, _U1, _U1 * 0 + 1], axis=2).astype(int) * 255, ""
    ),
    "soft grey and alpha as fractions": (
        np.stack([np.where(_OBJECT, 200, np.arange(80).reshape(_SHAPE) + 20) / 255] * 3
                 + [np.ones(_SHAPE)], axis=2), "half"
    ),
    "red as fractions": (np.stack([_U1 * 200, _U1 * 0, _U1 * 0, _U1 * 0 + 255], axis=2) / 255, ""),
    "cut-out as fractions": (np.stack([_U1 + 40, _U1 + 9, _U1, _U1 * 255], axis=2) / 255, ""),
    "alpha of a cut-out": (
        np.dstack([np.arange(240, dtype=np.uint8).reshape(8, 10, 3), _U1 * 255]), "transparent"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _MEANT)
def test_meanings(name: str, caplog: pytest.LogCaptureFixture) -> None:
    array, message = _MEANT[name]
    decisions = Decisions()
    assert np.array_equal(_read(array, decisions), _OBJECT)
    decisions.log()
    assert message in caplog.text if message else caplog.text == ""


_REFUSED: dict[str, tuple[Any, str]] = {
    "text": (_OBJECT.astype(str), "<U5"),
    "complex": (_OBJECT.astype(complex), "complex128"),
    "objects": (_OBJECT.astype(object), "object"),
    "dates": (np.zeros(_SHAPE, "M8[s]"), "datetime64"),
    "fields": (np.zeros(_SHAPE, [("a", "i4")]), "'a'"),
    "NaN": (np.where(_OBJECT, 1, np.nan), "NaN"),
    "infinite": (np.where(_OBJECT, np.inf, 0), "infinite"),
    "below zero": (_U1.astype(int) - _RIM, "below 0"),
    "ragged": ([[0, 1], [0]], "is no array"),
    "ones only": (np.ones((1, 1, 1)), r"shape \(1, 1, 1\)"),
    "no number": (np.array(1), r"shape \(\)"),
    "one axis": (_OBJECT.ravel(), r"shape \(80,\)"),
    "nothing": (np.zeros((0, 0)), r"shape \(0, 0\)"),
    "no layers": (np.zeros((0, 8, 10)), r"shape \(0, 8, 10\)"),
    "four axes": (np.zeros((2, 8, 10, 3)), r"shape \(2, 8, 10, 3\).*\(8, 10\)"),
    "no background": (np.where(_OBJECT, 1, np.where(_RIM, 3, 2)), "no 0.*1, 2, 3"),
    "a labelled scene": (np.arange(80).reshape(_SHAPE) // 4, "cover 95% of the picture"),
    "trimap": (_OBJECT * 255 + _RIM * 128, "0, 128, 255"),
    "greys of a photograph": (np.arange(80).reshape(_SHAPE) * 3, "80 values"),
    "weak map of 8 bits": ((_OBJECT * 140 + np.arange(80).reshape(_SHAPE)), "values"),
    "colours of a photograph": (np.arange(240, dtype=np.uint8).reshape(8, 10, 3), "80 colours"),
    "three colours": (np.stack([_LEFT, _RIGHT, _U1 * 0], axis=2) * np.uint8(9), "3 colours"),
    "white and red": (np.dstack([_U1 * 0 + 255, 255 - _U1, 255 - _U1]), "2 colours"),
    "one layer a class": (np.stack([~_OBJECT, _OBJECT]), "2 layers"),
    "softmax": (np.stack([0.7 - 0.5 * _OBJECT, 0.3 + 0.5 * _OBJECT]), "2 layers"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_without_a_plain_meaning(name: str) -> None:
    array, reason = _REFUSED[name]
    with pytest.raises(InvalidInput, match=rf"(?s)^cat\.npy .*{reason}"):
        _read(array)
