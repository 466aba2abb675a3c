"""Bad input gets a clear error and loses nothing."""

import copy
import pickle

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl


@pytest.fixture
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 5, 8, 2, 2))


X = np.zeros((3, 4, 5), np.float32)
STATE = np.zeros((4, 3, 8), np.float32)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros((3, 4, 6), np.float32),
            r"x: expected \(batch, time, input\) with an input size of 5, found shape \(3, 4, 6\)",
        ),
        (np.zeros((4, 6), np.float32), r"x: expected \(time, input\) with an input size of 5, found shape \(4, 6\)"),
        (np.zeros(5, np.float32), r"x: expected \(time, input\) or \(batch, time, input\), found shape \(5,\)"),
        (np.zeros((1, 3, 4, 5), np.float32), r"x: expected .* found shape \(1, 3, 4, 5\)"),
        (np.float32(1), r"x: expected .* found shape \(\)"),
        (np.zeros((3, 0, 5), np.float32), r"x: expected .* at least one time step, found shape \(3, 0, 5\)"),
        (np.zeros((0, 5), np.float32), r"x: expected .* at least one time step"),
    ],
)
def test_wrong_shape_of_x(lstm, x, message):
    with pytest.raises(ValueError, match=message):
        lstm(x)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint8, bool, object, complex, "U3"])
def test_x_that_is_not_floating_point(lstm, dtype):
    with pytest.raises(TypeError, match="x: expected a floating-point array, found dtype"):
        lstm(np.zeros((3, 4, 5)).astype(dtype))


@pytest.mark.parametrize("x", [None, "abc", {}])
def test_x_that_is_no_array(lstm, x):
    with pytest.raises(TypeError):
        lstm(x)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ((STATE[:, :2], STATE), ValueError, r"state h: expected shape \(4, 3, 8\).* found \(4, 2, 8\)"),
        ((STATE, STATE[..., :7]), ValueError, r"state c: expected shape \(4, 3, 8\).* found \(4, 3, 7\)"),
        ((STATE[:, 0], STATE[:, 0]), ValueError, r"state h: expected shape"),
        ((STATE, STATE, STATE), TypeError, r"state: expected a pair \(h, c\)"),
        (STATE, TypeError, r"state: expected a pair \(h, c\)"),
        ((STATE.astype(int), STATE), TypeError, "state h: expected a floating-point array"),
        ((None, STATE), TypeError, "state h"),
    ],
)
def test_wrong_state(lstm, state, error, message):
    with pytest.raises(error, match=message):
        lstm(X, state)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1, 2, 5], ValueError, r"lengths\[2\]: expected 0 to 4, the time steps of x, found 5"),
        ([1, -1, 2], ValueError, r"lengths\[1\]: .* found -1"),
        ([1, 2], ValueError, r"lengths: expected shape \(3,\)"),
        ([[1, 2, 3]], ValueError, "lengths: expected shape"),
        (3, ValueError, "lengths: expected shape"),
        ([1.0, 2.0, 3.0], TypeError, "lengths: expected whole numbers, found dtype float64"),
        ([2**63 - 1, 1, 1], ValueError, r"lengths\[0\]"),
        (np.array([2**64 - 1, 1, 1], np.uint64), ValueError, "lengths"),
        (["1", "2", "3"], TypeError, "lengths: expected whole numbers"),
    ],
)
def test_wrong_lengths(lstm, lengths, error, message):
    with pytest.raises(error, match=message):
        lstm(X, lengths=lengths)


READONLY = np.zeros((3, 4, 16), np.float32)
READONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((3, 4, 8), np.float32), ValueError, r"out: expected shape \(3, 4, 16\)"),
        (np.zeros((3, 4, 16)), TypeError, "out: expected a numpy array of float32, found dtype float64"),
        (np.zeros((3, 4, 16), ">f4"), TypeError, "out: expected a numpy array of float32"),
        ([], TypeError, "out: expected a numpy array of float32, found list"),
        (READONLY, ValueError, "out: expected a writeable array"),
        (np.zeros((3, 4, 32), np.float32)[..., ::2], ValueError, "out: expected the last axis to be contiguous"),
        (np.lib.stride_tricks.as_strided(np.zeros(16, np.float32), (3, 4, 16), (0, 0, 4)), ValueError, "out: "),
        (np.lib.stride_tricks.as_strided(np.zeros(999, np.float32), (3, 4, 16), (64, 32, 4)), ValueError, "out: "),
    ],
)
def test_wrong_out(lstm, out, error, message):
    with pytest.raises(error, match=message):
        lstm(X, out=out)


