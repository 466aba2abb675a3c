"""The engine against the float64 oracle, on every instruction set, beside PyTorch's own float32 error."""

import threading

import numpy as np
import pytest
from conftest import ISAS, Case, errors, largest_error, random_case, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import lstm as oracle

import fusedlstm as fl
from fusedlstm import _core

LIMIT = 2e-6


def run(case: Case):
    return fl.LSTM(case.weights)(case.x, case.state, case.lengths)


def torch_run(case: Case):
    torch = pytest.importorskip("torch")
    w = case.weights
    module = torch.nn.LSTM(
        w.input_size,
        w.hidden_size,
        w.num_layers,
        bias=w.layers[0][0].bias is not None,
        batch_first=True,
        bidirectional=w.bidirectional,
        proj_size=w.proj_size,
    )
    with torch.no_grad():
        for k, layer in enumerate(w.layers):
            for one, suffix in zip(layer, ("", "_reverse")):
                for name, array in one.arrays.items():
                    name = "bias_ih" if name == "bias" else name
                    getattr(module, f"{name}_l{k}{suffix}").copy_(torch.from_numpy(array.copy()))
                if one.bias is not None:
                    getattr(module, f"bias_hh_l{k}{suffix}").zero_()
        x = torch.from_numpy(case.x)
        state = None if case.state is None else tuple(torch.from_numpy(s) for s in case.state)
        if case.lengths is None:
            y, (h, c) = module(x, state)
        else:
            pack = torch.nn.utils.rnn.pack_padded_sequence(x, torch.from_numpy(case.lengths), True, False)
            y, (h, c) = module(pack, state)
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    return y.numpy(), (h.numpy(), c.numpy())


def test_error_is_no_larger_than_pytorchs():
    """300 random configurations of everything that torch.nn.LSTM can be, each held against PyTorch on the same data.

    By the root-mean-square error: the largest one is a single element's luck, and is compared over all configurations
    together. Where PyTorch's error happens to be below the last place of the results, ours may be that large too.
    """
    pytest.importorskip("torch")
    largest = dict.fromkeys([*ISAS, "torch"], 0.0)
    ratios = {isa: [] for isa in ISAS}
    for seed in range(300):
        case = random_case(np.random.default_rng(seed), smallest_batch=1, shortest_length=1)
        expected = oracle(case.weights, case.x, case.state, case.lengths)
        last_place = np.spacing(max(np.abs(a).max() for a in (expected[0], *expected[1])).astype(np.float32))
        torch_largest, torch_rms = errors(torch_run(case), expected)
        largest["torch"] = max(largest["torch"], torch_largest)
        for isa in ISAS:
            error, rms = run_on(isa, case, expected)
            largest[isa] = max(largest[isa], error)
            ratios[isa].append(rms / torch_rms)
            assert error <= LIMIT, (seed, isa, error)
            assert rms <= max(1.5 * torch_rms, last_place), (seed, isa, rms, torch_rms)
    for isa in ISAS:
        print(
            f"{isa}: largest {largest[isa]:.2e} (torch {largest['torch']:.2e}), median ratio {np.median(ratios[isa]):.2f}"
        )
        assert largest[isa] <= 1.5 * largest["torch"]
        assert np.median(ratios[isa]) <= 1
        assert np.quantile(ratios[isa], 0.99) <= 1.5


def run_on(isa, case, expected):
    before = _core.isa()
    _core.use_isa(isa)
    try:
        return errors(run(case), expected)
    finally:
        _core.use_isa(before)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("isa", ISAS)
def test_every_number_of_last_units(isa, dtype):
    """The units that do not fill a vector lie closer, in quarters and halves of one, beside any panels before them."""
    rng, before = np.random.default_rng(3), _core.isa()
    _core.use_isa(isa)
    try:
        for hidden in [*range(1, 41), 52, 68, 100]:
            lstm = fl.LSTM(random_weights(rng, int(rng.choice([1, 3, 20, 150])), hidden)).astype(dtype)
            for batch, time in ((1, 1), (1, 5), (2, 3), (7, 2)):
                x = rng.standard_normal((batch, time, lstm.input_size)).astype(np.float32)
                assert largest_error(lstm(x), oracle(lstm.weights, x, None, None)) <= LIMIT, (hidden, batch)
    finally:
        _core.use_isa(before)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), threads=st.integers(1, 4))
