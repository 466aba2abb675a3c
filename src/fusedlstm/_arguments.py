"""What a call was given, checked and converted: dtypes here, shapes and memory in the bindings."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np
import numpy.typing as npt

from . import _core
from .weights import FloatArray
from .weights.checked import unmasked

State = tuple[npt.ArrayLike, npt.ArrayLike] | tuple[Sequence[npt.ArrayLike], Sequence[npt.ArrayLike]]


MOST_THREADS = 1024

FLOAT32, INT64 = np.dtype(np.float32), np.dtype(np.int64)


def float32(name: str, value: npt.ArrayLike) -> FloatArray:
    """Anything of floating point as float32."""
    if type(value) is np.ndarray and value.dtype is FLOAT32:  # the usual case, and a step's time is short
        return value
    try:
        array = np.asarray(unmasked(name, value))
    except RuntimeError as error:  # PyTorch's, of a tensor that needs a gradient
        raise TypeError(
            f"{name}: expected an array, found {type(value).__name__} that NumPy cannot read ({error}); give "
            f"{name}.detach(), or call under torch.no_grad()"
        ) from error
    if array.dtype == FLOAT32:  # native only: the other byte order compares unequal
        return array
    # Not "i": whole numbers here are mostly raw samples or token ids that still lack their scaling or embedding.
    if array.dtype.kind != "f":
        ids = " (token ids go through the model's embedding first: fusedlstm.load_tensors(path)[name][ids])"
        raise TypeError(
            f"{name}: expected a floating-point array, found dtype {array.dtype}; convert it with "
            f".astype(numpy.float32) if that is what you mean{ids if array.dtype.kind in 'iu' else ''}"
        )
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def thread_count(name: str, value: int | None) -> int | None:
    """A number of threads; None: what the process has set."""
    if value is None:
        return None
    found = whole_number(name, value)
    if not 1 <= found <= MOST_THREADS:
        raise ValueError(f"{name}: expected 1 to {MOST_THREADS}, found {found}")
    return found


def whole_number(name: str, value: int) -> int:
    """An int of whatever counts as one; truth values do not."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected a whole number, found {type(value).__name__}")
    return index(value)


def pair(state: State) -> tuple[FloatArray, FloatArray]:
    """h and c as float32."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"state: expected a pair (h, c), found {type(state).__name__}")
    h, c = (float32(f"state {name}", part) for name, part in zip("hc", state))  # type: ignore[arg-type]
    return h, c


def whole_numbers(name: str, value: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """An array, refused if it is not of integers; a copy, which nobody else can change."""
    array = np.array(unmasked(name, value))
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: expected whole numbers, found dtype {array.dtype}")
    return array if array.dtype == INT64 else array.astype(INT64)


def check_mask(mask: npt.ArrayLike, x: FloatArray, batch_first: bool) -> npt.NDArray[np.bool_]:
    """The mask (batch, time), or (time,) beside x without a batch axis; a copy, with its axes in the order of x's."""
    array = booleans("mask", mask, x.shape[:-1] if x.ndim == 2 or batch_first else x.shape[1::-1])
    return array if x.ndim == 2 or batch_first else array.T


def booleans(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """An array of booleans, of this shape; a copy, which nobody else can change."""
    array = np.array(unmasked(name, value), order="C")
    if array.dtype != np.bool_:
        raise TypeError(f"{name}: expected an array of bool, found dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, found {array.shape}")
    return array


def check_out(out: FloatArray) -> None:
    """Refuse what cannot be written to."""
    unmasked("out", out)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.dtype.isnative:
        found = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out: expected a numpy array of float32, found {found}")
    _core.check_out(out)