def test_threads_and_isa_settings():
    for count in (0, -1, 5000):
        with pytest.raises((ValueError, TypeError)):
            fl.set_num_threads(count)
    with pytest.raises(ValueError, match="FUSEDLSTM_ISA: expected one of .*scalar.* found 'mmx'"):
        fl._core.use_isa("mmx")


def direction(input_size=3, hidden=2, output=None, **kwargs):
    return fl.DirectionWeights(np.zeros((4 * hidden, input_size)), np.zeros((4 * hidden, output or hidden)), **kwargs)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fl.DirectionWeights(np.zeros((7, 3)), np.zeros((7, 2))), ValueError, r"4 \* hidden_size rows"),
        (
            lambda: fl.DirectionWeights(np.zeros((8, 3)), np.zeros((8, 3))),
            ValueError,
            r"weight_hh: expected shape \(8, 2\)",
        ),
        (
            lambda: fl.DirectionWeights(np.zeros((4, 3)), np.zeros((8, 2))),
            ValueError,
            r"weight_ih: expected shape \(8, 3\)",
        ),
        (lambda: fl.DirectionWeights(np.zeros((0, 3)), np.zeros((0, 0))), ValueError, "weight_hh"),
        (lambda: fl.DirectionWeights(np.zeros((8, 0)), np.zeros((8, 2))), ValueError, "input size of 1 or more"),
        (lambda: direction(bias=np.zeros(7)), ValueError, r"bias: expected shape \(8,\), found \(7,\)"),
        (lambda: direction(weight_hr=np.zeros((1, 3))), ValueError, r"weight_hr: expected shape \(2, 2\)"),
        (
            lambda: direction(bias=np.zeros(8, int)),
            TypeError,
            "bias: expected a floating-point array, found dtype int64",
        ),
        (lambda: direction(bias=np.zeros((8, 1))), ValueError, "bias: expected 1 dimension"),
        (lambda: fl.LSTMWeights([]), ValueError, "at least one layer"),
        (lambda: fl.LSTMWeights([[]]), ValueError, "one direction or two"),
        (lambda: fl.LSTMWeights([[direction()] * 3]), ValueError, "one direction or two"),
        (
            lambda: fl.LSTMWeights([[direction()], [direction()]]),
            ValueError,
            r"layers\[1\]\[0\].weight_ih: expected an input size of 2",
        ),
        (lambda: fl.LSTMWeights([[direction()], [direction(2)] * 2]), ValueError, r"layers\[1\]: expected 1 direction"),
        (
            lambda: fl.LSTMWeights([[direction(), direction(3, 4)]]),
            ValueError,
            r"layers\[0\]\[1\]: expected hidden size 2",
        ),
        (lambda: fl.LSTM("weights.pt"), TypeError, "expected fusedlstm.LSTMWeights"),
    ],
)
def test_weights_that_do_not_fit(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_weights_are_copied_and_read_only():
    source = np.ones((8, 3), np.float32)
    one = fl.DirectionWeights(source, np.zeros((8, 2), np.float32))
    source[:] = 5
    assert (one.weight_ih == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        one.weight_ih[:] = 2


def test_a_batch_of_no_rows(lstm):
    y, (h, c) = lstm(np.zeros((0, 4, 5), np.float32))
    assert y.shape == (0, 4, 16) and h.shape == c.shape == (4, 0, 8)


def test_pickle_and_repr(lstm):
    again = pickle.loads(pickle.dumps(lstm))
    np.testing.assert_array_equal(again(X + 1)[0], lstm(X + 1)[0])
    assert repr(lstm) == "LSTM(5, 8, num_layers=2, bidirectional=True, batch_first=True)"


@pytest.mark.parametrize("make", [lambda p: p / "missing.pt", lambda p: p])
def test_no_such_file(tmp_path, make):
    with pytest.raises(OSError):
        fl.LSTM.load(make(tmp_path))


CONTENTS = [b"", b"hello", bytes(4096), bytes(range(256)) * 8, b"PK\3\4", b"\x89HDF\r\n\x1a\n"]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_no_weights_file(tmp_path, content):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(fl.FormatError, match="weights.bin: "):
        fl.LSTM.load(path)


def stored(weights):
    """Every array of weights."""
    if isinstance(weights, fl.ConvLSTMWeights):
        return [weights.weight_ih, weights.weight_hh, weights.bias]
    arrays = [array for layer in weights.layers for one in layer for array in one.arrays.values()]
    return arrays + [one for part in weights.initial_state or () for one in part]


def one_of_each():
    learned = [np.zeros((1, 2))]
    whole = fl.LSTMWeights([[direction(bias=np.zeros(8))]], initial_state=(learned, learned))
    return [whole, fl.ConvLSTMWeights(np.zeros((8, 3, 4), np.float32), np.zeros((8, 3, 2)), np.zeros(8))]


@pytest.mark.parametrize("again", [lambda w: w, copy.copy, copy.deepcopy, lambda w: pickle.loads(pickle.dumps(w))])
def test_nobody_writes_to_weights(again):
    for weights in map(again, one_of_each()):
        for array in stored(weights):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 1
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.setflags(write=True)
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.view(np.uint8).flags.writeable = True
            with pytest.raises(ValueError):
                array.resize(1, refcheck=False)


def test_weights_of_read_only_arrays_are_copied_unless_nobody_can_write_to_them():
    source = np.ones((8, 3), np.float32)
    view = source[:]
    view.flags.writeable = False
    one = fl.DirectionWeights(view, np.zeros((8, 2)))
    source[...] = 5
    assert (one.weight_ih == 1).all()
    assert fl.DirectionWeights(one.weight_ih, one.weight_hh).weight_ih is one.weight_ih


def spoiled(value, **changes):
    """A pickle of something that was not made by its class."""
    other = object.__new__(type(value))
    other.__dict__.update(value.__dict__, **changes)
    return pickle.dumps(other)


SMALL = direction(bias=np.zeros(8))


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (lambda: spoiled(SMALL, weight_hh=np.zeros((8, 1), np.float32)), "weight_hh: expected shape"),
        (lambda: spoiled(SMALL, weight_ih=np.zeros((4, 3), np.float32)), "weight_ih: expected shape"),
        (lambda: spoiled(SMALL, bias=np.zeros(1)), "bias: expected shape"),
        (lambda: spoiled(SMALL, bias=np.zeros(8, int)), "bias: expected a floating-point array"),
        (lambda: spoiled(SMALL, cell="lstm"), "cell: expected fusedlstm.Cell, found str"),
        (lambda: spoiled(SMALL, norm_c=np.zeros(2)), "norm_c: unused"),
        (lambda: spoiled(fl.Cell(), gate_norm="most"), "gate_norm: expected one of"),
        (lambda: spoiled(fl.Cell(), gate="relu"), "gate: expected fusedlstm.Activation"),
        (lambda: spoiled(fl.Cell(), cell_zoneout=2.0), "cell_zoneout: expected a share"),
        (lambda: spoiled(fl.Activation("relu"), name="sine"), "activation: expected one of"),
        (lambda: spoiled(fl.Activation("elu"), alpha=np.inf), "expected a finite alpha"),
        (lambda: spoiled(fl.LSTMWeights([[SMALL]]), merge="later"), "merge: expected one of"),
        (lambda: spoiled(fl.LSTMWeights([[SMALL]]), dtype="int4"), "dtype: expected one of"),
        (lambda: spoiled(fl.LSTMWeights([[SMALL]]), layers=((SMALL,), (SMALL,))), "expected an input size of 2"),
        (lambda: spoiled(fl.LSTMWeights([[SMALL]]), layers=((3,),)), "expected fusedlstm.DirectionWeights, found int"),
        (lambda: spoiled(fl.LSTMWeights([[SMALL]]), residual=(False, False)), "residual: expected 1 values"),
        (lambda: spoiled(fl.LSTMWeights([[SMALL]]), initial_state=([np.zeros((1, 2))],)), "expected a pair"),
        (lambda: spoiled(fl.LSTMWeights([[SMALL]]), wings=2), "found 'wings' in a pickle .*later version"),
        (lambda: spoiled(one_of_each()[1], weight_ih=np.zeros((8, 3))), "weight_ih: expected 3 dimension"),
        (lambda: spoiled(one_of_each()[1], strides=(0,)), "strides: expected"),
        (lambda: spoiled(one_of_each()[1], output=None), "output: expected fusedlstm.Activation"),
    ],
)
def test_what_is_unpickled_is_checked_like_new(pickled, message):
    with pytest.raises((ValueError, TypeError), match=message):
        pickle.loads(pickled())


def test_pickles_that_lack_fields_get_the_defaults():
    other = object.__new__(fl.LSTMWeights)
    other.__dict__.update(layers=((SMALL,),), batch_first=False)
    found = pickle.loads(pickle.dumps(other))
    assert found.dtype == "float32" and found.merge == "concat" and not found.batch_first and fl.LSTM(found)
