"""The part of pickle that PyTorch's files need, read as data: nothing is imported, nothing is called.

A pickle is a program. This interpreter knows the opcodes that ``torch.save`` writes for plain containers and tensors;
it follows the documentation in the standard library's :mod:`pickletools`, which also splits the opcodes. Calls of
functions that rebuild tensors are recognised by name and become :class:`Tensor`; what else a checkpoint may carry
(settings, dates, NumPy scalars) becomes ``IGNORED``; an object of a class that TorchScript defines becomes
:class:`Attributes`; every other name is refused.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...errors import FormatError

MAX_OPCODES = 2_000_000
"""About two seconds and 200 MB at worst; a checkpoint takes about 30 for each tensor."""


MAX_KEY = 256
"""Longest key of a dictionary that is kept: paths are made of keys, and a memoised one costs nothing to repeat."""
RESAVE = "save the tensors alone where it was made: torch.save(model.state_dict(), path)"


@dataclass(frozen=True)
class Global:
    """A name that the pickle would import."""

    name: str


@dataclass(frozen=True)
class Storage:
    """The persistent id of a storage: `numel` elements of type `kind` in the record `key`."""

    kind: str
    key: str
    numel: int


@dataclass(frozen=True)
class Tensor:
    """The arguments of a call that rebuilds a tensor, unchecked; `kind` is a storage's or dtype's name."""

    kind: str
    storage: Any
    offset: Any
    size: Any
    stride: Any
    metadata: Any


@dataclass(eq=False)
class Attributes:
    """A TorchScript object: the name of its class, which is defined in the archive's code, and its attributes."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)


class Items:
    """A list or set; what is put into it is dropped."""


class Ignored:
    """Another object; what is put into it is dropped."""


ITEMS = Items()
IGNORED = Ignored()
MARK = object()

_STORAGE = re.compile(r"torch(?:\.cuda|\.storage)?\.(\w+Storage)")
# Names whose objects hold no weights. They are carried as IGNORED: naming them runs nothing.
_HARMLESS = re.compile(
    r"(?:__builtin__|builtins)\.(?:bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice|str|tuple"
    r"|long|unicode|xrange)"
    r"|_codecs\.encode|argparse\.Namespace|collections\.(?:Counter|OrderedDict|defaultdict|deque)"
    r"|datetime\.\w+|decimal\.Decimal|pathlib(?:\._local)?\.\w*Path|uuid\.UUID"
    r"|numpy\.(?:dtype|ndarray|dtypes\.\w+DType|_?core\.(?:multiarray|numeric)\.(?:scalar|_reconstruct|_frombuffer))"
    r"|torch\.(?:Size|Tensor|device|bool|[a-z]+[0-9]+\w*|per_(?:tensor|channel)_\w+)|torch(?:\.cuda|\.storage)?\.\w+Storage"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_\w+|torch\.serialization\._get_layout"
    r"|__torch__\.[\w.]+|torch\.jit\._pickle\.\w+"
    r"|torch\.nn\.parameter\.(?:Parameter|Buffer)|(?:pytorch_)?lightning\.[\w.]+\.AttributeDict"
)


