"""Arguments that share memory with each other, or are not aligned: the results are those of memory of their own."""

import numpy as np
import pytest
import variants
from conftest import random_weights

import fusedlstm as fl


def shared(*shapes, dtype=np.float32, shift=0):
    """Arrays that begin at the same place."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    memory = np.zeros(max(sizes) + shift, dtype)
    return [memory[shift * (k > 0) :][:size].reshape(shape) for k, (shape, size) in enumerate(zip(shapes, sizes))]


def unaligned(array):
    """The same numbers at an odd address."""
    array = np.asarray(array)
    memory = np.zeros(array.nbytes + 1, np.uint8)
    moved = memory[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


def same(found, expected):
    return [part.tobytes() for part in variants.leaves(found)] == [part.tobytes() for part in variants.leaves(expected)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("batch, layers, directions", [(2, 1, 1), (2, 2, 1), (2, 2, 2), (40, 1, 1)])
def test_state_in_the_memory_of_out(threads, batch, layers, directions, which, count):
    threads(count)
    rng = np.random.default_rng(0)
    hidden, time = 96, 20
    lstm = fl.LSTM(random_weights(rng, 8, hidden, layers, directions))
    x = rng.standard_normal((batch, time, 8)).astype(np.float32)
    state_shape = (layers * directions, batch, hidden)
    state = [rng.standard_normal(state_shape).astype(np.float32) for _ in "hc"]
    for lengths in (None, [3] * batch):
        for _ in range(5):
            out, state[which][...] = None, rng.standard_normal(state_shape)
            expected = lstm(x, [one.copy() for one in state], lengths)
            aliased = list(state)
            out, aliased[which] = shared((batch, time, directions * hidden), state_shape)
            aliased[which][...] = state[which]
            assert same(lstm(x, aliased, lengths, out), expected)


@pytest.mark.parametrize("shift", [0, 5])
def test_x_and_lengths_in_the_memory_of_out(shift):
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 6, 6))
    numbers, valid = rng.standard_normal((4, 5, 6)).astype(np.float32), np.array([5, 2, 0, 3])
    expected = lstm(numbers, None, valid)
    out, x = shared((4, 5, 6), (4, 5, 6), shift=shift)
    x[...] = numbers
    assert same(lstm(x, None, valid, out), expected)
    out = np.zeros((4, 5, 6), np.float32)
    lengths = out.reshape(-1)[2 * shift :][:8].view(np.int64)
    lengths[...] = valid
    assert same(lstm(numbers, None, lengths, out), expected)


@pytest.mark.parametrize("seed", range(20))
def test_everything_in_the_memory_of_out_with_any_variant(seed):
    rng = np.random.default_rng(seed)
    lstm = fl.LSTM(variants.random_weights(rng, largest=9))
    if lstm.weights.merge == "none" and lstm.bidirectional:
        return
    numbers, mask = rng.standard_normal((3, 8, lstm.input_size)).astype(np.float32), rng.random((3, 8)) < 0.6
    plain = lstm(numbers)
    state = plain[1]
    for valid in ({}, {"mask": mask}, {"lengths": np.array([2, 0, 8])}):
        expected = lstm(numbers, state, **valid)
        out, x = shared(expected[0].shape, numbers.shape)
        x[...] = numbers
        aliased = dict(valid)
        if valid:  # their memory is that of out as well
            name, value = next(iter(valid.items()))
            if value.nbytes <= out.nbytes:
                aliased[name] = out.reshape(-1).view(np.uint8)[: value.nbytes].view(value.dtype).reshape(value.shape)
                x = numbers
                aliased[name][...] = value
        assert same(lstm(x, state, out=out, **aliased), expected)


@pytest.mark.parametrize("which", ["x", "h", "c"])
@pytest.mark.parametrize("reverse", [False, True])
def test_conv_lstm_in_the_memory_of_out(which, reverse):
    rng = np.random.default_rng(0)

    def uniform(*shape):
        return rng.uniform(-0.3, 0.3, shape).astype(np.float32)

    lstm = fl.ConvLSTM(fl.ConvLSTMWeights(uniform(12, 3, 3, 3), uniform(12, 3, 3, 3), reverse=reverse))
    given = {"x": uniform(2, 4, 6, 5, 3), "h": uniform(2, 6, 5, 3), "c": uniform(2, 6, 5, 3)}
    expected = lstm(given["x"], (given["h"], given["c"]))
    for shift in (0, 7):
        out, alias = shared(given["x"].shape, given[which].shape, shift=shift)
        alias[...] = given[which]
        aliased = {**given, which: alias}
        assert same(lstm(aliased["x"], (aliased["h"], aliased["c"]), out), expected)


def test_streams():
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 6, 6, 2))
    x = rng.standard_normal((3, 6)).astype(np.float32)
    expected = lstm.stream(3).step(x)
    for shift in (0, 1, 6, 17):
        out, given = shared((3, 6), (3, 6), shift=shift)
        given[...] = x
        assert lstm.stream(3).step(given, out=out).tobytes() == expected.tobytes()
    stream = lstm.stream(3)
    stream.input[...] = x
    assert stream.step(out=stream.input).tobytes() == expected.tobytes()
    stream = lstm.stream(3)
    stream.output[...] = x
    assert stream.step(stream.output, out=stream.output).tobytes() == expected.tobytes()
    active = np.array([True, False, True])
    expected = lstm.stream(3).step(x, active=active)
    for place in range(12):
        out = np.zeros((3, 6), np.float32)
        mask = out.reshape(-1).view(np.uint8)[place:][:3].view(bool)
        mask[...] = active
        assert lstm.stream(3).step(x, out=out, active=mask).tobytes() == expected.tobytes()
    chunk = rng.standard_normal((3, 9, 6)).astype(np.float32)
    expected = lstm.stream(3).process(chunk)
    for shift in (0, 1, 60, 161):
        out, given = shared((3, 9, 6), (3, 9, 6), shift=shift)
        given[...] = chunk
        assert lstm.stream(3).process(given, out=out).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shift", [0, 1, 6, 17])
def test_pools(shift):
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 6, 6, 2))
    x = rng.standard_normal((3, 6)).astype(np.float32)
    pool = fl.StreamPool(lstm)
    ids = [pool.open() for _ in range(6)]
    expected = pool.step(ids[:3], x)
    out, given = shared((3, 6), (3, 6), shift=shift)
    given[...] = x
    assert pool.step(ids[3:], given, out).tobytes() == expected.tobytes()
    expected = pool.step(ids[:3], x)
    out = np.zeros((3, 6), np.float32)
    wanted = out.reshape(-1)[2 * (shift % 6) :][:6].view(np.int64)
    wanted[...] = ids[3:]
    assert pool.step(wanted, x, out).tobytes() == expected.tobytes()
    assert [*map(bytes, pool.state(ids[0]))] == [*map(bytes, pool.state(ids[3]))]


def test_unaligned_arrays_are_copied():
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 6, 6, 2)
    lstm, odd = fl.LSTM(weights), unaligned
    x, lengths, mask = rng.standard_normal((3, 9, 6)).astype(np.float32), np.array([9, 0, 4]), rng.random((3, 9)) < 0.5
    state = lstm(x)[1]
    for order in (x, np.asfortranarray(x)):
        assert same(
            lstm(odd(order), [*map(odd, state)], odd(lengths)),
            lstm(x, state, lengths),
        )
    assert same(lstm(odd(x), [*map(odd, state)], mask=mask), lstm(x, state, mask=mask))
    assert same(lstm(odd(x.astype(np.float64))), lstm(x.astype(np.float64)))

    stream, other = lstm.stream(3), lstm.stream(3)
    stream.state, other.state = [*map(odd, state)], state
    assert same(stream.step(odd(x[:, 0])), other.step(x[:, 0]))
    assert same(stream.process(odd(x)), other.process(x))

    pool = fl.StreamPool(lstm)
    ids = np.array([pool.open([*map(odd, (state[0][:, k], state[1][:, k]))]) for k in range(3)])
    assert same(pool.step(odd(ids), odd(x[:, 0])), lstm(x[:, :1], state)[0][:, 0])
    again = {int(id): odd(chunk) for id, chunk in zip(ids, x[:, 1:])}
    assert same([*pool.process(again).values()], [*lstm(x, state)[0][:, 1:]])

    learned = [odd(np.ones((1, 6), np.float32))] * 2
    layers = [[fl.DirectionWeights(*map(odd, one.arrays.values())) for one in layer] for layer in weights.layers]
    rebuilt = fl.LSTM(fl.LSTMWeights(layers, initial_state=(learned, learned)))
    assert same(rebuilt(x), lstm(x, [np.ones((2, 3, 6), np.float32)] * 2))

    conv = fl.ConvLSTM(fl.ConvLSTMWeights(odd(rng.standard_normal((8, 3, 4))), odd(rng.standard_normal((8, 3, 2)))))
    frames = rng.standard_normal((2, 3, 7, 4)).astype(np.float32)
    final = conv(frames)[1]
    assert same(conv(odd(frames), [*map(odd, final)]), conv(frames, final))


def test_an_unaligned_out_is_refused():
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 6, 6))
    x, pool = np.ones((2, 3, 6), np.float32), fl.StreamPool(lstm)
    conv = fl.ConvLSTM(fl.ConvLSTMWeights(np.zeros((8, 3, 4)), np.zeros((8, 3, 2))))
    for call in (
        lambda: lstm(x, out=unaligned(x)),
        lambda: lstm.stream(2).step(x[:, 0], out=unaligned(x[:, 0])),
        lambda: lstm.stream(2).process(x, out=unaligned(x)),
        lambda: pool.step([pool.open(), pool.open()], x[:, 0], unaligned(x[:, 0])),
        lambda: conv(np.ones((2, 3, 5, 4)), out=unaligned(np.ones((2, 3, 5, 2), np.float32))),
    ):
        with pytest.raises(ValueError, match="out: expected an aligned array"):
            call()
