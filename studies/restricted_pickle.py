"""Reading pickles of LIME parameters without running what they carry.

The pickle is read as symbols (:mod:`studies.pickle_reader`), and only what LIME parameters consist
of is made of them, by us: numbers, text, lists, tuples, dicts with text keys, lime's
``SegmentationAlgorithm`` (also where skimage's function or a ``functools.partial`` of it was
saved) and scikit-learn's linear models, unfitted. Everything else is refused, by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.errors import InvalidParameters, UnsafePickle
from explainers.lime_parameters import REGRESSORS
from explainers.segmentation import SEGMENTERS
from studies.pickle_reader import Call, Global, Pairs, Sequence, read_symbols
from studies.plain_parameters import stock_regressor, stock_segmentation

__all__ = ["MAX_PICKLE_BYTES", "load_restricted"]

MAX_PICKLE_BYTES = 1_000_000
_MOST_VALUES = 50_000
"""Counted as often as they are referred to, so that a few shared lists cannot mean millions."""
_DEEPEST = 12
_LONGEST_TEXT = 1_000
_LARGEST_NUMBER = 2**64
_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_SCALAR_TYPES = (
    "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8",
)  # fmt: skip
_NOT_SETTINGS = "_sklearn_version"  # scikit-learn adds it to what it pickles


def load_restricted(data: bytes) -> Any:
    """Load a pickle that holds nothing but LIME parameters' kinds of objects.

    Raises:
        UnsafePickle: too large, no pickle, truncated, too deeply nested, or holding anything else;
            the message names it.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise UnsafePickle(
            f"the pickle has {len(data):,} bytes; LIME parameters need a few thousand, "
            f"at most {MAX_PICKLE_BYTES:,} are read"
        )
    return _Values().of(read_symbols(data), 0)


class _Values:
    """Symbols become values; counts them."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def of(self, symbol: Any, depth: int) -> Any:
        """The value a symbol stands for."""
        self._left -= 1
        if self._left < 0:
            raise UnsafePickle(
                f"the pickle holds more than {_MOST_VALUES:,} values: ten images have about 150"
            )
        if depth > _DEEPEST:
            raise UnsafePickle(
                f"the pickle is nested more than {_DEEPEST} deep: LIME parameters are flat"
            )
        if symbol is None or isinstance(symbol, (bool, int, float, str)):
            return _checked(symbol)
        if isinstance(symbol, Sequence):
            return symbol.kind([self.of(item, depth + 1) for item in symbol.items])
        if isinstance(symbol, Pairs):
            return self._mapping(symbol, depth)
        if isinstance(symbol, Global):
            return _segmentation(_algorithm(symbol), {})
        if isinstance(symbol, Call):
            return self._made(symbol, depth)
        raise UnsafePickle(
            f"the pickle holds {type(symbol).__name__}, which LIME parameters do not need: they "
            "are numbers, text, lists and dictionaries"
        )

    def _mapping(self, symbol: Any, depth: int) -> dict[str, Any]:
        if not isinstance(symbol, Pairs):
            raise UnsafePickle("the pickle gives an object a state that is no dictionary")
        made: dict[str, Any] = {}
        for key, value in symbol.items:
            if not isinstance(key, str):
                raise UnsafePickle(
                    f"the pickle has a dictionary with a {_kind(key)} as a key: keys are text"
                )
            made[str(_checked(key))] = self.of(value, depth + 1)
        return made

    def _made(self, call: Call, depth: int) -> Any:
        maker = _maker(call)
        name = (maker.module, maker.name)
        if name == ("lime.wrappers.scikit_image", "SegmentationAlgorithm"):
            state = self._state_without_function(call, depth)
            parameters = state.get("target_params", {})
            if not isinstance(parameters, Mapping):
                raise UnsafePickle("segmentation_fn has parameters that are no dictionary")
            return _segmentation(state.get("algo_type"), parameters)
        if maker.module.startswith("sklearn.linear_model") and maker.name in REGRESSORS:
            return self._regressor(maker.name, call.state or Pairs(), depth)
        if name == ("functools", "partial"):
            return self._partial(call, depth)
        if maker.module in _NUMPY_CORE and maker.name == "scalar":
            return _numpy_scalar(call)
        raise _refused(maker)

    def _regressor(self, name: str, state: Any, depth: int) -> Any:
        settings = state
        if isinstance(state, Pairs):
            settings = Pairs([pair for pair in state.items if pair[0] != _NOT_SETTINGS])
            # What was fitted is told by its name, before its values are looked at.
            names = [str(_checked(key)) for key, _ in settings.items if isinstance(key, str)]
            _told(stock_regressor, name, dict.fromkeys(names))
        return _told(stock_regressor, name, self._mapping(settings, depth + 1))

    def _state_without_function(self, call: Call, depth: int) -> dict[str, Any]:
        """The state of lime's wrapper; the function in it must be the one it is named after."""
        if not isinstance(call.state, Pairs):
            raise UnsafePickle("segmentation_fn has no state: pickle a SegmentationAlgorithm")
        functions = [value for key, value in call.state.items if key == "target_fn"]
        others = Pairs([pair for pair in call.state.items if pair[0] != "target_fn"])
        state = self._mapping(others, depth + 1)
        for function in functions:
            named = _algorithm(function)
            if named != state.get("algo_type"):
                raise UnsafePickle(
                    f"segmentation_fn is called {str(state.get('algo_type'))[:40]!r} and would run "
                    f"{named}: pickle a SegmentationAlgorithm as it is"
                )
        return state

    def _partial(self, call: Call, depth: int) -> Any:
        """``functools.partial(slic, n_segments=12)`` as lime's own wrapper of the same."""
        state = call.state.items if isinstance(call.state, Sequence) else []
        if len(state) < 3 or not isinstance(state[1], Sequence) or state[1].items:
            raise UnsafePickle(
                "the pickle makes a functools.partial with positional arguments: only keywords "
                "of a segmentation function may be given"
            )
        keywords = {} if state[2] is None else self._mapping(state[2], depth + 1)
        return _segmentation(_algorithm(state[0]), keywords)


