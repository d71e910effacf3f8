"""Read pickles of LIME parameters without running their code.

The pickle is read as symbols (``pickle_symbols``), and this module makes values of them: numbers,
text, lists, tuples, dicts with text keys, lime's ``SegmentationAlgorithm`` (also for a saved
function of skimage, or a ``functools.partial`` of one) and scikit-learn's linear models without
their fitted attributes. An ``OrderedDict`` or ``defaultdict`` is read as a dict, numpy's numbers,
texts and short arrays as plain ones, and a ``range`` as a tuple. Everything else is refused, by
name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.errors import InvalidParameters, UnsafePickle
from explainers.lime import REGRESSORS, SEGMENTERS
from studies.export.pickle_symbols import Call, Global, Pairs, Sequence, items_of, read_symbols
from studies.export.plain_parameters import (
    stock_regressor,
    stock_segmentation,
    without_own_attributes,
)

__all__ = ["MAX_PICKLE_BYTES", "load_restricted"]

MAX_PICKLE_BYTES = 1_000_000
_MOST_VALUES = 50_000
"""Shared values count once per reference, so a few shared lists cannot expand to millions."""
_DEEPEST = 12
_LONGEST_TEXT = 1_000
_LARGEST_NUMBER = 2**64
_MOST_IN_AN_ARRAY = 1_000
_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMPY_BUFFER = ("numpy.core.numeric", "numpy._core.numeric")
_DICTS = (("collections", "OrderedDict"), ("collections", "defaultdict"))
_RANGES = (("builtins", "range"), ("__builtin__", "xrange"))
_MAKERS = (
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("copyreg", "__newobj__"),
)  # fmt: skip
"""Functions that make an object of the class that is their first argument."""
_OTHER_FILES: Mapping[bytes, str] = {
    b"\x1f\x8b": "compressed with gzip",
    b"x\x01": "compressed with zlib, as joblib does",
    b"x\x9c": "compressed with zlib, as joblib does",
    b"x\xda": "compressed with zlib, as joblib does",
    b"x^": "compressed with zlib, as joblib does",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"PK": "a zip archive, as torch.save and numpy.savez write",
    b"\x93NUMPY": "an array of numpy",
    b"\x89HDF": "an HDF5 file",
    b"{": "text, perhaps JSON",
}
"""First bytes of other kinds of files that people send instead of a pickle."""
_WAYS_OUT: Mapping[str, str] = {
    "pandas": "use frame.to_dict(orient='index')",
    "optuna": "use dict(trial.params)",
    "types": "use vars(...), a dict",
    "argparse": "use vars(...), a dict",
    "collections": "use dict(...) or list(...)",
    "builtins": "use a tuple or a list",
    "__builtin__": "use a tuple or a list",
    "sklearn": "lime needs a linear model that takes sample weights, e.g. Ridge(alpha=1.0)",
    "joblib": "use pickle.dump",
    "cloudpickle": "use lime's SegmentationAlgorithm instead of a function of your own",
    "dill": "use lime's SegmentationAlgorithm instead of a function of your own",
    "__main__": "use dict(...) and lime's SegmentationAlgorithm instead of classes of your own",
    "torch": "use plain numbers, e.g. int(...)",
}
"""Remedies, by the package of the refused object."""
_SCALAR_TYPES = (
    "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8",
)  # fmt: skip


def load_restricted(data: bytes) -> Any:
    """Load a pickle that holds only the kinds of objects that LIME parameters consist of.

    Raises:
        UnsafePickle: the pickle is too large, damaged or too deeply nested, or holds another kind
            of object, which the message names.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise UnsafePickle(
            f"the pickle has {len(data):,} bytes; LIME parameters need a few thousand, "
            f"at most {MAX_PICKLE_BYTES:,} are read (regressors carry what they have fitted)"
        )
    for begin, what in _OTHER_FILES.items():
        if data.startswith(begin):
            raise UnsafePickle(
                f"the file is {what}, no plain pickle: write a dictionary with pickle.dump"
            )
    return _Values().of(read_symbols(data), 0)


