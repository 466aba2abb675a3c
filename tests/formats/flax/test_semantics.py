"""What Flax modules are told outside of their parameters: lengths, direction, carry, functions. Flax's own numbers."""

from dataclasses import replace

import numpy as np
import pytest
from flax_trees import random, saved
from run import run

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.weights import Activation, Cell

pytest.importorskip("flax")
import flax.linen as nn
import jax
from flax import nnx, serialization
from flax.traverse_util import flatten_dict
from jax import numpy as jnp
from safetensors.numpy import save_file

TOLERANCE = 1e-5
LENGTHS = np.array([3, 7, 1])
FUNCTIONS = {
    "elu": (jax.nn.elu, Activation("elu")),
    "gelu": (jax.nn.gelu, Activation("gelu_tanh")),  # Flax's gelu is the approximation unless told otherwise
    "hard_sigmoid": (jax.nn.hard_sigmoid, Activation("hard_sigmoid", 1 / 6, 0.5)),
    "leaky_relu": (jax.nn.leaky_relu, Activation("leaky_relu", 0.01)),
    "relu": (jax.nn.relu, Activation("relu")),
    "sigmoid": (jax.nn.sigmoid, Activation("sigmoid")),
    "silu": (jax.nn.silu, Activation("silu")),
    "soft_sign": (jax.nn.soft_sign, Activation("softsign")),
    "softplus": (jax.nn.softplus, Activation("softplus")),
    "tanh": (jnp.tanh, Activation("tanh")),
}


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)
    return float(np.abs(np.asarray(found) - wanted).max(initial=0))


def valid(y, lengths):
    """The steps within each row's length; past it Flax computes on with what is there."""
    return np.concatenate([np.asarray(row)[:length] for row, length in zip(y, lengths)])


def flipped(y, lengths):
    """Each row turned round within its length: what Flax returns without keep_order."""
    return [row[:length][::-1] for row, length in zip(y, lengths)]


def with_cell(weights, cell):
    """A Flax cell of other functions: files do not store them."""
    return replace(weights, layers=[[replace(one, cell=cell) for one in layer] for layer in weights.layers])


