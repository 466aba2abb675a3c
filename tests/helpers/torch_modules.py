"""Random recurrent modules of PyTorch's, and what they are called with."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
PackedSequence, pack_padded_sequence = torch.nn.utils.rnn.PackedSequence, torch.nn.utils.rnn.pack_padded_sequence


def flat(made):
    """The tensors of what a module returns."""
    if isinstance(made, PackedSequence):
        return [one for one in made if one is not None]
    return [made] if isinstance(made, torch.Tensor) else [one for part in made for one in flat(part)]


def largest_difference(one, other):
    one, other = flat(one), flat(other)
    assert [(a.shape, a.dtype) for a in one] == [(b.shape, b.dtype) for b in other]
    return max((float((a.double() - b.double()).abs().max()) for a, b in zip(one, other) if a.numel()), default=0.0)


def random_module(seed, largest=40):
    """A module in eval mode, and the arguments of a call."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)

    def whole(least, most):
        return int(rng.integers(least, most + 1))

    def perhaps(share=0.5):
        return bool(rng.random() < share)

    kind = str(rng.choice(["LSTM", "LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"]))
    inputs, hidden, options = whole(1, largest), whole(2, largest), {"bias": perhaps(0.7)}
    if kind.startswith("RNN"):
        options["nonlinearity"] = str(rng.choice(["tanh", "relu"]))
    if kind.endswith("Cell"):
        module = getattr(torch.nn, kind)(inputs, hidden, **options)
        lead = [] if perhaps(0.3) else [whole(1, 5)]
        h = (
            (torch.randn(*lead, hidden), torch.randn(*lead, hidden))
            if kind == "LSTMCell"
            else torch.randn(*lead, hidden)
        )
        return module.eval(), (torch.randn(*lead, inputs), h if perhaps() else None)

    options |= {"num_layers": whole(1, 3), "bidirectional": perhaps(), "batch_first": perhaps()}
    if kind == "LSTM" and perhaps(0.3):
        options["proj_size"] = whole(1, hidden - 1)
    module = getattr(torch.nn, kind)(inputs, hidden, **options).eval()
    batch, time, way = whole(1, 5), whole(1, 12), str(rng.choice(["batch", "alone", "packed", "sorted", "turned"]))
    rows = [] if way == "alone" else [batch]
    first = options["batch_first"]
    x = torch.randn(*([time] if way == "alone" else [batch, time] if first else [time, batch]), inputs)
    if way in ("packed", "sorted"):
        lengths = [whole(1, time) for _ in range(batch)]
        lengths = sorted(lengths, reverse=True) if way == "sorted" else lengths
        x = pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=way == "sorted")
    elif way == "turned":  # another order in memory
        x = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    count = options["num_layers"] * (1 + options["bidirectional"])
    h = torch.randn(count, *rows, options.get("proj_size", 0) or hidden)
    state = (h, torch.randn(count, *rows, hidden)) if kind == "LSTM" else h
    return module, (x, state if perhaps() else None)
