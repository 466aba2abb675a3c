"""Layers along time that have more to keep, or less: each step alone, running sums, numbers of steps."""

import numpy as np
import pytest
from along import same_bits
from graphs import Builder, random
from strided import check

import fusedlstm as fl
from fusedlstm.graph.operators import OPERATORS

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

f4 = np.float32
FAR = 2**62
L = keras.layers


def pooled(model, x, **options):
    """Streams of a pool that begin at other times have the bytes of the whole."""
    whole, pool = model(x), fl.StreamPool(model, **options)
    ids, made = [], [[] for _ in x]
    for at in range(x.shape[1] + len(x) - 1):
        ids += [pool.open()] if len(ids) < len(x) else []
        there = [k for k in range(len(ids)) if 0 <= at - k < x.shape[1]]
        for k, row in zip(there, pool.step([ids[k] for k in there], np.stack([x[k, at - k] for k in there]))):
            if row is not None:
                made[k].append(row)
    for k, rows in enumerate(made):
        assert np.stack(rows).tobytes() == np.ascontiguousarray(whole[k]).tobytes()


EACH = {
    "lstm": lambda: L.TimeDistributed(L.LSTM(4)),
    "lstm of all places": lambda: L.TimeDistributed(L.LSTM(4, return_sequences=True)),
    "both ways": lambda: L.TimeDistributed(L.Bidirectional(L.LSTM(3))),
    "gru both ways": lambda: L.TimeDistributed(L.Bidirectional(L.GRU(3, return_sequences=True))),
    "backwards": lambda: L.TimeDistributed(L.GRU(4, go_backwards=True)),
    "rnn": lambda: L.TimeDistributed(L.SimpleRNN(4)),
}


@pytest.mark.parametrize("name", EACH)
def test_a_recurrent_layer_inside_each_step(name):
    x = start = keras.Input((None, 7, 3))
    x = L.TimeDistributed(L.Flatten())(EACH[name]()(x))
    model = fl.Model.from_keras(keras.Model(start, L.LSTM(5, return_sequences=True)(x)))
    same_bits(model, random(2, 23, 7, 3))
    pooled(model, random(3, 6, 7, 3))


def test_frames_inside_each_step():
    x = start = keras.Input((None, 3, 4, 4, 1))
    x = L.TimeDistributed(L.ConvLSTM2D(2, 3))(x)
    model = fl.Model.from_keras(keras.Model(start, x))
    same_bits(model, random(2, 9, 3, 4, 4, 1), time=1)


def over_frequency(op, states=(), **options):
    """x (batch, time, 6, 3): a layer over the 6 of each step, its steps in rows."""
    b, gates = Builder(x=(1, None, 6, 3)), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    both = 2 if options.get("direction") == "bidirectional" else 1
    weights = [random(both, gates * 5, 3), random(both, gates * 5, 5), random(both, gates * 10)]
    rows = b("Transpose", b("Reshape", "x", [-1, 6, 3]), perm=(1, 0, 2))
    made = b(op, rows, *weights, *(("", *states(b)) if states else ()), hidden_size=5, outputs=2, **options)
    y = b("Reshape", b("Transpose", made[0], perm=(2, 0, 1, 3)), [1, -1, 6 * both * 5])
    h = b("Reshape", b("Transpose", made[1], perm=(1, 0, 2)), [1, -1, both * 5])
    return fl.Model(b.graph(y, h))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_layers_over_frequency(op, direction):
    same_bits(over_frequency(op, direction=direction), random(1, 20, 6, 3), time=1)


def test_first_states_of_layers_over_frequency():
    def zeros(b):
        """As many as there are steps, as exporters write them."""
        length = b("Gather", b("Shape", "x"), np.array([1]))
        return (b("Expand", np.zeros((1, 1, 5), f4), b("Concat", np.array([1]), length, np.array([5]), axis=0)),)

    same_bits(over_frequency("GRU", zeros), random(1, 20, 6, 3), time=1)
    with pytest.raises(ValueError, match="GRU node.*fixed number of rows"):
        over_frequency("GRU", lambda b: (random(1, 20, 5),)).stream(time=1)


