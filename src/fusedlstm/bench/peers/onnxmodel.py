"""An LSTM as an ONNX model with fixed shapes, for the engines that read ONNX."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from ...weights import FloatArray, LSTMWeights

Shapes = dict[str, tuple[int, ...]]


def build(weights: LSTMWeights, time: int, batch: int, with_state: bool) -> bytes:
    """A chain of LSTM nodes. Inputs x and, with the state, h0, c0, h1, ...; outputs y, and hn0, cn0, hn1, ...

    y is the last node's own, (time, directions, batch, hidden).
    """
    onnx = import_module("onnx")
    directions, hidden, last = len(weights.layers[0]), weights.hidden_size, weights.num_layers - 1
    state, whole = (directions, batch, hidden), (time, directions, batch, hidden)
    inputs: Shapes = {"x": (time, batch, weights.input_size)}
    outputs: Shapes = {f"y{last}": whole}
    constants, nodes = {}, []
    if not with_state:
        constants["zeros"] = np.zeros(state, np.float32)
    source = "x"
    for k, layer in enumerate(weights.layers):
        bias = [np.zeros(4 * hidden, np.float32) if one.bias is None else one.bias for one in layer]
        constants[f"W{k}"] = np.stack([_iofc(one.weight_ih) for one in layer])
        constants[f"R{k}"] = np.stack([_iofc(one.weight_hh) for one in layer])
        constants[f"B{k}"] = np.stack([np.concatenate([_iofc(b), np.zeros_like(b)]) for b in bias])
        h, c = (f"h{k}", f"c{k}") if with_state else ("zeros", "zeros")
        if with_state:
            inputs |= {h: state, c: state}
        outputs |= {f"hn{k}": state, f"cn{k}": state}
        operands = [source, f"W{k}", f"R{k}", f"B{k}", "", h, c]
        direction = "bidirectional" if directions == 2 else "forward"
        results = [f"y{k}", f"hn{k}", f"cn{k}"]
        nodes.append(onnx.helper.make_node("LSTM", operands, results, hidden_size=hidden, direction=direction))
        if k < last:
            constants["shape"] = np.array([time, batch, directions * hidden])
            nodes.append(onnx.helper.make_node("Transpose", [f"y{k}"], [f"t{k}"], perm=[0, 2, 1, 3]))
            nodes.append(onnx.helper.make_node("Reshape", [f"t{k}", "shape"], [f"x{k}"]))
            source = f"x{k}"

    def values(shapes: Shapes) -> list[Any]:
        return [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, s) for name, s in shapes.items()]

    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "lstm", values(inputs), values(outputs), initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised


def joined(y: FloatArray) -> FloatArray:
    """(time, directions, batch, hidden) to (time, batch, directions * hidden)."""
    time, directions, batch, hidden = y.shape
    return np.moveaxis(y, 1, 2).reshape(time, batch, directions * hidden)


def _iofc(array: FloatArray) -> FloatArray:
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])
