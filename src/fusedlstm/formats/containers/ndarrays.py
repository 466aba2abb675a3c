"""NumPy's arrays in pickles, and JAX's, which are pickled as NumPy's: read as data, like everything in a pickle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .pickle import MAX_NAME, Box, Global, Unpickler

MAX_RANK = 32

_CODE = re.compile(r"[iu][1248]|f[248]|b1|\?|c8|c16|bfloat16")
_ORDERS = ("<", ">", "|", "=")
_NDARRAY = "numpy.ndarray"
_JAX = re.compile(r"jax\.[\w.]*\b_?reconstruct_(?:device_)?array")


@dataclass(frozen=True)
class Text:
    """Bytes that an old protocol wrote as text; they are encoded when they are wanted."""

    text: str


@dataclass(eq=False, slots=True)
class Dtype:
    """A dtype by its code, unchecked."""

    code: Any
    order: Any = "="

    def numpy(self, name: str) -> np.dtype[Any]:
        """NumPy's, of numbers alone; bfloat16 is that of its bits."""
        if not isinstance(self.code, str) or not _CODE.fullmatch(self.code) or self.order not in _ORDERS:
            raise FormatError(f"{name}: expected an array of numbers, found dtype {str(self.code)[:50]!r}")
        return np.dtype("u2" if self.code == "bfloat16" else self.code).newbyteorder(self.order)


@dataclass(eq=False, slots=True)
class Array:
    """What describes an array, unchecked."""

    size: Any = None
    dtype: Any = None
    data: Any = None
    fortran: bool = False

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape, checked."""
        size = self.size
        if type(size) is not tuple or len(size) > MAX_RANK or not all(type(n) is int and 0 <= n < 2**63 for n in size):
            raise FormatError(f"{name}: expected a shape of at most {MAX_RANK} numbers of 0 or more, found another")
        return size

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The numbers, when there are as many as the shape says; bfloat16 comes as float32."""
        shape = self.shape(name)
        if not isinstance(self.dtype, Dtype):
            raise FormatError(f"{name}: expected an array, found no dtype")
        dtype = self.dtype.numpy(name)
        data = self.data.text.encode("latin-1", "replace") if isinstance(self.data, Text) else self.data
        if isinstance(data, str):  # Python 2's
            data = data.encode("latin-1", "replace")
        if not isinstance(data, bytes | bytearray) or len(data) != prod(shape) * dtype.itemsize:
            found = f"{len(data)} bytes" if isinstance(data, bytes | bytearray) else type(data).__name__
            raise FormatError(
                f"{name}: expected {prod(shape) * dtype.itemsize} bytes for shape {shape} of {dtype}, found {found}"
            )
        array: npt.NDArray[Any] = np.frombuffer(data, dtype).reshape(shape, order="F" if self.fortran else "C")
        return (array.astype("<u4") << 16).view("<f4") if self.dtype.code == "bfloat16" else array


class ArrayUnpickler(Unpickler):
    """Pickles that hold arrays of NumPy and JAX."""

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """An array, a dtype, plain containers; a box for another object."""
        name = function.name.removeprefix("__builtin__.").removeprefix("builtins.")
        match name, arguments[:8]:  # a long tuple would be copied each time
            case "collections.OrderedDict" | "collections.defaultdict", _:
                return self._pairs(arguments)
            case "dict", ():
                return {}
            case "getattr", (Global(owner), str() as attribute):
                return Global(f"{owner[:MAX_NAME]}.{attribute[:MAX_NAME]}")
            case "tuple" | "list" | "bytearray", (tuple() | list() | bytes() | bytearray() as inside,):
                return inside
            case "_codecs.encode" | "bytearray" | "bytes", (str() as text, "latin1" | "latin-1"):
                return Text(text)
            case "numpy.dtype", (str() as code, *_):
                return Dtype(code)
            case "numpy.dtype", (Global(code), *_):
                return Dtype(code.removeprefix("ml_dtypes."))
            case "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct", (Global(kind), *_):
                return Array() if kind == _NDARRAY else Box(kind, arguments[:8])
            case "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar", (Dtype() as dtype, data):
                return Array((), dtype, data)
            case "numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer", (data, dtype, size, order, *_):
                return Array(size, dtype, data, order == "F")
            case other, (_, _, state, *_) if _JAX.fullmatch(other):
                array = Array()
                self.build(array, state)
                return array
        return super().call(function, arguments)

    def build(self, target: Any, state: Any) -> None:
        """The content of an array, the order of a dtype's bytes."""
        match target, state:
            case Array(), (int(), size, dtype, fortran, data):
                target.size, target.dtype, target.data, target.fortran = size, dtype, data, bool(fortran)
            case Dtype(), (int(), order, None, None, *_):
                target.order = order
            case Dtype(), (int(), *_):
                target.code = "of several fields"
            case Array() | Dtype(), _:
                raise FormatError(f"{self.where}: expected the state of an array, found another")
            case _:
                super().build(target, state)

    def _pairs(self, arguments: tuple[Any, ...]) -> dict[str | int, Any]:
        """The dictionary that is made from what a call was given: Python 2 gave it a list of pairs."""
        self._stack.append({})
        for argument in arguments[:2]:
            if not isinstance(argument, list):
                continue
            self._count += len(argument)  # a memoised list costs nothing to repeat
            for pair in argument:
                if isinstance(pair, list | tuple) and len(pair) == 2:
                    self._set_items(list(pair))
        made: dict[str | int, Any] = self._stack.pop()
        return made
