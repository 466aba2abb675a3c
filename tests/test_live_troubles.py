"""What goes wrong around live models: views of their own memory, others who come in between, states that do not fit."""

import asyncio
import contextlib
import ctypes
import gc
import pickle
import threading

import numpy as np
import pytest
from c_api import API, OK
from graphs import Builder, random

import fusedlstm as fl

f4 = np.float32


def summing(**shapes):
    """A state to which a step's input is added; the state again, negative."""
    build = Builder(**(shapes or {"x": (None, 1), "h": (None, 1)}))
    h = build("Add", "h", build("ReduceSum", "x", [1], keepdims=1))
    return fl.Model(build.graph(build("Neg", h), h)), {"h": h}


def padded(features=4, before=3):
    """Some steps in front, and each as it is."""
    build = Builder(x=(None, None, features))
    return fl.Model(build.graph(build("Relu", build("Pad", "x", [0, before, 0, 0, 0, 0], f4(7)))))


def two_layers(second=5):
    build = Builder(x=(None, None, 3))

    def gru(seed, size):
        weights = [random(1, 3 * size, n, seed=seed) for n in (3, size)]
        return build("GRU", "x", *weights, random(1, 6 * size), hidden_size=size, outputs=2)[0]

    y, z = gru(0, 5), gru(1, second)
    return fl.Model(build.graph(build("Transpose", z, perm=(0, 2, 1, 3)), y))


@pytest.mark.parametrize("second", [5, 3])
def test_layers_whose_order_depends_on_the_rows(second):
    model, x = two_layers(second), random(8, 3)
    pool, alone = fl.StreamPool(model), [model.stream(), model.stream()]
    ids = [pool.open(), pool.open()]
    for at in range(8):
        which = [0] if at % 2 else [1, 0]
        made = pool.step([ids[k] for k in which], x[[at] * len(which)])
        for row, k in enumerate(which):
            for found, wanted in zip(made, alone[k].step(x[at])):
                assert found[row].tobytes() == wanted.tobytes()
    moved = model.stream()
    moved.state = pool.state(ids[0])
    assert all(map(np.array_equal, moved.step(x[0]), alone[0].step(x[0])))


def test_streams_that_give_different_numbers_of_steps_at_once():
    model, x = padded(), random(2, 6, 4)
    pool = fl.StreamPool(model)
    first, second = pool.open(), pool.open()
    one = pool.step([first], x[:1, 0])
    assert one[0].tobytes() == model(x[:1, :1])[0].tobytes()
    made = pool.step([first, second], np.stack([x[0, 1], x[1, 0]]))
    assert made[0].tobytes() == model(x[:1, :2])[0, 4].tobytes()
    assert made[1].tobytes() == model(x[1:, :1])[0].tobytes()

    async def run():
        async with fl.AsyncBatcher(pool, window=0.05) as batcher:
            third = await batcher.open()
            return await asyncio.gather(batcher.step(first, x[0, 2]), batcher.step(third, x[1, 0]))

    late, early = asyncio.run(run())
    assert late.tobytes() == model(x[:1, :3])[0, 5].tobytes() and early.tobytes() == made[1].tobytes()
    assert pool.step([first, second], x[:, 3]).tobytes() == x[:, 3].clip(0).tobytes()


def test_in_place_where_a_step_gives_several_nothing_is_done():
    model, x = padded(), random(1, 3, 4)
    stream = model.stream()
    stream.input[...] = x[:, :1]
    with pytest.raises(ValueError, match=r"expected step\(x\), as this step gives 4"):
        stream.step()
    assert stream.state["steps"] == 0
    assert stream.step(x[:, :1]).tobytes() == model(x[:, :1]).tobytes()
    stream.input[...] = x[:, 1:2]
    assert stream.step().tobytes() == x[:, 1:2].clip(0).tobytes()