class _Values:
    """Makes values of symbols, and counts them."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def of(self, symbol: Any, depth: int) -> Any:
        """Return the value of a symbol, ``depth`` containers below the top."""
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
            raw = _raw(key, _LONGEST_TEXT)
            name = self.of(key, depth + 1) if isinstance(key, Call) and raw is None else key
            if not isinstance(name, str):
                kind, use = (_kind(key), "str(key)") if raw is None else ("bytes", "key.decode()")
                raise UnsafePickle(
                    f"the pickle has a dictionary with a {kind} as a key: keys are text, use {use}"
                )
            found = self.of(value, depth + 1)
            # An array of one number is read as a number, but labels must stay a tuple.
            one = name == "labels" and _is_array(value) and not isinstance(found, tuple)
            made[str(_checked(name))] = (found,) if one else found
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
        if name in _DICTS and call.state is None:
            if maker.name == "OrderedDict" and items_of(call.arguments):
                raise UnsafePickle(
                    "the pickle holds an OrderedDict as Python 2 writes it: make a dict of it"
                )
            return self._mapping(Pairs(call.pairs), depth)
        if name in _RANGES:
            return self._range(call)
        if _is_array(call):
            return self._array(call, maker)
        if name == ("functools", "partial"):
            return self._partial(call, depth)
        if maker.module in _NUMPY_CORE and maker.name == "scalar":
            return _numpy_scalar(call)
        raise _refused(maker)

    def _regressor(self, name: str, state: Any, depth: int) -> Any:
        # Fitted attributes are recognised by name and skipped, whatever they hold.
        settings = state
        if isinstance(state, Pairs):
            settings = Pairs([(k, v) for k, v in state.items if not _is_fitted(k)])
        found = self._mapping(settings, depth + 1)
        return _made_by(stock_regressor, name, without_own_attributes(name, found))

    def _range(self, call: Call) -> tuple[int, ...]:
        """Convert ``range(1, 4)`` to a tuple."""
        bounds = items_of(call.arguments)
        if not 1 <= len(bounds) <= 3 or not all(type(each) is int for each in bounds):
            raise UnsafePickle("the pickle makes a range of something else than whole numbers")
        if len(bounds) == 3 and bounds[2] == 0:
            raise UnsafePickle("the pickle makes a range with a step of 0")
        made = range(*(_checked(each) for each in bounds))
        if len(made[: _MOST_IN_AN_ARRAY + 1]) > _MOST_IN_AN_ARRAY:
            raise UnsafePickle(
                f"the pickle makes a range of more than {_MOST_IN_AN_ARRAY:,} numbers"
            )
        self._left -= len(made)
        return tuple(made)

    def _array(self, call: Call, maker: Global) -> Any:
        """Convert a short numpy array of numbers to a tuple, or to a number if it has only one."""
        state = items_of(call.state)
        if maker.name == "_frombuffer":
            raw, dtype, shape = (*items_of(call.arguments), None, None, None)[:3]
        else:
            _, shape, dtype, _, raw = state if len(state) == 5 else (None,) * 5
        sizes: list[Any] = shape.items if isinstance(shape, Sequence) else [None]
        kind = _dtype(dtype)
        data = _raw(raw, 8 * _MOST_IN_AN_ARRAY)
        one_row = len(sizes) <= 1 and all(type(size) is int for size in sizes)
        if kind is None or data is None or not one_row:
            raise _refused(maker)
        count = sizes[0] if sizes else 1
        if not 0 < count <= _MOST_IN_AN_ARRAY or len(data) != count * kind.itemsize:
            raise _refused(maker)
        self._left -= count
        numbers = tuple(_checked(each) for each in np.frombuffer(data, kind).tolist())
        return numbers[0] if count == 1 else numbers

    def _state_without_function(self, call: Call, depth: int) -> dict[str, Any]:
        """Return the state of lime's wrapper without its function.

        Raises:
            UnsafePickle: the function is not the one of the algorithm that the state names.
        """
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
        """Convert ``functools.partial(slic, n_segments=12)`` to lime's wrapper of that function."""
        state = items_of(call.state)
        if len(state) < 3 or not isinstance(state[1], Sequence) or state[1].items:
            raise UnsafePickle(
                "the pickle makes a functools.partial with positional arguments: only keywords "
                "of a segmentation function may be given"
            )
        keywords = {} if state[2] is None else self._mapping(state[2], depth + 1)
        return _segmentation(_algorithm(state[0]), keywords)


def _maker(call: Call) -> Global:
    """Return the class or function that makes an object; of a copyreg call, its first argument."""
    function = call.function
    if not isinstance(function, Global):
        raise UnsafePickle("the pickle calls something that it has made itself")
    if call.target not in _MAKERS:
        return function
    arguments = items_of(call.arguments)
    if not arguments or not isinstance(arguments[0], Global):
        raise UnsafePickle("the pickle makes an object of no class")
    return arguments[0]


