"""Everything that fusedlstm.weights describes: the engine against the float64 oracle, and its bits."""

import numpy as np
import pytest
import variants
from conftest import ISAS, Case
from reference import lstm as oracle
from variants import largest_error, leaves, limit, random_case, random_cell, random_direction

import fusedlstm as fl
from fusedlstm import _core

PLAIN = fl.Cell()
FUSED = [isa for isa in ISAS if isa != "scalar"]


def run(case, threads=1):
    fl.set_num_threads(threads)
    return fl.LSTM(case.weights)(case.x, case.state, case.lengths)


def as_bytes(result):
    return [leaf.tobytes() for leaf in leaves(result)]


def check(seeds, threads, **kwargs):
    """Each case against the oracle, on every instruction set."""
    before, used = _core.isa(), fl.get_num_threads()
    try:
        for seed in seeds:
            case = random_case(seed, **kwargs)
            expected = oracle(case.weights, case.x, case.state, case.lengths)
            allowed = limit(case, expected, oracle)
            for isa in ISAS:
                _core.use_isa(isa)
                found = run(case, threads[seed % len(threads)])
                assert largest_error(found, expected) <= allowed, (seed, isa, fl.LSTM(case.weights))
    finally:
        _core.use_isa(before)
        fl.set_num_threads(used)


def test_random_models():
    """All choices together; the limit is explained where it is computed."""
    check(range(150), threads=[1])


@pytest.mark.slow
def test_many_random_models():
    check(range(150, 2000), threads=[1, 2, 3])


def wide_case(seed):
    """Work enough for several threads."""
    rng = np.random.default_rng(seed)
    weights = variants.random_weights(rng, largest=140)
    batch, time = int(rng.choice([1, 5, 60])), 6
    x = rng.standard_normal((batch, time, weights.input_size)).astype(np.float32)
    lengths = rng.integers(0, time + 1, batch) if rng.random() < 0.5 else None
    return Case(weights, x, None, lengths)


@pytest.mark.parametrize("seed", range(25))
def test_any_number_of_threads(seed, threads):
    case = wide_case(seed)
    results = [as_bytes(run(case, count)) for count in (1, 2, 3, 4)]
    assert all(result == results[0] for result in results)


@pytest.mark.skipif(len(FUSED) < 2, reason="one instruction set with fused multiply-adds")
@pytest.mark.parametrize("seed", range(60))
def test_any_instruction_set(seed, threads):
    case = random_case(seed)
    before, results = _core.isa(), []
    try:
        for isa in FUSED:
            _core.use_isa(isa)
            results.append(as_bytes(run(case)))
    finally:
        _core.use_isa(before)
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("seed", range(40))
def test_a_row_alone_or_in_any_batch(seed):
    rng = np.random.default_rng(seed)
    weights = variants.random_weights(rng)
    x = rng.standard_normal((int(rng.integers(2, 30)), 5, weights.input_size)).astype(np.float32)
    lstm = fl.LSTM(weights)
    which = rng.permutation(len(x))[:3]
    whole = leaves(lstm(x))
    some = leaves(lstm(x[which]))
    outputs = 2 if weights.merge == "none" and weights.bidirectional else 1
    for i, (one, all_) in enumerate(zip(some, whole)):
        expected = all_[which] if i < outputs else all_[:, which]
        assert one.tobytes() == expected.tobytes()


@pytest.mark.parametrize("seed", range(30))
def test_a_sequence_whole_or_in_chunks_or_steps(seed):
    rng = np.random.default_rng(seed)
    weights = variants.random_weights(rng, directions=1, reverse=False)
    lstm = fl.LSTM(weights)
    x = rng.standard_normal((4, 30, weights.input_size)).astype(np.float32)
    y, final = lstm(x)
    state, parts = None, []
    for part in np.split(x, np.unique(rng.integers(1, 30, 4)), 1):
        one, state = lstm(part, state)
        parts.append(one)
    assert as_bytes((np.concatenate(parts, 1), state)) == as_bytes((y, final))
    stream = lstm.stream(4)
    steps = [stream.step(x[:, t]).copy() for t in range(30)]
    assert np.stack(steps, 1).tobytes() == y.tobytes()
    stream.reset()
    assert stream.process(x).tobytes() == y.tobytes()


