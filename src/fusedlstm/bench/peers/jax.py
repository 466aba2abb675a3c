"""JAX: one jitted function, the input projected for all of time at once, lax.scan over the rest."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from .base import Engine


class Jax(Engine):
    """Threads are fixed when JAX starts: `session.Session` gives it as many CPUs as it may use."""

    name = "jax"
    needs = ("jax",)
    install = "jax"
    setting = "jit, lax.scan"

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        jax = import_module("jax")
        jax.config.update("jax_cpu_enable_async_dispatch", False)  # we wait for the result anyway
        jnp = jax.numpy
        layers = [
            [tuple(jnp.asarray(a) for a in (one.weight_ih.T, one.weight_hh.T, one.bias)) for one in layer]
            for layer in weights.layers
        ]
        run = jax.jit(lambda x, h, c: _lstm(jax, layers, x, h, c))
        shape = (weights.num_layers * len(weights.layers[0]), x.shape[1], weights.hidden_size)
        h, c = (jnp.zeros(shape, np.float32) if state is None else jnp.asarray(state[k]) for k in (0, 1))
        self.call = lambda: jax.block_until_ready(run(x, h, c))

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        return np.asarray(self.call()[0])


def _lstm(jax: Any, layers: list[list[Any]], y: Any, h_0: Any, c_0: Any) -> tuple[Any, list[Any]]:
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid
    states: list[Any] = []
    for layer in layers:
        directions = []
        for d, (weight_ih, weight_hh, bias) in enumerate(layer):

            def step(state: Any, z: Any, weight_hh: Any = weight_hh) -> Any:
                h, c = state
                i, f, g, o = jnp.split(z + h @ weight_hh, 4, axis=-1)
                c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
                h = sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            row = len(states)
            projected = y @ weight_ih + bias
            state, out = jax.lax.scan(step, (h_0[row], c_0[row]), projected, reverse=d == 1)
            states.append(state)
            directions.append(out)
        y = jnp.concatenate(directions, axis=-1)
    return y, states
