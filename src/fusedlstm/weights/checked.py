"""What the neutral forms of weights are made with: checks, and arrays that nobody can write to."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class Checked:
    """A frozen dataclass that is checked whenever it comes into being: also when it is unpickled or copied."""

    RENAMED: ClassVar[dict[str, str]] = {}
    """Fields that earlier versions pickled under another name."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin again, with what was pickled."""
        given = {self.RENAMED.get(name, name): value for name, value in state.items()}
        unknown = given.keys() - {field.name for field in fields(self)}  # type: ignore[arg-type]
        if unknown:
            raise ValueError(f"{type(self).__name__}: found {min(unknown)!r} in a pickle (written by a later version?)")
        self.__init__(**given)  # type: ignore[misc]


def unmasked(name: str, value: Any) -> Any:
    """Anything but a masked array, whose mask NumPy would drop without a word."""
    masked = sys.modules.get("numpy.ma")  # whoever has one has imported it
    parts = value if isinstance(value, list | tuple) else [value]
    if masked is not None and any(isinstance(part, masked.MaskedArray) for part in parts):
        raise TypeError(
            f"{name}: expected an array without a mask, found a masked one; fill it (.filled(0)), and say which steps "
            "of a sequence count with lengths= or mask="
        )
    return value


def float32(name: str, value: npt.ArrayLike, rank: int) -> FloatArray:
    """A contiguous copy that nobody can write to: its memory is that of a bytes object."""
    array = np.asarray(unmasked(name, value))
    # Kind "f" excludes integers on purpose: quantised weights without their scale are a wrong answer.
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: expected a floating-point array, found dtype {array.dtype}")
    if array.ndim != rank:
        raise ValueError(f"{name}: expected {rank} dimension(s), found shape {array.shape}")
    base: object = array.base
    if type(base) is bytes and array.dtype == np.float32 and array.flags.c_contiguous and array.flags.aligned:
        return array  # one of ours, or as good
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype=np.float32)
    return np.ndarray(converted.shape, np.float32, converted.tobytes())


def expect_type(name: str, value: object, kind: type) -> None:
    """Check a type."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected fusedlstm.{kind.__name__}, found {type(value).__name__}")


def expect(name: str, array: FloatArray, shape: tuple[int, ...]) -> None:
    """Check a shape."""
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, found {array.shape}")
