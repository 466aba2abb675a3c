"""Reductions over time as running ones: at every step the bytes of the reduction over all steps so far."""

import copy
import pickle

import numpy as np
import pytest
from along import same_at_every_step
from graphs import Builder, random
from strided import check

import fusedlstm as fl
from fusedlstm.graph.operators import OPERATORS
from fusedlstm.graph.operators.fused import RUNNING, nothing_yet

f4 = np.float32
CHUNK = 1024  # terms whose sum is a float32
LENGTHS = (*range(1, 71), CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3)


def pooled(make, shape=(2, None, 4)):
    """A model of x (batch, time, 4), or of another shape."""
    build = Builder(x=shape)
    return fl.Model(build.graph(make(build)))


def channels_first(build):
    return build("Transpose", "x", perm=(0, 2, 1))


def values(name, *shape, seed=0):
    """Numbers of which the reduction is one as well."""
    x = random(*shape, seed=seed)
    return {"LogSum": np.abs(x) + f4(0.1), "Prod": 1 + x * f4(0.05)}.get(name, x)


# How time and what is reduced lie.
WAYS = {
    "over time": lambda b, op: b(op, "x", [1], keepdims=0),
    "time kept as one": lambda b, op: b(op, "x", [1], keepdims=1),
    "time last": lambda b, op: b(op, channels_first(b), [-1], keepdims=0),
    "time first": lambda b, op: b(op, b("Transpose", "x", perm=(1, 2, 0)), [0], keepdims=0),
    "time and features": lambda b, op: b(op, "x", [2, 1], keepdims=1),
    "time and half the features": lambda b, op: b(op, b("Reshape", "x", [2, -1, 2, 2]), [1, 3], keepdims=0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RUNNING)
def test_every_reduction(name, way):
    model = pooled(lambda b: WAYS[way](b, f"Reduce{name}"))
    same_at_every_step(model, values(name, 2, 70, 4), counts=range(1, 71))


@pytest.mark.parametrize("name", RUNNING)
def test_chunks_of_the_kernels(isa, name):
    x = values(name, 2, max(LENGTHS), 20)
    for way in ("over time", "time last"):
        same_at_every_step(pooled(lambda b, way=way: WAYS[way](b, f"Reduce{name}"), (2, None, 20)), x, counts=LENGTHS)


@pytest.mark.parametrize("name", RUNNING)
def test_several_terms_a_step(isa, name):
    """Steps of 40 terms: chunks end within them."""
    model = pooled(lambda b: b(f"Reduce{name}", "x", [1, 2]), (2, None, 40))
    same_at_every_step(model, values(name, 2, 110, 40), counts=(1, 2, 25, 26, 27, 51, 52, 103, 110))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_global_pools(op):
    for more in ({}, {"p": 1}) if op == "GlobalLpPool" else ({},):
        same_at_every_step(pooled(lambda b, more=more: b(op, channels_first(b), **more)), random(2, 70, 4))
        frames = pooled(lambda b, more=more: b(op, b("Reshape", "x", [2, 1, -1, 4]), **more))
        same_at_every_step(frames, random(2, 70, 4))


def test_all_axes_of_one_row():
    for keepdims in (0, 1):
        model = pooled(lambda b, keep=keepdims: b("ReduceMean", "x", keepdims=keep), (1, None, 4))
        same_at_every_step(model, random(1, 40, 4))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
def test_as_many_results_as_there_are(count):
    model = pooled(lambda b: b("ReduceSum", "x", [1]), (3, None, count))
    same_at_every_step(model, random(3, 20, count))


def test_means_are_means():
    x = random(2, 100, 4)
    stream = pooled(lambda b: b("ReduceMean", "x", [1], keepdims=0)).stream(2, every_step=True)
    means = np.cumsum(x, 1, np.float64) / np.arange(1, 101)[:, None]
    np.testing.assert_allclose(stream.process(x), means, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", RUNNING[:-1])
def test_infinity_and_no_number(isa, name):
    model = pooled(lambda b: b(f"Reduce{name}", "x", [1], keepdims=0), (4, None, 5))
    x = values(name, 4, 60, 5)
    x[0, 20, 1], x[1, 30, 2], x[1, 40, 2], x[2, 0, 0], x[2, 3, 4], x[3] = np.nan, np.inf, -np.inf, np.nan, -np.inf, 0
    x[3, :, 1], x[3, ::2, 2], x[3, 1::2, 3] = -0.0, -0.0, -0.0
    stream = model.stream(4, every_step=True)
    for n in range(1, 61):
        found, wanted = stream.step(x[:, n - 1]), model(x[:, :n])
        lost = np.isnan(wanted)
        assert np.array_equal(np.isnan(found), lost)
        assert found[~lost].tobytes() == wanted[~lost].tobytes()
        assert lost[0, 1] == (n > 20) and lost[2, 0]  # for ever


def test_behind_other_layers():
    """Delays, strides, several steps that come with the first one, what each last step gives beside, dense layers."""

    def layers(b, **conv):
        x = b("Relu", b("Conv", channels_first(b), random(6, 4, 3), random(6), **conv))
        mean, most = b("GlobalAveragePool", x), b("GlobalMaxPool", x)
        last = b("Slice", x, [-1], [2**62], [2])
        both = b("Reshape", b("Concat", mean, most, last, axis=1), [2, 18])
        return b("Softmax", b("Gemm", both, random(18, 3), random(3)), axis=-1)

    for conv in ({}, {"pads": (2, 0)}, {"pads": (5, 0)}, {"strides": (3,)}, {"strides": (2,), "pads": (2, 0)}):
        same_at_every_step(pooled(lambda b, conv=conv: layers(b, **conv)), random(2, 60, 4))


def test_several_first_steps_in_pools():
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        build = Builder(x=(None, None, 4))
        made = build(op, build("Pad", channels_first(build), [0, 0, 3, 0, 0, 0], np.float32(0.5)))
        model = fl.Model(build.graph(build("Squeeze", made, [2])))
        pool, alone, x = fl.StreamPool(model, every_step=True), model.stream(every_step=True), random(6, 4)
        ids = [pool.open() for _ in range(3)]
        for one in x:
            wanted = alone.step(one)
            assert all(row.tobytes() == wanted.tobytes() for row in pool.step(ids, np.stack([one] * 3)))


def test_streams_that_are_not_equally_far():
    build = Builder(x=(None, None, 5))
    model = fl.Model(build.graph(*(build(f"Reduce{name}", "x", [1], keepdims=0) for name in ("Mean", "Min"))))
    pool, rng = fl.StreamPool(model, every_step=True), np.random.default_rng(0)
    alone = {}
    for turn in range(120):
        if turn % 10 == 0:
            alone[pool.open()] = []
        ids = [one for one in alone if rng.random() < 0.7]
        if not ids:
            continue
        x = rng.standard_normal((len(ids), 5)).astype(f4)
        x[0, 2] = np.nan if ids[0] == 3 else x[0, 2]
        made = pool.step(ids, x)
        for k, one in enumerate(ids):
            alone[one].append(x[k])
            for found, wanted in zip(made, model(np.stack(alone[one])[None])):
                np.testing.assert_array_equal(np.isnan(found[k]), np.isnan(wanted[0]))
                there = ~np.isnan(wanted[0])
                assert found[k][there].tobytes() == wanted[0][there].tobytes()


def test_copies_states_and_pickles():
    model, x = pooled(lambda b: b("ReduceMean", "x", [1], keepdims=0)), random(2, 60, 4)
    whole = model.stream(2, every_step=True).process(x)
    stream = model.stream(2, every_step=True)
    head = stream.process(x[:, :37])
    other = model.stream(2, every_step=True)
    other.state = stream.state
    for twin in (stream.copy(), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream)), other, stream):
        assert np.concatenate([head, twin.process(x[:, 37:])], 1).tobytes() == whole.tobytes()
    stream.reset()
    assert stream.process(x).tobytes() == whole.tobytes()
    state = stream.state
    for name, value in state.items():  # whatever the numbers are, they are within their memory
        if value.dtype == np.int64 and name != "steps":
            state[name] = np.full_like(value, -(2**63) + 5)
    stream.state = state
    stream.process(x)


