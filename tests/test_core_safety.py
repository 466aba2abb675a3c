"""The extension modules alone, given nonsense by plain Python: an error each time, and memory that nobody can break."""

import gc
import pickle

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl
from fusedlstm import _core
from fusedlstm.stream import Stream

f4, i8 = np.float32, np.int64
ERRORS = (ValueError, TypeError)


def floats(*shape):
    return np.zeros(shape, f4)


def direction(inputs=3, hidden=2, outputs=None, **more):
    """The arrays of one direction; those given as None are left out."""
    outputs = outputs or hidden
    arrays = {"weight_ih": floats(4 * hidden, inputs), "weight_hh": floats(4 * hidden, outputs), **more}
    return {name: array for name, array in arrays.items() if array is not None}


def lstm(layers, merge="concat", reverse=False, residual=None, dtype="float32", products="float32"):
    layers = [[one if isinstance(one, tuple) else (one, None) for one in layer] for layer in layers]
    return _core.Lstm(layers, merge, reverse, [False] * len(layers) if residual is None else residual, dtype, products)


class Odd:
    """A cell that says what it likes."""

    def __init__(self, **said):
        self.__dict__.update({name: getattr(fl.Cell(), name) for name in fl.Cell.__dataclass_fields__} | said)


WRONG_LAYERS = {
    "none": lambda: lstm([]),
    "no direction": lambda: lstm([[]]),
    "three directions": lambda: lstm([[direction()] * 3]),
    "no arrays": lambda: lstm([[{}]]),
    "weight_ih alone": lambda: lstm([[direction(weight_hh=None)]]),
    "vectors": lambda: lstm([[direction(weight_ih=floats(8), weight_hh=floats(8))]]),
    "empty": lambda: lstm([[direction(weight_ih=floats(0, 3), weight_hh=floats(0, 0))]]),
    "no inputs": lambda: lstm([[direction(weight_ih=floats(8, 0))]]),
    "not four gates": lambda: lstm([[direction(weight_ih=floats(7, 3), weight_hh=floats(7, 2))]]),
    "small weight_ih": lambda: lstm([[direction(weight_ih=floats(4, 3))]]),
    "no projection": lambda: lstm([[direction(weight_hh=floats(8, 1))]]),
    "small weight_hr": lambda: lstm([[direction(outputs=1, weight_hr=floats(1, 1))]]),
    "small bias": lambda: lstm([[direction(bias=floats(7))]]),
    "small bias_hr": lambda: lstm([[direction(outputs=1, weight_hr=floats(1, 2), bias_hr=floats(2))]]),
    "bias_hr alone": lambda: lstm([[direction(bias_hr=floats(2))]]),
    "unknown array": lambda: lstm([[direction(weight=floats(2))]]),
    "peephole of a plain cell": lambda: lstm([[direction(peephole_i=floats(2))]]),
    "small peephole": lambda: lstm([[(direction(peephole_i=floats(1)), fl.Cell())]]),
    "norm without gain": lambda: lstm([[(direction(), Odd(gate_norm="gates"))]]),
    "sides without norm_hh": lambda: lstm([[(direction(norm_ih=floats(8)), Odd(gate_norm="sides"))]]),
    "small norm": lambda: lstm([[(direction(norm_ih=floats(2)), Odd(gate_norm="gates"))]]),
    "cell norm without gain": lambda: lstm([[(direction(), Odd(cell_norm="carried"))]]),
    "unknown gate": lambda: lstm([[(direction(), Odd(gate=Odd(name="sine", alpha=0.0, beta=0.0)))]]),
    "a gate without a name": lambda: lstm([[(direction(), Odd(gate=3))]]),
    "a number that is none": lambda: lstm([[(direction(), Odd(gate_clip="wide"))]]),
    "no cell": lambda: lstm([[(direction(), 42)]]),
    "small h_0": lambda: lstm([[direction(h_0=floats(1), c_0=floats(2))]]),
    "small c_0": lambda: lstm([[direction(h_0=floats(2), c_0=floats(1))]]),
    "inputs of the next layer": lambda: lstm([[direction()], [direction(3)]]),
    "one direction, then two": lambda: lstm([[direction()], [direction(2)] * 2]),
    "directions of two sizes": lambda: lstm([[direction(), direction(3, 4)]]),
    "directions of two inputs": lambda: lstm([[direction(), direction(4)]]),
    "a projection backwards": lambda: lstm([[direction(), direction(outputs=2, weight_hr=floats(2, 2))]]),
    "residuals too few": lambda: lstm([[direction()], [direction(2)]], residual=[False]),
    "residuals too many": lambda: lstm([[direction()]], residual=[False] * 9),
    "a residual that does not fit": lambda: lstm([[direction()]], residual=[True]),
    "reverse of two": lambda: lstm([[direction()] * 2], reverse=True),
    "merge": lambda: lstm([[direction()] * 2], merge="most"),
    "dtype": lambda: lstm([[direction()]], dtype="int4"),
    "products": lambda: lstm([[direction()]], dtype="float16", products="int8"),
    "integers": lambda: lstm([[direction(weight_ih=np.zeros((8, 3), i8))]]),
    "doubles": lambda: lstm([[direction(weight_ih=np.zeros((8, 3)))]]),
}


