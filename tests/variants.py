"""Random models of everything that fusedlstm.weights describes, for the tests."""

from dataclasses import replace

import numpy as np
from conftest import Case

import fusedlstm as fl
from fusedlstm.weights.cell import FUNCTIONS

GATES = ["sigmoid", "hard_sigmoid", "tanh", "softsign", "scaled_tanh", "relu", "silu", "affine"]


def maybe(rng, value, share=0.4):
    return value() if rng.random() < share else None


def drawn(rng, low, high):
    """A number that float32 holds: how options are rounded is no error of the engine's."""
    return float(np.float32(rng.uniform(low, high)))


def random_activation(rng, names):
    name = str(rng.choice(names))
    if rng.random() < 0.5:
        return fl.Activation(name)
    return fl.Activation(name, drawn(rng, 0.1, 0.9), drawn(rng, 0.1, 0.9))


def random_cell(rng):
    """Any choices together; what grows without bound is clipped, so that errors stay those of rounding."""
    chosen = {}
    if rng.random() < 0.6:
        chosen["gate"] = random_activation(rng, GATES)
        chosen["candidate"] = random_activation(rng, list(FUNCTIONS))
        chosen["output"] = random_activation(rng, list(FUNCTIONS))
        chosen["gate_clip"] = drawn(rng, 0.5, 3)
        chosen["cell_clip"] = drawn(rng, 0.5, 2)
    chosen["coupled"] = str(rng.choice(["", "", "forget", "input"]))
    for name in ("gate_clip", "cell_clip", "cell_zoneout", "hidden_zoneout"):
        if rng.random() < 0.3:
            chosen[name] = drawn(rng, 0.05, 1)
    chosen["gate_norm"] = str(rng.choice(["", "", "gates", "sides"]))
    chosen["cell_norm"] = str(rng.choice(["", "", "carried", "output"]))
    chosen["norm_epsilon"] = float(np.float32(rng.choice([1e-5, 1e-3])))
    return fl.Cell(**chosen)


def random_direction(rng, cell, input_size, hidden, projection):
    def uniform(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32) / np.sqrt(hidden).astype(np.float32)

    def gain(*shape):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)

    return fl.DirectionWeights(
        uniform(4 * hidden, input_size),
        uniform(4 * hidden, projection or hidden),
        maybe(rng, lambda: uniform(4 * hidden), 0.7),
        uniform(projection, hidden) if projection else None,
        maybe(rng, lambda: uniform(projection)) if projection else None,
        *(maybe(rng, lambda: uniform(hidden)) for _ in range(3)),
        norm_ih=gain(4 * hidden) if cell.gate_norm else None,
        norm_hh=gain(4 * hidden) if cell.gate_norm == "sides" else None,
        norm_c=gain(hidden) if cell.cell_norm else None,
        norm_c_bias=maybe(rng, lambda: uniform(hidden)) if cell.cell_norm else None,
        cell=cell,
    )


def random_weights(rng, largest=40, directions=None, reverse=None):
    """Layers, sizes, merges, residual connections, initial states: all drawn."""
    directions = directions or int(rng.integers(1, 3))
    count = int(rng.integers(1, 4))
    merge = str(rng.choice(["concat", "sum", "mul", "ave"] + ["none"] * (count == 1)))
    sizes = rng.integers(3, largest + 1, count) if rng.random() < 0.5 else [int(rng.integers(3, largest + 1))] * count
    layers, residual = [], []
    width = int(rng.integers(1, largest + 1))
    for hidden in map(int, sizes):
        projection = maybe(rng, lambda hidden=hidden: int(rng.integers(1, hidden + 1)), 0.3)
        cells = [random_cell(rng) for _ in range(directions)]
        if projection and rng.random() < 0.5:
            cells = [fl.Cell(**(cell.differences | {"projection_clip": 0.25})) for cell in cells]
        layers.append([random_direction(rng, cell, width, hidden, projection) for cell in cells])
        out = (projection or hidden) * (directions if merge in ("concat", "none") else 1)
        residual.append(bool(out == width and merge != "none" and rng.random() < 0.7))
        width = out
    state = None
    if rng.random() < 0.3:
        state = tuple(
            [rng.uniform(-1, 1, (directions, getattr(layer[0], size))) for layer in layers]
            for size in ("output_size", "hidden_size")
        )
    reverse = directions == 1 and (rng.random() < 0.3 if reverse is None else reverse)
    return fl.LSTMWeights(
        layers,
        merge=merge,
        reverse=reverse,
        flip_output=bool(reverse and rng.random() < 0.5),
        padding="repeat" if directions == 1 and rng.random() < 0.3 else "zero",
        residual=residual if any(residual) else None,
        initial_state=state,
    )


def random_state(rng, weights, batch):
    parts = [
        [
            rng.uniform(-1, 1, (len(layer), batch, getattr(layer[0], size))).astype(np.float32)
            for layer in weights.layers
        ]
        for size in ("output_size", "hidden_size")
    ]
    return tuple(np.concatenate(part) for part in parts) if weights.equal_layers else tuple(parts)


def random_case(seed, **kwargs):
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, **kwargs)
    batch, time = int(rng.integers(0, 6)), int(rng.integers(1, 9))
    x = rng.standard_normal((batch, time, weights.input_size)).astype(np.float32)
    state = maybe(rng, lambda: random_state(rng, weights, batch))
    lengths = maybe(rng, lambda: rng.integers(0, time + 1, batch))
    return Case(weights, x, state, lengths)


def leaves(result):
    """All arrays of y, (h, c), in order."""
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in leaves(part)]
    return [result]


def largest_error(found, expected):
    """Relative to the largest number expected, or 1."""
    found, expected = leaves(found), leaves(expected)
    assert [one.shape for one in found] == [one.shape for one in expected]
    scale = max([1.0, *(np.abs(one).max(initial=0) for one in expected)])
    return max(np.abs(a.astype(float) - b).max(initial=0) for a, b in zip(found, expected)) / scale


def nudged(rng, weights):
    """The same weights, each moved by half a unit in the last place at most."""

    def move(array):
        return array * (1 + rng.uniform(-1, 1, array.shape) * 2.0**-24)

    def direction(one):
        twin = replace(one)
        for name, array in one.arrays.items():
            object.__setattr__(twin, name, move(array.astype(float)))  # float64, past the check
        return twin

    twin = replace(weights)
    object.__setattr__(twin, "layers", [[direction(one) for one in layer] for layer in weights.layers])
    return twin


def limit(case, expected, oracle, seed=0):
    """What rounding may do: a few units in the last place of the results, and what the model makes of its own rounding.

    The second is estimated by moving the weights and x by half a unit in the last place, in float64; and where a row is
    nearly constant, each normalisation makes 1 / sqrt(epsilon) times as much of its rounding.
    """
    rng = np.random.default_rng(seed)
    moved = []
    for _ in range(3):
        x = case.x * (1 + rng.uniform(-1, 1, case.x.shape) * 2.0**-24)
        moved.append(largest_error(oracle(nudged(rng, case.weights), x, case.state, case.lengths), expected))
    cells = [one.cell for layer in case.weights.layers for one in layer]
    norms = [2.0**-23 / np.sqrt(cell.norm_epsilon) for cell in cells if cell.gate_norm or cell.cell_norm]
    return 2e-6 + 8 * max(moved) + 2 * sum(norms)
