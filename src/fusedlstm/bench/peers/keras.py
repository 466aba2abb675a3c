"""Keras on JAX: a functional model, jitted as a stateless call."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from .base import Engine


class Keras(Engine):
    """Jitted JAX is the fastest of Keras's ways without TensorFlow: its torch backend steps through time in Python."""

    name = "keras"
    needs = ("keras", "jax")
    install = "keras jax"
    setting = "jitted on JAX"

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        keras, jax = import_module("keras"), import_module("jax")
        if keras.backend.backend() != "jax":
            raise ImportError("Keras runs on another backend: set KERAS_BACKEND=jax")
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        x = np.ascontiguousarray(x.swapaxes(0, 1))
        model = _model(keras, weights, x.shape, state is not None)
        variables = [[v.value for v in some] for some in (model.trainable_variables, model.non_trainable_variables)]
        run = jax.jit(lambda feeds: model.stateless_call(*variables, feeds)[0])
        feeds: list[Any] = [x]
        if state is not None:
            feeds += [jax.numpy.asarray(part[row]) for row in range(len(state[0])) for part in state]
        self.call = lambda: jax.block_until_ready(run(feeds))

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        return np.asarray(self.call()[0]).swapaxes(0, 1)


def _model(keras: Any, weights: LSTMWeights, shape: tuple[int, ...], with_state: bool) -> Any:
    inputs = [keras.Input(batch_shape=shape)]
    y, outputs = inputs[0], []
    for layer in weights.layers:
        lstm = keras.layers.LSTM(weights.hidden_size, return_sequences=True, return_state=True)
        if weights.bidirectional:
            lstm = keras.layers.Bidirectional(lstm)
        start = None
        if with_state:
            size = (shape[0], weights.hidden_size)
            start = [keras.Input(batch_shape=size) for _ in range(2 * len(layer))]
            inputs += start
        y, *states = lstm(y, initial_state=start)
        lstm.set_weights([a for one in layer for a in (one.weight_ih.T, one.weight_hh.T, one.bias)])
        outputs += states
    return keras.Model(inputs, [y, *outputs])
