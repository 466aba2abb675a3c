"""OpenVINO in float32: one infer request, its inputs and its y in NumPy's memory."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from .base import Engine


class OpenVINO(Engine):
    """LSTMCell for a single step, LSTMSequence else; float32 is asked for, since it may choose bfloat16 by itself."""

    name = "openvino"
    needs = ("openvino",)
    install = "openvino"
    chooses_threads = True
    precision: ClassVar[str] = "f32"

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        openvino = import_module("openvino")
        op = import_module("openvino.opset14")
        if state is not None and not weights.bidirectional:
            self.setting = "LSTMCell"
            model, inputs = _cells(openvino, op, weights, x, state)
        else:
            self.setting = "LSTMSequence"
            model, inputs = _sequence(openvino, op, weights, x, state)
        options = {
            "INFERENCE_PRECISION_HINT": self.precision, "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
        request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
        self._inputs = [np.ascontiguousarray(array) for array in inputs]
        for k, array in enumerate(self._inputs):
            request.set_input_tensor(k, openvino.Tensor(array, shared_memory=True))
        self._y = np.zeros(tuple(model.outputs[0].shape), np.float32)
        request.set_output_tensor(0, openvino.Tensor(self._y, shared_memory=True))
        self.call = request.infer

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        self.call()
        return self._y[np.newaxis] if self._y.ndim == 2 else self._y.swapaxes(0, 1)


def _cells(openvino: Any, op: Any, weights: LSTMWeights, x: FloatArray, state: State) -> tuple[Any, list[FloatArray]]:
    """One step: x (batch, input), then h and c (batch, hidden) of each layer."""
    inputs = [x[0]]
    parameters = [op.parameter(x[0].shape, np.float32)]
    h, outputs = parameters[0].output(0), []
    for k, (one,) in enumerate(weights.layers):
        inputs += [part[k] for part in state]
        parameters += [op.parameter(part[k].shape, np.float32) for part in state]
        constants = [op.constant(_fico(array)) for array in one.arrays.values()]
        cell = op.lstm_cell(h, *parameters[-2:], *constants, one.hidden_size)
        h = cell.output(0)
        outputs += cell.outputs()
    return openvino.Model([h, *outputs], parameters, "lstm"), inputs


def _sequence(
    openvino: Any, op: Any, weights: LSTMWeights, x: FloatArray, state: State | None
) -> tuple[Any, list[FloatArray]]:
    """x (batch, time, input), then h and c (batch, directions, hidden) of each layer."""
    time, batch, _ = x.shape
    directions, hidden = len(weights.layers[0]), weights.hidden_size
    inputs = [x.swapaxes(0, 1)]
    parameters = [op.parameter(inputs[0].shape, np.float32)]
    y, outputs = parameters[0].output(0), []
    for k, layer in enumerate(weights.layers):
        if state is None:
            start = [op.constant(np.zeros((batch, directions, hidden), np.float32))] * 2
        else:
            rows = slice(k * directions, (k + 1) * directions)
            inputs += [part[rows].swapaxes(0, 1) for part in state]
            start = [op.parameter(array.shape, np.float32) for array in inputs[-2:]]
            parameters += start
        stacked = zip(*(one.arrays.values() for one in layer), strict=True)
        constants = [op.constant(np.stack([_fico(array) for array in arrays])) for arrays in stacked]
        lengths, direction = op.constant(np.full(batch, time)), "bidirectional" if directions == 2 else "forward"
        node = op.lstm_sequence(y, *start, lengths, *constants, hidden, direction)
        turned = op.transpose(node.output(0), op.constant(np.array([0, 2, 1, 3])))
        y = op.reshape(turned, op.constant(np.array([batch, time, directions * hidden])), False).output(0)
        outputs += node.outputs()[1:]
    return openvino.Model([y, *outputs], parameters, "lstm"), inputs


def _fico(array: FloatArray) -> FloatArray:
    i, f, g, o = np.split(array, 4)
    return np.concatenate([f, i, g, o])
