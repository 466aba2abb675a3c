"""Pickles read as data: nothing is imported, nothing is called.

A pickle is a program. This interpreter knows the opcodes that plain containers and calls are written with; it follows
the documentation in the standard library's :mod:`pickletools`, which also splits the opcodes. What the names and calls
in it mean is for those to say who know its writer.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...errors import FormatError

MAX_OPCODES = 2_000_000
"""About two seconds and 200 MB at worst; a checkpoint takes about 30 for each tensor."""
MAX_KEY = 256
"""Longest key of a dictionary that is kept: paths are made of keys, and a memoised one costs nothing to repeat."""
_MAX_NAME = 200


@dataclass(frozen=True)
class Global:
    """A name that the pickle would import."""

    name: str


@dataclass(eq=False)
class Attributes:
    """An object that is known by the name of its class alone, and its attributes."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)


class Items:
    """A list or set; what is put into it is dropped."""


class Ignored:
    """Another object; what is put into it is dropped."""


ITEMS = Items()
IGNORED = Ignored()
MARK = object()

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class Unpickler:
    """The interpreter. Whoever knows what wrote a pickle says in a subclass what its names mean.

    Parameters
    ----------
    data : bytes
        The pickle.
    where : str
        What messages call it.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        self._data = data
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def find(self, name: str) -> Any:
        """What a dotted name stands for: a `Global`; anything else is refused."""
        raise FormatError(f"{self.where}: expected plain data, found {name!r}")

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """What a call would return, as data."""
        return IGNORED

    def persistent(self, identifier: Any) -> Any:
        """What lies outside of the pickle under an identifier."""
        raise FormatError(f"{self.where}: expected plain data, found a persistent id")

    def load(self) -> Any:
        """What the pickle describes: dictionaries (only their items with str keys), tuples, plain values, what `call`
        and `persistent` return, `ITEMS` for lists and sets, `IGNORED` for everything else.

        Raises
        ------
        FormatError
            The pickle is damaged or longer than any checkpoint's, or asks for anything but data.
        """
        stack, memo = self._stack, self._memo
        for count, (opcode, argument, position) in enumerate(self._opcodes()):
            if count == MAX_OPCODES:
                raise FormatError(f"{self.where}: expected at most {MAX_OPCODES} pickle opcodes, found more")
            match opcode:
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = self._top()
                case "BINGET" | "LONG_BINGET":
                    if argument not in memo:
                        raise self._damaged(f"no object {argument} at byte {position}")
                    stack.append(memo[argument])
                case "MEMOIZE":
                    memo[len(memo)] = self._top()
                case "BININT1" | "BININT2" | "BININT" | "LONG1" | "LONG4" | "BINFLOAT":
                    stack.append(argument)
                case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINSTRING" | "SHORT_BINSTRING":
                    stack.append(argument)
                case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                    stack.append(IGNORED)
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append(_CONSTANTS[opcode])
                case "MARK":
                    stack.append(MARK)
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    items = [self._pop() for _ in range(int(opcode[-1]))]
                    stack.append(tuple(reversed(items)))
                case "TUPLE":
                    stack.append(tuple(self._since_mark()))
                case "EMPTY_DICT":
                    stack.append({})
                case "SETITEM":
                    value, key = self._pop(), self._pop()
                    self._set_items([key, value])
                case "SETITEMS":
                    self._set_items(self._since_mark())
                case "EMPTY_LIST" | "EMPTY_SET":
                    stack.append(ITEMS)
                case "FROZENSET":
                    self._since_mark()
                    stack.append(ITEMS)
                case "APPEND" | "APPENDS" | "ADDITEMS":
                    _ = self._pop() if opcode == "APPEND" else self._since_mark()
                    self._expect(self._top(), (Items, Ignored), "an addition to a list or set")
                case "GLOBAL":
                    self._global(*argument.split(" ", 1))
                case "STACK_GLOBAL":
                    attribute, module = self._pop(), self._pop()
                    self._global(module, attribute)
                case "REDUCE" | "NEWOBJ":
                    arguments, function = self._pop(), self._pop()
                    self._expect(function, Global, "a call of a global")
                    self._expect(arguments, tuple, "a call with a tuple")
                    stack.append(self.call(function, arguments))
                case "BUILD":
                    attributes, target = self._pop(), self._top()
                    self._expect(target, (dict, Ignored, Attributes), "attributes of a dictionary or an object")
                    # A dictionary has some too, such as a state dict's _metadata.
                    if isinstance(target, Attributes) and isinstance(attributes, dict):
                        target.values = attributes
                case "BINPERSID":
                    stack.append(self.persistent(self._pop()))
                case "POP":
                    self._pop()
                case "POP_MARK":
                    self._since_mark()
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return self._pop()
                case other:
                    raise FormatError(
                        f"{self.where}: expected the opcodes of plain data and calls, found {other} at {position}"
                    )
        raise self._damaged("no end")

    def _opcodes(self) -> Iterator[tuple[str, Any, int | None]]:
        try:
            for opcode, argument, position in pickletools.genops(self._data):
                yield opcode.name, argument, position
        except ValueError as error:
            raise self._damaged(str(error)[:200]) from error

    def _damaged(self, what: str) -> FormatError:
        return FormatError(f"{self.where}: damaged pickle ({what})")

    def _top(self) -> Any:
        if not self._stack:
            raise self._damaged("nothing on the stack")
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _since_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._pop()) is not MARK:
            items.append(item)
        return items[::-1]

    def _expect(self, value: Any, kind: type | tuple[type, ...], what: str) -> None:
        if not isinstance(value, kind):
            raise FormatError(f"{self.where}: expected {what}, found {type(value).__name__}")

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        self._expect(target, (dict, Ignored), "items set on a dictionary")
        if len(items) % 2:
            raise FormatError(f"{self.where}: expected keys and values in pairs, found one without the other")
        if isinstance(target, dict):
            # No tensor that matters has another key, and only strings hash and compare in bounded time.
            for key, value in zip(items[::2], items[1::2]):
                if type(key) is str and len(key) <= MAX_KEY:
                    target[key] = value

    def _global(self, module: Any, attribute: Any) -> None:
        if type(module) is not str or type(attribute) is not str:
            raise FormatError(f"{self.where}: expected a global's module and name, found something else")
        # Each use of a long memoised name would cost its length.
        self._stack.append(self.find(f"{module[:_MAX_NAME]}.{attribute[:_MAX_NAME]}"))
