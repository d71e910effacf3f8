"""Reading a pickle as data: its opcodes are followed, and nothing is imported, called or built.

A pickle is a program for a small stack machine. This one runs that machine on symbols: what the
program would import becomes a :class:`Global`, what it would call a :class:`Call`. So no pickle can
do anything here, whatever it says; what it means is decided by who reads the symbols.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from explainers.errors import UnsafePickle

__all__ = ["Call", "Global", "Pairs", "Sequence", "read_symbols"]

_MOST_OPCODES = 50_000
"""Ten images' parameters take about a thousand."""


@dataclass(frozen=True, eq=False)
class Global:
    """A name that the pickle would import."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Sequence:
    """A list or a tuple; compared and hashed by identity, so that depth costs nothing."""

    kind: type[list[Any]] | type[tuple[Any, ...]]
    items: list[Any]


@dataclass(frozen=True, eq=False)
class Pairs:
    """A dict, as it was written."""

    items: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False)
class Call:
    """An object that the pickle would make: what it would call, with what, and then set.

    Attributes:
        function: symbol of what is called.
        arguments: symbol of a tuple.
        state: what would be given to ``__setstate__`` or ``__dict__``; ``None`` when nothing.
        pairs, items: what would be put into it, as into a dict or a list.
    """

    function: Any
    arguments: Any
    state: Any = None
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)


class _Mark:
    """Where a container's items begin."""


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip


def read_symbols(data: bytes) -> Any:
    """What a pickle describes, as symbols, numbers, text and bytes.

    Raises:
        UnsafePickle: no complete pickle, one of excessive length, or one with an opcode that
            LIME parameters do not need.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count >= _MOST_OPCODES:
                raise UnsafePickle(
                    f"the pickle has more than {_MOST_OPCODES:,} opcodes: LIME parameters need a "
                    "few thousand"
                )
            machine.step(opcode.name, argument)
    except UnsafePickle:
        raise
    except Exception as error:  # pickletools raises whatever codecs and int() do
        raise UnsafePickle(
            f"the file is not a complete pickle ({type(error).__name__}: {str(error)[:120]}): "
            "write it with lime-tuner export, or pickle.dump"
        ) from error
    return machine.result


class _Machine:
    """The stack machine of PEP 307 and PEP 3154, on symbols."""

    def __init__(self) -> None:
        self.result: Any = None
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._operations: dict[str, Callable[[Any], None]] = {
            "PROTO": self._nothing, "FRAME": self._nothing, "STOP": self._stop,
            "MARK": lambda _: self._stack.append(_Mark()), "POP": lambda _: self._drop(),
            "POP_MARK": lambda _: self._nothing(self._since_mark()),
            "EMPTY_LIST": lambda _: self._stack.append(Sequence(list, [])),
            "EMPTY_TUPLE": lambda _: self._stack.append(Sequence(tuple, [])),
            "EMPTY_DICT": lambda _: self._stack.append(Pairs()),
            "LIST": lambda _: self._stack.append(Sequence(list, self._since_mark())),
            "TUPLE": lambda _: self._stack.append(Sequence(tuple, self._since_mark())),
            "DICT": lambda _: self._stack.append(Pairs(_paired(self._since_mark()))),
            "TUPLE1": lambda _: self._stack.append(Sequence(tuple, self._last(1))),
            "TUPLE2": lambda _: self._stack.append(Sequence(tuple, self._last(2))),
            "TUPLE3": lambda _: self._stack.append(Sequence(tuple, self._last(3))),
            "APPEND": lambda _: self._append(self._last(1)),
            "APPENDS": lambda _: self._append(self._since_mark()),
            "SETITEM": lambda _: self._set(self._last(2)),
            "SETITEMS": lambda _: self._set(self._since_mark()),
            "GLOBAL": self._global, "STACK_GLOBAL": lambda _: self._stack_global(),
            "REDUCE": lambda _: self._call(), "NEWOBJ": lambda _: self._call(),
            "NEWOBJ_EX": lambda _: self._call_with_keywords(),
            "EMPTY_SET": lambda _: self._stack.append(_set_of([])),
            "FROZENSET": lambda _: self._stack.append(_set_of(self._since_mark())),
            "ADDITEMS": lambda _: self._append(self._since_mark()),
            "BUILD": lambda _: self._build(),
            "PUT": self._put, "BINPUT": self._put, "LONG_BINPUT": self._put,
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            "GET": self._get, "BINGET": self._get, "LONG_BINGET": self._get,
        }  # fmt: skip

    def step(self, name: str, argument: Any) -> None:
        """Follow one opcode."""
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            self._stack.append(argument)
        elif name in self._operations:
            self._operations[name](argument)
        else:
            raise UnsafePickle(
                f"the pickle uses {name}, which LIME parameters do not need: they are plain "
                "dictionaries saved with pickle.dump"
            )

    def _nothing(self, _: Any) -> None:
        pass

    def _stop(self, _: Any) -> None:
        (self.result,) = self._last(1)

    def _drop(self) -> None:
        self._stack.pop()

    def _last(self, count: int) -> list[Any]:
        """Take that many items off the stack."""
        taken = self._stack[len(self._stack) - count :]
        if len(taken) < count or any(isinstance(item, _Mark) for item in taken):
            raise UnsafePickle("the file is not a complete pickle: its stack runs empty")
        del self._stack[len(self._stack) - count :]
        return taken

    def _since_mark(self) -> list[Any]:
        """Take the items since the last mark, and the mark."""
        for place in range(len(self._stack) - 1, -1, -1):
            if isinstance(self._stack[place], _Mark):
                taken = self._stack[place + 1 :]
                del self._stack[place:]
                return taken
        raise UnsafePickle("the file is not a complete pickle: a mark is missing")

    def _top(self, *kinds: type[Any]) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kinds):
            raise UnsafePickle("the pickle fills something that is neither a list nor a dict")
        return self._stack[-1]

    def _append(self, items: list[Any]) -> None:
        self._top(Sequence, Call).items.extend(items)

    def _set(self, items: list[Any]) -> None:
        filled = self._top(Pairs, Call)
        (filled.pairs if isinstance(filled, Call) else filled.items).extend(_paired(items))

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(Global(module, name))

    def _stack_global(self) -> None:
        module, name = self._last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnsafePickle("the pickle refers to something that has no name")
        self._stack.append(Global(module, name))

    def _call(self) -> None:
        self._stack.append(Call(*self._last(2)))

    def _call_with_keywords(self) -> None:
        function, arguments, _ = self._last(3)
        self._stack.append(Call(function, arguments))

    def _build(self) -> None:
        (state,) = self._last(1)
        self._top(Call).state = state

    def _put(self, place: int) -> None:
        (self._memo[place],) = self._stack[-1:]

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])


def _set_of(items: list[Any]) -> Call:
    return Call(Global("builtins", "set"), Sequence(tuple, []), items=items)


def _paired(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise UnsafePickle("the file is not a complete pickle: a dict's value is missing")
    return list(zip(items[::2], items[1::2], strict=True))
