"""The same bits, however the data arrives: compared as bytes, never with a tolerance."""

import numpy as np
import pytest
from conftest import ISAS, random_case, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st

import fusedlstm as fl
from fusedlstm import _core

FUSED = [isa for isa in ISAS if isa != "scalar"]
seeds = st.integers(0, 2**32 - 1)
many = settings(deadline=None, max_examples=60)


def as_bytes(result):
    y, (h, c) = result
    return y.tobytes(), h.tobytes(), c.tobytes()


def rows(state, which):
    return None if state is None else tuple(part[:, which] for part in state)


@many
@given(seed=seeds)
def test_a_row_alone_or_in_any_batch(seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng, smallest_batch=2, longest=12)
    lstm = fl.LSTM(case.weights)
    y, (h, c) = lstm(case.x, case.state, case.lengths)
    which = rng.permutation(len(case.x))[: rng.integers(1, len(case.x) + 1)]
    lengths = None if case.lengths is None else case.lengths[which]
    some = lstm(case.x[which], rows(case.state, which), lengths)
    assert as_bytes(some) == as_bytes((y[which], (h[:, which], c[:, which])))


@many
@given(seed=seeds)
def test_a_row_in_a_large_batch(seed):
    rng = np.random.default_rng(seed)
    lstm = fl.LSTM(
        random_weights(rng, int(rng.integers(1, 40)), int(rng.integers(1, 70)), directions=int(rng.integers(1, 3)))
    )
    x = rng.standard_normal((int(rng.integers(10, 80)), 3, lstm.input_size)).astype(np.float32)
    b = int(rng.integers(len(x)))
    y, (h, c) = lstm(x)
    assert as_bytes(lstm(x[b])) == as_bytes((y[b], (h[:, b], c[:, b])))


@settings(deadline=None, max_examples=80)
@given(seed=seeds)
def test_one_row_that_is_projected_while_weights_are_read(seed):
    """What one row of a larger layer does by itself (kernels/reading.inl.hpp), rows side by side do not."""
    rng = np.random.default_rng(seed)
    hidden, time = int(rng.choice([48, 63, 64, 70, 100, 128, 130, 200, 240])), int(rng.integers(6, 90))
    inputs = int(rng.integers(hidden // 2, 2 * hidden))
    proj = int(rng.integers(0, 2)) * int(rng.integers(hidden // 2, hidden))
    weights = random_weights(rng, inputs, hidden, int(rng.integers(1, 3)), int(rng.integers(1, 3)), proj)
    lstm = fl.LSTM(weights).astype(str(rng.choice(["float32", "float32", "float16", "bfloat16"])))
    x = rng.standard_normal((3, time, inputs)).astype(np.float32)
    y, (h, c) = lstm(x)
    before = fl.get_num_threads()
    try:
        for count in (1, 2, 3):
            fl.set_num_threads(count)
            assert as_bytes(lstm(x[1])) == as_bytes((y[1], (h[:, 1], c[:, 1])))
    finally:
        fl.set_num_threads(before)
    lengths = [time, int(rng.integers(0, time)), int(rng.integers(0, 6))]  # the rest of a long row runs alone
    short, _ = lstm(x, lengths=lengths)
    assert short[0].tobytes() == y[0].tobytes()


@many
@given(seed=seeds)
def test_a_sequence_whole_or_in_chunks(seed):
    rng = np.random.default_rng(seed)
    layers, proj = int(rng.integers(1, 4)), int(rng.integers(0, 2)) * 5
    weights = random_weights(rng, int(rng.integers(1, 70)), int(rng.integers(6, 100)), layers, proj=proj)
    lstm = fl.LSTM(weights)
    x = rng.standard_normal((int(rng.integers(1, 9)), 40, lstm.input_size)).astype(np.float32)
    whole, final = lstm(x)
    cuts = np.sort(rng.integers(0, 41, rng.integers(0, 6)))
    parts, state = [], None
    for part in np.split(x, cuts, 1):
        if part.shape[1]:
            y, state = lstm(part, state)
            parts.append(y)
    assert as_bytes((np.concatenate(parts, 1), state)) == as_bytes((whole, final))


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_any_number_of_threads(seed):
    rng = np.random.default_rng(seed)
    hidden, batch = int(rng.integers(60, 300)), int(rng.choice([1, 2, 7, 30, 60]))
    weights = random_weights(
        rng,
        33,
        hidden,
        int(rng.integers(1, 3)),
        int(rng.integers(1, 3)),
        int(rng.integers(0, 2)) * int(rng.integers(1, hidden)),
    )
    lstm = fl.LSTM(weights)
    x = rng.standard_normal((batch, 8, 33)).astype(np.float32)
    lengths = rng.integers(0, 9, batch) if rng.random() < 0.5 else None
    before = fl.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 4):
            fl.set_num_threads(count)
            results.append(as_bytes(lstm(x, lengths=lengths)))
    finally:
        fl.set_num_threads(before)
    assert len(set(results)) == 1


@pytest.mark.skipif(len(FUSED) < 2, reason="one instruction set with fused multiply-adds")
@many
@given(seed=seeds)
def test_any_instruction_set(seed):
    case = random_case(np.random.default_rng(seed), longest=12)
    before = _core.isa()
    try:
        results = []
        for isa in FUSED:
            _core.use_isa(isa)
            results.append(as_bytes(fl.LSTM(case.weights)(case.x, case.state, case.lengths)))
    finally:
        _core.use_isa(before)
    assert len(set(results)) == 1


@pytest.mark.skipif(len(FUSED) < 2, reason="one instruction set with fused multiply-adds")
def test_activations_on_any_instruction_set():
    x = np.arange(0, 2**32, 9973, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[~np.isnan(x)]
    before = _core.isa()
    try:
        results = {name: set() for name in ("sigmoid", "tanh")}
        for isa in FUSED:
            _core.use_isa(isa)
            for name, found in results.items():
                found.add(getattr(_core, name)(x).tobytes())
    finally:
        _core.use_isa(before)
    assert all(len(found) == 1 for found in results.values())


def test_the_layout_of_the_input():
    """Batch-first, time-first, strided: the same numbers in the same order."""
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 21, 50, 2, 2)
    x = rng.standard_normal((5, 9, 21)).astype(np.float32)
    y, (h, c) = fl.LSTM(weights)(x)
    y2, state = fl.LSTM(fl.LSTMWeights(weights.layers, batch_first=False))(x.swapaxes(0, 1))
    assert as_bytes((y2.swapaxes(0, 1), state)) == as_bytes((y, (h, c)))
