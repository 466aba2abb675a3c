"""Pickles read as data: nothing is imported, nothing is called.

A pickle is a program. This interpreter knows the opcodes that containers and calls are written with; it follows the
documentation in the standard library's :mod:`pickletools`, which also splits the opcodes. What the names and calls in
it mean is for those to say who know its writer; whatever they do not know is a closed box, carried along, not opened.
"""

from __future__ import annotations

import io
import mmap
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...errors import FormatError

MAX_OPCODES = 2_000_000
"""About two seconds and 200 MB at worst; a checkpoint takes about 30 for each tensor."""
FREE_OPCODES, OPCODES_A_BYTE = 100_000, 2
"""Of a pickle that was compressed, by its packed bytes: one opcode over and over packs to nearly none."""
MAX_KEY = 256
"""Longest key of a dictionary that is kept: paths are made of keys, and a memoised one costs nothing to repeat."""
MAX_NAME = 200
"""Of a module or a class; the rest is cut off."""


@dataclass(frozen=True)
class Global:
    """A name that the pickle would import."""

    name: str


@dataclass(eq=False, slots=True)
class Box:
    """An object of which the name of its class alone is known, and what was put into it."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[str | int, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    @property
    def values(self) -> dict[str | int, Any]:
        """Its attributes, where its state is a dictionary of them."""
        return self.state if isinstance(self.state, dict) else {}


MARK = object()

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MUTABLE = (dict, Box)


class Unpickler:
    """The interpreter. Whoever knows what wrote a pickle says in a subclass what its names mean.

    Parameters
    ----------
    data : bytes, mmap or file
        The pickle, or several after each other: `load` reads on from a file's position.
    where : str
        What messages call it.
    packed : int, optional
        How many bytes of the file these are, where they were compressed.
    """

    def __init__(self, data: bytes | mmap.mmap | io.BytesIO, where: str, packed: int | None = None) -> None:
        self.where = where
        self._most = MAX_OPCODES if packed is None else min(MAX_OPCODES, FREE_OPCODES + OPCODES_A_BYTE * packed)
        self._file: Any = io.BytesIO(data) if isinstance(data, bytes) else data
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._count = 0

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """What a call would return, as data."""
        return Box(function.name, arguments)

    def build(self, target: Any, state: Any) -> None:
        """What ``__setstate__`` of an object that is no box would do."""
        raise FormatError(f"{self.where}: expected attributes of a dictionary or an object, found {_kind(target)}")

    def persistent(self, identifier: Any) -> Any:
        """What lies outside of the pickle under an identifier."""
        raise FormatError(f"{self.where}: expected plain data, found a persistent id")

    def load(self) -> Any:
        """What the pickle describes: dictionaries (their items with keys of text and whole numbers), lists, tuples,
        plain values, what `call` and `persistent` return.

        Raises
        ------
        FormatError
            The pickle is damaged or longer than any checkpoint's.
        """
        stack, memo = self._stack, self._memo
        stack.clear()
        memo.clear()
        for opcode, argument, position in self._opcodes():
            self._count += 1
            if self._count > self._most:
                raise FormatError(f"{self.where}: expected at most {self._most} pickle opcodes, found more")
            match opcode:
                case "BINPUT" | "LONG_BINPUT" | "PUT":
                    memo[argument] = self._top()
                case "BINGET" | "LONG_BINGET" | "GET":
                    if argument not in memo:
                        raise self._damaged(f"no object {argument} at byte {position}")
                    stack.append(memo[argument])
                case "MEMOIZE":
                    memo[len(memo)] = self._top()
                case "BININT1" | "BININT2" | "BININT" | "LONG1" | "LONG4" | "BINFLOAT" | "INT" | "LONG" | "FLOAT":
                    stack.append(argument)
                case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "UNICODE":
                    stack.append(argument)
                case "BINSTRING" | "SHORT_BINSTRING" | "STRING":  # of Python 2: text and bytes at once
                    stack.append(argument)
                case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                    stack.append(argument)
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
                case "DICT":
                    items = self._since_mark()
                    stack.append({})
                    self._set_items(items)
                case "SETITEM":
                    value, key = self._pop(), self._pop()
                    self._set_items([key, value])
                case "SETITEMS":
                    self._set_items(self._since_mark())
                case "EMPTY_LIST":
                    stack.append([])
                case "LIST":
                    stack.append(self._since_mark())
                case "EMPTY_SET":
                    stack.append(Box("builtins.set"))
                case "FROZENSET":
                    stack.append(Box("builtins.frozenset", elements=self._since_mark()))
                case "APPEND" | "APPENDS" | "ADDITEMS":
                    items = [self._pop()] if opcode == "APPEND" else self._since_mark()
                    self._append(self._top(), items)
                case "GLOBAL":
                    self._global(*argument.split(" ", 1))
                case "STACK_GLOBAL":
                    attribute, module = self._pop(), self._pop()
                    self._global(module, attribute)
                case "EXT1" | "EXT2" | "EXT4":
                    stack.append(Global(f"copyreg's extension {argument}"))
                case "REDUCE" | "NEWOBJ":
                    arguments, function = self._pop(), self._pop()
                    self._call(function, arguments)
                case "NEWOBJ_EX":
                    keywords, arguments, function = self._pop(), self._pop(), self._pop()
                    self._call(function, arguments)
                    if isinstance(box := self._top(), Box) and isinstance(keywords, dict):
                        box.items.update(keywords)
                case "INST":
                    arguments = tuple(self._since_mark())
                    self._global(*argument.split(" ", 1))
                    self._call(self._pop(), arguments)
                case "OBJ":
                    function, *rest = self._since_mark() or [None]
                    self._call(function, tuple(rest))
                case "BUILD":
                    state, target = self._pop(), self._top()
                    if isinstance(target, Box):
                        target.state = state
                    elif not isinstance(target, dict):  # a dictionary has some too, such as a state dict's _metadata
                        self.build(target, state)
                case "BINPERSID":
                    stack.append(self.persistent(self._pop()))
                case "POP":
                    self._pop()
                case "POP_MARK":
                    self._since_mark()
                case "DUP":
                    stack.append(self._top())
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
            for opcode, argument, position in pickletools.genops(self._file):
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

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise FormatError(f"{self.where}: expected a call with a tuple, found {_kind(arguments)}")
        if isinstance(function, Box):  # what is made by a box is a box of the same kind
            self._stack.append(Box(function.kind, (function, *arguments[:8])))
        elif isinstance(function, Global):
            self._stack.append(self.call(function, arguments))
        else:
            raise FormatError(f"{self.where}: expected a call of a global, found {_kind(function)}")

    def _append(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, Box):
            target.elements.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise FormatError(f"{self.where}: expected an addition to a list or set, found {_kind(target)}")

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, _MUTABLE):
            raise FormatError(f"{self.where}: expected items set on a dictionary, found {_kind(target)}")
        if len(items) % 2:
            raise FormatError(f"{self.where}: expected keys and values in pairs, found one without the other")
        table = target.items if isinstance(target, Box) else target
        # No tensor that matters has another key, and these alone hash and compare in bounded time.
        for key, value in zip(items[::2], items[1::2]):
            if (type(key) is str and len(key) <= MAX_KEY) or (type(key) is int and -(2**63) <= key < 2**63):
                table[key] = value

    def _global(self, module: Any, attribute: Any) -> None:
        if type(module) is not str or type(attribute) is not str:
            raise FormatError(f"{self.where}: expected a global's module and name, found something else")
        # Each use of a long memoised name would cost its length.
        self._stack.append(Global(f"{module[:MAX_NAME]}.{attribute[:MAX_NAME]}"))


def _kind(value: Any) -> str:
    return value.kind if isinstance(value, Box) else type(value).__name__