def test_inputs_that_are_views_of_each_other_s_places():
    build = Builder(x=(None, 3), y=(None, 3), h=(None, 3))
    h = build("Add", "h", "x")
    model = fl.Model(build.graph(build("Concat", "x", "y", axis=1), h))
    stream = model.stream(states={"h": h})
    stream.input[0][...], stream.input[1][...] = 1, 2
    assert stream.step(stream.input[1], stream.input[0]).tolist() == [[2, 2, 2, 1, 1, 1]]
    assert stream.state["h"].tolist() == [[2, 2, 2]]
    assert stream.step(stream.input[0], stream.input[0]).tolist() == [[2, 2, 2, 2, 2, 2]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_the_largest_of_whole_numbers_behind_what_is_put_in_front(dtype):
    build = Builder(x=(None, 2, None))
    scale, zero = f4(0.1), dtype(3)
    q = build("QuantizeLinear", "x", scale, zero)
    model = fl.Model(
        build.graph(build("DequantizeLinear", build("MaxPool", q, kernel_shape=(3,), pads=(2, 0)), scale, zero))
    )
    x = -np.abs(random(1, 2, 9)) - 0.2
    assert model.stream().process(x).tobytes() == model(x).tobytes()


def test_a_handle_lives_as_long_as_its_stream():
    model, states = summing(x=(None, None), h=(None, 1))
    stream = model.stream(states=states)
    stream.step(np.ones((1, 2), f4))
    handle = stream.handle
    for size in range(3, 20):
        stream.step(np.ones((1, size), f4))
    gc.collect()
    other = ctypes.c_size_t()
    assert API.model_state_bytes(handle) == 4
    assert API.open_model(handle, ctypes.byref(other)) == OK
    assert API.close_model(other) == OK


def process_of(kind):
    if kind == "states":
        model, states = summing()
        stream = model.stream(states=states)
        return stream, np.ones((4000, 1, 1), f4), lambda: stream.state["h"].item()
    model = fl.Sequential(fl.LSTM(_adding()), fl.Last(), shape=(None, None, 1))
    stream = model.stream(every_step=True)
    return stream, np.ones((1, 4000, 1), f4), lambda: float(stream.state["steps"])


def _adding():
    one = fl.DirectionWeights(np.zeros((4, 1), f4), np.zeros((4, 1), f4), np.array([9, 9, 1, 9], f4))
    return fl.LSTMWeights([[one]], batch_first=True)


@pytest.mark.parametrize("kind", ["states", "every step"])
def test_nobody_steps_in_the_middle_of_a_block(kind):
    stream, x, _ = process_of(kind)
    wanted, before = stream.copy().process(x), stream.state
    seen, stop = [], threading.Event()

    def others():
        while not stop.is_set():
            for call in (lambda: stream.step(x.reshape(-1)[:1].reshape(1, 1)), lambda: stream.state):
                try:
                    call()
                except RuntimeError as error:
                    seen.append(str(error))

    for _ in range(3):
        stream.state = before
        stop.clear()
        thread = threading.Thread(target=others)
        with stream._core:  # so that it has begun when the block begins
            thread.start()
            while len(seen) < 3:
                pass
        with contextlib.suppress(RuntimeError):  # the other one was in it first
            stream.process(x)
        stop.set()
        thread.join()
    stream.state = before
    assert stream.process(x).tobytes() == wanted.tobytes()
    assert all("another thread is using it" in one for one in seen)


@pytest.mark.parametrize("kind", ["states", "every step"])
def test_whatever_stops_a_block_leaves_the_state_before_it(kind, monkeypatch):
    stream, x, _ = process_of(kind)
    before, left = stream.state, [5]
    real = type(stream)._stepped

    def stopped(self, *given):
        left[0] -= 1
        if not left[0]:
            raise TimeoutError
        return real(self, *given)

    monkeypatch.setattr(type(stream), "_stepped", stopped)
    with pytest.raises(TimeoutError):
        stream.process(x)
    for name, value in stream.state.items():
        assert np.array_equal(value, before[name]), name


def test_a_context_is_a_state_from_the_start():
    build = Builder(x=(None, None), h=(None, 1))
    h = build("Add", "h", build("ReduceSum", "x", [1], keepdims=1))
    model, options = fl.Model(build.graph(build("Neg", h), h)), {"states": {"h": h}, "context": {"x": 2}}
    one, pool = model.stream(**options), fl.StreamPool(model, **options)
    fresh = model.stream(**options).state
    assert fresh["x"].tolist() == [[0, 0]]
    id = pool.open(fresh)
    x = random(4, 3)
    for row in x[:2]:
        one.step(row[None])
        pool.step([id], row[None])
    for state in (one.state, pool.state(id)):
        other = model.stream(**options)
        other.state = state
        assert other.step(x[2][None]).tobytes() == one.copy().step(x[2][None]).tobytes()


def test_axes_of_inputs_of_several_ranks_may_be_left_out():
    build = Builder(ids=(np.dtype(np.int64), (None, None)), x=(None, None, 4))
    lstm = build("Add", build("Gather", random(9, 4), "ids"), "x")
    model = fl.Model(
        build.graph(
            build("Tanh", build("Conv", build("Transpose", lstm, perm=(0, 2, 1)), random(3, 4, 2), pads=(1, 0)))
        )
    )
    ids, x = np.arange(6)[None] % 9, random(1, 6, 4)
    whole, stream = model(ids, x), model.stream()
    for at in range(6):
        given = ids[:, at].astype(np.int32 if at % 2 else np.int64)
        assert stream.step(given, x[:, at]).tobytes() == whole[:, :, at].tobytes()
    stream.reset()
    assert stream.step(ids[:, 0], x[:, 0]).shape == (1, 3)
    stream.reset()
    assert stream.process(ids[0], x[0]).tobytes() == whole.tobytes()


def test_a_second_sequence_is_no_state():
    build = Builder(a=(None, None, 4), c=(None, None, 4))
    late = build("Conv", build("Transpose", "a", perm=(0, 2, 1)), random(3, 4, 2), pads=(1, 0))
    model = fl.Model(build.graph(late, build("Relu", "c")))
    a, c = random(1, 7, 4), random(1, 7, 4)
    stream = model.stream()
    for made, wanted in zip(stream.process(a, c), model(a, c)):
        assert made.tobytes() == wanted.tobytes()
    assert pickle.loads(pickle.dumps(stream)).state["steps"] == stream.state["steps"]


def test_models_of_other_floats_have_streams():
    from onnx import TensorProto, helper

    for kind in (TensorProto.FLOAT16, TensorProto.DOUBLE):
        values = {name: helper.make_tensor_value_info(name, kind, ["b", 3]) for name in ("x", "h", "hn", "y")}
        nodes = [helper.make_node("Add", ["x", "h"], ["hn"]), helper.make_node("Tanh", ["hn"], ["y"])]
        graph = helper.make_graph(nodes, "g", [values["x"], values["h"]], [values["y"], values["hn"]])
        file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
        stream = fl.Model.load(file).stream()
        stream.step(np.ones((1, 3), f4))
        np.testing.assert_allclose(stream.step(np.ones((1, 3), f4)), np.tanh(2), rtol=1e-6)


def test_whole_numbers_in_their_own_memory_are_looked_at():
    build = Builder(x=(np.dtype(np.uint8), (None, 1)), h=(None, 1))
    h = build("Add", "h", build("Cast", "x", to=np.dtype(f4)))
    model = fl.Model(build.graph(build("Neg", h), h))
    stream = model.stream(states={"h": h})
    stream.input[...] = 200
    stream.step()
    stream.input[...] = 300
    with pytest.raises(ValueError, match="input 'x': expected uint8, 0 to 255, found 300"):
        stream.step()
    assert stream.state["h"] == 200


def test_no_steps_have_the_shape_and_type_of_some():
    model, states = summing()
    pool = fl.StreamPool(model, states=states)
    i, j = pool.open(), pool.open()
    made = pool.process({i: np.ones((2, 1), f4), j: np.ones((0, 1), f4)})
    assert made[i].shape == (2, 1) and made[j].shape == (0, 1) and made[j].dtype == made[i].dtype


def test_masked_arrays_and_states_that_are_none():
    model, states = summing()
    stream, pool, masked = (
        model.stream(states=states),
        fl.StreamPool(model, states=states),
        np.ma.masked_array([[1.0]], [[True]]),
    )
    along = padded().stream()
    with pytest.raises(TypeError, match="mask"):
        pool.one(masked[0])
    for one in (stream, along):
        for wrong, error in (((1, 2), TypeError), (None, TypeError), ({1: 2}, ValueError)):
            with pytest.raises(error, match="state: expected"):
                one.state = wrong
    with pytest.raises(TypeError, match="mask"):
        pool.open({"h": masked})


def test_finalizers_that_come_back_to_a_pool():
    pool, told = fl.StreamPool(padded()), []
    ids = [pool.open() for _ in range(4)]

    class Client:
        def __del__(self):
            for call in (lambda: pool.reset([ids[0]]), lambda: pool.state(ids[0])):
                try:
                    call()
                except RuntimeError as error:
                    told.append(str(error))

    with pool._alone():
        Client()
    assert told == ["pool: this thread is in the middle of a call of the pool, and nothing was done"] * 2
    assert len(pool) == 4 and ids[0] in pool
    pool.close(ids[0])


def test_steps_that_wait_run_before_their_stream_is_closed():
    async def run(model):
        pool = fl.StreamPool(model)
        async with fl.AsyncBatcher(pool) as batcher:
            for count in (1, 3):
                id = await batcher.open()
                steps = [asyncio.ensure_future(batcher.step(id, random(4))) for _ in range(count)]
                while not batcher._batch:
                    await asyncio.sleep(0)
                await batcher.close(id)
                assert all(isinstance(one, np.ndarray) for one in await asyncio.gather(*steps))

    asyncio.run(run(padded()))