def model(cell=PLAIN, hidden=11, seed=0, **options):
    rng = np.random.default_rng(seed)
    return fl.LSTMWeights([[random_direction(rng, cell, 7, hidden, None)]], **options)


def test_long_sequences_are_cut_into_blocks(isa):
    """Longer than any block of pre-activations; stacked and reversed as well."""
    rng = np.random.default_rng(0)
    for reverse in (False, True):
        layers = [[random_direction(rng, fl.Cell(gate_norm="gates", norm_epsilon=1e-3), 9, 9, None)] for _ in range(2)]
        weights = fl.LSTMWeights(layers, reverse=reverse, residual=[False, True])
        case = Case(weights, rng.standard_normal((2, 1300, 9)).astype(np.float32), None, np.array([1300, 650]))
        expected = oracle(weights, case.x, None, case.lengths)
        assert largest_error(run(case), expected) <= 1e-5  # 1300 steps of rounding, each below 1e-7


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("norm", ["", "gates", "sides"])
def test_nan_and_inf_stay_in_their_row(isa, bad, norm):
    """From its step on, in its row, and nowhere else."""
    weights = model(fl.Cell(gate_norm=norm, gate_clip=3.0, cell_zoneout=0.1))
    clean = np.random.default_rng(1).standard_normal((3, 6, 7)).astype(np.float32)
    x = clean.copy()
    x[1, 2, 3] = bad
    y, _ = fl.LSTM(weights)(x)
    y_clean, _ = fl.LSTM(weights)(clean)
    np.testing.assert_array_equal(y[[0, 2]], y_clean[[0, 2]])
    np.testing.assert_array_equal(y[1, :2], y_clean[1, :2])
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(y, oracle(weights, x)[0], atol=5e-6, equal_nan=True)
    if norm or np.isnan(bad):
        assert np.isnan(y[1, 2:]).all()


def test_a_constant_row_without_epsilon_is_not_a_number(isa):
    """0 / 0, as the definition has it; not a number that looks right."""
    cell = fl.Cell(cell_norm="output", gate_clip=1.0)
    one = fl.DirectionWeights(np.zeros((12, 2)), np.zeros((12, 3)), norm_c=np.ones(3), cell=cell)
    y, _ = fl.LSTM(fl.LSTMWeights([[one]]))(np.ones((2, 2), np.float32))
    assert np.isnan(y).all()


def masks(rng, batch, time):
    """Anything: holes, empty rows, full rows."""
    mask = rng.random((batch, time)) < 0.6
    mask[:1], mask[1:2] = False, True
    return mask


@pytest.mark.parametrize("seed", range(40))
def test_masks(seed):
    rng = np.random.default_rng(seed)
    case = random_case(seed)
    mask = masks(rng, *case.x.shape[:2])
    expected = oracle(case.weights, case.x, case.state, mask=mask)
    lstm = fl.LSTM(case.weights)
    found = lstm(case.x, case.state, mask=mask)
    allowed = limit(case, oracle(case.weights, case.x, case.state, case.lengths), oracle)
    assert largest_error(found, expected) <= allowed
    time_first = fl.LSTM(fl.LSTMWeights(**{**vars(case.weights), "batch_first": False}))
    y, state = time_first(case.x.swapaxes(0, 1), case.state, mask=mask)
    y = tuple(one.swapaxes(0, 1) for one in y) if isinstance(y, tuple) else y.swapaxes(0, 1)
    assert as_bytes((y, state)) == as_bytes(found)
    if len(case.x) and case.state is None:
        b = int(rng.integers(len(case.x)))
        alone = leaves(lstm(case.x[b], mask=mask[b]))
        outputs = 2 if isinstance(found[0], tuple) else 1
        for i, (one, whole) in enumerate(zip(alone, leaves(found))):
            assert one.tobytes() == (whole[b] if i < outputs else whole[:, b]).tobytes()