def unpickle(data: bytes) -> Any:
    """What a pickle describes: dictionaries (only their items with str keys), tuples, plain values,
    :class:`Tensor`, `ITEMS` for lists and sets, `IGNORED` for everything else.

    Raises
    ------
    FormatError
        The pickle is damaged or longer than any checkpoint's, or asks for anything but data.
    """
    try:
        return _run(data)
    except FormatError:
        raise
    except Exception as error:  # pickletools' ValueError, an empty stack, a missing memo
        raise FormatError(f"data.pkl: damaged pickle ({type(error).__name__}: {str(error)[:200]})") from error


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = len(stack) - 1
        while stack[at] is not MARK:  # IndexError without one
            at -= 1
        items = stack[at + 1 :]
        del stack[at:]
        return items

    opcodes: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(data)
    for count, (opcode, argument, position) in enumerate(opcodes):
        if count == MAX_OPCODES:
            raise FormatError(f"data.pkl: expected at most {MAX_OPCODES} pickle opcodes, found more")
        match opcode.name:
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BININT1" | "BININT2" | "BININT" | "LONG1" | "LONG4" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(IGNORED)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "MARK":
                stack.append(MARK)
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(opcode.name[-1])
                items = stack[-size:]
                del stack[-size:]
                stack.append(tuple(items))
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            case "SETITEMS":
                items = since_mark()
                _set_items(stack[-1], items)
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append(ITEMS)
            case "FROZENSET":
                since_mark()
                stack.append(ITEMS)
            case "APPEND" | "APPENDS" | "ADDITEMS":
                _ = stack.pop() if opcode.name == "APPEND" else since_mark()
                _expect(stack[-1], (Items, Ignored), "an addition to a list or set")
            case "GLOBAL":
                stack.append(_global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_global(module, attribute))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "BUILD":
                attributes = stack.pop()
                _expect(stack[-1], (dict, Ignored, Attributes), "attributes of a dictionary or TorchScript object")
                # A dictionary has some too, such as a state dict's _metadata.
                if isinstance(stack[-1], Attributes) and isinstance(attributes, dict):
                    stack[-1].values = attributes
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "POP":
                stack.pop()
            case "POP_MARK":
                since_mark()
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case other:
                raise FormatError(f"data.pkl: expected the opcodes that torch.save writes, found {other} at {position}")


def _expect(value: Any, kind: type | tuple[type, ...], what: str) -> None:
    if not isinstance(value, kind):
        raise FormatError(f"data.pkl: expected {what}, found {type(value).__name__}")


def _set_items(target: Any, items: list[Any]) -> None:
    _expect(target, (dict, Ignored), "items set on a dictionary")
    if len(items) % 2:
        raise FormatError("data.pkl: expected keys and values in pairs, found one without the other")
    if isinstance(target, dict):
        # No tensor that matters has another key, and only strings hash and compare in bounded time.
        for key, value in zip(items[::2], items[1::2]):
            if type(key) is str and len(key) <= MAX_KEY:
                target[key] = value


def _global(module: Any, attribute: Any) -> Global:
    if type(module) is not str or type(attribute) is not str:
        raise FormatError("data.pkl: expected a global's module and name, found something else")
    name = f"{module[:200]}.{attribute[:200]}"  # each use of a long memoised name would cost its length
    if _HARMLESS.fullmatch(name):
        return Global(name)
    what = "a whole pickled module" if name.startswith("torch.nn.") else "an object that is no plain data"
    raise FormatError(
        f"data.pkl: expected a state dict, found {what} ({name!r}), not loaded because that runs code; {RESAVE}"
    )


def _call(function: Any, arguments: Any) -> Any:
    """What a call would return, as data."""
    _expect(function, Global, "a call of a global")
    _expect(arguments, tuple, "a call with a tuple")
    if function.name.startswith("__torch__."):
        return Attributes(function.name)
    match function.name:
        case "torch.jit._pickle.restore_type_tag":
            return arguments[0]
        case "collections.OrderedDict" | "collections.defaultdict":
            return {}
        case "torch.Size" | "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
            return arguments[0]
        case "torch._utils._rebuild_tensor_v2":
            storage, offset, size, stride, _, _, metadata = (*arguments[:7], None)[:7]
            return Tensor(storage.kind, storage, offset, size, stride, metadata)
        case "torch._utils._rebuild_tensor_v3":
            storage, offset, size, stride, _, _, dtype, metadata = (*arguments[:8], None)[:8]
            return Tensor(dtype.name, storage, offset, size, stride, metadata)
        case "torch._tensor._rebuild_from_type_v2":
            rebuild, kind, rest, _ = arguments
            if kind in (Global("torch.Tensor"), Global("torch.nn.parameter.Parameter")):
                return _call(rebuild, rest)
    return IGNORED


def _storage(pid: Any) -> Storage:
    if type(pid) is tuple and len(pid) == 5 and pid[0] == "storage":
        _, kind, key, _, numel = pid
        match = _STORAGE.fullmatch(kind.name) if isinstance(kind, Global) else None
        if match and type(key) is str and type(numel) is int and 0 <= numel < 2**63:
            return Storage(match[1], key, numel)
    raise FormatError("data.pkl: expected the persistent id of a storage (type, key, location, size), found another")
