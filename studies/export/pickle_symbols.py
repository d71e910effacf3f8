"""Read a pickle as data: its opcodes are followed, but nothing is imported, called or built.

A pickle is a program for a small stack machine. Here that machine runs on symbols: an import
becomes a :class:`Global`, a call becomes a :class:`Call`. So no pickle can run any code;
``restricted_pickle`` decides which symbols become values.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from explainers.errors import UnsafePickle

__all__ = ["Call", "Global", "Pairs", "Sequence", "items_of", "read_symbols"]

_MOST_OPCODES = 50_000
"""The parameters of ten images take about 1,000."""


@dataclass(frozen=True, eq=False)
class Global:
    """A name that the pickle would import."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Sequence:
    """A list or a tuple; compared by identity, so that deep nesting makes no comparison slow."""

    kind: type[list[Any]] | type[tuple[Any, ...]]
    items: list[Any]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The keys and values of a dict, in the order of the pickle."""

    items: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False)
class Call:
    """An object that the pickle would make by a call.

    Attributes:
        function: symbol of the function or class that is called.
        arguments: symbol of the tuple of its arguments.
        state: symbol for ``__setstate__`` or ``__dict__``; ``None`` when there is none.
        pairs, items: symbols that would be added to it, as to a dict or a list.
    """

    function: Any
    arguments: Any
    state: Any = None
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)

    @property
    def target(self) -> tuple[str, str]:
        """Module and name of the function; empty texts where it is not a :class:`Global`."""
        function = self.function
        return (function.module, function.name) if isinstance(function, Global) else ("", "")


def items_of(symbol: Any) -> list[Any]:
    """Return the items of a list or tuple, and an empty list for anything else."""
    return symbol.items if isinstance(symbol, Sequence) else []


_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip
"""Opcodes whose argument is pushed onto the stack."""
_MARK = object()
"""On the stack before the first item of a container."""


def read_symbols(data: bytes) -> Any:
    """Return the content of a pickle as symbols, numbers, text and bytes.

    Raises:
        UnsafePickle: not a complete pickle, one with too many opcodes, or one with an opcode that
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
    """The stack machine of PEP 307 and PEP 3154, with symbols as values."""

    def __init__(self) -> None:
        self.result: Any = None
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Execute one opcode."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _PUSHED:
            made = _PUSHED[name](self, argument)
            self.stack.append(made)
        elif name in _DONE:
            _DONE[name](self, argument)
        else:
            raise UnsafePickle(
                f"the pickle uses {name}, which LIME parameters do not need: they are plain "
                "dictionaries saved with pickle.dump"
            )

    def last(self, count: int) -> list[Any]:
        """Pop that many items from the stack."""
        taken = self.stack[len(self.stack) - count :]
        if len(taken) < count or any(item is _MARK for item in taken):
            raise UnsafePickle("the file is not a complete pickle: its stack runs empty")
        del self.stack[len(self.stack) - count :]
        return taken

    def since_mark(self) -> list[Any]:
        """Pop the items since the last mark, and the mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                taken = self.stack[place + 1 :]
                del self.stack[place:]
                return taken
        raise UnsafePickle("the file is not a complete pickle: a mark is missing")

    def named(self) -> Global:
        """Pop a module and a name, and return their symbol."""
        module, name = self.last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnsafePickle("the pickle refers to something that has no name")
        return Global(module, name)

    def append(self, items: list[Any]) -> None:
        """Add items to the list, or the object, on top of the stack."""
        self._top(Sequence, Call).items.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict, or the object, on top of the stack."""
        filled = self._top(Pairs, Call)
        (filled.pairs if isinstance(filled, Call) else filled.items).extend(_paired(items))

    def build(self) -> None:
        """Pop a state and set it on the object that is then on top of the stack."""
        (state,) = self.last(1)
        self._top(Call).state = state

    def stop(self) -> None:
        """Pop the result."""
        (self.result,) = self.last(1)

    def put(self, place: int) -> None:
        """Store the top of the stack in the memo."""
        (self.memo[place],) = self.stack[-1:]

    def _top(self, *kinds: type[Any]) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kinds):
            raise UnsafePickle("the pickle fills something that is neither a list nor a dict")
        return self.stack[-1]


def _set_of(items: list[Any]) -> Call:
    return Call(Global("builtins", "set"), Sequence(tuple, []), items=items)


def _paired(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise UnsafePickle("the file is not a complete pickle: a dict's value is missing")
    return list(zip(items[::2], items[1::2], strict=True))


_Operation = Callable[[_Machine, Any], Any]
_PUSHED: Mapping[str, _Operation] = {
    "NONE": lambda m, _: None, "NEWTRUE": lambda m, _: True, "NEWFALSE": lambda m, _: False,
    "MARK": lambda m, _: _MARK,
    "EMPTY_LIST": lambda m, _: Sequence(list, []), "EMPTY_TUPLE": lambda m, _: Sequence(tuple, []),
    "EMPTY_DICT": lambda m, _: Pairs(), "EMPTY_SET": lambda m, _: _set_of([]),
    "LIST": lambda m, _: Sequence(list, m.since_mark()),
    "TUPLE": lambda m, _: Sequence(tuple, m.since_mark()),
    "DICT": lambda m, _: Pairs(_paired(m.since_mark())),
    "FROZENSET": lambda m, _: _set_of(m.since_mark()),
    "TUPLE1": lambda m, _: Sequence(tuple, m.last(1)),
    "TUPLE2": lambda m, _: Sequence(tuple, m.last(2)),
    "TUPLE3": lambda m, _: Sequence(tuple, m.last(3)),
    "GLOBAL": lambda m, text: Global(*text.partition(" ")[::2]),
    "STACK_GLOBAL": lambda m, _: m.named(),
    "REDUCE": lambda m, _: Call(*m.last(2)), "NEWOBJ": lambda m, _: Call(*m.last(2)),
    "NEWOBJ_EX": lambda m, _: Call(*m.last(3)[:2]),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.memo[place]),
}  # fmt: skip
"""Opcodes whose result is pushed onto the stack."""
_DONE: Mapping[str, _Operation] = {
    "PROTO": lambda m, _: None, "FRAME": lambda m, _: None, "STOP": lambda m, _: m.stop(),
    "POP": lambda m, _: m.stack.pop(), "POP_MARK": lambda m, _: m.since_mark(),
    "APPEND": lambda m, _: m.append(m.last(1)),
    "SETITEM": lambda m, _: m.set_items(m.last(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda m, _: m.append(m.since_mark())),
    "BUILD": lambda m, _: m.build(), "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, place: m.put(place)),
}  # fmt: skip
"""Opcodes that push nothing."""
