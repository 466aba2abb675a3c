"""Packed sequences in live modules: torch.export alone cannot trace them."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
import torch_programs
from torch import nn
from torch.export import Dim
from torch.nn.utils import rnn

import fusedlstm as fl

FREE = {"x": {0: Dim("batch"), 1: Dim("time")}, "lengths": {0: Dim("batch")}}
X = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([2, 5, 3])


class Packed(nn.Module):
    """A layer on packed sequences; what it gives, padded again."""

    def __init__(self, kind, sort=True, total=False, given=False, value=0.0, first=True, **options):
        super().__init__()
        self.rnn = kind(3, 4, batch_first=first, **options)
        self.sort, self.total, self.given, self.value, self.first = sort, total, given, value, first

    def states(self, batch):
        rows = self.rnn.num_layers * (2 if self.rnn.bidirectional else 1)
        h = torch.ones(rows, batch, self.rnn.proj_size or 4) * torch.arange(batch)[:, None] / 10
        return (h, h.new_ones(rows, batch, 4)) if isinstance(self.rnn, nn.LSTM) else h

    def forward(self, x, lengths):
        turned = x if self.first else x.transpose(0, 1)
        packed = rnn.pack_padded_sequence(turned, lengths, self.first, enforce_sorted=not self.sort)
        y, states = self.rnn(packed, self.states(x.shape[0]) if self.given else None)
        total = x.shape[1] if self.total else None
        y, back = rnn.pad_packed_sequence(y, self.first, self.value, total)
        return y, states, back, y.mean(1 if self.first else 0)


CASES = {
    "LSTM": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "sorted": (nn.LSTM, {"sort": False}),
    "time first": (nn.LSTM, {"first": False, "bidirectional": True}),
    "projected": (nn.LSTM, {"proj_size": 2, "given": True}),
    "of a length": (nn.LSTM, {"total": True, "value": -1.0}),
    "GRU": (nn.GRU, {"num_layers": 2, "given": True, "value": 2.0}),
    "RNN": (nn.RNN, {"nonlinearity": "relu", "bidirectional": True, "total": True}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("free", [False, True])
def test_layers(name, free):
    kind, options = CASES[name]
    torch.manual_seed(0)
    module = Packed(kind, **options).eval()
    order = LENGTHS.sort(descending=True)[0] if name == "sorted" else LENGTHS
    model = fl.Model.from_torch(module, (X, order), dynamic_shapes=FREE if free else None)
    torch_programs.check(model, module, (X, order))
    torch_programs.check(model, module, (X, (order - 1).clamp(min=1)))  # no row fills the steps
    if free:
        torch_programs.check(model, module, (torch.randn(4, 7, 3), torch.tensor([7, 6, 6, 1])))


class Classifier(nn.Module):
    """As most are written: tokens, the last states; the data of packed sequences goes through layers of its own."""

    def __init__(self):
        super().__init__()
        self.emb, self.drop, self.rnn = nn.Embedding(9, 3), nn.Dropout(0.3), nn.LSTM(3, 4, bidirectional=True)
        self.wide, self.second, self.head = nn.Linear(8, 3), nn.GRU(3, 4), nn.Linear(8, 2)

    def forward(self, tokens, lengths):
        packed = rnn.pack_padded_sequence(tokens, lengths.cpu(), batch_first=True, enforce_sorted=False)
        packed = packed._replace(data=self.drop(self.emb(packed.data)))
        y, (h, _) = self.rnn(packed)
        z, last = self.second(rnn.PackedSequence(torch.relu(self.wide(y.data)), *y[1:]))
        z, _ = rnn.pad_packed_sequence(z, batch_first=True)
        return self.head(torch.cat([h[0], h[1]], -1)), last[-1], z.amax(1)


def test_a_classifier(tmp_path):
    torch.manual_seed(0)
    module, tokens = Classifier().eval(), torch.randint(0, 9, (3, 5))
    model = fl.Model.from_torch(module, (tokens, LENGTHS))
    model.save(tmp_path / "m.safetensors")
    for one in (model, fl.Model.load(tmp_path / "m.safetensors")):
        torch_programs.check(one, module, (tokens, LENGTHS))
        torch_programs.check(one, module, (tokens, torch.tensor([4, 1, 2])))
    with pytest.raises(ValueError, match="expected lengths from 0 to the number of time steps"):
        model(tokens.numpy(), np.array([6, 1, 2]))


def test_a_list_of_sequences():
    module = torch_programs.Of(
        lambda self, *x: self.rnn(rnn.pack_sequence(x, enforce_sorted=False))[1], rnn=nn.GRU(3, 4)
    ).eval()
    sequences = X[0, :2], X[1], X[2, :3]
    torch_programs.check(fl.Model.from_torch(module, sequences), module, sequences)


def test_what_is_refused_and_the_way_out():
    def mean(self, x, lengths):
        y, _ = self.rnn(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return y.data.mean(0)

    def padded(self, x, lengths):
        y, _ = self.rnn(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        y, _ = rnn.pad_packed_sequence(y, batch_first=True)
        return y.sum((0, 1)) / lengths.sum()

    torch.manual_seed(0)
    modules = [torch_programs.Of(one, rnn=nn.LSTM(3, 4, batch_first=True)).eval() for one in (mean, padded)]
    modules[1].rnn = modules[0].rnn
    with pytest.raises(
        ValueError, match=r"packed sequence: its data's mean is not supported; pad it before \(pad_pack"
    ):
        fl.Model.from_torch(modules[0], (X, LENGTHS))
    model = fl.Model.from_torch(modules[1], (X, LENGTHS))
    with torch.no_grad():
        wanted = modules[0](X, LENGTHS)
    torch_programs.close(model(X.numpy(), LENGTHS.numpy()), wanted.numpy())


def test_a_total_length_that_may_cut():
    """PyTorch looks at the numbers for it."""

    def shorter(self, x, lengths):
        y, _ = self.rnn(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return rnn.pad_packed_sequence(y, batch_first=True, total_length=self.total)[0]

    module = torch_programs.Of(shorter, rnn=nn.LSTM(3, 4, batch_first=True), total=8).eval()
    torch_programs.check(fl.Model.from_torch(module, (X, LENGTHS)), module, (X, LENGTHS))
    module.total = 4
    with pytest.raises(ValueError, match="a total_length that may be less than the steps"):
        fl.Model.from_torch(module, (X, LENGTHS - 1))


def test_pytorch_is_as_it_was():
    fl.Model.from_torch(Packed(nn.GRU).eval(), (X, LENGTHS))
    assert not set(vars(torch._VF)) & {"lstm", "gru", "_pack_padded_sequence", "_pad_packed_sequence"}
    packed = rnn.pack_padded_sequence(X, LENGTHS, batch_first=True, enforce_sorted=False)
    assert isinstance(packed.data, torch.Tensor)
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        nn.GRU(3, 4)(packed, torch.zeros(1, 3, 5))
