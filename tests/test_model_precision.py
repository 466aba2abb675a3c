"""Whole models in lower precisions: against NumPy models of each scheme, the same bits, what stays, what is refused."""

import pickle

import numpy as np
import pytest
import reference
from rounding import held, product

import fusedlstm as fl
from fusedlstm.graph import Graph, Value, node

f4 = np.float32
SCHEMES = [("float16", None), ("bfloat16", None), ("bfloat16", "bfloat16")]
SCHEMES += [("int8", "int16"), ("int8", "int16/int8"), ("int8", "int8")]
schemes = pytest.mark.parametrize("dtype, products", SCHEMES)


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(f4) * f4(0.3)


def model(nodes, shape, constants, outputs=("y",)):
    made = [Value(name, np.dtype(f4), None) for name in outputs]
    return fl.Model(Graph([Value("x", np.dtype(f4), shape)], made, nodes, constants))


def rows(weights, x, bias, products):
    """Every row of x times the weights (outputs, inputs)."""
    return np.array([product(weights, one, products) for one in x.reshape(-1, x.shape[-1])]) + bias


def tolerance(products, expected):
    """What is rounded again may fall to the other side where float32 and the model differ in the last bit."""
    return {"int8": 2e-2, "bfloat16": 5e-3, "int16": 1e-4, "int16/int8": 1e-4}.get(products, 4e-6) * max(
        1, np.abs(expected).max()
    )