@pytest.mark.parametrize("keep_order", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_lengths_and_direction(lengths, reverse, keep_order):
    module = nn.RNN(nn.LSTMCell(5), reverse=reverse, keep_order=keep_order, return_carry=True)
    x, carry = random(3, 7, 4), (random(3, 5, seed=2), random(3, 5, seed=3))
    variables = module.init(jax.random.key(0), x)
    (c_n, h_n), wanted = module.apply(variables, x, initial_carry=carry, seq_lengths=lengths)
    weights = replace(fl.LSTM.from_flax(variables).weights, reverse=reverse)
    if lengths is None and reverse and not keep_order:
        weights = replace(weights, flip_output=True)
    state = (carry[1][None], carry[0][None])  # Flax's carry is (c, h)
    y, (h, c) = run(weights, x, state, lengths)
    close(h[0], h_n)
    close(c[0], c_n)
    if lengths is None:
        close(y, wanted)
    elif reverse and not keep_order:
        close(np.concatenate(flipped(y, lengths)), valid(wanted, lengths))
    else:
        close(valid(y, lengths), valid(wanted, lengths))


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
def test_bidirectional(merge):
    functions = {"concat": None, "sum": jnp.add, "mul": jnp.multiply, "ave": lambda a, b: (a + b) / 2}
    given = {"merge_fn": functions[merge]} if functions[merge] else {}
    module = nn.Bidirectional(nn.RNN(nn.LSTMCell(5)), nn.RNN(nn.LSTMCell(5)), return_carry=True, **given)
    x = random(3, 7, 4)
    variables = module.init(jax.random.key(0), x)
    carries, wanted = module.apply(variables, x, seq_lengths=LENGTHS)
    y, (h, c) = run(replace(fl.LSTM.from_flax(variables).weights, merge=merge), x, None, LENGTHS)
    close(valid(y, LENGTHS), valid(wanted, LENGTHS))
    for way, (c_n, h_n) in enumerate(carries):
        close(h[way], h_n)
        close(c[way], c_n)


def test_time_major():
    module, x = nn.RNN(nn.LSTMCell(5), time_major=True), random(7, 3, 4)
    variables = module.init(jax.random.key(0), x)
    y, _ = run(replace(fl.LSTM.from_flax(variables).weights, batch_first=False), x)
    close(y, module.apply(variables, x))


@pytest.mark.parametrize("gate", FUNCTIONS)
@pytest.mark.parametrize("inner", ["relu", "tanh", "gelu"])
def test_other_functions(gate, inner):
    cell = nn.LSTMCell(5, gate_fn=FUNCTIONS[gate][0], activation_fn=FUNCTIONS[inner][0])
    x = random(3, 4, 4)
    variables = nn.RNN(cell).init(jax.random.key(0), x)
    variant = Cell(gate=FUNCTIONS[gate][1], candidate=FUNCTIONS[inner][1], output=FUNCTIONS[inner][1])
    y, _ = run(with_cell(fl.LSTM.from_flax(variables).weights, variant), x)
    close(y, nn.RNN(cell).apply(variables, x))


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_safetensors(separator, dtype, tmp_path):
    class Model(nn.Module):
        def setup(self):
            self.enc = nn.RNN(nn.LSTMCell(5))
            self.bi = nn.Bidirectional(nn.RNN(nn.LSTMCell(2)), nn.RNN(nn.OptimizedLSTMCell(2)))
            self.rest = nn.RNN(nn.GRUCell(3))

        def __call__(self, x):
            return self.rest(self.bi(self.enc(x)))

    variables = jax.tree_util.tree_map(
        lambda a: a.astype(dtype), Model().init(jax.random.key(0), np.zeros((1, 2, 3), np.float32))
    )
    for tree in (variables, variables["params"]):
        save_file(
            {name: np.asarray(a) for name, a in flatten_dict(tree, sep=separator).items()}, tmp_path / "m.safetensors"
        )
        assert list(formats.open(tmp_path / "m.safetensors").expect(fl.LSTMWeights)) == ["bi", "enc/cell"]
        for prefix in ("bi", "enc", "enc/cell"):
            same(
                formats.open(tmp_path / "m.safetensors").load(fl.LSTMWeights, prefix),
                fl.LSTM.from_flax(variables, prefix).weights,
            )


def same(found, wanted):
    for layer, expected in zip(found.layers, wanted.layers, strict=True):
        for one, other in zip(layer, expected, strict=True):
            assert one.arrays.keys() == other.arrays.keys()
            for name, array in one.arrays.items():
                np.testing.assert_array_equal(array, other.arrays[name])


@pytest.mark.parametrize(
    "names, message",
    [
        (("ii.kernel", "hi.kernel", "hi.bias"), "'if/kernel': expected it, found none"),
        (("a.ii.kernel", "a/ii/kernel", "a.hi.kernel"), "expected one tensor of that path, found two"),
        (("a.kernel", "a.kernel.bias"), "expected a group of tensors at 'kernel', found a tensor"),
        (("a.kernel", "b.bias"), "expected an LSTM, found none"),
    ],
)
def test_safetensors_refused(names, message, tmp_path):
    save_file({name: np.zeros((3, 3), np.float32) for name in names}, tmp_path / "m.safetensors")
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(tmp_path / "m.safetensors")


def test_safetensors_of_integers(tmp_path):
    names = [f"{side}{gate}.kernel" for side in "ih" for gate in "ifgo"]
    save_file({name: np.zeros((3, 3), np.int32) for name in names}, tmp_path / "m.safetensors")
    with pytest.raises(fl.FormatError, match="tensor 'ii/kernel': expected an array of floats, found int32"):
        fl.LSTM.load(tmp_path / "m.safetensors")


def random_module(rng, key):
    """A module of either Flax as a function, its parameters, and what they do not say."""

    def pick(*choices):
        return choices[rng.integers(len(choices))]

    features, hidden, linen = int(rng.integers(1, 8)), int(rng.integers(1, 8)), pick(True, False)
    told, cells = [], []
    for way in range(pick(1, 2)):
        gate, inner = pick("sigmoid", *FUNCTIONS), pick("tanh", "tanh", *FUNCTIONS)
        given = {"gate_fn": FUNCTIONS[gate][0], "activation_fn": FUNCTIONS[inner][0]}
        told.append(Cell(gate=FUNCTIONS[gate][1], candidate=FUNCTIONS[inner][1], output=FUNCTIONS[inner][1]))
        if linen:
            cells.append(nn.RNN(pick(nn.LSTMCell, nn.OptimizedLSTMCell)(hidden, **given)))
        else:
            rngs = nnx.Rngs(key + way)
            cell = pick(nnx.LSTMCell, nnx.OptimizedLSTMCell)(features, hidden, **given, rngs=rngs)
            cells.append(nnx.RNN(cell, rngs=rngs))
    if linen:
        module = nn.Bidirectional(*cells) if len(cells) == 2 else cells[0]
        params = module.init(jax.random.key(key), np.zeros((1, 2, features), np.float32))
        return lambda *args, **given: module.apply(params, *args, **given), params, told, features, hidden
    module = nnx.Bidirectional(*cells, rngs=nnx.Rngs(0)) if len(cells) == 2 else cells[0]
    return module, nnx.to_pure_dict(nnx.state(module, nnx.Param)), told, features, hidden


def random_modules(count, seed, folder):
    rng, largest, done = np.random.default_rng(seed), 0.0, 0
    while done < count:
        module, params, told, features, hidden = random_module(rng, int(rng.integers(1 << 30)))
        lengths = rng.integers(1, 7, 3) if rng.random() < 0.7 else np.full(3, 6)
        x = random(3, 6, features, seed=done)
        given = {"seq_lengths": jnp.asarray(lengths), "return_carry": True}
        if len(told) == 1:
            given |= {"reverse": bool(rng.random() < 0.5), "keep_order": True}
            given["initial_carry"] = tuple(jnp.asarray(random(3, hidden, seed=done + k)) for k in (1, 2))
        carry, wanted = module(x, **given)
        if not np.abs(wanted).max() < 20:
            continue  # unbounded functions run away with any rounding
        done += 1
        if done % 20 == 0:
            jax.clear_caches()
        state = tuple(np.asarray(given["initial_carry"][k])[None] for k in (1, 0)) if len(told) == 1 else None
        path = saved(serialization.to_bytes(params), folder)
        for read in (formats.open(path).load(fl.LSTMWeights), fl.LSTM.from_flax(params).weights):
            layer = [replace(one, cell=cell) for one, cell in zip(read.layers[0], told, strict=True)]
            y, (h, c) = run(replace(read, layers=[layer], reverse=given.get("reverse", False)), x, state, lengths)
            scale = max(1.0, np.abs(wanted).max())
            largest = max(largest, close(valid(y, lengths) / scale, valid(wanted, lengths) / scale))
            for way, (c_n, h_n) in enumerate([carry] if len(told) == 1 else carry):
                size = max(1.0, np.abs(c_n).max(), np.abs(h_n).max())
                largest = max(largest, close(h[way] / size, h_n / size), close(c[way] / size, c_n / size))
    print(f"largest error of {count} Flax modules: {largest:.1e}")


def test_random_modules(tmp_path):
    random_modules(6, 0, tmp_path)  # JAX compiles for a second each


@pytest.mark.slow
def test_many_random_modules(tmp_path):
    random_modules(200, 1, tmp_path)