REFUSED = {
    "at the end alone": (lambda b: b("ReduceMean", "x", [1]), {}, r"ReduceMean node.*whole sequence; stream\(every_step=True"),
    "a pool": (lambda b: b("GlobalMaxPool", channels_first(b)), {}, r"GlobalMaxPool node.*every_step=True\) gives at every"),
    "exponentials": (lambda b: b("ReduceLogSumExp", "x", [1]), {"every_step": True}, "ReduceLogSumExp node.*whole sequence$"),
    "places": (lambda b: b("ArgMax", "x", axis=1), {"every_step": True}, "ArgMax node.*whole sequence$"),
    "powers": (
        lambda b: b("GlobalLpPool", channels_first(b), p=3), {"every_step": True}, "GlobalLpPool node.*whole sequence$"
    ),
    "rows": (lambda b: b("ReduceSum", "x", [0, 1]), {"every_step": True}, "axes behind it, found one before it"),
    "whole numbers": (
        lambda b: b("ReduceSum", b("Cast", "x", to=np.dtype(np.int32)), [1]), {"every_step": True}, "floats, found int32"
    ),
    "padded behind": (
        lambda b: b("GlobalAveragePool", b("Conv", channels_first(b), random(6, 4, 3), pads=(1, 1))),
        {"every_step": True},
        "padded behind the last step",
    ),
    "its rest": (lambda b: b("Sub", "x", b("ReduceMean", "x", [1])), {"every_step": True}, "Sub node.*would need the last step"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_by_name(name):
    make, options, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        pooled(make).stream(2, **options)


def test_files_of_keras(tmp_path):
    keras = pytest.importorskip("keras")
    L = keras.layers
    for pool in (L.GlobalAveragePooling1D(), L.GlobalMaxPooling1D(keepdims=True)):
        start = keras.Input((None, 3))
        y = L.Dense(2, activation="softmax")(pool(L.LSTM(5, return_sequences=True)(start)))
        keras.Model(start, y).save(tmp_path / "model.keras")
        model = fl.Model.load(tmp_path / "model.keras")
        same_at_every_step(model, random(3, 40, 3))
        with pytest.raises(ValueError, match=r"global_.*pooling1d.*every_step=True"):
            model.stream()


def test_a_file_of_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(random(6, 4, 3), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"], name="mean"),
    ]
    given = helper.make_tensor_value_info("x", floats, ["n", 4, "t"])
    graph = helper.make_graph(nodes, "g", [given], [helper.make_tensor_value_info("y", floats, ["n", 6, 1])], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "model.onnx")
    model, x = fl.Model.load(tmp_path / "model.onnx"), random(2, 4, 40)
    same_at_every_step(model, x, axis=2)
    with pytest.raises(ValueError, match=r"GlobalAveragePool node 'mean'.*every_step=True"):
        model.stream()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", RUNNING)
def test_the_operator(name, seed):
    """Against its meaning, results in the middle of chunks and at their ends, arrays that lie in any way."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 7, rng.integers(2, 5)))
    axes = tuple(int(axis) for axis in rng.permutation(len(shape))[: rng.integers(1, len(shape))])
    x = values(name, *shape, seed=seed)
    keepdims = int(rng.integers(2))
    left = [(1,) if axis in axes else (size,) for axis, size in enumerate(shape)]
    kept = nothing_yet(name, sum((one for k, one in enumerate(left) if keepdims or k not in axes), ()))
    before = OPERATORS["fusedlstm.Running"].compute
    a = {"reduction": name, "axes": axes, "keepdims": keepdims}
    count = rng.choice([0, 3, 16, CHUNK - 1, CHUNK, 3 * CHUNK - 2], kept[2].shape)
    _, partial, total, _ = before(a, x, *kept)
    check(rng, "fusedlstm.Running", x, partial, total, count.astype(np.int64), outputs=4, **a)


def test_the_operator_refuses_what_does_not_fit():
    for k, wrong in ((0, np.zeros((15, 4), f4)), (1, np.zeros(4, f4)), (2, np.zeros(3, np.int64))):
        kept = list(nothing_yet("Sum", (4,)))
        kept[k] = wrong
        build = Builder(x=(3, 4))
        names = [build.const(one, one.dtype) for one in kept]
        made = build("fusedlstm.Running", "x", *names, outputs=4, reduction="Sum", axes=(0,), keepdims=0)
        with pytest.raises((ValueError, fl.FormatError), match=f"Running node.*input {k + 1}"):
            fl.Model(build.graph(*made))
