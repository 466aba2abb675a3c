"""tract: one spawned state, reused; its Python door copies x in and y out. It runs on one thread only."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from . import onnxmodel
from .base import Engine


class Tract(Engine):
    """The same ONNX model as ONNX Runtime's."""

    name = "tract"
    needs = ("tract", "onnx")
    install = "tract onnx"

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        tract = import_module("tract")
        with TemporaryDirectory() as folder:
            path = Path(folder) / "lstm.onnx"
            path.write_bytes(onnxmodel.build(weights, x.shape[0], x.shape[1], state is not None))
            run = tract.onnx().load(path).into_model().into_runnable().spawn_state().run
        rest = []
        if state is not None:
            directions = len(weights.layers[0])
            for k in range(weights.num_layers):
                rows = slice(k * directions, (k + 1) * directions)
                rest += [tract.Tensor.from_numpy(part[rows]) for part in state]

        def call() -> FloatArray:
            y: FloatArray = run([x, *rest])[0].to_numpy()
            return y

        self.call = call

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        return onnxmodel.joined(self.call())