def test_any_shape_lengths_and_threads(seed, threads):
    """Includes batches of no rows and rows of no steps, which PyTorch refuses."""
    case = random_case(np.random.default_rng(seed), largest=70, longest=12)
    expected = oracle(case.weights, case.x, case.state, case.lengths)
    before = fl.get_num_threads()
    fl.set_num_threads(threads)
    try:
        for isa in ISAS:
            assert run_on(isa, case, expected)[0] <= LIMIT
    finally:
        fl.set_num_threads(before)


@pytest.mark.parametrize("threads_used", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("hidden", "layers", "directions", "proj", "batch", "time"),
    [(200, 2, 1, 0, 3, 9), (160, 2, 2, 48, 5, 7), (130, 1, 2, 0, 60, 4), (130, 3, 1, 33, 60, 4), (300, 1, 1, 0, 1, 30)],
)
def test_work_that_is_shared_between_threads(isa, threads, threads_used, hidden, layers, directions, proj, batch, time):
    threads(threads_used)
    rng = np.random.default_rng(1)
    weights = random_weights(rng, 40, hidden, layers, directions, proj)
    case = Case(
        weights, rng.standard_normal((batch, time, 40)).astype(np.float32), None, rng.integers(0, time + 1, batch)
    )
    assert largest_error(run(case), oracle(weights, case.x, None, case.lengths)) <= LIMIT


def test_many_time_steps_are_cut_into_blocks(isa):
    """Longer than any block of pre-activations, in one layer and in a stack."""
    rng = np.random.default_rng(2)
    for layers, directions in ((1, 1), (2, 1), (2, 2)):
        weights = random_weights(rng, 7, 20, layers, directions)
        case = Case(weights, rng.standard_normal((3, 1500, 7)).astype(np.float32), None, np.array([1500, 1, 700]))
        assert largest_error(run(case), oracle(weights, case.x, None, case.lengths)) <= LIMIT


def test_time_first_is_the_same_numbers(isa):
    rng = np.random.default_rng(3)
    weights = random_weights(rng, 9, 17, 2, 2)
    time_first = fl.LSTMWeights(weights.layers, batch_first=False)
    x = rng.standard_normal((4, 6, 9)).astype(np.float32)
    y, (h, c) = fl.LSTM(weights)(x, lengths=[6, 2, 0, 5])
    y2, (h2, c2) = fl.LSTM(time_first)(np.ascontiguousarray(x.swapaxes(0, 1)), lengths=[6, 2, 0, 5])
    for a, b in ((y, y2.swapaxes(0, 1)), (h, h2), (c, c2)):
        np.testing.assert_array_equal(a, b)


def test_unbatched(isa):
    rng = np.random.default_rng(4)
    weights = random_weights(rng, 9, 17, 2, 2)
    x = rng.standard_normal((6, 9)).astype(np.float32)
    h_0, c_0 = rng.standard_normal((2, 4, 17)).astype(np.float32)
    expected = oracle(weights, x[None], (h_0[:, None], c_0[:, None]))
    for lstm in (fl.LSTM(weights), fl.LSTM(fl.LSTMWeights(weights.layers, batch_first=False))):
        y, (h, c) = lstm(x, (h_0, c_0))
        assert y.shape == (6, 34) and h.shape == c.shape == (4, 17)
        assert largest_error((y[None], (h[:, None], c[:, None])), expected) <= LIMIT