DENSE = {
    "MatMul": lambda w, b: ([node("MatMul", ["x", "w"], ["z"]), node("Add", ["z", "b"], ["y"])], {"w": w.T, "b": b}),
    "Gemm": lambda w, b: ([node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": w, "b": b}),
    "activation": lambda w, b: (
        [node("MatMul", ["x", "w"], ["z"]), node("Add", ["z", "b"], ["s"]), node("Relu", ["s"], ["y"])],
        {"w": w.T, "b": b},
    ),
}


@schemes
@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("inputs, outputs, count", [(1, 1, 1), (5, 3, 2), (70, 40, 7), (300, 130, 1)])
def test_dense(isa, kind, inputs, outputs, count, dtype, products):
    w, b, x = numbers(outputs, inputs), numbers(outputs, seed=1), numbers(count, inputs, seed=2)
    nodes, constants = DENSE[kind](w, b)
    found = model(nodes, (None, inputs), constants).astype(dtype, products)(x)
    expected = rows(held(w, dtype), x, b, products)
    expected = np.maximum(expected, 0) if kind == "activation" else expected
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-6 * max(1, np.abs(expected).max()))


def windows(x, kernel, stride, dilation, before, after):
    """(batch, channels, time) to (batch, places, kernel, channels)."""
    x = np.pad(x, ((0, 0), (0, 0), (before, after)))
    span = (kernel - 1) * dilation + 1
    places = range(0, x.shape[2] - span + 1, stride)
    return np.stack([x[:, :, p : p + span : dilation].swapaxes(1, 2) for p in places], axis=1)


@schemes
@pytest.mark.parametrize(
    "groups, channels, outputs, kernel, stride, dilation, pads",
    [(1, 3, 5, 3, 1, 1, (1, 1)), (1, 12, 16, 4, 2, 2, (6, 0)), (2, 8, 24, 3, 1, 1, (0, 0)), (1, 4, 9, 9, 1, 1, (4, 4))],
)
def test_convolution(isa, groups, channels, outputs, kernel, stride, dilation, pads, dtype, products):
    """The last one has taps that meet no data for short inputs: the scale of a row must not depend on that."""
    w, b = numbers(outputs, channels // groups, kernel), numbers(outputs, seed=1)
    made = node("Conv", ["x", "w", "b"], ["y"], group=groups, strides=[stride], dilations=[dilation], pads=list(pads))
    low = model([made], (None, channels, None), {"w": w, "b": b}).astype(dtype, products)
    kept = held(np.moveaxis(w, 1, -1).reshape(outputs, -1), dtype)
    for time in (2, 40) if sum(pads) else (40,):
        x = numbers(2, channels, time, seed=time)
        seen = windows(x, kernel, stride, dilation, *pads)
        each, own = outputs // groups, channels // groups
        parts = []
        for g in range(groups):
            part = seen[..., g * own : (g + 1) * own].reshape(*seen.shape[:2], -1)
            rounded = rows(kept[g * each : (g + 1) * each], part, b[g * each : (g + 1) * each], products)
            parts.append(rounded.reshape(*seen.shape[:2], each))
        expected = np.concatenate(parts, axis=-1).swapaxes(1, 2)
        np.testing.assert_allclose(low(x), expected, rtol=0, atol=4e-6 * max(1, np.abs(expected).max()))


@schemes
def test_transposed_convolution(dtype, products):
    w, x = numbers(6, 10, 4), numbers(2, 6, 9, seed=1)
    low = model([node("ConvTranspose", ["x", "w"], ["y"], strides=[2])], (None, 6, None), {"w": w})
    kept = held(np.moveaxis(w, (0, 1), (-1, -2)).reshape(-1, 6), dtype)  # taps and outputs by inputs
    taps = rows(kept, np.moveaxis(x, 1, -1), 0, products).reshape(2, 9, 4, 10)
    expected = np.zeros((2, 10, 20))
    for t in range(9):
        for k in range(4):
            expected[:, :, 2 * t + k] += taps[:, t, k]
    np.testing.assert_allclose(low.astype(dtype, products)(x), expected, rtol=0, atol=4e-6)


@schemes
@pytest.mark.parametrize("linear", [0, 1])
def test_gru(isa, linear, dtype, products):
    """One step after the other, from our own state."""
    size, inputs = 20, 7
    w, r, b = numbers(1, 3 * size, inputs), numbers(1, 3 * size, size), numbers(1, 6 * size)
    nodes = [node("GRU", ["x", "w", "r", "b"], ["y", "h"], hidden_size=size, linear_before_reset=linear)]
    low = model(nodes, (None, None, inputs), {"w": w, "r": r, "b": b}).astype(dtype, products)
    x = numbers(5, 2, inputs, seed=3)
    y = low(x)[:, 0]
    W, R = held(w[0], dtype), held(r[0], dtype)
    b_x, b_h = np.split(b[0].astype(float), 2)
    for batch in range(2):
        h = np.zeros(size, f4)
        for t in range(5):
            from_x = product(W, x[t, batch], products) + b_x
            from_h = product(R, h, products) + b_h
            z, reset = (
                reference.sigmoid(from_x[k * size : (k + 1) * size] + from_h[k * size : (k + 1) * size]) for k in (0, 1)
            )
            if linear:
                last = reset * from_h[2 * size :]
            else:
                last = product(R[2 * size :], (reset * h).astype(f4), products) + b_h[2 * size :]
            expected = (1 - z) * np.tanh(from_x[2 * size :] + last) + z * h
            h = y[t, batch]
            np.testing.assert_allclose(h, expected, rtol=0, atol=4e-6 if linear else tolerance(products, expected))


def whole():
    """A convolution, an LSTM and a head: what most models are."""
    weights = fl.LSTMWeights([[fl.DirectionWeights(numbers(80, 16), numbers(80, 20), numbers(80, seed=2))]])
    lstm = fl.LSTM(weights)
    conv, head = fl.Conv1d(numbers(16, 5, 3), numbers(16, seed=1)), fl.Linear(numbers(3, 20), numbers(3, seed=4))
    return fl.Sequential(fl.Transpose(1, 2), conv, "relu", fl.Transpose(1, 2), lstm, head, shape=(None, None, 5))


@schemes
def test_an_lstm_inside_is_the_lstm_alone(dtype, products):
    weights = fl.LSTMWeights([[fl.DirectionWeights(numbers(80, 16), numbers(80, 20), numbers(80, seed=2))]])
    lstm = fl.LSTM(weights)
    x = numbers(3, 9, 16, seed=5)
    assert fl.Sequential(lstm).astype(dtype, products)(x).tobytes() == lstm.astype(dtype, products)(x)[0].tobytes()


@schemes
def test_the_same_bits_in_any_batch_and_number_of_threads(isa, threads, dtype, products):
    low, x = whole().astype(dtype, products), numbers(7, 30, 5, seed=6)
    found = low(x)
    assert low(x[2:3]).tobytes() == found[2:3].tobytes()
    for count in (2, 1):
        threads(count)
        assert low(x).tobytes() == found.tobytes()


def test_from_what_the_file_has():
    """Rounding again starts from the file's weights; the model itself is left alone."""
    full = whole()
    x = numbers(2, 12, 5, seed=6)
    before = full(x).tobytes()
    low = full.astype("int8")
    assert (full.dtype, low.dtype, low.astype(np.float16).dtype) == ("float32", "int8", "float16")
    assert low.astype("float32")(x).tobytes() == before == full(x).tobytes()
    assert low.astype("bfloat16")(x).tobytes() == full.astype("bfloat16")(x).tobytes()


def test_normalisations_are_folded_in_before_weights_are_rounded():
    scale, shift, mean, var = (numbers(16, seed=k) for k in range(1, 5))
    scale *= 100
    w, x = numbers(16, 5, 3), numbers(1, 5, 20, seed=9)
    nodes = [
        node("Conv", ["x", "w"], ["z"]),
        node("BatchNormalization", ["z", "scale", "shift", "mean", "var"], ["y"], epsilon=1e-3),
    ]
    constants = {"w": w, "scale": scale, "shift": shift, "mean": mean, "var": np.abs(var) + f4(0.1)}
    found = model(nodes, (None, 5, None), constants).astype("int8")(x)
    factor = scale / np.sqrt(constants["var"] + f4(1e-3))
    kept = held((np.moveaxis(w, 1, -1) * factor[:, None, None]).reshape(16, -1).astype(f4), "int8")
    expected = rows(kept, windows(x, 3, 1, 1, 0, 0).reshape(1, 18, 15), shift - mean * factor, "int16")
    np.testing.assert_allclose(found[0].T, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@schemes
def test_saved_pickled_and_live(tmp_path, dtype, products):
    low, x = whole().astype(dtype, products), numbers(2, 12, 5, seed=6)
    low.save(tmp_path / "low.safetensors")
    for again in (fl.Model.load(tmp_path / "low.safetensors"), pickle.loads(pickle.dumps(low))):
        assert again.dtype == dtype
        assert again(x).tobytes() == low(x).tobytes()
    assert again.astype("float32")(x).tobytes() == whole()(x).tobytes()


def test_an_lstm_of_a_saved_model_is_as_the_file_has_it(tmp_path):
    """The precision is the model's; asked for, it is that of the LSTM as well."""
    weights = fl.LSTMWeights([[fl.DirectionWeights(numbers(80, 16), numbers(80, 20), numbers(80, seed=2))]])
    low, x = fl.Sequential(fl.LSTM(weights)).astype("int8"), numbers(3, 9, 16, seed=5)
    low.save(tmp_path / "low.safetensors")
    lstm = fl.LSTM.load(tmp_path / "low.safetensors")
    assert lstm.dtype == "float32" and lstm(x)[0].tobytes() == fl.LSTM(weights)(x)[0].tobytes()
    assert fl.LSTM.load(tmp_path / "low.safetensors", dtype="int8")(x)[0].tobytes() == low(x).tobytes()


def test_damaged_precisions_are_refused(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    whole().astype("int8").save(tmp_path / "low.safetensors")
    with safe_open(tmp_path / "low.safetensors", "np") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    (key,) = metadata
    for old, new in (
        ('"int16"', '"float32"'),
        ('"dtype":"int8"', '"dtype":8'),
        ('"keep":[]', '"keep":[1]'),
        ('"keep":[]', '"keep":[""]'),
        ('"keep":[]', '"kept":[]'),
    ):
        assert old in metadata[key]
        save_file(arrays, tmp_path / "bad.safetensors", {key: metadata[key].replace(old, new)})
        with pytest.raises(fl.FormatError):
            fl.Model.load(tmp_path / "bad.safetensors")
    for old, new in (('"version":2', '"version":1'), ('"version":2', '"version":3')):
        save_file(arrays, tmp_path / "bad.safetensors", {key: metadata[key].replace(old, new)})
        with pytest.raises(fl.FormatError):
            fl.Model.load(tmp_path / "bad.safetensors")


def test_refused():
    full = whole()
    with pytest.raises(ValueError, match="dtype: expected one of float32, float16, bfloat16, int8, found 'int4'"):
        full.astype("int4")
    with pytest.raises(ValueError, match="products: expected"):
        full.astype("float16", "int8")
    bad = numbers(6, 4)
    bad[2, 1] = np.nan
    low = model([node("MatMul", ["x", "w"], ["y"], "head")], (None, 6), {"w": bad}).astype("int8")
    with pytest.raises(ValueError, match=r"'head': weights\[1, 2\]: expected a finite number for int8 weights"):
        low(numbers(1, 6))


def test_streams_of_models_with_states():
    """A step is the call with the states handed over."""
    size = 16
    constants = {"w": numbers(1, 4 * size, 6), "r": numbers(1, 4 * size, size), "b": numbers(1, 8 * size)}
    made = [node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "hn", "cn"], hidden_size=size)]
    values = [
        Value(name, np.dtype(f4), shape) for name, shape in (("x", (1, 1, 6)), ("h", (1, 1, size)), ("c", (1, 1, size)))
    ]
    outputs = [Value(name, np.dtype(f4), None) for name in ("y", "hn", "cn")]
    low = fl.Model(Graph(values, outputs, made, constants)).astype("int8")
    stream, h, c = low.stream(), numbers(1, 1, size) * 0, numbers(1, 1, size) * 0
    for t in range(4):
        x = numbers(1, 1, 6, seed=t)
        y, h, c = low(x, h, c)
        assert stream.step(x).tobytes() == y.tobytes()


@schemes
def test_live_along_time(dtype, products):
    """The bytes of the whole sequence, in any chunks."""
    low, x = whole().astype(dtype, products), numbers(1, 40, 5, seed=6)
    stream, parts = low.stream(), []
    for first, last in ((0, 1), (1, 2), (2, 9), (9, 10), (10, 40)):
        parts.append(stream.process(x[:, first:last]))
    found = np.concatenate([one for one in parts if one.shape[1]], axis=1)
    assert found.tobytes() == low(x).tobytes()
