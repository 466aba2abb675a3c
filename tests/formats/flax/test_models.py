"""Flax parameters, linen and nnx, from memory and from msgpack: Flax's own numbers."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flax_trees import random, saved

import fusedlstm as fl
from fusedlstm import formats

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def flax():
    pytest.importorskip("flax")
    import flax.linen
    import jax
    from flax import nnx, serialization

    return SimpleNamespace(nn=flax.linen, nnx=nnx, jax=jax, serialization=serialization)


def jittered(flax, tree):
    """Other numbers than the initial ones, so that no bias is zero."""
    return flax.jax.tree_util.tree_map(
        lambda a: a + np.linspace(-0.2, 0.3, a.size).reshape(a.shape).astype(a.dtype), tree
    )


LINEN = {
    "cell": lambda nn: nn.RNN(nn.LSTMCell(5)),
    "optimized": lambda nn: nn.RNN(nn.OptimizedLSTMCell(5)),
    "bidirectional": lambda nn: nn.Bidirectional(nn.RNN(nn.LSTMCell(5)), nn.RNN(nn.OptimizedLSTMCell(5))),
}


@pytest.mark.parametrize("kind", LINEN)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_matches_linen(flax, kind, dtype, tmp_path):
    module, x = LINEN[kind](flax.nn), random(2, 7, 3)
    variables = jittered(flax, module.init(flax.jax.random.key(0), x))
    stored = flax.jax.tree_util.tree_map(lambda a: a.astype(dtype), variables)
    expected = module.apply(flax.jax.tree_util.tree_map(lambda a: a.astype("float32"), stored), x)
    path = saved(flax.serialization.to_bytes(stored), tmp_path)
    for lstm in (fl.LSTM.load(path), fl.LSTM.from_flax(stored), fl.LSTM.from_flax(stored["params"])):
        assert lstm.batch_first
        assert lstm.bidirectional == (kind == "bidirectional")
        np.testing.assert_allclose(lstm(x)[0], expected, rtol=0, atol=1e-5)


def test_carry_is_our_state_the_other_way_round(flax):
    module, x = flax.nn.RNN(flax.nn.LSTMCell(5), return_carry=True), random(2, 7, 3)
    variables = jittered(flax, module.init(flax.jax.random.key(0), x))
    c, h = random(2, 5, seed=2), random(2, 5, seed=3)
    (c_n, h_n), y = module.apply(variables, x, initial_carry=(c, h), seq_lengths=np.array([7, 7]))
    found = fl.LSTM.from_flax(variables)(x, (h[None], c[None]))
    for a, b in ((found[0], y), (found[1][0][0], h_n), (found[1][1][0], c_n)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


NNX = {
    "cell": lambda nnx, r: nnx.RNN(nnx.LSTMCell(3, 5, rngs=r), rngs=r),
    "optimized": lambda nnx, r: nnx.RNN(nnx.OptimizedLSTMCell(3, 5, rngs=r), rngs=r),
    "bidirectional": lambda nnx, r: nnx.Bidirectional(
        nnx.RNN(nnx.LSTMCell(3, 5, rngs=r), rngs=r), nnx.RNN(nnx.OptimizedLSTMCell(3, 5, rngs=r), rngs=r), rngs=r
    ),
}


@pytest.mark.parametrize("kind", NNX)
def test_matches_nnx(flax, kind, tmp_path):
    nnx, x = flax.nnx, random(2, 7, 3)
    module = NNX[kind](nnx, nnx.Rngs(0))
    nnx.update(module, jittered(flax, nnx.state(module, nnx.Param)))
    expected = module(x)
    pure = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    path = saved(flax.serialization.msgpack_serialize(pure), tmp_path)
    from_state = fl.LSTM.from_flax(nnx.state(module))  # with its random numbers
    for lstm in (from_state, fl.LSTM.from_flax(pure), fl.LSTM.load(path)):
        assert lstm.bidirectional == (kind == "bidirectional")
        np.testing.assert_allclose(lstm(x)[0], expected, rtol=0, atol=1e-5)


def test_chunked_arrays(flax, tmp_path, monkeypatch):
    module, x = flax.nn.RNN(flax.nn.LSTMCell(5)), random(2, 7, 3)
    variables = jittered(flax, module.init(flax.jax.random.key(0), x))
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 48)
    path = saved(flax.serialization.to_bytes(variables), tmp_path)
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    np.testing.assert_allclose(fl.LSTM.load(path)(x)[0], module.apply(variables, x), rtol=0, atol=1e-5)


def test_nnx_list_of_layers_and_a_gru(flax, tmp_path):
    nnx = flax.nnx

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.RNN(nnx.LSTMCell(3, 3, rngs=rngs), rngs=rngs) for _ in range(2)])
            self.then_gru = nnx.GRUCell(3, 4, rngs=rngs)

    state = nnx.to_pure_dict(nnx.state(Model(nnx.Rngs(0)), nnx.Param))
    for write in (flax.serialization.to_bytes, flax.serialization.msgpack_serialize):
        assert list(formats.open(saved(write(state), tmp_path)).expect(fl.LSTMWeights)) == [
            "layers/0/cell",
            "layers/1/cell",
        ]


def test_train_state(flax, tmp_path):
    """Parameters beside the optimizer's moments, which look just like them."""
    optax = pytest.importorskip("optax")
    from flax.training.train_state import TrainState

    variables = flax.nn.RNN(flax.nn.LSTMCell(5)).init(flax.jax.random.key(0), random(2, 7, 3))
    for params in (variables, variables["params"]):
        state = TrainState.create(apply_fn=None, params=params, tx=optax.adam(0.1))
        assert list(formats.open(saved(flax.serialization.to_bytes(state), tmp_path)).expect(fl.LSTMWeights)) == [
            "cell"
        ]


def test_boxed_parameters(flax):
    nn, x = flax.nn, random(2, 7, 3)
    init = nn.with_partitioning(nn.initializers.normal(), (None, "model"))
    variables = nn.RNN(nn.LSTMCell(5, kernel_init=init)).init(flax.jax.random.key(0), x)
    plain = nn.meta.unbox(variables)
    np.testing.assert_array_equal(fl.LSTM.from_flax(variables)(x)[0], fl.LSTM.from_flax(plain)(x)[0])


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_stored_files(kind):
    stored = np.load(DATA / "flax_outputs.npz")
    path, y = DATA / f"flax_{kind}.msgpack", stored["x"]
    assert sorted(formats.open(path).expect(fl.LSTMWeights)) == ["dec/cell", "enc"]
    for prefix in ("enc", "dec/cell"):
        y, _ = fl.LSTM.load(path, prefix)(y)
    np.testing.assert_allclose(y, stored[kind], rtol=0, atol=1e-5)
