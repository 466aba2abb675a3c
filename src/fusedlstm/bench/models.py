"""`fusedlstm bench --models`: whole ONNX models beside ONNX Runtime.

Some are made on the spot, so that anybody can run them; real files are taken from a folder, where they are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .markdown import number

Array = npt.NDArray[Any]
ROUND_SECONDS = 3e-3


@dataclass(frozen=True)
class ModelCase:
    """A model and the inputs of one call."""

    name: str
    inputs: Mapping[str, tuple[int, ...] | int]
    """Shapes; a number is a whole number that is handed in."""
    ratio: float
    """Our aim: ONNX Runtime's time for one of ours."""
    make: Callable[[], bytes] | None = None
    """The model's bytes; None: a file of that name."""


@dataclass(frozen=True)
class ModelRow:
    """What was measured; microseconds a call, medians."""

    case: ModelCase
    ours: float
    peer: float
    error: float
    """Largest difference from ONNX Runtime's outputs, of the largest output."""

    @property
    def ratio(self) -> float:
        """How many of our calls one of the peer's takes."""
        return self.peer / self.ours


def measure(case: ModelCase, path: Path, seconds: float) -> ModelRow:
    """Compare the outputs, then time both in turn on one thread: `Model.run`, and ONNX Runtime at its best."""
    import onnxruntime

    from .. import set_num_threads
    from ..model import Model

    set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {one.name: _value(rng, case.inputs[one.name], one.type) for one in session.get_inputs()}
    model = Model.load(path)
    wanted, found = session.run(None, feed), model.run(feed)
    error = max(
        float(np.abs(one - other).max() / max(float(np.abs(one).max()), 1e-30))
        for one, other in zip(wanted, found.values())
    )
    binding = session.io_binding()
    for name, value in feed.items():
        binding.bind_cpu_input(name, value)
    for one in session.get_outputs():
        binding.bind_output(one.name)
    calls = [lambda: model.run(feed), lambda: session.run_with_iobinding(binding)]
    ours, peer = _medians(calls, seconds)
    return ModelRow(case, ours, peer, error)


