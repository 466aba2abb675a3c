"""The engines: fusedlstm and each peer behind one small interface. Peers are imported when they are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

import fusedlstm

from ..weights import FloatArray, LSTMWeights

State = tuple[FloatArray, FloatArray]


class Engine(ABC):
    """One LSTM with its input in one engine, ready to run.

    Parameters
    ----------
    weights : LSTMWeights
        The LSTM.
    x : ndarray, shape (time, batch, input)
        The input, float32 and contiguous.
    state : tuple of ndarray, optional
        Initial (h, c), each (layers * directions, batch, hidden).
    threads : int
        How many threads it may use.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """Modules to import, the engine's own first."""

    @abstractmethod
    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None: ...

    @abstractmethod
    def run(self, times: int) -> FloatArray:
        """Run the same input `times` times; the last y, (time, batch, directions * hidden)."""


class FusedLSTM(Engine):
    """This package, called as a user calls it."""

    name = "fusedlstm"
    needs = ("fusedlstm",)

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        fusedlstm.set_num_threads(threads)
        self._lstm, self._x, self._state = fusedlstm.LSTM(weights), x, state

    def run(self, times: int) -> FloatArray:
        lstm, x, state = self._lstm, self._x, self._state
        for _ in range(times):
            y, _ = lstm(x, state=state)
        return y


class Torch(Engine):
    """torch.nn.LSTM in inference mode."""

    name = "torch"
    needs = ("torch",)

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        torch = import_module("torch")
        torch.set_num_threads(threads)
        first = weights.layers[0][0]
        self._torch = torch
        self._lstm = torch.nn.LSTM(
            weights.input_size, weights.hidden_size, weights.num_layers, bias=first.bias is not None,
            bidirectional=weights.bidirectional, proj_size=weights.proj_size,
        ).eval()  # fmt: skip
        values: dict[str, Any] = {}
        for k, layer in enumerate(weights.layers):
            for one, suffix in zip(layer, (f"_l{k}", f"_l{k}_reverse"), strict=False):
                arrays = dict(one.arrays)
                if one.bias is not None:  # torch.nn.LSTM has two; the sum counts
                    arrays |= {"bias_ih": arrays.pop("bias"), "bias_hh": np.zeros_like(one.bias)}
                values |= {name + suffix: torch.tensor(array) for name, array in arrays.items()}
        self._lstm.load_state_dict(values)
        self._x = torch.tensor(x)
        self._state = None if state is None else tuple(torch.tensor(part) for part in state)

    def run(self, times: int) -> FloatArray:
        lstm, x, state = self._lstm, self._x, self._state
        with self._torch.inference_mode():
            for _ in range(times):
                y, _ = lstm(x, state)
        result: FloatArray = y.numpy()
        return result


class OnnxRuntime(Engine):
    """onnxruntime with one LSTM node per layer."""

    name = "onnxruntime"
    needs = ("onnxruntime", "onnx")

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        model = _onnx_model(weights, state is not None)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._feeds = {"x": x}
        if state is not None:
            directions = len(weights.layers[0])
            for k in range(weights.num_layers):
                rows = slice(k * directions, (k + 1) * directions)
                self._feeds |= {f"{part}{k}": array[rows] for part, array in zip("hc", state, strict=True)}

    def run(self, times: int) -> FloatArray:
        run, feeds = self._session.run, self._feeds
        for _ in range(times):
            y, *_ = run(None, feeds)  # y, h and c, as the others give them
        time, directions, batch, hidden = y.shape
        result: FloatArray = np.moveaxis(y, 1, 2).reshape(time, batch, directions * hidden)
        return result


def _onnx_model(weights: LSTMWeights, with_state: bool) -> bytes:
    """A chain of LSTM nodes; inputs x, and h0, c0, h1, ... when the state is given."""
    onnx = import_module("onnx")
    helper = onnx.helper
    if weights.proj_size:
        raise ValueError("the ONNX LSTM has no projection")
    directions, hidden = len(weights.layers[0]), weights.hidden_size
    constants, nodes, inputs, outputs = [], [], ["x"], []

    def constant(name: str, array: np.ndarray[Any, Any]) -> str:
        constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def onnx_gates(array: FloatArray) -> FloatArray:
        i, f, g, o = np.split(array, 4)
        return np.concatenate([i, o, f, g])

    source = "x"
    for k, layer in enumerate(weights.layers):
        bias = [np.zeros(4 * hidden, np.float32) if one.bias is None else one.bias for one in layer]
        names = [
            source,
            constant(f"W{k}", np.stack([onnx_gates(one.weight_ih) for one in layer])),
            constant(f"R{k}", np.stack([onnx_gates(one.weight_hh) for one in layer])),
            constant(f"B{k}", np.stack([np.concatenate([onnx_gates(b), np.zeros_like(b)]) for b in bias])),
        ]
        if with_state:
            names += ["", f"h{k}", f"c{k}"]
            inputs += [f"h{k}", f"c{k}"]
        direction = "bidirectional" if directions == 2 else "forward"
        results = [f"y{k}", f"hn{k}", f"cn{k}"]
        nodes.append(helper.make_node("LSTM", names, results, hidden_size=hidden, direction=direction))
        outputs += results[1:]
        if k + 1 < weights.num_layers:  # (time, directions, batch, hidden) to (time, batch, directions * hidden)
            shape = constant(f"shape{k}", np.array([0, 0, directions * hidden]))
            nodes.append(helper.make_node("Transpose", [f"y{k}"], [f"t{k}"], perm=[0, 2, 1, 3]))
            nodes.append(helper.make_node("Reshape", [f"t{k}", shape], [f"x{k}"]))
        source = f"x{k}"
    outputs = [f"y{weights.num_layers - 1}", *outputs]

    def value(name: str, rank: int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * rank)

    graph = helper.make_graph(
        nodes, "lstm", [value(name, 3) for name in inputs],
        [value(name, 4 if name.startswith("y") else 3) for name in outputs], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised


PEERS: tuple[type[Engine], ...] = (Torch, OnnxRuntime)


def installed(engine: type[Engine]) -> bool:
    """Whether everything that an engine needs can be imported."""
    return all(find_spec(module) is not None for module in engine.needs)
