"""ConvLSTM against the float64 oracle on every instruction set, its bits, its messages."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import ISAS, largest_error
from conv_cases import random_case, random_weights
from conv_reference import conv_lstm as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

import fusedlstm as fl
from fusedlstm import _core

FUSED = [isa for isa in ISAS if isa != "scalar"]
LIMIT = 1.8e-6  # twice the largest error of 3,000 cases like these
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("seed", range(40))
def test_against_the_oracle(isa, seed):
    weights, x, state = random_case(np.random.default_rng(seed))
    assert largest_error(fl.ConvLSTM(weights)(x, state), oracle(weights, x, state)) < LIMIT


def test_more_filters_than_a_panel_set(isa):
    """Weights larger than L2, many chunks of rows."""
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 3, 130, (3, 3))
    x = rng.standard_normal((2, 2, 9, 10, 3)).astype(np.float32)
    assert largest_error(fl.ConvLSTM(weights)(x), oracle(weights, x)) < LIMIT


def as_bytes(result):
    y, (h, c) = result
    return y.tobytes(), h.tobytes(), c.tobytes()


@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_a_row_alone_and_time_in_chunks(seed):
    rng = np.random.default_rng(seed)
    weights, x, state = random_case(rng, 20)
    weights = replace(weights, flip_output=False)
    lstm = fl.ConvLSTM(weights)
    y, (h, c) = lstm(x, state)
    b = int(rng.integers(len(x)))
    alone = lstm(x[b], state and tuple(one[b] for one in state))
    assert as_bytes(alone) == as_bytes((y[b], (h[b], c[b])))
    order = slice(None, None, -1) if weights.reverse else slice(None)
    parts = []
    for part in np.split(x[:, order], [int(rng.integers(x.shape[1] + 1))], axis=1):
        if part.shape[1]:
            y_part, state = lstm(part[:, order], state)
            parts.append(y_part[:, order])
    assert as_bytes((np.concatenate(parts, 1)[:, order], state)) == as_bytes((y, (h, c)))


@settings(deadline=None, max_examples=15)
@given(seed=seeds)
def test_any_number_of_threads(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 3))
    weights = random_weights(rng, 5, int(rng.integers(30, 50)), (3,) * rank)
    x = rng.standard_normal((2, 3, *(13, 11)[:rank], 5)).astype(np.float32)
    lstm = fl.ConvLSTM(weights)
    before = fl.get_num_threads()
    try:
        results = set()
        for count in (1, 2, 3, 5):
            fl.set_num_threads(count)
            results.add(as_bytes(lstm(x)))
    finally:
        fl.set_num_threads(before)
    assert len(results) == 1


@pytest.mark.skipif(len(FUSED) < 2, reason="one instruction set with fused multiply-adds")
@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_any_instruction_set(seed):
    weights, x, state = random_case(np.random.default_rng(seed))
    before = _core.isa()
    try:
        results = set()
        for isa in FUSED:
            _core.use_isa(isa)
            results.add(as_bytes(fl.ConvLSTM(weights)(x, state)))
    finally:
        _core.use_isa(before)
    assert len(results) == 1


def test_several_callers_at_once():
    rng = np.random.default_rng(0)
    lstm = fl.ConvLSTM(random_weights(rng, 5, 40, (3, 3)))
    x = rng.standard_normal((2, 3, 13, 11, 5)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        assert len({as_bytes(one) for one in pool.map(lambda _: lstm(x), range(32))}) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="getrusage counts in other units elsewhere")
def test_memory_does_not_grow_with_time():
    """Twenty thousand frames: beside x and y, the peak is some megabytes."""
    code = """
import resource, numpy as np, fusedlstm as fl
from conv_cases import random_weights
fl.set_num_threads(1)
lstm = fl.ConvLSTM(random_weights(np.random.default_rng(0), 3, 4, (3, 3)))
x, out = np.zeros((20_000, 8, 8, 3), np.float32), np.ones((20_000, 8, 8, 4), np.float32)
lstm(x[:20])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lstm(x, out=out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    path = os.pathsep.join(sys.path)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert int(run.stdout) < 4 << 10, run.stderr  # KiB; x and y are 15 and 20 MiB


def test_channels_first_is_the_same_numbers():
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 4, 7, (3, 2))
    x = rng.standard_normal((2, 3, 5, 6, 4)).astype(np.float32)
    y, (h, c) = fl.ConvLSTM(weights)(x)
    y2, (h2, c2) = fl.ConvLSTM(replace(weights, channels_first=True))(np.moveaxis(x, -1, 2))
    assert y2.shape == (2, 3, 7, 5, 6) and h2.shape == (2, 7, 5, 6)
    assert as_bytes((np.moveaxis(y2, 2, -1), tuple(np.moveaxis(one, 1, -1) for one in (h2, c2)))) == as_bytes(
        (y, (h, c))
    )


def test_out_any_strides_and_memory_that_overlaps():
    rng = np.random.default_rng(0)
    lstm = fl.ConvLSTM(random_weights(rng, 4, 4, (3, 3)))
    x = rng.standard_normal((2, 3, 5, 6, 4)).astype(np.float32)
    y, state = lstm(x)
    out = np.empty_like(y)
    found, _ = lstm(x, out=out)
    assert found is out and (out == y).all()
    assert as_bytes(lstm(np.asfortranarray(x))) == as_bytes((y, state))
    assert as_bytes(lstm(np.repeat(x, 2, axis=3)[:, :, :, ::2])) == as_bytes((y, state))
    memory = np.zeros((2, 4, 5, 6, 4), np.float32)  # y_t goes to where x_{t+1} is
    memory[:, :3] = x
    lstm(memory[:, :3], out=memory[:, 1:])
    assert (memory[:, 1:] == y).all()


