"""Weights as the engine has them, and calls with tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .. import _core
from ..graph import Graph, Value
from ..graph.builder import Builder
from ..lstm import LSTM
from ..model import Model
from .exchange import TYPE, array

Tensors = Mapping[str, Any]

GATES = {"gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


class PackedLSTM:
    """An LSTM for sequences of tensors.

    Parameters
    ----------
    tensors : dict
        PyTorch's parameters by name.
    dtype, products : str, optional
        What to round them to.

    Attributes
    ----------
    direct, step_direct : callable or None
        Calls with tensors as they come, where those have the precision of the weights; None of them where they do not
        fit, and then `run` and `step` take them made plain.
    """

    def __init__(self, tensors: Tensors, dtype: str | None, products: str | None) -> None:
        engine = LSTM.from_state_dict(tensors, "", batch_first=True)
        self.engine = engine if dtype is None else engine.astype(dtype, products)
        self.threads, core, weights = 0, self.engine._core, self.engine.weights
        one_step = weights.num_layers == 1 and not weights.bidirectional and not weights.proj_size
        self._run = None if TYPE is None else core.run_tensors
        self._step = _core.Stepper(core).step if TYPE is not None and one_step else None
        own = all(one.dtype is torch.float32 for one in tensors.values())
        self.direct, self.step_direct = (self._run, self._step) if own else (None, None)

    def use(self, threads: int) -> None:
        """Let calls use as many threads at most."""
        self.threads = self.engine._core.threads = threads

    def run(self, x: Any, states: Sequence[Any], lengths: Any, batch_first: bool) -> tuple[Any, ...]:
        """y, h and c for plain tensors."""
        h, c = states or (None, None)
        if self._run is not None:
            found = self._run(TYPE, x, batch_first, h, c, lengths)
            if found is not None:
                return tuple(found)
        turn = x.dim() == 3 and not batch_first
        x = array(x)
        state = (array(h), array(c)) if states else None
        y, final = self.engine(x.swapaxes(0, 1) if turn else x, state, lengths)
        return tuple(map(torch.from_numpy, (y.swapaxes(0, 1) if turn else y, *final)))

    def step(self, x: Any, states: Sequence[Any]) -> tuple[Any, ...]:
        """h and c after one step, with or without a batch."""
        h, c = states or (None, None)
        if self._step is not None:
            found = self._step(TYPE, x, h, c)
            if found is not None:
                return tuple(found)
        if x.dim() == 1:
            return tuple(one[0] for one in self.step(x[None], [one[None] for one in states]))
        state = [one[None] for one in states]
        return tuple(one[0] for one in self.run(x[None], state, None, False)[1:])


class PackedRNN:
    """A GRU or an RNN for sequences of tensors; as `PackedLSTM`, with one state.

    Parameters
    ----------
    kind : str
        ``"gru"``, ``"rnn_tanh"`` or ``"rnn_relu"``.
    tensors, dtype, products
        As for `PackedLSTM`.
    """

    def __init__(self, kind: str, tensors: Tensors, dtype: str | None, products: str | None) -> None:
        self.kind, self.precision = kind, (dtype, products)
        self.arrays = {name: one.float().numpy() for name, one in tensors.items()}
        suffixes = [name.removeprefix("weight_hh") for name in tensors if name.startswith("weight_hh")]
        self.ways = 2 if any(one.endswith("_reverse") for one in suffixes) else 1
        self.layers = [suffixes[k : k + self.ways] for k in range(0, len(suffixes), self.ways)]
        self.hidden_size = self.arrays[f"weight_hh{suffixes[0]}"].shape[1]
        self.threads = 0
        self._models: dict[tuple[bool, bool, int], Model] = {}

    def use(self, threads: int) -> None:
        """Let calls use as many threads at most."""
        self.threads = threads

    def run(self, x: Any, states: Sequence[Any], lengths: Any, batch_first: bool) -> tuple[Any, ...]:
        """y and h for plain tensors."""
        if x.dim() == 2:
            axis = 0 if batch_first else 1
            y, h = self.run(x.unsqueeze(axis), [one.unsqueeze(1) for one in states], lengths, batch_first)
            return y.squeeze(axis), h.squeeze(1)
        if x.dim() != 3 or not x.shape[1 if batch_first else 0]:
            raise ValueError(f"input: expected 2 or 3 axes and at least one step, found shape {tuple(x.shape)}")
        key = batch_first, lengths is not None, self.threads
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = self._model(*key)
        if states:
            h_0 = array(states[0])
        else:
            count = len(self.layers) * self.ways
            h_0 = np.zeros((count, x.shape[0 if batch_first else 1], self.hidden_size), np.float32)
        given = (array(x), h_0) if lengths is None else (array(x), h_0, lengths)
        return tuple(map(torch.from_numpy, model(*given)))

    def step(self, x: Any, states: Sequence[Any]) -> tuple[Any, ...]:
        """h after one step, with or without a batch."""
        if x.dim() == 1:
            return (self.step(x[None], [one[None] for one in states])[0][0],)
        return (self.run(x[None], [one[None] for one in states], None, False)[1][0],)

    def _model(self, batch_first: bool, with_lengths: bool, threads: int) -> Model:
        """Layer after layer, time first."""
        builder = Builder()
        width = self.arrays[f"weight_ih{self.layers[0][0]}"].shape[1]
        kind, states = np.dtype(np.float32), len(self.layers) * self.ways
        x = builder.input(Value("x", kind, (None, None, width)))
        h_0 = builder.input(Value("h_0", kind, (states, None, self.hidden_size)))
        lengths = builder.input(Value("lengths", np.dtype(np.int64), (None,))) if with_lengths else ""
        if batch_first:
            (x,) = builder.add("Transpose", [x], "x", perm=(1, 0, 2))
        finals = []
        for k, suffixes in enumerate(self.layers):
            own = h_0
            if len(self.layers) > 1:
                bounds = [builder.constant(np.array([one])) for one in (k * self.ways, (k + 1) * self.ways, 0)]
                (own,) = builder.add("Slice", [h_0, *bounds], "h")
            weights = [builder.constant(one) for one in self._stacked(suffixes)]
            y, last = builder.add(
                "GRU" if self.kind == "gru" else "RNN", [x, *weights, lengths, own], "y", 2, **self._options()
            )
            finals.append(last)
            # (time, directions, batch, hidden) to (time, batch, directions * hidden)
            (y,) = builder.add("Transpose", [y], "y", perm=(0, 2, 1, 3))
            shape = builder.constant(np.array([0, 0, self.ways * self.hidden_size]))
            (x,) = builder.add("Reshape", [y, shape], "x")
        if batch_first:
            (x,) = builder.add("Transpose", [x], "y", perm=(1, 0, 2))
        (h,) = builder.add("Concat", finals, "h_n", axis=0) if len(finals) > 1 else finals
        outputs = [Value(x, kind, None), Value(h, kind, None)]
        graph: Graph = builder.finish(outputs, self.kind)
        dtype, products = self.precision
        model = Model(graph, threads)
        return model if dtype is None else model.astype(dtype, products)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"hidden_size": self.hidden_size}
        options["direction"] = "bidirectional" if self.ways == 2 else "forward"
        if self.kind == "gru":
            return options | {"linear_before_reset": 1}
        return options | {"activations": ["Tanh" if self.kind == "rnn_tanh" else "Relu"] * self.ways}

    def _stacked(self, suffixes: Sequence[str]) -> list[Any]:
        """W, R and B of a layer as ONNX has them: a GRU's gates z, r, n, which are r, z, n in PyTorch."""
        found = []
        zeros = np.zeros(GATES[self.kind] * self.hidden_size, np.float32)
        for roles in (("weight_ih",), ("weight_hh",), ("bias_ih", "bias_hh")):
            parts = [[self._turned(self.arrays.get(f"{role}{one}", zeros)) for role in roles] for one in suffixes]
            found.append(np.stack([np.concatenate(part) for part in parts]))
        return found

    def _turned(self, array: Any) -> Any:
        if self.kind != "gru":
            return array
        r, z, n = np.split(array, 3)
        return np.concatenate([z, r, n])
