"""PyTorch modules with LSTMs at several places, and the check that a file gives their numbers."""

import copy

import numpy as np
import torch
from torch import nn


class Model(nn.Module):
    """Nested and repeated LSTMs among attributes of every kind; scripts, traces and exports."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2))
        self.cell = nn.LSTMCell(3, 4)
        self.cells = nn.ModuleList([nn.LSTMCell(3, 4), nn.LSTMCell(4, 4)])
        self.low = nn.LSTM(3, 4, batch_first=True, bias=False).bfloat16()
        self.dropped = nn.LSTM(4, 3, 2, dropout=0.5)
        self.gru = nn.GRU(3, 4)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.tensor(3))
        self.flag, self.names, self.sizes, self.pair, self.nothing = True, ["a", "b"], [1, 2], (1, "x"), None
        self.table, self.tensors = {"a": 1.5}, [torch.zeros(2)]

    def forward(self, x):
        y, _ = self.encoder(x)
        if self.flag:
            y = y * self.scale + self.sizes[0] + self.table["a"] + self.tensors[0][0] + self.pair[0]
        h, c = self.cell(x[0])
        inside = x[0]
        for cell in self.cells:
            inside, _ = cell(inside)
        z = self.low(x.to(torch.bfloat16))[0]
        return self.dropped(y)[0], h + c + inside, z, self.gru(x)[0]


PREFIXES = ["cell", "cells.0", "cells.1", "dropped", "encoder.1", "low"]
"""The LSTMs of `Model`, sorted."""


def modules(model):
    return {name: model.get_submodule(name) for name in PREFIXES}


def check(module, lstm, seed=0):
    """The same y, h and c as nn.LSTM or nn.LSTMCell in float32, from a random state; the largest error is returned."""
    module = copy.deepcopy(module).float().eval()
    rng = np.random.default_rng(seed)
    layers, directions = (getattr(module, "num_layers", 1), 1 + getattr(module, "bidirectional", False))
    x = rng.normal(size=(3, 6, module.input_size)).astype(np.float32)
    h, c = (
        rng.normal(size=(layers * directions, 3, size)).astype(np.float32)
        for size in (getattr(module, "proj_size", 0) or module.hidden_size, module.hidden_size)
    )
    with torch.no_grad():
        if isinstance(module, nn.LSTMCell):
            state, y_ = (torch.tensor(h[0]), torch.tensor(c[0])), []
            for x_t in torch.tensor(x).unbind(1):
                state = module(x_t, state)
                y_.append(state[0])
            y_, (h_, c_) = torch.stack(y_, 1), (one[None] for one in state)
        else:
            module.batch_first = True
            y_, (h_, c_) = module(torch.tensor(x), (torch.tensor(h), torch.tensor(c)))
    y, (h, c) = lstm(x if lstm.batch_first else x.swapaxes(0, 1), (h, c))
    y = y if lstm.batch_first else y.swapaxes(0, 1)
    pairs = ((y, y_), (h, h_), (c, c_))
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)
    return max(float(np.abs(ours - theirs.numpy()).max()) for ours, theirs in pairs)
