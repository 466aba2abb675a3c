"""What the doors into other houses bring: `python benchmarks/doors.py [torch] [keras]`, one thread.

Figures are of the thread's own time, and medians of calls in turn, so that a busy machine weighs on both sides.
"""

import copy
import os
import sys
from functools import partial
from time import thread_time

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROUNDS = 60


def in_turn(functions, calls):
    """Microseconds a call of each, round by round."""
    found = [[] for _ in functions]
    for _ in range(ROUNDS):
        for times, run in zip(found, functions):
            start = thread_time()
            for _ in range(calls):
                run()
            times.append((thread_time() - start) / calls * 1e6)
    return [np.array(times) for times in found]


def show(name, before, after, aim, error):
    ratio = np.median(before / after)
    print(
        f"{name:44} {np.median(before):10,.1f} {np.median(after):10,.1f} {ratio:6.2f} x  (aim {aim})  error {error:.0e}"
    )


def largest(one, other):
    if isinstance(one, (tuple, list)):
        return max(largest(a, b) for a, b in zip(one, other) if a is not None)
    return float((one.float() - other.float()).abs().max()) if one.numel() else 0.0


def torch_door():
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence

    import fusedlstm as fl
    import fusedlstm.torch as door

    torch.set_num_threads(1)
    fl.set_num_threads(1)
    torch.manual_seed(0)

    def steps(cell, x):
        h = c = torch.zeros(1, 128)
        for one in x:
            h, c = cell(one, (h, c))
        return h, c

    lengths = torch.linspace(5, 50, 16).long()
    packed = pack_padded_sequence(torch.randn(16, 50, 256), lengths, batch_first=True, enforce_sorted=False)
    whole, tagger = nn.LSTM(64, 64, batch_first=True), nn.LSTM(128, 128, 2, batch_first=True, bidirectional=True)
    cases = [
        ("tagger: 2 x LSTM 128 both ways, 40 tokens", tagger, lambda m, x: m(x), torch.randn(1, 40, 128), 1.8, 3),
        ("LSTMCell(128, 128), a loop of 100 steps", nn.LSTMCell(128, 128), steps, torch.randn(100, 1, 128), 3, 2),
        (
            "2 x LSTM 256, packed, 16 rows of 5 to 50",
            nn.LSTM(256, 256, 2, batch_first=True),
            lambda m, x: m(x),
            packed,
            2.5,
            1,
        ),
        ("LSTM 64, a step", whole, lambda m, x: m(x), torch.randn(1, 1, 64), "", 50),
        ("GRU 64, 100 steps", nn.GRU(64, 64), lambda m, x: m(x), torch.randn(100, 1, 64), "", 5),
        ("GRUCell(128, 128), a step", nn.GRUCell(128, 128), lambda m, x: m(x), torch.randn(1, 128), "", 50),
        ("RNN 64, 100 steps", nn.RNN(64, 64), lambda m, x: m(x), torch.randn(100, 1, 64), "", 5),
    ]
    print(f"{'microseconds':44} {'PyTorch':>10} {'door':>10}")
    with torch.no_grad():
        for name, module, run, x, aim, calls in cases:
            module = module.eval()
            ours = door.accelerate(copy.deepcopy(module))
            error = largest(run(ours, x), run(module, x))
            show(name, *in_turn([partial(run, module, x), partial(run, ours, x)], calls), aim, error)
        x = torch.randn(1, 1, 64)
        lstm, array, ours = fl.LSTM.from_torch(whole), x.numpy(), door.accelerate(copy.deepcopy(whole))
        alone, through = in_turn([lambda: lstm(array), lambda: ours(x)], 200)
        print(f"{'a tensor instead of an array costs':44} {np.median(through - alone):10.2f} microseconds  (aim 4)")


def keras_door():
    import keras

    import fusedlstm as fl
    import fusedlstm.keras as door

    fl.set_num_threads(1)
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)
    layers = keras.layers
    model = keras.Sequential([keras.Input((100, 64)), layers.Bidirectional(layers.LSTM(128)), layers.Dense(4)])
    x = np.random.default_rng(0).normal(size=(1, 100, 64)).astype(np.float32)
    print(f"{'Keras on ' + keras.backend.backend():44} {'Keras':>10} {'door':>10}")
    for name, run in (("model(x)", model), ("predict", lambda x: model.predict(x, verbose=0))):
        wanted, times = np.asarray(keras.ops.convert_to_numpy(run(x))), []
        for change in (door.restore, door.accelerate):
            change(model)
            found = np.asarray(keras.ops.convert_to_numpy(run(x)))
            times.append(in_turn([lambda run=run: run(x)], 1)[0])
        before, after = times
        show(f"LSTM 128 both ways, 100 steps, {name}", before, after, "", float(np.abs(found - wanted).max()))
        door.restore(model)


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["torch", "keras"]
    for name, run in (("torch", torch_door), ("keras", keras_door)):
        if name in chosen:
            run()
