"""ONNX Runtime: one session with every input and output bound to NumPy's memory."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import numpy as np

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from . import onnxmodel
from .base import Engine


class OnnxRuntime(Engine):
    """One LSTM node a layer."""

    name = "onnxruntime"
    needs = ("onnxruntime", "onnx")
    install = "onnxruntime onnx"
    chooses_threads = True
    setting = "IO binding"

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        model = onnxmodel.build(weights, x.shape[0], x.shape[1], state is not None)
        session = onnxruntime.InferenceSession(self.prepared(model), options, providers=["CPUExecutionProvider"])
        binding, share = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        arrays = {"x": x}
        if state is not None:
            directions = len(weights.layers[0])
            for k in range(weights.num_layers):
                rows = slice(k * directions, (k + 1) * directions)
                arrays |= {f"h{k}": state[0][rows], f"c{k}": state[1][rows]}
        for name, array in arrays.items():
            binding.bind_ortvalue_input(name, share(array))
        for output in session.get_outputs():
            arrays[output.name] = np.zeros(output.shape, np.float32)
            binding.bind_ortvalue_output(output.name, share(arrays[output.name]))
        self._y, self._keep = arrays[session.get_outputs()[0].name], arrays
        self.call = partial(session.run_with_iobinding, binding)

    def prepared(self, model: bytes) -> bytes:
        """The model as it is run."""
        return model

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        self.call()
        return onnxmodel.joined(self._y)