def test_nan_stays_within_its_windows():
    rng = np.random.default_rng(0)
    lstm = fl.ConvLSTM(random_weights(rng, 2, 3, (3, 3)))
    x = rng.standard_normal((1, 1, 9, 9, 2)).astype(np.float32)
    clean = lstm(x)[0]
    x[0, 0, 4, 4, 0] = np.nan
    y = lstm(x)[0]
    inside = np.zeros(y.shape, bool)
    inside[:, :, 3:6, 3:6] = True
    assert np.isnan(y[inside]).all() and (y[~inside] == clean[~inside]).all()


X = np.zeros((2, 3, 5, 6, 4), np.float32)
STATE = np.zeros((2, 5, 6, 7), np.float32)


@pytest.fixture
def lstm():
    return fl.ConvLSTM(random_weights(np.random.default_rng(0), 4, 7, (3, 3)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (X[..., :3],),
            ValueError,
            r"x: expected \(batch, time, height, width, channels\) with 4 channels, found shape",
        ),
        ((X[0, ..., :3],), ValueError, r"x: expected \(time, height, width, channels\) with 4 channels, found shape"),
        ((X[0, 0],), ValueError, r"x: expected \(batch, time, height, width, channels\) or \(time, height"),
        ((X[:, :0],), ValueError, "at least one time step"),
        ((X[:, :, :0],), ValueError, "with frames no smaller than the window"),
        ((X.astype(int),), TypeError, "x: expected a floating-point array"),
        ((X, STATE), TypeError, r"state: expected a pair \(h, c\)"),
        ((X, (STATE, STATE[:, :4])), ValueError, r"state c: expected shape \(2, 5, 6, 7\), found \(2, 4, 6, 7\)"),
        ((X, (STATE[0], STATE)), ValueError, "state h: expected shape"),
        ((X, None, np.zeros((2, 3, 5, 6, 4), np.float32)), ValueError, r"out: expected shape \(2, 3, 5, 6, 7\)"),
        ((X, None, np.zeros((2, 3, 5, 6, 7))), TypeError, "out: expected a numpy array of float32"),
    ],
)
def test_wrong_arguments(lstm, arguments, error, message):
    with pytest.raises(error, match=message):
        lstm(*arguments)


def test_a_frame_smaller_than_the_window(lstm):
    valid = fl.ConvLSTM(replace(lstm.weights, padding="valid", dilation=(3, 1)))
    with pytest.raises(ValueError, match="frames no smaller than the window"):
        valid(X)
    assert valid(np.zeros((1, 1, 7, 3, 4), np.float32))[0].shape == (1, 1, 1, 1, 7)


K, R = np.zeros((8, 3, 3, 4)), np.zeros((8, 3, 3, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((K, np.zeros((8, 3, 3, 3, 2))), r"weight_hh: expected .* 1 or 2 axes, found shape \(8, 3, 3, 3, 2\)"),
        ((K, np.zeros((7, 3, 3, 2))), r"weight_hh: expected shape \(8, 3, 3, 2\)"),
        ((np.zeros((4, 3, 3, 4)), R), r"weight_ih: expected shape \(8, 3, 3, 4\)"),
        ((np.zeros((8, 3, 4)), R), "weight_ih: expected 4 dimension"),
        ((np.zeros((8, 0, 3, 4)), R), "weight_ih: expected sizes of 1 or more"),
        ((K, R, np.zeros(7)), r"bias: expected shape \(8,\)"),
        ((K, R, None, (1,)), r"strides: expected 2 whole number\(s\) of 1 or more, found \(1,\)"),
        ((K, R, None, (0, 1)), "strides"),
        ((K, R, None, None, (1, 2**40)), "dilation"),
        ((K, R, None, None, (1, 1.5)), "dilation"),
        ((K, R, None, None, None, "causal"), "padding: expected 'same' or 'valid', found 'causal'"),
    ],
)
def test_weights_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        fl.ConvLSTMWeights(*arguments)


def test_other_things_that_are_refused(lstm):
    with pytest.raises(TypeError, match="expected a floating-point array, found dtype int64"):
        fl.ConvLSTMWeights(K.astype(int), R)
    with pytest.raises(ValueError, match="flip_output: expected reverse beside it"):
        fl.ConvLSTMWeights(K, R, flip_output=True)
    with pytest.raises(TypeError, match="expected fusedlstm.ConvLSTMWeights, found str"):
        fl.ConvLSTM("weights.keras")


def test_windows_far_larger_than_the_frame(lstm):
    """Nothing is allocated for what lies outside of the frames."""
    far = replace(lstm.weights, dilation=(2**31 - 1, 2**31 - 1))
    x = np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
    point = replace(lstm.weights, weight_ih=lstm.weights.weight_ih[:, 1:2, 1:2])
    assert largest_error(fl.ConvLSTM(far)(x), oracle(point, x)) < LIMIT


def test_a_batch_of_no_rows(lstm):
    y, (h, c) = lstm(X[:0])
    assert y.shape == (0, 3, 5, 6, 7) and h.shape == c.shape == (0, 5, 6, 7)


def test_pickle_and_repr(lstm):
    again = pickle.loads(pickle.dumps(lstm))
    assert as_bytes(again(X + 1)) == as_bytes(lstm(X + 1))
    assert repr(lstm) == "ConvLSTM(4, 7, kernel_size=(3, 3), padding='same')"
