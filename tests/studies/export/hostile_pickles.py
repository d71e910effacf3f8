"""Pickles that strangers might send: programs, bombs, cheats and nonsense."""

from __future__ import annotations

import functools
import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.segmentation
from lime.wrappers.scikit_image import SegmentationAlgorithm
from sklearn.linear_model import Lasso, Ridge

from explainers.lime import LimeParameters, Segmentation

__all__ = ["entry", "out_of_bounds", "unreadable"]


class _Calls:
    """A pickle that calls something when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def _carrying(function: Any, algorithm: str = "slic", **parameters: Any) -> Any:
    """lime's wrapper with what lime's own constructor would not take."""
    made = SegmentationAlgorithm.__new__(SegmentationAlgorithm)
    made.algo_type, made.target_fn, made.target_params = algorithm, function, parameters
    return made


def entry(**changes: Any) -> dict[str, Any]:
    """Ten good keyword arguments, but for some."""
    good = LimeParameters(
        segmentation=Segmentation.of("slic", n_segments=6, compactness=10),
        num_samples=20,
        top_labels=1,
    ).as_kwargs()
    return {**good, **changes}


def _string(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def _called(module: str, name: str, *arguments: bytes) -> bytes:
    """Opcodes that call a global with strings."""
    return _string(module) + _string(name) + b"\x93(" + b"".join(arguments) + b"tR"


def _memo_bomb(levels: int) -> bytes:
    """A list of ten times the list of ten times ... of nothing: 10 ** levels values."""
    code = b"\x80\x04]\x94"
    for level in range(levels):
        code += b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"e\x94"
    return code + b"."


def _holding_itself() -> bytes:
    loop: list[Any] = []
    loop.append(loop)
    return pickle.dumps({"one": entry(labels=loop)})


def _array_declaring(count: int) -> bytes:
    """Eight bytes that call themselves so many numbers."""
    honest = pickle.dumps({"one": entry(labels=np.arange(3))}, protocol=2)
    return honest.replace(b"K\x03\x85", b"\x8a\x05" + count.to_bytes(5, "little", signed=True)
                          + b"\x85")  # fmt: skip


def _with(made: Any, **attributes: Any) -> Any:
    vars(made).update(attributes)
    return made


def unreadable(canary: Path) -> dict[str, bytes]:
    """By name: what is refused while it is read; each would write the canary if it could."""
    touch = f"touch {canary}"
    opening = f"open({str(canary)!r}, 'w')"
    stored = np.zeros((8, 8), dtype=np.int64)
    getattr_chain = (
        b"\x80\x04"
        + _string("builtins") + _string("getattr") + b"\x93("
        + _called("builtins", "__import__", _string("os")) + _string("system") + b"tR("
        + _string(touch[:200]) + b"tR."
    )  # fmt: skip
    return {
        "os.system": pickle.dumps({"one": _Calls(os.system, touch)}),
        "os.system, protocol 0": pickle.dumps({"one": _Calls(os.system, touch)}, protocol=0),
        "eval": pickle.dumps({"one": _Calls(eval, opening)}),
        "exec": pickle.dumps({"one": _Calls(exec, opening)}),
        "getattr chain": getattr_chain,
        "getattr": pickle.dumps({"one": _Calls(getattr, "os", "system")}),
        "open": pickle.dumps(_Calls(open, str(canary), "w")),
        "partial": pickle.dumps({"one": functools.partial(os.system, touch)}),
        "partial of a builtin": pickle.dumps({"one": functools.partial(dict, a=1)}),
        "partial of a partial": pickle.dumps(
            {"one": _Calls(functools.partial, functools.partial(os.system), touch)}
        ),
        "partial that stores the image": pickle.dumps(
            functools.partial(skimage.segmentation.slic, [[0]])
        ),
        "dotted": b"\x80\x04\x8c\x08builtins\x8c\x13dict.__class__.mro\x93.",
        "numpy.load": pickle.dumps({"one": np.load}),
        "numpy array": pickle.dumps({"one": entry(hide_color=np.zeros((8, 8)))}),
        "long numpy array": pickle.dumps({"one": entry(labels=np.zeros(2000, dtype=int))}),
        "array of objects": pickle.dumps(
            {"one": entry(labels=np.array([_Calls(os.system, touch)]))}),
        "array of another length": _array_declaring(10**9),
        "array of less than nothing": _array_declaring(-1),
        "long range": pickle.dumps({"one": entry(labels=range(10**18))}),
        "range of steps of nothing": pickle.dumps(
            {"one": entry(labels=_Calls(range, 0, 9, 0))}),
        "factory that is called": b"\x80\x04" + _called("collections", "defaultdict", _called(
            "os", "system", _string(touch[:200]))) + b"K\x01K\x02s.",
        "dict that is built on": b"\x80\x04" + _called("collections", "OrderedDict")
        + b"}(" + _string("a") + b"K\x01ub.",
        "long numpy text": pickle.dumps({"one": entry(distance_metric=np.str_("x" * 2000))}),
        "object scalar": b"\x80\x04"
        + _called("numpy._core.multiarray", "scalar", _called("numpy", "dtype", _string("O")))
        + b".",
        "subprocess": pickle.dumps({"one": subprocess.run}),
        "bytearray of 10 GB": b"\x80\x04" + b"\x8c\x08builtins\x8c\x09bytearray\x93\x8a\x05"
        + (10**10).to_bytes(5, "little") + b"\x85R.",
        "INST": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "extension": b"\x82\x01.",
        "memo bomb": _memo_bomb(9),
        "list in itself": _holding_itself(),
        "million nested tuples": b"\x80\x04)" + b"\x85" * 900_000 + b".",
        "nested marks": b"\x80\x04" + b"(" * 100_000 + b"t" * 100_000 + b".",
        "nested tuple as a key": b"\x80\x04})" + b"\x85" * 50_000 + b"K\x01s.",
        "1 GB declared": b"\x80\x04\x8e" + struct.pack("<Q", 10**9) + b"abc",
        "1 GB text declared": b"\x80\x04\x8d" + struct.pack("<Q", 10**9) + b"abc",
        "number of a million digits": b"\x80\x04\x8b" + struct.pack("<i", 400_000)
        + b"\x7f" * 400_000 + b".",
        "NaN": pickle.dumps({"one": entry(hide_color=float("nan"))}),
        "empty": b"",
        "text": b"num_samples = 3",
        "zip": b"PK\x03\x04" + bytes(50),
        "truncated": pickle.dumps(entry())[:-20],
        "large": b"\x80\x04" + bytes(2_000_000),
        "persistent": b"Pabc\n.",
        "set": pickle.dumps({"one": entry(labels={1})}),
        "number as a key": pickle.dumps({1: entry()}),
        # Cheats: what is carried decides, and not the image.
        "stored map": pickle.dumps({"one": entry(segmentation_fn=_carrying(
            skimage.segmentation.slic, mask=stored))}),
        "stored map as lists": pickle.dumps({"one": entry(segmentation_fn=_carrying(
            skimage.segmentation.slic, mask=stored.tolist()))}),
        "stored map in a partial": pickle.dumps({"one": entry(segmentation_fn=functools.partial(
            skimage.segmentation.slic, mask=stored.tolist()))}),
        "another function under slic's name": pickle.dumps({"one": entry(
            segmentation_fn=_carrying(np.copy))}),
        "quickshift under slic's name": pickle.dumps({"one": entry(
            segmentation_fn=_carrying(skimage.segmentation.quickshift))}),
        "regressor with a setting of its own": pickle.dumps(
            {"one": entry(model_regressor=_with(Ridge(), kernel="rbf"))}),
        "lasso that mixes": pickle.dumps(
            {"one": entry(model_regressor=_with(Lasso(), l1_ratio=0.5))}),
        "iterations in a tuple": pickle.dumps({"one": entry(
            model_regressor=Ridge(max_iter=(10**9,)))}),
    }  # fmt: skip


def out_of_bounds() -> dict[str, dict[str, Any]]:
    """By name: documents for the one key ``one`` that can be read, and may not be evaluated."""
    short = entry()
    del short["batch_size"]
    return {
        "no document": {},
        "wrong key": {"one": entry(), "dragon": entry()},
        "unicode key": {"one": entry(), "ｏｎｅ\u202e": entry()},
        "missing argument": {"one": short},
        "surplus argument": {"one": entry(progress_bar=False)},
        "negative samples": {"one": entry(num_samples=-5)},
        "one sample": {"one": entry(num_samples=1)},
        "10^9 samples": {"one": entry(num_samples=10**9)},
        "huge batch": {"one": entry(num_samples=5000, batch_size=5000)},
        "all classes": {"one": entry(top_labels=1000)},
        "10^6 segments": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("slic", n_segments=10**6))},
        "a kernel of 10^4 pixels": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("quickshift", kernel_size=10**4))},
        "slow regressor": {"one": entry(model_regressor=Ridge(solver="sag", max_iter=10**9))},
        "kernel in a tuple": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("quickshift", kernel_size=(10**4,)))},
        "10^9 segments in a list": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("slic", n_segments=[10**9]))},
        "true for a number": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("slic", n_segments=True))},
        "three wide sigmas": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("slic", sigma=(1e9, 1e9, 1e9)))},
        "no spacing": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("slic", spacing=(1e-300, 1, 1)))},
        "large segments": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("slic", max_size_factor=1e9))},
        "huge scale in a tuple": {"one": entry(
            segmentation_fn=SegmentationAlgorithm("felzenszwalb", scale=(1e308,)))},
        "samples in a tuple": {"one": entry(num_samples=(10**9,))},
        "bright colours": {"one": entry(hide_color=(1e308,) * 3)},
        "2000 labels": {"one": entry(labels=tuple(range(2000)))},
        "a label of 10^18": {"one": entry(labels=[10**18])},
        "10^19 features": {"one": entry(num_features=10**19)},
        "a seed in a list": {"one": entry(random_seed=[3])},
        "negative alpha": {"one": entry(model_regressor=Ridge(alpha=-5.0))},
        "alpha of 10^308": {"one": entry(model_regressor=Ridge(alpha=1e308))},
        "half a surrogate": {"one": entry(distance_metric="\ud800\u202e")},
        "metric that lime cannot use": {"one": entry(distance_metric="mahalanobis")},
    }  # fmt: skip
