"""PyTorch in inference mode: the fastest of nn.LSTM with oneDNN, nn.LSTM without it, and the functional cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from .base import Engine, fastest


class Torch(Engine):
    """oneDNN's LSTM packs its weights on every call, so a single step is better off without it."""

    name = "torch"
    needs = ("torch",)
    install = "torch --index-url https://download.pytorch.org/whl/cpu"
    chooses_threads = True

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        self._torch = torch = import_module("torch")
        self._threads = threads
        shared = torch.from_numpy(x)
        h_c = None if state is None else tuple(torch.tensor(part) for part in state)
        module = self.prepared(torch, _module(torch, weights))
        if h_c is not None:
            h_c = self.converted(*h_c)

        def whole() -> Any:
            y, state = module(*self.converted(shared), h_c)
            return y.float(), state

        ways = {"oneDNN": whole, "oneDNN off": whole}
        if h_c is not None and not weights.bidirectional and not self.low_precision:
            ways["lstm_cell"] = _cells(torch, module, shared, h_c)
        self.setting = fastest(ways, self._session)
        self.call = ways[self.setting]

    def prepared(self, torch: Any, module: Any) -> Any:
        """The module as it is run."""
        return module

    def converted(self, *tensors: Any) -> tuple[Any, ...]:
        """What it is given, as it takes it."""
        return tensors

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        with self.session():
            y: FloatArray = self.call()[0].numpy()
        return y if y.ndim == 3 else y[np.newaxis]

    def session(self) -> AbstractContextManager[None]:
        """Inference mode, and oneDNN as chosen."""
        return self._session(self.setting)

    @contextmanager
    def _session(self, way: str) -> Iterator[None]:
        flags = self._torch.backends.mkldnn
        before, flags.enabled = flags.enabled, way == "oneDNN"
        self._torch.set_num_threads(self._threads)
        try:
            with self._torch.inference_mode():
                yield
        finally:
            flags.enabled = before


def _module(torch: Any, weights: LSTMWeights) -> Any:
    module = torch.nn.LSTM(
        weights.input_size, weights.hidden_size, weights.num_layers, bidirectional=weights.bidirectional
    ).eval()
    values: dict[str, Any] = {}
    for k, layer in enumerate(weights.layers):
        for one, suffix in zip(layer, (f"_l{k}", f"_l{k}_reverse"), strict=False):
            arrays = dict(one.arrays)
            bias = arrays.pop("bias")  # torch.nn.LSTM has two; the sum counts
            arrays |= {"bias_ih": bias, "bias_hh": np.zeros_like(bias)}
            values |= {name + suffix: torch.tensor(array) for name, array in arrays.items()}
    module.load_state_dict(values)
    return module


def _cells(torch: Any, module: Any, x: Any, state: tuple[Any, ...]) -> Callable[[], Any]:
    """One step as a chain of cells."""
    layers = [(state[0][k], state[1][k], *parameters) for k, parameters in enumerate(module.all_weights)]

    def step() -> Any:
        h, states = x[0], []
        for h_0, c_0, *parameters in layers:
            h, c = torch.lstm_cell(h, (h_0, c_0), *parameters)
            states.append((h, c))
        return h, states

    return step
