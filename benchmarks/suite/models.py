"""Whole models of ours: made on the spot, and real files where a folder has them; what we aim at with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusedlstm.bench.whole.runner import ModelRow

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ModelCase:
    """A model and the inputs of one call."""

    name: str
    inputs: Mapping[str, tuple[int, ...] | int]
    """Shapes, by the file's names or in its order; a number is a whole number that is handed in."""
    aim: float | None
    """The best peer's time for one of ours, or that of `against`."""
    aim_of_stream: float | None = None
    make: Callable[[], bytes] | None = None
    """The model's bytes; None: the file."""
    file: str = ""
    against: str = ""
    """The peer that aims are about; empty: the best one."""
    ids: tuple[int, int] = (1, 20)
    """Whole numbers are drawn from here."""

    def feed(self, types: Mapping[str, np.dtype[Any]]) -> dict[str, Array]:
        """Inputs, always the same, of the types that the model states: standard normal by 0.1, or ids."""
        rng, found = np.random.default_rng(0), {}
        for (name, dtype), in_order in zip(types.items(), self.inputs.values(), strict=True):
            said = self.inputs.get(name, in_order)
            if isinstance(said, int):
                found[name] = np.array(said, dtype)
            elif dtype.kind == "f":
                found[name] = (rng.standard_normal(said) * 0.1).astype(dtype)
            else:
                found[name] = rng.integers(*self.ids, said).astype(dtype)
        return found


def cases_in(folder: Path | None, made: Path) -> list[tuple[ModelCase, Path]]:
    """The files that a folder has, and the models that are made, written to `made`."""
    found = [] if folder is None else [(case, folder / case.file) for case in FILES if (folder / case.file).is_file()]
    for k, case in enumerate(MADE):
        assert case.make is not None
        path = made / f"{k}.onnx"
        path.write_bytes(case.make())
        found.append((case, path))
    return found


def case_of(row: ModelRow) -> ModelCase | None:
    """The case that was measured, if it is one of ours."""
    return next((case for case in (*FILES, *MADE) if case.name == row.name), None)


def aim_of(row: ModelRow) -> tuple[float, str] | None:
    """How many times as fast as the best peer, or as the one that is named, it is to be."""
    case = case_of(row)
    aim = None if case is None else case.aim_of_stream if row.stream else case.aim
    return None if case is None or aim is None else (aim, case.against)


def missed(row: ModelRow) -> bool:
    """Whether there is an aim, and we are behind it."""
    aim = aim_of(row)
    peer = None if aim is None else row.engines.get(aim[1] or row.best_peer or "")
    return aim is not None and peer is not None and peer.microseconds < aim[0] * row.ours.microseconds


def contenders(row: ModelRow) -> list[str]:
    """Peers that may be the best one, and could not be measured because they are not installed."""
    return [peer for peer, why in row.left_out.items() if why.startswith("not installed")]


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


def _forecaster_of_two() -> bytes:
    from onnx.helper import make_node as node

    first, second = _recurrent("LSTM", 64, 5), _recurrent("LSTM", 32, 64)
    constants = {f"{name}{k}": value for k, layer in enumerate((first, second)) for name, value in layer.items()}
    nodes = [
        node("Transpose", ["x"], ["sequence"], perm=[1, 0, 2]),
        node("LSTM", ["sequence", "w0", "r0", "b0"], ["y0"], hidden_size=64),
        node("Squeeze", ["y0", "one"], ["y"]),
        node("LSTM", ["y", "w1", "r1", "b1"], ["", "h"], hidden_size=32),
        node("Squeeze", ["h", "zero"], ["last"]),
        node("Gemm", ["last", "head", "bias"], ["out"]),
    ]
    constants |= {"one": np.array([1]), "zero": np.array([0]), "head": _floats(32, 1), "bias": _floats(1)}
    return _built(nodes, [("x", [1, 24, 5])], [("out", [1, 1])], constants)


Inputs = Mapping[str, tuple[int, ...] | int]
_STEP: Inputs = {"x": (1, 1, 64), **dict.fromkeys(("h0", "c0", "h1", "c1"), (1, 1, 64))}
MADE = (
    ModelCase("step of 2 x LSTM 64 + dense", _STEP, 6, make=_step_of_two_layers, against="onnxruntime"),
    ModelCase("GRU 64, 100 steps", {"x": (100, 1, 64)}, 1.3, make=_gru, against="onnxruntime"),
    ModelCase("forecaster: LSTM 64 + dense, 30 x 9", {"x": (1, 30, 9)}, 2.5, make=_forecaster),
    ModelCase("forecaster: LSTM 64, 32 + dense, 24 x 5", {"x": (1, 24, 5)}, 2.5, make=_forecaster_of_two),
)

_STATE, _STATES = (2, 1, 128), (1, 2, 128, 2)
_SILERO: Inputs = {"input": (1, 576), "state": _STATE, "sr": 16000}


def _file(name: str, inputs: Inputs, aim: float | None, **more: Any) -> ModelCase:
    against = "onnxruntime" if name.endswith(".onnx") else ""
    return ModelCase(more.pop("called", name), inputs, aim, file=name, against=against, **more)


FILES = (
    _file("silero_vad.onnx", _SILERO, 5, aim_of_stream=5),
    _file("silero_vad_16k_op15.onnx", _SILERO, 4.5),
    _file("silero_vad_op18_ifless.onnx", _SILERO, 4.5),
    _file("silero_vad_16k_sequence.onnx", {"input": (64, 576), "h": (1, 1, 128), "c": (1, 1, 128)}, 3),
    _file("silero_v5_encoder.onnx", {"input": (1, 576)}, 4),
    _file("silero_v5_decoder.onnx", {"input": (1, 128), "state": _STATE}, 2),
    _file("dtln_1.onnx", {"input_2": (1, 1, 257), "input_3": _STATES}, 1.7),
    _file("dtln_2.onnx", {"input_4": (1, 1, 512), "input_5": _STATES}, 1.5),
    _file("dtln_1.tflite", {"input": (1, 1, 257), "state": _STATES}, 1.05),
    _file("dtln_2.tflite", {"input": (1, 1, 512), "state": _STATES}, 1.05),
    _file("engine_wear.onnx", {"input": (1, 30, 17)}, 2),
    _file("nnsplit_en.onnx", {"input": (1, 200)}, 1.2, ids=(97, 122)),
    _file("next_word.keras", {"input": (1, 24)}, 2, ids=(1, 400)),
    _file("turbofan_autoencoder.keras", {"input": (1, 30, 11)}, 2),
    _file("engine_wear.keras", {"input": (1, 30, 17)}, 2),
    _file("census_names.h5", {"input": (1, 20)}, 2, ids=(1, 200)),
    _file("census_names.h5", {"input": (1000, 20)}, 1.2, ids=(1, 200), called="census_names.h5, 1,000 names"),
)
