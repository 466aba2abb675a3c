"""What some calls need around the engine: masks, repeated and turned outputs, packed sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arguments import State, check_mask, float32
from ._states import call_state, engine_state, stacked
from .weights import FloatArray, LSTMWeights

Result = tuple[FloatArray, tuple[FloatArray, FloatArray]]
"""y, (h, c) for nearly all models; where directions or layers stay apart, pairs and lists stand in for arrays."""
Bools = npt.NDArray[np.bool_]


def direct(weights: LSTMWeights) -> bool:
    """Whether a call of whole sequences is one call of the engine, with nothing around it."""
    return stacked(weights) and weights.merge != "none" and not weights.flip_output


def run(
    core: _core.Lstm,
    weights: LSTMWeights,
    x: FloatArray,
    batch_first: bool,
    state: State | None,
    lengths: npt.NDArray[np.int64] | None,
    mask: npt.ArrayLike | None = None,
    out: FloatArray | None = None,
) -> Result:
    """Any call; arguments as checked by `_arguments`."""
    if out is not None and weights.merge == "none":
        raise ValueError("out: expected none with merge='none', which has two outputs")
    axis = 1 if x.ndim == 3 and batch_first else 0  # of time
    order = valid = None
    if mask is not None and x.ndim in (2, 3):  # other ranks are for the engine to refuse
        if lengths is not None:
            raise ValueError("lengths, mask: expected one of them, found both")
        valid = check_mask(mask, x, batch_first)
        lengths = np.atleast_1d(valid.sum(axis))
        if np.any(np.diff(valid.astype(np.int8), axis=axis) > 0):  # bring each row's valid steps to its front
            order = np.argsort(~valid, axis, kind="stable")[..., None]
            x = np.take_along_axis(x, order, axis)
    batch = x.shape[1 - axis] if x.ndim == 3 else None
    h_0, c_0 = (None, None) if state is None else engine_state(weights, state, batch)
    y, h, c = core.run(x, batch_first, h_0, c_0, lengths, None, stacked(weights))
    final = call_state(weights, h, c, batch)
    if order is not None:
        packed, y = y, np.empty_like(y)
        np.put_along_axis(y, order, packed, axis)
    if weights.padding == "repeat" and lengths is not None:
        if valid is None:
            steps = np.arange(y.shape[axis])
            valid = steps < lengths[:, None] if axis == 1 or y.ndim == 2 else steps[:, None] < lengths
        y = _repeated(y, valid.reshape(y.shape[:-1]), axis, weights.reverse)
    if weights.flip_output:
        y = np.ascontiguousarray(np.flip(y, axis))
    if out is not None:
        if out.shape != y.shape:
            raise ValueError(f"out: expected shape {y.shape} like y, found {out.shape}")
        out[...] = y
        y = out
    if weights.merge == "none" and weights.bidirectional:
        size = y.shape[-1] // 2
        pair_of_outputs: Any = np.ascontiguousarray(y[..., :size]), np.ascontiguousarray(y[..., size:])
        return pair_of_outputs, final
    return y, final


def is_packed(x: Any) -> bool:
    """Whether x is a ``torch.nn.utils.rnn.PackedSequence``; torch is not imported to find out."""
    return type(x).__name__ == "PackedSequence" and type(x).__module__ == "torch.nn.utils.rnn"


def run_packed(core: _core.Lstm, weights: LSTMWeights, packed: Any, state: State | None) -> Any:
    """A PackedSequence for a PackedSequence; h and c are arrays in the order of the rows before packing."""
    if weights.flip_output:
        raise ValueError("x: expected an array, found a PackedSequence, which has no last step to turn round at")
    data = float32("x", packed.data.detach().cpu().numpy())
    batch_sizes = packed.batch_sizes.numpy()
    time, batch = len(batch_sizes), int(batch_sizes[0])
    steps = np.repeat(np.arange(time), batch_sizes)
    rows = np.arange(len(data)) - np.repeat(np.cumsum(batch_sizes) - batch_sizes, batch_sizes)
    if packed.sorted_indices is not None:
        rows = packed.sorted_indices.cpu().numpy()[rows]
    x = np.zeros((time, batch, data.shape[1]), np.float32)
    x[steps, rows] = data
    y, final = run(core, weights, x, False, state, np.bincount(rows, minlength=batch))

    def pack_again(part: FloatArray) -> Any:
        tensor = packed.data.new_tensor(part[steps, rows])
        return type(packed)(tensor, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)

    return (tuple(map(pack_again, y)) if isinstance(y, tuple) else pack_again(y)), final


def _repeated(y: FloatArray, valid: Bools, axis: int, reverse: bool) -> FloatArray:
    """Each step that is not valid gets the output computed before it, or zeros where none was."""
    steps = np.arange(valid.shape[axis]).reshape((-1, 1) if axis == 0 and valid.ndim == 2 else -1)
    if reverse:
        last = np.flip(np.minimum.accumulate(np.flip(np.where(valid, steps, steps.size), axis), axis), axis)
    else:
        last = np.maximum.accumulate(np.where(valid, steps, -1), axis)
    known = (last >= 0) & (last < steps.size)
    repeated = np.take_along_axis(y, np.where(known, last, 0)[..., None], axis)
    repeated[~known] = 0
    return repeated