def test_a_mask_of_right_padding_is_lengths():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 6, 7)).astype(np.float32)
    lengths = np.array([6, 0, 3, 1])
    for options in ({}, {"padding": "repeat"}, {"reverse": True, "flip_output": True}):
        lstm = fl.LSTM(model(**options))
        assert as_bytes(lstm(x, mask=np.arange(6) < lengths[:, None])) == as_bytes(lstm(x, lengths=lengths))


def test_out_is_honoured():
    x = np.random.default_rng(0).standard_normal((3, 4, 7)).astype(np.float32)
    for options in ({"padding": "repeat"}, {"reverse": True, "flip_output": True}, {"reverse": True}):
        lstm = fl.LSTM(model(**options))
        out = np.full((3, 4, 22), 7, np.float32)[:, :, 4:15]
        y, _ = lstm(x, lengths=[4, 2, 0], out=out)
        assert y is out
        np.testing.assert_array_equal(out, lstm(x, lengths=[4, 2, 0])[0])


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_packed_sequences(enforce_sorted, batch_first):
    """As torch.nn.LSTM takes and returns them; h and c in the order before packing."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 5, 2, bidirectional=True, batch_first=batch_first)
    lengths = [6, 4, 4, 1] if enforce_sorted else [4, 1, 6, 4]
    x = torch.randn(4, 6, 3)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted)
    state = tuple(torch.randn(2, 4, 4, 5))
    lstm = fl.LSTM.from_torch(module)
    for given in (None, state):
        with torch.no_grad():
            expected, (h_, c_) = module(packed, given)
        found, (h, c) = lstm(packed, given)
        assert type(found) is type(expected)
        torch.testing.assert_close(found.data, expected.data, rtol=0, atol=1e-6)
        padded, _ = torch.nn.utils.rnn.pad_packed_sequence(found, True)
        plain = fl.LSTM(fl.LSTMWeights(lstm.weights.layers))(x.numpy(), given, lengths)
        np.testing.assert_array_equal(padded.numpy(), plain[0])
        np.testing.assert_allclose(h, h_.numpy(), rtol=0, atol=1e-6)
        np.testing.assert_allclose(c, c_.numpy(), rtol=0, atol=1e-6)


def test_packed_sequences_refused():
    torch = pytest.importorskip("torch")
    packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 7)])
    with pytest.raises(ValueError, match="expected none of them beside a PackedSequence"):
        fl.LSTM(model())(packed, lengths=[3])
    with pytest.raises(ValueError, match="found a PackedSequence"):
        fl.LSTM(model(reverse=True, flip_output=True))(packed)
    with pytest.raises(TypeError, match="x: expected a floating-point array, found dtype int64"):
        fl.LSTM(model())(torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 7, dtype=int)]))
    with pytest.raises(ValueError, match=r"input size of 7, found shape \(3, 1, 2\)"):
        fl.LSTM(model())(torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 2)]))


X = np.zeros((2, 3, 7), np.float32)


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"mask": np.ones((2, 3))}, TypeError, "mask: expected an array of bool, found dtype float64"),
        ({"mask": np.ones((3, 2), bool)}, ValueError, r"mask: expected shape \(2, 3\), found \(3, 2\)"),
        ({"mask": np.ones(3, bool)}, ValueError, r"mask: expected shape \(2, 3\)"),
        ({"mask": np.ones((2, 3), bool), "lengths": [1, 1]}, ValueError, "lengths, mask: expected one of them"),
        ({"mask": np.ones((2, 3), bool), "out": np.ones((2, 3, 4), np.float32)}, ValueError, r"out: expected shape"),
        ({"lengths": [4, 1]}, ValueError, r"lengths\[0\]: expected 0 to 3"),
        ({"lengths": [1]}, ValueError, r"lengths: expected shape \(2,\)"),
        ({"lengths": [[1, 1]]}, ValueError, r"lengths: expected shape \(2,\)"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"padding": "repeat"}], ids=str)
def test_bad_calls(arguments, error, match, options):
    with pytest.raises(error, match=match):
        fl.LSTM(model(**options))(X, **arguments)


def test_streams_need_the_end_of_nothing():
    with pytest.raises(ValueError, match="a bidirectional or reversed LSTM needs the end of the sequence"):
        fl.LSTM(model(reverse=True)).stream()


def test_bad_states_of_layers_that_differ():
    rng = np.random.default_rng(0)
    cells = [random_direction(rng, fl.Cell(), 7, 5, None), random_direction(rng, fl.Cell(), 5, 3, None)]
    lstm = fl.LSTM(fl.LSTMWeights([[one] for one in cells]))
    good = [np.zeros((1, 2, 5)), np.zeros((1, 2, 3))]
    _, (h, c) = lstm(X, (good, good))
    assert [one.shape for one in h] == [one.shape for one in c] == [(1, 2, 5), (1, 2, 3)]
    _, (h, c) = lstm(X[0])
    assert [one.shape for one in h] == [(1, 5), (1, 3)]
    for state, error, match in (
        (np.zeros((2, 1, 2, 5)), TypeError, "state: expected a pair"),
        ((good, np.zeros((2, 2, 5))), ValueError, "state c: expected a list of 2 arrays"),
        ((good[:1], good), ValueError, "state h: expected a list of 2 arrays"),
        ((good[::-1], good), ValueError, r"state h\[0\]: expected shape \(1, 2, 5\), found \(1, 2, 3\)"),
        ((good, [good[0], good[1].astype(int)]), TypeError, r"state c\[1\]: expected a floating-point array"),
    ):
        with pytest.raises(error, match=match):
            lstm(X, state)


def test_two_outputs():
    rng = np.random.default_rng(0)
    layer = [random_direction(rng, fl.Cell(), 7, 5, None) for _ in range(2)]
    lstm = fl.LSTM(fl.LSTMWeights([layer], merge="none"))
    (forward, backward), _ = lstm(X)
    assert forward.shape == backward.shape == (2, 3, 5)
    with pytest.raises(ValueError, match="out: expected none with merge='none'"):
        lstm(X, out=np.zeros((2, 3, 10), np.float32))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"merge": "none", "residual": [True]}, "residual: expected none with merge='none'"),
        ({"padding": "repeat"}, "padding: 'repeat' has no meaning for two merged directions"),
        ({"merge": "max"}, "merge: expected one of"),
    ],
)
def test_weights_refuse_what_has_no_meaning(options, match):
    rng = np.random.default_rng(0)
    layer = [random_direction(rng, fl.Cell(), 10, 5, None) for _ in range(2)]
    with pytest.raises(ValueError, match=match):
        fl.LSTMWeights([layer], **options)


def test_repr_says_what_differs():
    plain = fl.LSTMWeights([[fl.DirectionWeights(np.zeros((8, 3)), np.zeros((8, 2)), np.zeros(8))]])
    assert repr(fl.LSTM(plain)) == "LSTM(3, 2, batch_first=True)"
    cell = fl.Cell(candidate=fl.Activation("hard_sigmoid", 1 / 6), coupled="input", cell_clip=3)
    one = fl.DirectionWeights(np.zeros((8, 3)), np.zeros((8, 2)), peephole_o=np.ones(2), cell=cell)
    text = repr(fl.LSTM(fl.LSTMWeights([[one]], reverse=True, padding="repeat")))
    assert text == (
        "LSTM(3, 2, batch_first=True, candidate=hard_sigmoid(alpha=0.166667), coupled=input, cell_clip=3, peephole_o, "
        "reverse, padding='repeat')"
    )
    other = fl.DirectionWeights(np.zeros((8, 3)), np.zeros((8, 2)))
    text = repr(fl.LSTM(fl.LSTMWeights([[one, other]], merge="sum")))
    assert "l0: candidate=hard_sigmoid" in text and "l0_reverse" not in text and "merge='sum'" in text


def test_random_cells_cover_every_choice():
    """The sampler itself: each option of the cell is drawn."""
    rng = np.random.default_rng(0)
    drawn = {name for _ in range(200) for name in random_cell(rng).differences}
    assert drawn == set(vars(fl.Cell())) - {"projection_clip"}