@pytest.mark.parametrize("what", WRONG_LAYERS)
def test_an_lstm_is_made_of_what_fits_alone(what):
    with pytest.raises((*ERRORS, AttributeError)):
        WRONG_LAYERS[what]()


def test_arrays_of_any_strides_are_taken():
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 3, 4).layers[0][0]
    turned = {name: np.asfortranarray(array) for name, array in weights.arrays.items()}
    x = rng.standard_normal((2, 5, 3)).astype(f4)
    plain, other = lstm([[dict(weights.arrays)]]), lstm([[turned]])
    expected = plain.run(x, True, None, None, None, None, True)[0]
    assert other.run(x, True, None, None, None, None, True)[0].tobytes() == expected.tobytes()
    wide = np.zeros((2, 5, 6), f4)[..., ::2]  # the engine takes whole rows; others are copied, not misread
    wide[...] = x
    assert plain.run(wide, True, None, None, None, None, True)[0].tobytes() == expected.tobytes()
    assert plain.run(np.asfortranarray(x), True, None, None, None, None, True)[0].tobytes() == expected.tobytes()


PLAIN = lstm([[direction(3, 8)]])
READ_ONLY = np.zeros((2, 5, 8), f4)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "arguments",
    [
        {"x": floats(3)},
        {"x": floats(2, 5, 4)},
        {"x": floats(2, 0, 3)},
        {"x": floats(2, 2, 5, 3)},
        {"x": np.float32(0)},
        {"x": np.zeros((2, 5, 3))},
        {"x": "abc"},
        {"h_0": floats(1, 2, 7)},
        {"h_0": floats(16)},
        {"c_0": floats(2, 2, 8)},
        {"c_0": np.zeros((1, 2, 8), complex)},
        {"lengths": np.array([5, 6])},
        {"lengths": np.array([-1, 0])},
        {"lengths": np.array([1])},
        {"lengths": np.array([0.5, 1])},
        {"out": floats(2, 5, 7)},
        {"out": floats(2, 5, 16)[..., ::2]},
        {"out": READ_ONLY},
        {"out": np.broadcast_to(floats(8), (2, 5, 8))},
        {"out": np.lib.stride_tricks.as_strided(floats(99), (2, 5, 8), (0, 0, 4))},
        {"out": [[0.0]]},
    ],
)
def test_lstm_run(arguments):
    given = {"x": floats(2, 5, 3), "batch_first": True, "h_0": None, "c_0": None, "lengths": None, "out": None}
    given |= {"stacked": True}
    PLAIN.run(**given)
    with pytest.raises(ERRORS):
        PLAIN.run(**{**given, **arguments})


def conv(weight_ih=(8, 3, 3, 4), weight_hh=(8, 3, 3, 2), bias=(8,), strides=(1, 1), dilation=(1, 1), cell=None):
    arrays = [None if shape is None else floats(*shape) for shape in (weight_ih, weight_hh, bias)]
    return _core.ConvLstm(*arrays, strides, dilation, True, cell)


