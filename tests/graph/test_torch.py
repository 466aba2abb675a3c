"""What PyTorch's exporter writes of recurrent models, against PyTorch: the numbers, and what passes make of it."""

import io
import warnings

import numpy as np
import pytest
from graphs import ops
from onnx_models import onnx

from fusedlstm.formats.onnx.whole import from_proto
from fusedlstm.graph import evaluate
from fusedlstm.graph.passes import simplify
from fusedlstm.graph.specialise import specialise

torch = pytest.importorskip("torch")
nn = torch.nn


class Tagger(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 6, batch_first=True, **options)
        self.head = nn.Linear(12 if options.get("bidirectional") else 6, 5)

    def forward(self, x):
        return torch.log_softmax(self.head(self.lstm(self.embedding(x))[0]), -1)


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 6, 3, batch_first=True), nn.Linear(6, 1)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 6, 2), nn.Linear(6, 1)

    def forward(self, x, h, c):
        y, (h, c) = self.lstm(x, (h, c))
        return self.head(y), h, c


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        h, c, y = torch.zeros(x.shape[1], 6), torch.zeros(x.shape[1], 6), []
        for t in range(x.shape[0]):
            h, c = self.cell(x[t], (h, c))
            y.append(h)
        return self.head(torch.stack(y))


class Handwritten(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates, self.head = nn.Linear(10, 24), nn.Linear(6, 2)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 6)
        for t in range(x.shape[1]):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], -1)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.head(h)


class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(4, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2))
        self.lstm, self.norm = nn.LSTM(8, 6, batch_first=True, bidirectional=True), nn.LayerNorm(12)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        y, _ = self.lstm(self.front(x.transpose(1, 2)).transpose(1, 2))
        return torch.softmax(self.head(nn.functional.gelu(self.norm(y))).mean(1), -1)


class TwoWays(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.LSTM(4, 6), nn.LSTM(4, 6)

    def forward(self, x):
        return torch.cat([self.one(x)[0], self.other(x.flip(0))[0].flip(0)], -1)


def tokens():
    return (torch.randint(0, 20, (2, 7)),)


def sequence(*shape):
    return lambda: (torch.randn(*shape),)


@pytest.mark.parametrize(
    ("module", "arguments", "free", "wanted"),
    [
        (Tagger(), tokens, {0: "batch", 1: "time"}, "Gather LSTM Dense LogSoftmax"),
        (Tagger(num_layers=2, bidirectional=True), tokens, {0: "batch", 1: "time"}, "Gather LSTM Dense LogSoftmax"),
        (Forecaster(), sequence(2, 7, 4), {0: "batch", 1: "time"}, "LSTM Slice Squeeze Dense"),
        (Stateful(), lambda: (torch.randn(7, 2, 4), torch.randn(2, 2, 6), torch.randn(2, 2, 6)), None, "LSTM Dense"),
        (Cells(), sequence(5, 2, 4), {1: "batch"}, "LSTM Dense"),
        (Handwritten(), sequence(2, 5, 4), {0: "batch"}, "LSTM Squeeze Dense"),
        (
            Listener(),
            sequence(2, 20, 4),
            {0: "batch", 1: "time"},
            "Transpose Conv MaxPool Transpose LSTM LayerNormalization Gelu Dense ReduceMean Softmax",
        ),
        (TwoWays(), sequence(5, 2, 4), {0: "time", 1: "batch"}, "LSTM"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, nn.Module) else "",
)
def test_exported(module, arguments, free, wanted):
    torch.manual_seed(0)
    module, given, file = module.eval(), arguments(), io.BytesIO()
    names = [f"in{k}" for k in range(len(given))]
    axes = dict.fromkeys(names, free) if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, given, file, dynamo=False, input_names=names, dynamic_axes=axes, opset_version=17)
    graph = from_proto(onnx.load_from_string(file.getvalue()))
    simple = simplify(graph)
    fed = {name: one.numpy() for name, one in zip(names, given)}
    special = specialise(simple, {name: value.shape for name, value in fed.items()})
    with torch.no_grad():
        expected = module(*given)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for one in (graph, simple, special):
        for found, value in zip(evaluate(one, fed).values(), expected):
            np.testing.assert_allclose(found, value.numpy(), atol=1e-5)
    assert sorted(op.removeprefix("fusedlstm.") for op in ops(special)) == sorted(wanted.split())