def _algorithm(symbol: Any) -> str:
    """Return lime's name for one of skimage's segmentation functions."""
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
    if symbol.module.startswith("numpy.random"):
        return UnsafePickle(f"the pickle carries random numbers ({name}): use a whole number")
    if symbol.module.startswith("sklearn.linear_model") and symbol.name in REGRESSORS:
        return UnsafePickle(f"the pickle refers to the class {name}: use {symbol.name}()")
    if symbol.module.split(".")[0] == "numpy":
        return UnsafePickle(
            f"the pickle carries an array or a type of numpy ({name}): LIME parameters are "
            "numbers, or a few in a row, and a segmentation looks at the image"
        )
    way_out = _WAYS_OUT.get(symbol.module.split(".")[0])
    return UnsafePickle(
        f"the pickle refers to {name}, which LIME parameters do not need: "
        + (f"{way_out}; " if way_out else "")
        + "only lime's SegmentationAlgorithm, skimage segmentation functions, scikit-learn linear "
        f"models ({', '.join(REGRESSORS)}), numpy scalars and plain containers are loaded"
    )


def _segmentation(algorithm: Any, parameters: Mapping[str, Any]) -> Any:
    return _made_by(stock_segmentation, algorithm, parameters)


def _made_by(make: Any, *arguments: Any) -> Any:
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


def _is_array(symbol: Any) -> bool:
    module, name = symbol.target if isinstance(symbol, Call) else ("", "")
    return (module in _NUMPY_CORE and name == "_reconstruct") or (
        module in _NUMPY_BUFFER and name == "_frombuffer"
    )


def _is_fitted(name: Any) -> bool:
    """Whether scikit-learn adds an attribute of that name in ``fit`` or in pickling."""
    return isinstance(name, str) and (name.endswith("_") or name.startswith("_sklearn"))


def _numpy_scalar(call: Call) -> bool | int | float | str:
    """Convert ``numpy.int64(20)`` to a plain number, and ``numpy.str_`` to text."""
    arguments = items_of(call.arguments)
    symbol, value = arguments if len(arguments) == 2 else (None, None)
    raw, dtype = _raw(value, 4 * _LONGEST_TEXT), _dtype(symbol)
    text = re.fullmatch("U[0-9]{1,9}", _dtype_name(symbol))
    if raw is not None and text is not None:
        order = "be" if _is_big_endian(symbol) else "le"
        try:
            return str(_checked(raw.decode(f"utf-32-{order}").rstrip("\0")))
        except UnicodeDecodeError as error:
            raise UnsafePickle("the pickle holds a text of numpy that is none") from error
    if dtype is None or raw is None:
        raise UnsafePickle(
            f"the pickle holds a numpy value of type '{_dtype_name(symbol)[:20]}' that is no plain "
            "number: use int(...) or float(...)"
        )
    if len(raw) != dtype.itemsize:
        raise UnsafePickle("the pickle holds a numpy number of the wrong length")
    return _checked(np.frombuffer(raw, dtype)[0].item())  # type: ignore[no-any-return]


def _dtype(symbol: Any) -> np.dtype[Any] | None:
    """Return a numpy type of plain numbers; ``None`` for any other symbol."""
    name = _dtype_name(symbol)
    if name not in _SCALAR_TYPES:
        return None
    return np.dtype(f"{'>' if _is_big_endian(symbol) else '<'}{name}")


def _dtype_name(symbol: Any) -> str:
    """Return the name of a numpy type; empty for any other symbol."""
    is_dtype = isinstance(symbol, Call) and symbol.target == ("numpy", "dtype")
    arguments = items_of(symbol.arguments) if is_dtype else []
    return arguments[0] if arguments and isinstance(arguments[0], str) else ""


def _is_big_endian(symbol: Any) -> bool:
    """Read the byte order from a numpy type's state, which is (3, '<', ...)."""
    return items_of(symbol.state)[1:2] == [">"]


def _raw(symbol: Any, most: int) -> bytes | None:
    """Return at most ``most`` bytes, or ``None`` for other symbols and for longer ones.

    Older protocols write bytes as text for ``_codecs.encode``.
    """
    if isinstance(symbol, (bytes, bytearray)):
        return bytes(symbol) if len(symbol) <= most else None
    if not isinstance(symbol, Call) or symbol.target != ("_codecs", "encode"):
        return None
    arguments = items_of(symbol.arguments)
    if len(arguments) != 2 or arguments[1] != "latin1" or not isinstance(arguments[0], str):
        return None
    text = arguments[0]
    fits = len(text) <= most and all(ord(character) < 256 for character in text)
    return text.encode("latin1") if fits else None


def _kind(symbol: Any) -> str:
    names = {Pairs: "dictionary", Call: "made object", Global: "name"}
    if isinstance(symbol, Sequence):
        return symbol.kind.__name__
    return names.get(type(symbol), type(symbol).__name__)