@pytest.mark.parametrize(
    "arguments",
    [
        {"weight_ih": (8, 3, 4)},
        {"weight_hh": (8, 2)},
        {"weight_ih": (4, 3, 3, 4)},
        {"weight_hh": (8, 3, 3, 3)},
        {"weight_ih": (8, 0, 3, 4)},
        {"weight_hh": (8, 3, 0, 2)},
        {"weight_hh": (0, 3, 3, 0)},
        {"bias": (7,)},
        {"bias": (8, 1)},
        {"strides": (0, 1)},
        {"strides": (1,)},
        {"strides": (1, 2**40)},
        {"dilation": (1, 0)},
        {"dilation": (-1, 1)},
        {"cell": 42},
        {"cell": Odd(gate_norm="gates")},
        {"cell": Odd(cell_norm="carried")},
    ],
)
def test_a_conv_lstm_is_made_of_what_fits_alone(arguments):
    conv()
    with pytest.raises((*ERRORS, AttributeError)):
        conv(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x": floats(2, 5, 7, 6)},
        {"x": floats(2, 5, 7, 6, 3)},
        {"x": floats(2, 5, 1, 6, 4)},
        {"y": floats(2, 5, 7, 6, 1)},
        {"y": floats(2, 4, 7, 6, 2)},
        {"y": floats(1, 5, 7, 6, 2)},
        {"y": np.broadcast_to(floats(2), (2, 5, 7, 6, 2))},
        {"y": np.lib.stride_tricks.as_strided(floats(2), (2, 5, 7, 6, 2), (0, 0, 0, 0, 4))},
        {"h_0": floats(2, 7, 6, 1)},
        {"c_0": floats(2, 7, 5, 2)},
    ],
)
def test_conv_lstm_run(arguments):
    given = {name: floats(2, 7, 6, 2) for name in ("h_0", "c_0")}
    given |= {"x": floats(2, 5, 7, 6, 4), "y": floats(2, 5, 7, 6, 2)}
    conv().run(**given)
    with pytest.raises(ERRORS):
        conv().run(**{**given, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"lstm": None},
        {"lstm": lstm([[direction(3, 8)] * 2])},
        {"lstm": lstm([[direction(3, 8)]], reverse=True)},
        {"x": floats(2, 4)},
        {"x": floats(3, 3)},
        {"y": floats(2, 7)},
        {"y": floats(3, 8)},
        {"y": READ_ONLY[:, 0]},
        {"states": floats(4, 15)},
        {"states": floats(64)},
        {"states": np.broadcast_to(floats(16), (4, 16))},
        {"slots": np.array([0, 4])},
        {"slots": np.array([-1, 0])},
        {"slots": np.array([0])},
        {"slots": np.zeros((2, 1), i8)},
        {"slots": np.array([0.0, 1.0])},
        {"lengths": np.array([1, 2])},
        {"lengths": np.array([-1, 3])},
        {"lengths": np.array([2**62, 2**62])},
        {"lengths": np.array([2])},
    ],
)
def test_step_slots(arguments):
    given = {"lstm": PLAIN, "x": floats(2, 3), "y": floats(2, 8), "states": floats(4, 16)}
    given |= {"slots": np.array([2, 0]), "lengths": None}
    _core.step_slots(**given)
    with pytest.raises(ERRORS):
        _core.step_slots(**{**given, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"place": np.zeros(3, i8)},
        {"slots": np.zeros(3, i8)},
        {"turns": np.zeros(4, i8)},
        {"ids": np.zeros((2, 1), i8)},
        {"ids": np.zeros(2)},
        {"apart": 0},
        {"apart": -5},
        {"place": np.broadcast_to(np.zeros(1, i8), 4)},
    ],
)
def test_find_slots(arguments):
    given = {"ids": np.array([2, 0]), "turns": np.ones((4, 1), i8), "apart": 100}
    given |= {"place": np.zeros(4, i8), "slots": np.zeros(2, i8)}
    assert _core.find_slots(**given)
    with pytest.raises(ERRORS):
        _core.find_slots(**{**given, **arguments})
    for id in (4, -1, 100, 2**63 - 1, -(2**63)):
        assert not _core.find_slots(**{**given, "ids": np.array([id, 0])})


