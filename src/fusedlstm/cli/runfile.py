"""From .npy to .npy: memory-mapped, a piece of time after the other, the output in place only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import regular_file, replacing
from ..lstm import LSTM
from ..weights import FloatArray

State = tuple[FloatArray, FloatArray] | tuple[list[FloatArray], list[FloatArray]]
CHUNK = 2**31  # multiplications in a piece: about a tenth of a second


def run_file(
    lstm: LSTM,
    x: npt.NDArray[np.floating],
    output: Path,
    state: State | None = None,
    lengths: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> State:
    """Run `x` and write y to `output`; the final state.

    Forward LSTMs take one piece of time after the other, which gives the same bits; others need all of it at once.
    """
    if x.ndim not in (2, 3):
        layout = "(batch, time, input)" if lstm.batch_first else "(time, batch, input)"
        raise ValueError(f"x: expected {layout} or (time, input), found shape {x.shape}")
    axis = 1 if x.ndim == 3 and lstm.batch_first else 0
    time, batch = x.shape[axis], 1 if x.ndim == 2 else x.shape[1 - axis]
    valid = None if lengths is None else np.asarray(lengths)
    if valid is not None and (valid.shape != (batch,) or (valid < 0).any() or (valid > time).any()):
        raise ValueError(f"lengths: expected {batch} number(s) from 0 to {time}, found {valid.tolist()}")
    steps = CHUNK // (lstm.weights.num_parameters * max(batch, 1))
    repeats = lstm.weights.padding == "repeat" and lengths is not None
    steps = max(1, time if lstm.bidirectional or lstm.weights.reverse or repeats else steps)

    with replacing(output) as temporary:
        y = _create(temporary, (*x.shape[:-1], lstm.weights.output_size))
        for start in range(0, max(time, 1), steps):
            piece = (slice(None),) * axis + (slice(start, start + steps),)
            left = None if valid is None else np.clip(valid - start, 0, x[piece].shape[axis])
            _, state = lstm(x[piece], state=state, lengths=left, out=y[piece])
            progress(min(start + steps, time), time)
        del y  # written before the file gets its name
    assert state is not None
    return state


def open_array(path: Path) -> npt.NDArray[np.floating]:
    """Memory-map an .npy file.

    Raises
    ------
    OSError
        It cannot be read, or is no regular file.
    ValueError
        It is not one, or cut short.
    """
    with open(regular_file(path), "rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        raise ValueError(f"{path}: expected an .npy file, found content starting with {magic!r}")
    try:
        array: npt.NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, OverflowError) as error:
        raise ValueError(f"{path}: damaged .npy file ({error})") from error
    return array


def read_state(path: Path) -> State:
    """Read h and c from an .npz file, as `write_state` writes it."""
    regular_file(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if "h" in file:
                return file["h"], file["c"]
            layers = range(len(file.files) // 2)  # of several sizes
            return [file[f"h{k}"] for k in layers], [file[f"c{k}"] for k in layers]
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path}: expected an .npz file with h and c ({error})") from error
    except Exception as error:  # whatever NumPy and zipfile say of a damaged file
        raise ValueError(f"{path}: expected an .npz file with h and c ({error})") from error


def write_state(path: Path, state: State) -> None:
    """Write h and c to an .npz file."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        if isinstance(state[0], list):  # layers of several sizes
            arrays: Any = {f"{name}{k}": one for name, part in zip("hc", state) for k, one in enumerate(part)}
            np.savez(stream, **arrays)
        else:
            np.savez(stream, h=state[0], c=state[1])


def _create(path: Path, shape: tuple[int, ...]) -> FloatArray:
    y: FloatArray = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    if hasattr(os, "posix_fallocate"):  # a full disk is an OSError here, but the end of the process when y is written
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return y
