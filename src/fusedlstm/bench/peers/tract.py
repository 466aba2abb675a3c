"""tract: the ONNX model, optimised. Its Python door copies x in and y out, and it runs on one thread only."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

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
        time, batch, _ = x.shape
        with TemporaryDirectory() as folder:
            path = Path(folder) / "lstm.onnx"
            path.write_bytes(onnxmodel.build(weights, time, batch, with_state=True))  # some constant ones are refused
            model = tract.onnx().load(path).into_model().into_runnable()
        # A spawned state saves a little, but a sequence run in it goes on where the last one stopped.
        run = model.spawn_state().run if time == 1 else model.run
        directions = len(weights.layers[0])
        zeros = np.zeros((weights.num_layers * directions, batch, weights.hidden_size), np.float32)
        rest = [
            tract.Tensor.from_numpy(part[k : k + directions])
            for k in range(0, len(zeros), directions)
            for part in state or (zeros, zeros)
        ]

        def call() -> FloatArray:
            y: FloatArray = run([x, *rest])[0].to_numpy()
            return y

        self.call = call

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        return onnxmodel.joined(self.call())
