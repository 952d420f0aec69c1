"""What a pickle would build, followed without unpickling it: no code of it, and none of Python's unpickler, is run.

A pickle is a program for a machine with a stack. This machine knows plain values, tuples, lists, dicts, the names of
classes as text, storages of torch, and calls, which it writes down and does not make. Anything else is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import SignalError

__all__ = ["Call", "Name", "Stored", "pickle_values"]

MOST_BITS = 64
"""Of a whole number."""


@dataclass(frozen=True)
class Name:
    """A class or a function, by its name."""

    said: str


@dataclass(frozen=True)
class Stored:
    """A storage of torch. kind: the name of its class. key: of its bytes. count: of its values."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True, eq=False)
class Call:
    """A call that was not made. items: what is then put into its result, if that is a dict."""

    name: str
    arguments: tuple[Any, ...]
    items: dict[Any, Any] = field(default_factory=dict)


def pickle_values(data: bytes) -> Any:
    """The value of a pickle. SignalError names what it asks for that is refused."""
    try:
        return _Machine().run(data)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, SignalError):
            raise
        raise SignalError(f"its pickle is damaged ({short(error)})") from error


class _Machine:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for code, argument, _ in pickletools.genops(data):
            name = code.name
            if name == "STOP":
                return self._stack.pop()
            if name in _PUSHED:
                self._push(argument)
            elif name in _MADE:
                self._stack.append(_MADE[name]())
            elif name in _DONE:
                _DONE[name](self, argument)
            elif name not in _IGNORED:
                raise SignalError(f"its pickle has the step {name}, which no tensor needs; nothing of it was run")
        raise SignalError("its pickle is cut short")

    def _push(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise SignalError("its pickle has a whole number of more than 64 bits")
        self._stack.append(value)

    def mark(self, _: Any) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        found, self._stack = self._stack, self._marks.pop()
        return found

    def put(self, at: int) -> None:
        self._memo[at] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, at: int) -> None:
        self._stack.append(self._memo[at])

    def tuple_of(self, count: int) -> None:
        found = tuple(self._stack[-count:])
        if len(found) < count:
            raise IndexError("a tuple lacks entries")
        del self._stack[-count:]
        self._stack.append(found)

    def marked_tuple(self, _: Any) -> None:
        found = self._marked()
        self._stack.append(tuple(found))

    def marked_list(self, _: Any) -> None:
        found = self._marked()
        self._stack.append(found)

    def append(self, _: Any) -> None:
        value = self._stack.pop()
        self._list().append(value)

    def appends(self, _: Any) -> None:
        found = self._marked()
        self._list().extend(found)

    def _list(self) -> list[Any]:
        found = self._stack[-1]
        if not isinstance(found, list):
            raise TypeError("a value is appended to what is no list")
        return found

    def marked_dict(self, _: Any) -> None:
        found = self._marked()
        self._stack.append({})
        self._set(found)

    def item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def items(self, _: Any) -> None:
        self._set(self._marked())

    def _set(self, pairs: list[Any]) -> None:
        top = self._stack[-1]
        into = top.items if isinstance(top, Call) else top
        if not isinstance(into, dict) or len(pairs) % 2:
            raise TypeError("an entry is put into what is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes):  # the hash of a tuple in tuples has no end
                raise TypeError(f"a dict has a key of {type(key).__name__}")
            into[key] = value

    def name(self, said: str) -> None:
        self._stack.append(Name(said.replace(" ", ".")))

    def stacked_name(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a name is no text")
        self._stack.append(Name(f"{module}.{name}"))

    def call(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise TypeError("a call of what has no name")
        self._stack.append(Call(function.said, arguments))

    def build(self, _: Any) -> None:
        self._stack.pop()  # the state of a dict of weights, which says nothing of its tensors

    def stored(self, _: Any) -> None:
        said = self._stack.pop()
        if not isinstance(said, tuple) or len(said) != 5 or said[0] != "storage" or not isinstance(said[1], Name):
            raise TypeError("a storage that is none")
        kind, key, count = said[1].said, said[2], said[4]
        if not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise TypeError("a storage that is none")
        self._stack.append(Stored(kind, key, count))


_IGNORED = {"PROTO", "FRAME"}
_PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
_DONE: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark, "PUT": _Machine.put, "BINPUT": _Machine.put, "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize, "GET": _Machine.get, "BINGET": _Machine.get, "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.marked_tuple, "LIST": _Machine.marked_list, "DICT": _Machine.marked_dict,
    "TUPLE1": lambda self, _: self.tuple_of(1), "TUPLE2": lambda self, _: self.tuple_of(2),
    "TUPLE3": lambda self, _: self.tuple_of(3), "APPEND": _Machine.append, "APPENDS": _Machine.appends,
    "SETITEM": _Machine.item, "SETITEMS": _Machine.items, "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stacked_name, "REDUCE": _Machine.call, "BUILD": _Machine.build,
    "BINPERSID": _Machine.stored,
}  # fmt: skip
