"""Reading pickles of LIME parameters without running what they carry.

A pickle is a program: it may import and call anything. The loader here resolves a short list of
names and refuses all others, by name, before anything of them runs. Allowed are lime's
segmentation wrapper, skimage's segmentation functions, scikit-learn's linear models, numpy's
scalars and arrays, and the few builtins that containers need.
"""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

from explainers.errors import UnsafePickle
from explainers.lime_parameters import REGRESSORS
from explainers.segmentation import SEGMENTERS

__all__ = ["MAX_PICKLE_BYTES", "load_restricted"]

MAX_PICKLE_BYTES = 1_000_000
_MAX_DEPTH = 200

_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED: frozenset[tuple[str, str]] = frozenset(
    {("lime.wrappers.scikit_image", "SegmentationAlgorithm")}
    | {(f"skimage.segmentation.{m}", f) for m, f in (
        ("_quickshift", "quickshift"), ("slic_superpixels", "slic"),
        ("_felzenszwalb", "felzenszwalb"),
    )}
    | {("skimage.segmentation", name) for name in SEGMENTERS}
    | {(module, name) for name in REGRESSORS for module in (
        "sklearn.linear_model", "sklearn.linear_model._ridge", "sklearn.linear_model._base",
        "sklearn.linear_model._bayes", "sklearn.linear_model._huber",
        "sklearn.linear_model._coordinate_descent",
    )}
    | {(module, name) for module in _NUMPY_CORE for name in ("scalar", "_reconstruct")}
    | {("numpy", "dtype"), ("numpy", "ndarray")}
    | {("builtins", name) for name in (
        "bool", "int", "float", "complex", "str", "bytes", "bytearray", "tuple", "list", "dict",
        "set", "frozenset", "range", "slice",
    )}
    | {("copyreg", "_reconstructor"), ("builtins", "object"), ("functools", "partial")}
)  # fmt: skip
_PARTIAL_OF = {f"skimage.segmentation.{n}" for n in SEGMENTERS}


def _partial(function: Any, *arguments: Any, **keywords: Any) -> functools.partial[Any]:
    """``functools.partial`` that wraps nothing but skimage's segmentation functions."""
    name = f"skimage.segmentation.{getattr(function, '__name__', '?')}"
    if name not in _PARTIAL_OF or not getattr(function, "__module__", "").startswith(
        "skimage.segmentation"
    ):
        raise UnsafePickle(
            f"the pickle makes a functools.partial of {getattr(function, '__name__', function)!r}: "
            f"only {', '.join(sorted(_PARTIAL_OF))} may be wrapped"
        )
    return functools.partial(function, *arguments, **keywords)


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Dotted names ("dict.__class__") would walk to attributes of what is allowed.
        if "." in name or (module, name) not in _ALLOWED:
            raise UnsafePickle(
                f"the pickle refers to {module}.{name}, which LIME parameters do not need: "
                "only lime's SegmentationAlgorithm, skimage segmentation functions, "
                "scikit-learn linear models, numpy values and plain containers are loaded"
            )
        if (module, name) == ("functools", "partial"):
            return _partial
        found: Callable[..., Any] = super().find_class(module, name)
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickle("the pickle has persistent references: save it with pickle.dump")


def load_restricted(data: bytes) -> Any:
    """Load a pickle that holds nothing but LIME parameters' kinds of objects.

    Raises:
        UnsafePickle: too large, no pickle, truncated, too deeply nested, or referring to anything
            that is not allowed; the message names it.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise UnsafePickle(
            f"the pickle has {len(data):,} bytes; LIME parameters need a few thousand, "
            f"at most {MAX_PICKLE_BYTES:,} are read"
        )
    _check_shape(data)
    try:
        return _RestrictedUnpickler(io.BytesIO(data)).load()
    except UnsafePickle:
        raise
    except RecursionError as error:
        raise UnsafePickle("the pickle is nested too deeply to be LIME parameters") from error
    except Exception as error:
        raise UnsafePickle(
            f"the file is not a readable pickle ({type(error).__name__}: {str(error)[:120]})"
        ) from error


def _check_shape(data: bytes) -> None:
    """Walk the opcodes without executing them: complete, and of sane depth."""
    depth = deepest = 0
    try:
        for opcode, _, _ in pickletools.genops(data):
            if opcode.name in ("MARK", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"):
                depth += opcode.name == "MARK"
            elif opcode.name in ("TUPLE", "APPENDS", "SETITEMS", "DICT", "LIST", "POP_MARK"):
                depth -= 1
            deepest = max(deepest, depth)
    except Exception as error:
        raise UnsafePickle(
            f"the file is not a complete pickle ({str(error)[:120]}): "
            "write it with lime-tuner export, or pickle.dump"
        ) from error
    if deepest > _MAX_DEPTH:
        raise UnsafePickle(f"the pickle is nested {deepest} deep: LIME parameters are flat")