# x is (batch, time, 4): the axis of time, and how it comes there.
PLACES = {1: None, 0: (1, 0, 2), -1: (0, 2, 1)}


@pytest.mark.parametrize("dtype", [f4, np.float16, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
def test_sums_and_products_until_now(op, exclusive, dtype):
    x = random(3, 41, 4)
    if np.dtype(dtype).kind == "f":
        x = (1 + x * 0.05).astype(dtype) if op == "CumProd" else (x * 100).astype(dtype)
    else:
        x = (x * (9 if op == "CumSum" else 2) + 1).astype(dtype)
    for axis, perm in PLACES.items():
        build = Builder(x=(np.dtype(dtype), (None, None, 4)))
        given = build("Transpose", "x", perm=perm) if perm else "x"
        model = fl.Model(build.graph(build(op, given, np.array(axis), exclusive=exclusive)))
        same_bits(model, x, time=1)
        if axis == 1:
            pooled(model, x, time=1)


def test_totals_are_kept_as_wide_as_in_the_whole():
    """What a float32 would lose, and what overflows it for a while."""
    model = _of(lambda b: b("CumSum", "x", np.array(1)))
    x = np.array([1e8, 1, 1, 1, -1e8, 3e38, 3e38, -3e38, 1, -3e38], f4).reshape(1, -1, 1).repeat(4, 2)
    made = same_bits(model, x).process(np.zeros((1, 1, 4), f4))
    assert made[0, 0, 0] == np.float32(x[0, :, 0].astype(np.float64).sum())
    bad = x.copy()
    bad[0, 3, 2] = np.nan
    same_bits(model, bad)


BEHIND = {
    "strides": lambda b, x: b("Conv", x, random(4, 4, 3), strides=(2,)),
    "upsampling": lambda b, x: b("Resize", x, "", np.array([1, 1, 3], f4), coordinate_transformation_mode="asymmetric",
                                 nearest_mode="floor"),
    "zeros in front": lambda b, x: b("Pad", x, [0, 0, 2, 0, 0, 0]),
    "what is chomped later": lambda b, x: b("Conv", x, random(4, 4, 3), pads=(1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", BEHIND)
def test_sums_behind_what_gives_other_steps(name):
    def make(b):
        y = b("CumSum", BEHIND[name](b, b("Transpose", "x", perm=(0, 2, 1))), np.array(2))
        return b("Slice", y, [0], [-1], [2]) if "chomped" in name else y

    same_bits(_of(make), random(2, 41, 4))


def test_the_step_of_sums(isa):
    rng = np.random.default_rng(0)
    for product in (0, 1):
        for exclusive in (0, 1):
            for axis in (0, 1, 2):
                x = random(3, 5, 7)
                shape = [1 if k == axis else size for k, size in enumerate(x.shape)]
                options = {"axis": axis, "product": product, "exclusive": exclusive, "outputs": 2}
                total = rng.standard_normal(shape).view(np.int64)
                check(rng, "fusedlstm.Scan", x, total, **options)
                check(rng, "fusedlstm.Scan", rng.integers(-9, 9, x.shape), rng.integers(-9, 9, shape), **options)


def test_sums_that_go_on():
    compute, x = OPERATORS["fusedlstm.Scan"].compute, random(2, 9, 3).astype(np.float64)
    a = {"axis": 1, "product": 0, "exclusive": 0}
    first, total = compute(a, x[:, :4], np.zeros((2, 1, 3), np.int64))
    second, total = compute(a, x[:, 4:], total)
    np.testing.assert_array_equal(np.concatenate([first, second], 1), np.cumsum(x, 1))
    np.testing.assert_array_equal(total.view(np.float64), np.cumsum(x, 1)[:, -1:])


def _of(make, shape=(None, None, 4)):
    build = Builder(x=shape)
    return fl.Model(build.graph(make(build)))


def steps_of(b, x="x", start=0, step=1, dtype=np.int64, more=0):
    """A range over the steps of a tensor of three axes, on an axis of its own."""
    count = b("Gather", b("Shape", x), np.array(1))
    end = b("Add", np.array(start + more), b("Mul", np.array(step), count))
    first, end = (b("Cast", one, to=np.dtype(dtype)) for one in (np.array(start), end))
    return b("Range", first, end, np.array(step, dtype))


def behind(b, pads):
    """A table by the numbers of a convolution's steps."""
    y = b("Conv", b("Transpose", "x", perm=(0, 2, 1)), random(6, 4, 3), pads=pads)
    return b("Add", b("Transpose", y, perm=(0, 2, 1)), b("Gather", random(99, 6), steps_of(b, more=sum(pads) - 2)))


COUNTED = {
    "mean until now": lambda b: b(
        "Div", b("CumSum", "x", np.array(1)), b("Unsqueeze", b("Cast", steps_of(b, start=1), to=np.dtype(f4)), [1])
    ),
    "every third": lambda b: b("Mul", "x", b("Cast", b("Unsqueeze", steps_of(b, start=3, step=3), [1]), to=np.dtype(f4))),
    "down": lambda b: b("Mul", "x", b("Cast", b("Unsqueeze", steps_of(b, start=3, step=-1), [1]), to=np.dtype(f4))),
    "a table": lambda b: b("Add", "x", b("Gather", random(99, 4), steps_of(b))),
    "one more each": lambda b: b("Add", "x", b("Cast", b("Unsqueeze", steps_of(b, dtype=np.int32), [1]), to=np.dtype(f4))),
    "behind a convolution": lambda b: behind(b, (0, 0)),
    "behind a causal convolution": lambda b: behind(b, (2, 0)),
    "behind zeros in front": lambda b: behind(b, (4, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_numbers_of_steps(name):
    same_bits(_of(COUNTED[name]), random(2, 41, 4))


UNFOLDED = {
    "each step": lambda x: x.unfold(1, 4, 1),
    "frames": lambda x: x.unfold(1, 4, 3),
    "frames that overlap": lambda x: x.transpose(1, 2).unfold(-1, 6, 2).movedim(2, 1).flatten(2),
    "one at a time": lambda x: x.unfold(1, 1, 2),
}


@pytest.mark.parametrize("name", UNFOLDED)
def test_windows_of_steps_as_features(name):
    torch = pytest.importorskip("torch")

    class Windows(torch.nn.Module):
        def forward(self, x):
            return UNFOLDED[name](x)

    x, sizes = random(2, 41, 3), {0: torch.export.Dim("rows"), 1: torch.export.Dim("time", min=8, max=999)}
    module = Windows().eval()
    model = fl.Model.from_torch(module, (torch.zeros(2, 12, 3),), dynamic_shapes={"x": sizes})
    np.testing.assert_array_equal(model(x), module(torch.from_numpy(x)).numpy())
    same_bits(model, x)


REFUSED = {
    "sums from the end": (lambda b: b("CumSum", "x", np.array(1), reverse=1), "CumSum node.*backwards over time"),
    "halves": (
        lambda b: b("Mul", "x", b("Unsqueeze", b("Range", f4(0), b("Cast", b("Gather", b("Shape", "x"), np.array(1)),
        to=np.dtype(f4)), f4(0.5)), [1])), "Mul node|Range|how long",
    ),
    "from how long it is": (
        lambda b: b("Mul", "x", b("Cast", b("Unsqueeze", b("Range", b("Gather", b("Shape", "x"), np.array(1)),
        np.array(0), np.array(-1)), [1]), to=np.dtype(f4))), "Mul node.*how long the sequence is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_by_name(name):
    make, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        _of(make).stream(2, time=1)


def test_rows_of_a_pool_that_step_alone():
    pooled(_of(COUNTED["a table"]), random(3, 12, 4), time=1)
    x = start = keras.Input((3, None, 1))
    model = fl.Model.from_keras(keras.Model(start, L.TimeDistributed(L.Conv1D(4, 3, padding="causal"))(x)))
    x, pool = random(2, 3, 9, 1), fl.StreamPool(model, time=2)
    ids = [pool.open(), pool.open()]
    made = np.stack([pool.step(ids, x[:, :, at]) for at in range(9)], 2)
    assert made.tobytes() == model(x).tobytes()