def test_one_lstm_called_from_many_threads(threads):
    threads(2)
    rng = np.random.default_rng(5)
    lstm = fl.LSTM(random_weights(rng, 30, 150, 2))
    inputs = [rng.standard_normal((b, 20, 30)).astype(np.float32) for b in (1, 2, 7, 30)]
    expected = [lstm(x)[0] for x in inputs]
    failures = []

    def work(which):
        for _ in range(20):
            if not np.array_equal(lstm(inputs[which])[0], expected[which]):
                failures.append(which)

    workers = [threading.Thread(target=work, args=(i % 4,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_propagate_in_their_own_row(isa, bad):
    """As IEEE says and PyTorch does: from its step on, in its row, and nowhere else."""
    rng = np.random.default_rng(6)
    weights = random_weights(rng, 5, 19, 2)
    clean = rng.standard_normal((3, 6, 5)).astype(np.float32)
    x = clean.copy()
    x[1, 2, 3] = bad
    case = Case(weights, x, None, None)
    y, (h, c) = run(case)
    y_clean, _ = run(Case(weights, clean, None, None))
    np.testing.assert_array_equal(y[[0, 2]], y_clean[[0, 2]])
    np.testing.assert_array_equal(y[1, :2], y_clean[1, :2])
    with np.errstate(invalid="ignore"):
        y_ref, (h_ref, c_ref) = oracle(weights, x)
    for found, expected in ((y, y_ref), (h, h_ref), (c, c_ref)):
        np.testing.assert_allclose(found, expected, atol=LIMIT, equal_nan=True)
    assert np.isnan(y[1, 2:]).all() == np.isnan(bad)


def test_numpy_users_habits(isa):
    """Strided, Fortran-ordered, read-only, wider and narrower floats, nested lists: converted once, never wrong."""
    rng = np.random.default_rng(7)
    weights = random_weights(rng, 6, 10, 1, 2)
    lstm = fl.LSTM(weights)
    x = rng.standard_normal((4, 5, 6)).astype(np.float32)
    y, _ = lstm(x)
    wide = np.zeros((8, 10, 12), np.float32)
    wide[::2, ::2, ::2] = x
    readonly = x.copy()
    readonly.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for same in (
        np.asfortranarray(x),
        wide[::2, ::2, ::2],
        np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1],
        np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1),
        readonly,
        unaligned,
        x.astype(np.float64),
        x.astype(">f4"),
        x.tolist(),
    ):
        np.testing.assert_array_equal(lstm(same)[0], y)
    np.testing.assert_array_equal(lstm(x.astype(np.float16))[0], lstm(x.astype(np.float16).astype(np.float32))[0])
    one = x[:1]
    np.testing.assert_array_equal(lstm(np.broadcast_to(one, x.shape))[0], np.repeat(lstm(one)[0], 4, 0))
    h = np.asfortranarray(rng.standard_normal((2, 4, 10)))
    np.testing.assert_array_equal(lstm(x, (h, h))[0], lstm(x, (h.astype(np.float32),) * 2)[0])


def test_out_is_honoured(isa):
    rng = np.random.default_rng(8)
    lstm = fl.LSTM(random_weights(rng, 6, 6))
    x = rng.standard_normal((3, 4, 6)).astype(np.float32)
    y, _ = lstm(x)
    out = np.full((3, 4, 6), 7, np.float32)
    result, _ = lstm(x, out=out)
    assert result is out
    np.testing.assert_array_equal(out, y)
    strided = np.full((6, 8, 9), 7, np.float32)
    view = strided[::2, ::-2, 1:7]
    lstm(x, out=view)
    np.testing.assert_array_equal(view, y)
    assert (strided[1::2] == 7).all() and (strided[..., 0] == 7).all() and (strided[..., 7:] == 7).all()
    in_place = x.copy()
    lstm(in_place, out=in_place)
    np.testing.assert_array_equal(in_place, y)


def test_state_is_not_touched_and_results_are_new(isa):
    rng = np.random.default_rng(9)
    lstm = fl.LSTM(random_weights(rng, 3, 5))
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    state = tuple(rng.standard_normal((2, 1, 2, 5)).astype(np.float32))
    before = [s.copy() for s in state]
    first = lstm(x, state)
    second = lstm(x, state)
    for s, b in zip(state, before):
        np.testing.assert_array_equal(s, b)
    assert not np.shares_memory(first[0], second[0]) and not np.shares_memory(first[1][0], second[1][0])


def test_carrying_the_state_continues_the_sequence(isa):
    rng = np.random.default_rng(10)
    lstm = fl.LSTM(random_weights(rng, 11, 21, 2, proj=8))
    x = rng.standard_normal((3, 20, 11)).astype(np.float32)
    whole, final = lstm(x)
    state, parts = None, []
    for t in range(20):
        y, state = lstm(x[:, t : t + 1], state)
        parts.append(y)
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    for a, b in zip(state, final):
        np.testing.assert_array_equal(a, b)
