"""Swapping the loops of layers, undoing it, and saying what was done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from .._arguments import thread_count
from .._swapped import Entry, Report
from ..errors import FormatError
from ..weights.lstm import checked_products
from ..weights.precision import dtype_name
from . import keras2, keras3
from .loop import Loop

_MARK = "_fusedlstm_loop"
_KINDS = ("LSTM", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "SimpleRNN")


def accelerate(model: Any, *, dtype: Any = None, products: str | None = None, threads: int | None = None) -> Any:
    """Swap the loops over time of a model's recurrent layers, in place: LSTM, RNN of LSTMCells, ConvLSTM.

    Also those inside of Bidirectional and of models in models. In inference they run here, in ``model(x)`` and in
    `predict`; in training, in other precisions than float32 and on other devices Keras runs them as before. Gradients
    are Keras's in any case.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        Of Keras 3 or tf_keras, built.
    dtype, products : str, optional
        What weights are rounded to, as `fusedlstm.LSTM.astype` does. Default: nothing is rounded.
    threads : int, optional
        The most threads of a call. Default: as many as `fusedlstm.set_num_threads` says.

    Returns
    -------
    keras.Model
        The same model. `report` says what was swapped and what was not.

    Raises
    ------
    TypeError
        Neither a model nor a layer.
    ValueError
        A precision or a number of threads that cannot be, or a model compiled for XLA on TensorFlow, which cannot call
        out of a program.
    """
    _expect_model(model)
    threads = thread_count("threads", threads)
    name = None if dtype is None else dtype_name(dtype)
    if products is not None or name is not None:
        products = checked_products(name or "float32", products)
    door = _door(model)
    door.expect_callable(model)
    for layer in _recurrent(model):
        if _MARK in vars(layer):
            _restore(layer)
        try:
            loop = _loop(layer, name, products, threads)
        except _Refused:
            continue
        object.__setattr__(layer, _MARK, loop)
        door.swap(layer, loop)
    _trace_again(model)
    return model


def restore(model: Any) -> Any:
    """Undo `accelerate`, in place; returns the model.

    Raises
    ------
    TypeError
        Neither a model nor a layer.
    """
    _expect_model(model)
    for layer in _recurrent(model):
        if _MARK in vars(layer):
            _restore(layer)
    _trace_again(model)
    return model


def report(model: Any) -> Report:
    """What of a model runs here, what does not, and why.

    Raises
    ------
    TypeError
        Neither a model nor a layer.
    """
    _expect_model(model)
    entries = []
    for layer in _recurrent(model):
        name, kind = str(getattr(layer, "path", layer.name)), type(layer).__name__
        if _MARK in vars(layer):
            loop = vars(layer)[_MARK]
            entries.append(Entry(name, kind, True, loop.why, loop.dtype or ""))
            continue
        try:
            _loop(layer)
            why = "accelerate was not called since it is there"
        except _Refused as error:
            why = str(error)
        entries.append(Entry(name, kind, False, why))
    return Report(entries)


class _Refused(Exception):
    """Why a layer is left alone."""


def _loop(layer: Any, dtype: Any = None, products: Any = None, threads: int | None = None) -> Loop:
    if type(layer).__name__ in ("GRU", "SimpleRNN"):
        raise _Refused(f"{type(layer).__name__} is not supported")
    if not layer.built:
        raise _Refused("it has no weights yet; call the model once before")
    if layer.compute_dtype != "float32":
        raise _Refused(f"it computes in {layer.compute_dtype}")
    try:
        return Loop(layer, dtype, products, threads)
    except (TypeError, ValueError, FormatError) as error:
        raise _Refused(str(error)) from None


def _restore(layer: Any) -> None:
    object.__delattr__(layer, _MARK)
    _door(layer).unswap(layer)


def _door(model: Any) -> Any:
    """The module for its Keras, by the class that Keras's own are derived from."""
    roots = [one.__module__.partition(".")[0] for one in type(model).__mro__]
    if "tf_keras" in roots:
        return keras2
    return keras3 if sys.modules["keras"].__version__.startswith("3") else keras2


def _expect_model(model: Any) -> None:
    names = {f"{one.__module__.partition('.')[0]}.{one.__name__}" for one in type(model).__mro__}
    if not names & {"keras.Layer", "tf_keras.Layer"}:
        raise TypeError(f"model: expected a Keras model or layer, found {type(model).__name__}")


def _layers(model: Any) -> Iterator[Any]:
    seen: set[int] = set()
    for layer in model._flatten_layers():
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer


def _recurrent(model: Any) -> list[Any]:
    return [one for one in _layers(model) if type(one).__name__ in _KINDS]


def _trace_again(model: Any) -> None:
    """Programs that Keras has made of the model are made anew."""
    for one in _layers(model):
        for name in ("predict_function", "test_function"):
            if getattr(one, name, None) is not None:
                setattr(one, name, None)