def _maker(call: Call) -> Global:
    """The class or function that an object is made by; sees through copyreg."""
    function = call.function
    arguments = call.arguments.items if isinstance(call.arguments, Sequence) else []
    if not isinstance(function, Global):
        raise UnsafePickle("the pickle calls something that it has made itself")
    if (function.module, function.name) in (
        ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("copyreg", "__newobj__"),
    ):  # fmt: skip
        if not arguments or not isinstance(arguments[0], Global):
            raise UnsafePickle("the pickle makes an object of no class")
        return arguments[0]
    return function


def _algorithm(symbol: Any) -> str:
    """The algorithm's name of one of skimage's segmentation functions."""
    if not isinstance(symbol, Global):
        raise UnsafePickle(
            f"segmentation_fn would run a {_kind(symbol)}: use one of {', '.join(SEGMENTERS)}"
        )
    in_place = symbol.module == "skimage.segmentation" or symbol.module.startswith(
        "skimage.segmentation."
    )
    if not in_place or symbol.name not in SEGMENTERS:
        raise _refused(symbol)
    return symbol.name


def _refused(symbol: Global) -> UnsafePickle:
    name = f"{symbol.module}.{symbol.name}"[:100]
    if symbol.module.split(".")[0] == "numpy":
        return UnsafePickle(
            f"the pickle carries an array or a type of numpy ({name}): LIME parameters are "
            "numbers, and a segmentation looks at the image"
        )
    return UnsafePickle(
        f"the pickle refers to {name}, which LIME parameters do not need: only lime's "
        "SegmentationAlgorithm, skimage segmentation functions, scikit-learn linear models, "
        "numpy scalars and plain containers are loaded"
    )


def _segmentation(algorithm: Any, parameters: Mapping[str, Any]) -> Any:
    return _told(stock_segmentation, algorithm, parameters)


def _told(make: Any, *arguments: Any) -> Any:
    try:
        return make(*arguments)
    except InvalidParameters as error:
        raise UnsafePickle(str(error)) from error


def _checked(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        raise UnsafePickle(f"the pickle holds a text of {len(value):,} characters: names are short")
    if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise UnsafePickle("the pickle holds a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise UnsafePickle(f"the pickle holds the number {value}: LIME parameters are finite")
    return value


def _numpy_scalar(call: Call) -> bool | int | float:
    """``numpy.int64(20)`` as a plain number."""
    arguments = call.arguments.items if isinstance(call.arguments, Sequence) else []
    kind = arguments[0] if len(arguments) == 2 else None
    named = kind.arguments.items if isinstance(kind, Call) and _is_dtype(kind) else [None]
    raw = _raw(arguments[1]) if len(arguments) == 2 else None
    if not named or named[0] not in _SCALAR_TYPES or raw is None:
        raise UnsafePickle("the pickle holds a numpy value that is no plain number")
    dtype: np.dtype[Any] = np.dtype(f"<{named[0]}")
    if len(raw) != dtype.itemsize:
        raise UnsafePickle("the pickle holds a numpy number of the wrong length")
    # The byte order is in the dtype's state: (3, '<', ...).
    state = kind.state.items if isinstance(kind, Call) and isinstance(kind.state, Sequence) else []
    dtype = dtype.newbyteorder(">") if len(state) > 1 and state[1] == ">" else dtype
    value: bool | int | float = np.frombuffer(raw, dtype)[0].item()
    return _checked(value)  # type: ignore[no-any-return]


def _is_dtype(call: Call) -> bool:
    return (
        isinstance(call.function, Global)
        and (call.function.module, call.function.name) == ("numpy", "dtype")
        and isinstance(call.arguments, Sequence)
    )


def _raw(symbol: Any) -> bytes | None:
    """Bytes; older protocols write them as text for ``_codecs.encode``."""
    if isinstance(symbol, bytes):
        return symbol
    if isinstance(symbol, Call) and isinstance(symbol.function, Global):
        arguments = symbol.arguments.items if isinstance(symbol.arguments, Sequence) else []
        encodes = (symbol.function.module, symbol.function.name) == ("_codecs", "encode")
        if encodes and len(arguments) == 2 and arguments[1] == "latin1":
            text = arguments[0]
            if isinstance(text, str) and len(text) <= 16 and all(ord(c) < 256 for c in text):
                return text.encode("latin1")
    return None


def _kind(symbol: Any) -> str:
    names = {Pairs: "dictionary", Call: "made object", Global: "name"}
    if isinstance(symbol, Sequence):
        return symbol.kind.__name__
    return names.get(type(symbol), type(symbol).__name__)
