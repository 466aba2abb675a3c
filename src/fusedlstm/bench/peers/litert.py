"""LiteRT (TensorFlow Lite): the fused LSTM operator, or plain operators on XNNPACK where that is faster.

Its interpreter does not let go of its memory, so x is copied in and y out.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from .base import Engine, fastest
from .tflite import Graph


class LiteRT(Engine):
    """The fused operator keeps the state inside; plain operators take it in and give it out, which costs copies.

    Unrolling whole sequences into plain operators was tried: it is slower than the fused operator.
    """

    name = "litert"
    needs = ("ai_edge_litert", "flatbuffers")
    install = "ai-edge-litert"
    chooses_threads = True

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        fused = _fused(weights, x, state, threads)
        ways = {"fused LSTM operator": fused}
        if state is not None and not weights.bidirectional:
            ways["plain operators"] = _plain(weights, x[0], state, threads)
        self.setting = fastest({way: call for way, (call, _) in ways.items()})
        self.call, self._reset = ways[self.setting]

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        self._reset()
        y: FloatArray = self.call()
        return y if y.ndim == 3 else y[np.newaxis]


Way = tuple[Callable[[], FloatArray], Callable[[], None]]
"""A call and what puts the initial state back."""


def _interpreter(graph: Graph, threads: int) -> Any:
    interpreter = import_module("ai_edge_litert.interpreter")
    made = interpreter.Interpreter(model_content=graph.serialised(), num_threads=threads)
    made.allocate_tensors()
    return made


def _fused(weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> Way:
    graph = Graph()
    source = [graph.input(x.shape)]
    variables = []
    for layer in weights.layers:
        outputs = []
        for d, one in enumerate(layer):
            h, c = (graph.tensor((x.shape[1], one.hidden_size), variable=True) for _ in range(2))
            variables += [h, c]
            y = graph.lstm(source[0] if d == 0 else graph.reverse(source[0]), one, h, c)
            outputs.append(y if d == 0 else graph.reverse(y))
        source = outputs if len(outputs) == 1 else [graph.concatenate(outputs, axis=2)]
    graph.outputs(source)
    interpreter = _interpreter(graph, threads)
    (x_index,), (y_index,) = graph.ends

    def reset() -> None:
        interpreter.reset_all_variables()
        if state is not None:
            for k, tensor in enumerate(variables):
                interpreter.set_tensor(tensor, state[k % 2][k // 2])

    def call() -> FloatArray:
        if state is None:
            interpreter.reset_all_variables()
        interpreter.set_tensor(x_index, x)
        interpreter.invoke()
        y: FloatArray = interpreter.get_tensor(y_index)
        return y

    reset()
    return call, reset


def _plain(weights: LSTMWeights, x: FloatArray, state: State, threads: int) -> Way:
    """One step: x (batch, input)."""
    graph = Graph()
    h, states = graph.input(x.shape), []
    feeds = [x]
    for k, (one,) in enumerate(weights.layers):
        h_0, c_0 = (graph.input(part[k].shape) for part in state)
        feeds += [part[k] for part in state]
        h, c = graph.cell(h, h_0, c_0, one)
        states += [h, c]
    graph.outputs([h, *(tensor for tensor in states if tensor != h)])
    interpreter = _interpreter(graph, threads)
    inputs, outputs = graph.ends

    def call() -> FloatArray:
        for index, array in zip(inputs, feeds, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        y, *_ = [interpreter.get_tensor(index) for index in outputs]
        result: FloatArray = y
        return result

    return call, lambda: None