def markdown(rows: Sequence[ModelRow], title: str) -> str:
    """The same as a table, for a report."""
    lines = [
        f"{title}, one thread, medians. Difference: the largest from ONNX Runtime's outputs, of the largest output.",
        "",
        "| model | fusedlstm, µs | ONNX Runtime, µs | faster | aim | difference |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        times = f"**{number(row.ours)}** | {number(row.peer)}"
        lines.append(f"| {row.case.name} | {times} | {row.ratio:.2f} | {row.case.ratio:g} | {row.error:.0e} |")
    return "\n".join(lines) + "\n"


def cases_in(folder: Path | None) -> list[tuple[ModelCase, Path]]:
    """The files that a folder has."""
    return [] if folder is None else [(case, folder / case.name) for case in FILES if (folder / case.name).is_file()]


def _value(rng: np.random.Generator, said: tuple[int, ...] | int, kind: str) -> Array:
    if isinstance(said, int):
        return np.array(said, np.int64)
    if "uint8" in kind:
        return rng.integers(97, 122, said).astype(np.uint8)
    return (rng.standard_normal(said) * 0.1).astype(np.float32)


def _medians(calls: Sequence[Callable[[], Any]], duration: float) -> list[float]:
    counts = []
    for call in calls:
        call()
        count = 1
        while (spent := _spent(call, count)) < ROUND_SECONDS:
            count = max(2 * count, int(count * ROUND_SECONDS / max(spent, 1e-9)))
        counts.append(count)
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + duration
    while time.perf_counter() < end or len(times[0]) < 5:
        for call, count, own in zip(calls, counts, times):
            own.append(_spent(call, count) / count * 1e6)
    return [float(np.median(own)) for own in times]


def _spent(call: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - start


def _built(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Array]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    def values(specs: list[Any]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in specs]

    graph = helper.make_graph(
        nodes, "bench", values(inputs), values(outputs), [numpy_helper.from_array(v, n) for n, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def _floats(*shape: int) -> Array:
    return (np.random.default_rng(shape).standard_normal(shape) * 0.1).astype(np.float32)


def _recurrent(op: str, size: int, inputs: int) -> dict[str, Array]:
    gates = {"LSTM": 4, "GRU": 3}[op]
    return {
        "w": _floats(1, gates * size, inputs), "r": _floats(1, gates * size, size), "b": _floats(1, 2 * gates * size)
    }  # fmt: skip


def _step_of_two_layers() -> bytes:
    from onnx.helper import make_node as node

    first, second = (_recurrent("LSTM", 64, 64) for _ in range(2))
    constants = {f"{name}{k}": value for k, layer in enumerate((first, second)) for name, value in layer.items()}
    nodes = [
        node("LSTM", ["x", "w0", "r0", "b0", "", "h0", "c0"], ["y0", "h0n", "c0n"], hidden_size=64),
        node("Squeeze", ["y0", "one"], ["x1"]),
        node("LSTM", ["x1", "w1", "r1", "b1", "", "h1", "c1"], ["", "h1n", "c1n"], hidden_size=64),
        node("Squeeze", ["h1n", "zero"], ["last"]),
        node("Gemm", ["last", "head", "bias"], ["y"]),
    ]
    state = [1, 1, 64]
    constants |= {"one": np.array([1]), "zero": np.array([0]), "head": _floats(64, 10), "bias": _floats(10)}
    states = [(f"{name}{k}", state) for k in (0, 1) for name in "hc"]
    return _built(nodes, [("x", [1, 1, 64]), *states], [("y", [1, 10]), *((f"{n}n", s) for n, s in states)], constants)


def _gru() -> bytes:
    from onnx.helper import make_node as node

    nodes = [node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=64, linear_before_reset=1)]
    return _built(nodes, [("x", [100, 1, 64])], [("y", [100, 1, 1, 64])], _recurrent("GRU", 64, 64))


def _forecaster() -> bytes:
    from onnx.helper import make_node as node

    nodes = [
        node("Transpose", ["x"], ["sequence"], perm=[1, 0, 2]),
        node("LSTM", ["sequence", "w", "r", "b"], ["", "h"], hidden_size=64),
        node("Squeeze", ["h", "zero"], ["last"]),
        node("Gemm", ["last", "hidden", "hidden_bias"], ["middle"]),
        node("Relu", ["middle"], ["positive"]),
        node("Gemm", ["positive", "head", "bias"], ["y"]),
    ]
    constants = {**_recurrent("LSTM", 64, 9), "zero": np.array([0]), "hidden": _floats(64, 32), "bias": _floats(1)}
    constants |= {"hidden_bias": _floats(32), "head": _floats(32, 1)}
    return _built(nodes, [("x", [1, 30, 9])], [("y", [1, 1])], constants)


_STEP = {"x": (1, 1, 64), **dict.fromkeys(("h0", "c0", "h1", "c1"), (1, 1, 64))}
MADE = (
    ModelCase("step of 2 x LSTM 64 + dense", _STEP, 6, _step_of_two_layers),
    ModelCase("GRU 64, 100 steps", {"x": (100, 1, 64)}, 1.3, _gru),
    ModelCase("forecaster, 30 steps of 9", {"x": (1, 30, 9)}, 2.5, _forecaster),
)

_STATE, _STATES = (2, 1, 128), (1, 2, 128, 2)
FILES = (
    ModelCase("silero_vad.onnx", {"input": (1, 576), "state": _STATE, "sr": 16000}, 5),
    ModelCase("silero_vad_16k_op15.onnx", {"input": (1, 576), "state": _STATE, "sr": 16000}, 4.5),
    ModelCase("silero_vad_op18_ifless.onnx", {"input": (1, 576), "state": _STATE, "sr": 16000}, 4.5),
    ModelCase("silero_vad_16k_sequence.onnx", {"input": (64, 576), "h": (1, 1, 128), "c": (1, 1, 128)}, 3),
    ModelCase("silero_v5_encoder.onnx", {"input": (1, 576)}, 4),
    ModelCase("silero_v5_decoder.onnx", {"input": (1, 128), "state": _STATE}, 2),
    ModelCase("dtln_1.onnx", {"input_2": (1, 1, 257), "input_3": _STATES}, 1.7),
    ModelCase("dtln_2.onnx", {"input_4": (1, 1, 512), "input_5": _STATES}, 1.5),
    ModelCase("engine_wear.onnx", {"input_layer": (1, 30, 17)}, 2),
    ModelCase("nnsplit_en.onnx", {"input": (1, 200)}, 1.2),
)