@pytest.mark.parametrize(
    "call",
    [
        lambda: _core.sigmoid_times_tanh(floats(3), floats(4)),
        lambda: _core.sigmoid("a"),
        lambda: _core.activate(3, floats(2)),
        lambda: _core.activate(Odd(name="sine", alpha=0.0, beta=0.0), floats(2)),
        lambda: _core.activate(Odd(name="elu", alpha=None, beta=0.0), floats(2)),
        lambda: _core.zeros(2**40, 2**40),
        lambda: _core.zeros(-1, 2),
        lambda: _core.check_out(7),
        lambda: _core.Lstm.__new__(_core.Lstm).handle,
        lambda: _core.Lstm.__new__(_core.Lstm).run(floats(2, 3), True, None, None, None, None, True),
    ],
)
def test_the_rest(call):
    with pytest.raises((*ERRORS, AttributeError)):
        call()


def test_only_an_lstm_has_streams():
    class Liar(fl.LSTM):
        handle = 4096

    one = fl.LSTM(random_weights(np.random.default_rng(0), 3, 4))
    for other in (42, None, Odd(handle=4096, batch_first=True), one.weights, one._core):
        with pytest.raises(TypeError, match=r"lstm: expected fusedlstm\.LSTM"):
            Stream(other)
    liar = Liar(one.weights)
    assert liar.stream().step(floats(3)).tobytes() == one.stream().step(floats(3)).tobytes()
    liar._core = Odd(handle=4096)
    with pytest.raises(TypeError):
        Stream(liar)


def test_a_stream_that_was_never_born():
    unborn = Stream.__new__(Stream)
    x = floats(3)
    for call in (
        unborn.step, unborn.reset, unborn.copy, unborn.__reduce__, unborn.__enter__, lambda: unborn.step(x),
        lambda: unborn.process(floats(2, 3)), lambda: unborn.state, lambda: setattr(unborn, "state", (x, x)),
        lambda: unborn.reset([True]), lambda: unborn.step(x, active=[True]), lambda: unborn.step(out=x),
    ):  # fmt: skip
        with pytest.raises((*ERRORS, AttributeError)):
            call()
    unborn.close()
    assert unborn.closed and unborn.batch_size == 0 and "closed" in repr(unborn)


def test_a_stream_keeps_its_engine():
    """Whatever becomes of the LSTM object that it was made from."""
    rng = np.random.default_rng(0)
    one, x = fl.LSTM(random_weights(rng, 3, 40)), floats(3) + 1
    expected, stream, pool = one.stream().step(x), one.stream(), fl.StreamPool(one)
    id = pool.open()
    one.__init__(random_weights(rng, 30, 400))
    gc.collect()
    assert stream.step(x).tobytes() == pool.step([id], x[None]).tobytes() == expected.tobytes()
    with pytest.raises(RuntimeError, match="once"):
        stream.__init__(one)
    stream.close()
    with pytest.raises(RuntimeError, match="once"):
        stream.__init__(one)


def test_what_streams_lend_cannot_be_moved():
    stream = fl.LSTM(random_weights(np.random.default_rng(0), 64, 64)).stream(2)
    for array in (stream.input, stream.output):
        with pytest.raises(ValueError):
            array.resize((2, 1 << 20), refcheck=False)
        assert not isinstance(array.base, np.ndarray)
    address = stream.output.ctypes.data
    stream.input.shape = (64, 2)  # of the caller's view of it; the memory stays
    assert stream.step().shape == (2, 64) and stream.output.ctypes.data == address


def test_unpickled_streams_and_pools_are_checked():
    stream = fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)).stream()
    restore, (one, rows, state) = stream.__reduce__()
    with pytest.raises(ERRORS):
        restore(one, rows + 1, state)
    with pytest.raises(ERRORS):
        restore(one, rows, (state[0][..., :1], state[1]))
    assert pickle.loads(pickle.dumps(stream)).step(floats(3)).tobytes() == stream.step(floats(3)).tobytes()
