"""Random PyTorch modules through torch.export, against PyTorch: free batch and steps, as exported and decomposed."""

import random

import pytest

pytest.importorskip("torch")
import torch
import torch_programs
from torch import nn
from torch.export import Dim
from torch.nn import functional as F

import fusedlstm as fl

ACTIVATIONS = [nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.ELU, nn.Mish, nn.LeakyReLU, nn.Hardswish, nn.Softplus, nn.Sigmoid]


class Turned(nn.Module):
    """A layer of (batch, channels, time) on (batch, time, channels)."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


class Recurrent(nn.Module):
    """A recurrent layer, its states used or not."""

    def __init__(self, layer, uses_state):
        super().__init__()
        self.layer, self.uses_state = layer, uses_state

    def forward(self, x):
        x = x if self.layer.batch_first else x.transpose(0, 1)
        y, state = self.layer(x)
        y = y if self.layer.batch_first else y.transpose(0, 1)
        if self.uses_state:
            state = state[0] if isinstance(state, tuple) else state
            y = y + state[-1].mean(-1)[:, None, None]
        return y


class Attending(nn.Module):
    def __init__(self, size, heads, causal):
        super().__init__()
        self.layer, self.causal = nn.MultiheadAttention(size, heads, batch_first=True), causal

    def forward(self, x):
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if self.causal else None
        return x + self.layer(x, x, x, attn_mask=mask, need_weights=False)[0]


class Residual(nn.Module):
    def __init__(self, *layers, kind):
        super().__init__()
        self.layers, self.kind = nn.Sequential(*layers), kind

    def forward(self, x):
        y = self.layers(x)
        if self.kind == "add":
            return x + y
        if self.kind == "gate":
            return x * torch.sigmoid(y)
        return torch.cat([x, y], -1)


class Step(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


STEPS = [
    lambda x: x - x.mean(1, keepdim=True),
    lambda x: x / (x.abs().amax(-1, keepdim=True) + 1),
    lambda x: F.pad(x, (0, 0, 1, 0))[:, :-1],
    lambda x: x.cumsum(1) * 0.1,
    lambda x: torch.where(x > 0, x, 0.1 * x),
    lambda x: x.flip(1),
    lambda x: x.clamp(-2, 2).masked_fill(x.abs() < 0.1, 0.0),
    lambda x: x.reshape(x.shape[0], -1).view(x.shape[0], x.shape[1], -1),
    lambda x: torch.stack([x, -x], 0).max(0).values,
    lambda x: x * torch.softmax(x, 1),
    lambda x: x + torch.arange(x.shape[1])[:, None] * 0.01,
    lambda x: torch.cat(x.chunk(2, -1)[::-1], -1) if x.shape[-1] % 2 == 0 else x,
    lambda x: x.mul(0.5).add_(1).relu_(),
]


def layer(rng, size, deep=True):
    """A layer, and the size of what it gives."""
    kind = rng.choice(
        ["linear", "lstm", "lstm", "gru", "rnn", "conv", "norm", "attention", "branch", "step", "encoder"]
    )
    new = rng.choice([4, 6, 8])
    if kind == "linear":
        return nn.Sequential(nn.Linear(size, new, bias=rng.random() < 0.8), rng.choice(ACTIVATIONS)()), new
    if kind in ("lstm", "gru", "rnn"):
        both, first = rng.random() < 0.4, rng.random() < 0.6
        options = {"num_layers": rng.choice([1, 1, 2, 3]), "bidirectional": both, "batch_first": first}
        options["bias"] = rng.random() < 0.8
        if kind == "lstm" and rng.random() < 0.2:
            options["proj_size"] = 3
        made = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](size, new, **options)
        return Recurrent(made, rng.random() < 0.3), (options.get("proj_size") or new) * (1 + both)
    if kind == "conv":
        if rng.random() < 0.3:
            pool = rng.choice(
                [nn.MaxPool1d(3, 1, 1), nn.AvgPool1d(3, 1, 1), nn.AvgPool1d(3, 1, 1, count_include_pad=False)]
            )
            return Turned(pool), size
        kernel, dilation = rng.choice([1, 2, 3, 5]), rng.choice([1, 2])
        groups = 2 if size % 2 == 0 and rng.random() < 0.3 else 1
        conv = nn.Conv1d(size, new, kernel, padding="same", dilation=dilation, groups=groups)
        return Turned(conv, rng.choice([nn.BatchNorm1d(new), nn.Identity()]), rng.choice(ACTIVATIONS)()), new
    if kind == "norm":
        norms = [nn.LayerNorm(size), nn.RMSNorm(size), Turned(nn.BatchNorm1d(size)), Turned(nn.GroupNorm(1, size))]
        return rng.choice([*norms, Turned(nn.InstanceNorm1d(size, affine=True))]), size
    if kind == "attention":
        return Attending(size, 2 if size % 2 == 0 else 1, rng.random() < 0.4), size
    if kind == "encoder":
        heads = 2 if size % 2 == 0 else 1
        first = rng.random() < 0.5
        return nn.TransformerEncoderLayer(size, heads, 8, batch_first=True, norm_first=first), size
    if kind == "branch" and deep:
        inner, width = layer(rng, size, False)
        if width == size:
            return Residual(inner, kind=rng.choice(["add", "gate", "join"])), None
        return Residual(inner, kind="join"), size + width
    return Step(rng.choice(STEPS)), size


class Model(nn.Module):
    def __init__(self, seed):
        super().__init__()
        rng = random.Random(seed)
        torch.manual_seed(seed)
        self.tokens = rng.random() < 0.4
        size = rng.choice([4, 6, 8])
        self.emb = nn.Embedding(11, size) if self.tokens else nn.Linear(3, size)
        layers = []
        for _ in range(rng.choice([2, 3, 4])):
            one, new = layer(rng, size)
            if new is None:
                new = size * 2 if one.kind == "join" else size
            layers.append(one)
            size = new
        self.layers = nn.Sequential(*layers, nn.Dropout(0.3))
        self.pooling = rng.choice(["last", "mean", "max", "all", "adaptive", "attention"])
        self.head = nn.Linear(size, 5)
        self.end = rng.choice([nn.Identity(), nn.Softmax(-1), nn.LogSoftmax(-1), nn.Sigmoid()])
        for one in self.modules():
            if isinstance(one, nn.BatchNorm1d):
                nn.init.normal_(one.running_mean)
                nn.init.uniform_(one.running_var, 0.5, 2)

    def inputs(self, batch, time, seed=0):
        generator = torch.Generator().manual_seed(seed)
        if self.tokens:
            return (torch.randint(0, 11, (batch, time), generator=generator),)
        return (torch.randn(batch, time, 3, generator=generator),)

    def forward(self, x):
        x = self.layers(self.emb(x))
        if self.pooling == "last":
            x = x[:, -1]
        elif self.pooling == "mean":
            x = x.mean(1)
        elif self.pooling == "max":
            x = x.amax(1)
        elif self.pooling == "adaptive":
            x = F.adaptive_avg_pool1d(x.transpose(1, 2), 1).squeeze(-1)
        elif self.pooling == "attention":
            x = torch.einsum("bt,btf->bf", x[..., 0].softmax(-1), x)
        return self.end(self.head(x)), x.abs().mean()


def compare(seed):
    module = Model(seed).eval()
    torch.backends.mha.set_fastpath_enabled(False)  # whose numbers differ by more
    try:
        sizes = {0: Dim("batch"), 1: Dim("time")}
        live = fl.Model.from_torch(module, module.inputs(3, 7), dynamic_shapes={"x": sizes})
        for batch, time in ((2, 7), (1, 12), (4, 3)):
            torch_programs.check(live, module, module.inputs(batch, time, seed))
        decomposed = seed % 3 == 0
        data = torch_programs.exported(module, module.inputs(3, 5), {"x": {0: sizes[0]}}, decomposed)
        torch_programs.check(data, module, module.inputs(2, 5, seed))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("seed", range(3))
def test_modules(seed):
    compare(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 203))
def test_more_modules(seed):
    compare(seed)
