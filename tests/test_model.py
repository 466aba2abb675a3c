"""Whole models against ONNX Runtime: calls, plans, streams, and what is refused."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import fusedlstm as fl
from fusedlstm.pairing import pair_states

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def save(path, nodes, inputs, outputs, constants=(), opset=17):
    """An ONNX file; inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def floats(rng, *shape):
    return (rng.standard_normal(shape) * 0.3).astype(np.float32)


@pytest.fixture
def detector(tmp_path):
    """A convolution, an LSTM with its states as inputs and outputs, a dense layer: batch and length are free."""
    rng = np.random.default_rng(1)
    node = helper.make_node
    nodes = [
        node("Conv", ["input", "kernel", "kernel_bias"], ["features"], kernel_shape=[3], pads=[1, 1], strides=[2]),
        node("Relu", ["features"], ["positive"]),
        node("Transpose", ["positive"], ["sequence"], perm=[2, 0, 1]),
        node("LSTM", ["sequence", "w", "r", "b", "", "h", "c"], ["y", "hn", "cn"], hidden_size=12),
        node("Squeeze", ["hn", "axes"], ["last"]),
        node("Gemm", ["last", "head", "head_bias"], ["logit"]),
        node("Sigmoid", ["logit"], ["probability"]),
    ]
    state = (FLOAT, [1, "batch", 12])
    return save(
        tmp_path / "detector.onnx",
        nodes,
        [("input", FLOAT, ["batch", 5, "length"]), ("h", *state), ("c", *state)],
        [("probability", FLOAT, ["batch", 1]), ("hn", *state), ("cn", *state)],
        [
            ("kernel", floats(rng, 8, 5, 3)),
            ("kernel_bias", floats(rng, 8)),
            ("w", floats(rng, 1, 48, 8)),
            ("r", floats(rng, 1, 48, 12)),
            ("b", floats(rng, 1, 96)),
            ("axes", np.array([0])),
            ("head", floats(rng, 12, 1)),
            ("head_bias", floats(rng, 1)),
        ],
    )


def inputs(rng, batch, length):
    return {"input": floats(rng, batch, 5, length), "h": floats(rng, 1, batch, 12), "c": floats(rng, 1, batch, 12)}


def test_calls_have_the_numbers_of_onnx_runtime(detector):
    model, peer, rng = fl.Model.load(detector), session(detector), np.random.default_rng(2)
    for batch, length in ((1, 1), (1, 7), (3, 2), (2, 40), (1, 7)):
        feed = inputs(rng, batch, length)
        wanted = dict(zip(model.outputs, peer.run(None, feed)))
        found = model.run(feed)
        assert list(found) == ["probability", "hn", "cn"]
        for name, value in found.items():
            np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=1e-6)
        positional = model(*feed.values())
        assert isinstance(positional, tuple)
        assert all(np.array_equal(a, b) for a, b in zip(positional, found.values()))


def test_specs_and_repr(detector):
    model = fl.Model.load(detector)
    assert {name: spec.shape for name, spec in model.inputs.items()} == {
        "input": (None, 5, None),
        "h": (1, None, 12),
        "c": (1, None, 12),
    }
    assert model.inputs["input"].dtype == np.float32
    assert model.outputs["probability"].shape == (None, 1)
    assert repr(model).startswith("Model(input: float32[?, 5, ?], h: ")


def test_the_caller_s_arrays_are_only_read_and_need_not_be_contiguous(detector):
    model, rng = fl.Model.load(detector), np.random.default_rng(3)
    feed = inputs(rng, 2, 6)
    wanted = model.run(feed)
    strided = {name: np.repeat(value, 2, -1)[..., ::2] for name, value in feed.items()}
    wide = {name: value.astype(np.float64) for name, value in feed.items()}
    for other in (strided, wide):
        before = {name: value.copy() for name, value in other.items()}
        found = model.run(other)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
        assert all(np.array_equal(other[name], before[name]) for name in other)


def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(detector):
    model, rng = fl.Model.load(detector), np.random.default_rng(4)
    feed = inputs(rng, 17, 9)
    whole = model.run(feed)
    for row in (0, 5, 16):
        alone = model(feed["input"][row : row + 1], feed["h"][:, row : row + 1], feed["c"][:, row : row + 1])
        assert np.array_equal(alone[0][0], whole["probability"][row])
        assert np.array_equal(alone[1][:, 0], whole["hn"][:, row])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda feed: feed.pop("h"), TypeError, r"input 'h': expected an array \(1, \?, 12\) of float32, found none"),
        (lambda feed: feed.update(more=0.0), TypeError, "input 'more': expected one of input, h, c"),
        (lambda feed: feed.update(h=np.zeros((1, 1, 13), "f")), ValueError, r"input 'h': expected .*found shape"),
        (lambda feed: feed.update(h=np.zeros((1, 2, 12), "f")), ValueError, "batch|size|shape"),
        (lambda feed: feed.update(h=np.zeros((1, 1, 12), int)), TypeError, "floating-point numbers, found dtype int64"),
        (lambda feed: feed.update(h=np.ma.zeros((1, 1, 12))), TypeError, "masked"),
        (lambda feed: feed.update(input=np.zeros((1, 5), "f")), ValueError, r"found shape \(1, 5\)"),
    ],
)
def test_inputs_that_do_not_fit(detector, change, error, words):
    feed = inputs(np.random.default_rng(0), 1, 4)
    change(feed)
    with pytest.raises(error, match=words):
        fl.Model.load(detector).run(feed)


class Own(np.ndarray):
    """Somebody else's kind of array."""


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.astype(">f4"),
        lambda x: np.asfortranarray(x),
        lambda x: x[:, ::-1, ::-1],
        lambda x: np.concatenate([x, x], axis=2),
        lambda x: np.concatenate([x, x]),
        lambda x: x.tolist(),
        lambda x: x.view(Own),
    ],
)
def test_a_call_that_is_not_like_the_one_before(detector, change):
    """Calls like the one before take a shorter way; all others have to find out."""
    model, feed = fl.Model.load(detector), inputs(np.random.default_rng(3), 1, 8)
    for _ in range(2):
        model.run(feed)
        model(*feed.values())
    x = change(feed["input"])
    other = {"input": x, **{name: np.repeat(feed[name], len(x), axis=1) for name in "hc"}}
    wanted = session(detector).run(None, {name: np.ascontiguousarray(one, np.float32) for name, one in other.items()})
    for found in (model.run(other).values(), model(*other.values()), model(**other), model.run(other).values()):
        for one, right in zip(found, wanted):
            np.testing.assert_allclose(one, right, rtol=1e-5, atol=1e-6)
    for wrong in (np.ma.masked_array(feed["input"]), feed["input"].astype(int), feed["input"][0], None):
        with pytest.raises((TypeError, ValueError), match="input 'input'"):
            model.run({**feed, "input": wrong})
        with pytest.raises((TypeError, ValueError), match="input 'input'"):
            model(wrong, feed["h"], feed["c"])
    for few in ({}, {"input": feed["input"]}, {**feed, "more": 1}):
        with pytest.raises(TypeError, match="expected"):
            model.run(few)


def test_threads_may_call_one_model_at_once(detector):
    model, rng = fl.Model.load(detector), np.random.default_rng(5)
    feeds = [inputs(rng, 1 + k % 3, 3 + k % 5) for k in range(12)]
    wanted = [fl.Model.load(detector).run(feed) for feed in feeds]
    wrong = []

    def call(start):
        for k in range(60):
            feed = (start + k) % len(feeds)
            found = model.run(feeds[feed])
            if not all(np.array_equal(found[name], wanted[feed][name]) for name in found):
                wrong.append(feed)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted where Linux shows them")
@pytest.mark.parametrize(("directions", "batch"), [(2, 1), (1, 40)])
def test_an_lstm_that_has_enough_to_do_is_shared_among_threads(tmp_path, threads, directions, batch):
    rng, hidden = np.random.default_rng(3), 96
    weights = [("w", floats(rng, directions, 4 * hidden, 8)), ("r", floats(rng, directions, 4 * hidden, hidden) * 0.2)]
    path = save(
        tmp_path / "a.onnx",
        [
            helper.make_node(
                "LSTM",
                ["x", "w", "r"],
                ["y", "h", "c"],
                hidden_size=hidden,
                direction="forward" if directions == 1 else "bidirectional",
            )
        ],
        [("x", FLOAT, ["time", "batch", 8])],
        [("y", FLOAT, [None] * 4), ("h", FLOAT, [None] * 3), ("c", FLOAT, [None] * 3)],
        weights,
    )
    model, x = fl.Model.load(path), floats(rng, 60, batch, 8)
    found, used = [], []
    for count in (1, 3, 2, 1):
        threads(count)
        found.append(model(x))
        used.append(len(os.listdir("/proc/self/task")))
    assert used[1] > used[0] or used[0] >= 3  # other tests may have started them
    for other in found[1:]:
        for one, same in zip(found[0], other):
            assert one.tobytes() == same.tobytes()
    for one, wanted in zip(found[0], session(path).run(None, {"x": x})):
        np.testing.assert_allclose(one, wanted, atol=1e-6)


def test_plans_are_bounded(detector):
    from fusedlstm.model import PLANS

    model, rng = fl.Model.load(detector), np.random.default_rng(6)
    first = inputs(rng, 1, 1)
    wanted = model.run(first)
    for length in range(1, 2 * PLANS):
        model.run(inputs(rng, 1, length))
    assert len(model._plans) == PLANS
    assert np.array_equal(model.run(first)["hn"], wanted["hn"])


def test_a_stream_owns_the_states(detector):
    model, rng = fl.Model.load(detector), np.random.default_rng(7)
    stream = model.stream(batch_size=2)
    assert stream.states == {"h": "hn", "c": "cn"}
    h = c = np.zeros((1, 2, 12), np.float32)
    chunks = [floats(rng, 2, 5, 4) for _ in range(6)]
    wanted = []
    for chunk in chunks:
        y, h, c = model(chunk, h, c)
        wanted.append(y)
    twin = None
    for k, (chunk, y) in enumerate(zip(chunks, wanted)):
        if k == 3:
            twin = stream.copy()
        assert np.array_equal(stream.step(chunk), y)
    assert np.array_equal(stream.state["h"], h)
    assert np.array_equal(stream.state["c"], c)
    for chunk, y in zip(chunks[3:], wanted[3:]):
        twin.input[...] = chunk
        assert np.array_equal(twin.step(), y)
    stream.reset()
    assert np.array_equal(stream.process(np.stack(chunks)), np.stack(wanted))
    twin.state = model.stream(2).state
    assert np.array_equal(twin.step(input=chunks[0]), wanted[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_stream_that_another_thread_is_in_when_the_process_forks(detector):
    model, rng = fl.Model.load(detector), np.random.default_rng(8)
    x, done = floats(rng, 1, 5, 4000), threading.Event()
    wanted, busy = model.stream().step(x), model.stream()
    thread = threading.Thread(target=lambda: [busy.step(x) for _ in iter(done.is_set, True)])
    thread.start()
    torn = 0
    for _ in range(12):
        time.sleep(0.01)
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            code = 64
            try:
                try:
                    busy.step(x)
                    code = 0
                except RuntimeError as error:
                    code = 1 if "forked" in str(error) else 32
                busy.reset()
                assert np.array_equal(busy.step(x), wanted)
                assert np.array_equal(model.stream().step(x), wanted)
            except BaseException as error:
                print(type(error).__name__, error, flush=True)
                code = 64
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 1)
        torn += code
    done.set()
    thread.join()
    assert torn > 0


def test_a_stream_takes_steps_of_several_shapes(detector):
    model, rng = fl.Model.load(detector), np.random.default_rng(8)
    stream, state = model.stream(), (np.zeros((1, 1, 12), np.float32),) * 2
    for length in (4, 7, 4, 1, 7):
        x = floats(rng, 1, 5, length)
        y, *state = model(x, *state)
        assert np.array_equal(stream.step(x), y)


def test_context_comes_again_in_front_of_the_next_step(detector):
    model, rng = fl.Model.load(detector), np.random.default_rng(9)
    stream, x = model.stream(context={"input": 3}), floats(rng, 1, 5, 40)
    padded, state = np.concatenate([np.zeros((1, 5, 3), np.float32), x], 2), (np.zeros((1, 1, 12), np.float32),) * 2
    for start in range(0, 40, 8):
        y, *state = model(padded[..., start : start + 11], *state)
        assert np.array_equal(stream.step(x[..., start : start + 8]), y)
        if start == 16:
            stream = stream.copy()


def test_streams_that_cannot_be(detector, tmp_path):
    model = fl.Model.load(detector)
    with pytest.raises(ValueError, match="expected an input of input, h, c, found 'x'"):
        model.stream(states={"x": "hn"})
    with pytest.raises(ValueError, match="one type and shape"):
        model.stream(states={"h": "probability"})
    with pytest.raises(ValueError, match="expected an input that is no state"):
        model.stream(fixed={"h": 0.0})
    stream = model.stream()
    with pytest.raises(ValueError, match="give step"):
        stream.input  # noqa: B018
    with pytest.raises(ValueError, match="state: expected h, c"):
        stream.state = {"h": np.zeros((1, 1, 12), "f")}
    path = save(
        tmp_path / "plain.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        [("x", FLOAT, [1, 4])],
        [("y", FLOAT, [1, 4])],
    )
    with pytest.raises(ValueError, match="expected an axis of steps whose size is free"):
        fl.Model.load(path).stream()


@pytest.mark.parametrize(
    "pairs",
    [
        {"h0": "h0n", "c0": "c0n", "h1": "h1n", "c1": "c1n"},
        {"h0": "hn", "c0": "cn"},
        {"h_0": "h_n", "c_0": "c_n"},
        {"h_in": "h_out", "c_in": "c_out"},
        {"h_0": "h_0_out", "h_1": "h_1_out"},
        {"hidden_in": "hidden_out", "cell_in": "cell_out"},
        {"prev_h": "next_h", "prev_c": "next_c"},
        {"past_h0": "present_h0", "past_h1": "present_h1"},
        {"state1": "new_state1", "state2": "new_state2"},
        {"state": "stateN"},
        {"input_3": "Identity_1"},
    ],
    ids=str,
)
def test_states_are_paired_by_their_names(pairs):
    def spec(*shape):
        return fl.TensorSpec(shape, np.dtype(np.float32))

    x, y = {"x": spec(1, 4)}, {"y": spec(1, 2)}
    state = spec(1, None, 8)
    backwards = dict.fromkeys(reversed(pairs.values()), state)
    assert pair_states(x | dict.fromkeys(pairs, state), y | backwards) == pairs
    other = spec(1, None, 9)
    with pytest.raises(ValueError, match=r"expected one way|^$"):
        found = pair_states(x | dict.fromkeys(("a", "b"), other), y | dict.fromkeys(("p", "q"), other))
        assert not found


def test_states_that_could_be_paired_in_two_ways_are_said_by_the_caller(tmp_path):
    shape = (FLOAT, [1, 4])
    nodes = [helper.make_node("Add", ["a", "b"], ["p"]), helper.make_node("Mul", ["p", "x"], ["q"])]
    nodes += [helper.make_node("Sub", ["q", "a"], ["z"])]
    path = save(
        tmp_path / "two.onnx",
        nodes,
        [("x", *shape), ("a", *shape), ("b", *shape)],
        [("z", *shape), ("p", *shape), ("q", *shape)],
    )
    model = fl.Model.load(path)
    with pytest.raises(ValueError, match=r"'a' may be 'p' or 'q'; say it: stream\(states="):
        model.stream()
    stream = model.stream(states={"a": "p", "b": "q"})
    a = b = np.zeros((1, 4), np.float32)
    for _ in range(3):
        x = np.ones((1, 4), np.float32) * 2 + a
        z, a, b = model(x, a, b)
        assert np.array_equal(stream.step(x), z)


def test_cut_at_other_outputs(detector, tmp_path):
    model = fl.Model.load(detector, outputs=["positive"])
    x = floats(np.random.default_rng(1), 1, 5, 8)
    found = model(x, np.zeros((1, 1, 12), "f"), np.zeros((1, 1, 12), "f"))
    assert found.shape == (1, 8, 4)
    path = save(
        tmp_path / "refused.onnx",
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("RandomNormalLike", ["y"], ["z"], name="noise")],
        [("x", FLOAT, [1, 4])],
        [("z", FLOAT, [1, 4])],
    )
    with pytest.raises(fl.FormatError, match=r"RandomNormalLike node 'noise'.*outputs=\["):
        fl.Model.load(path)
    assert np.array_equal(fl.Model.load(path, outputs=["y"])(np.array([[-1, 2, -3, 4]], "f")), [[0, 2, 0, 4]])


def test_a_model_that_decides_by_the_value_of_an_input(tmp_path):
    def branch(name, op):
        return helper.make_graph(
            [helper.make_node(op, ["x"], [name])], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )

    nodes = [
        helper.make_node("Equal", ["sr", "wide"], ["is_wide"]),
        helper.make_node("If", ["is_wide"], ["y"], then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg")),
    ]
    path = save(
        tmp_path / "if.onnx",
        nodes,
        [("x", FLOAT, ["n"]), ("sr", INT64, [])],
        [("y", FLOAT, ["n"])],
        [("wide", np.array(16000))],
    )
    model, x = fl.Model.load(path), np.array([-1, 2], np.float32)
    assert np.array_equal(model(x, 16000), [0, 2])
    assert np.array_equal(model(x, 8000), [1, -2])
    assert np.array_equal(model(x=x, sr=16000), [0, 2])
    for sr, wanted in ((16000, [0, 2]), (np.array(8000), [1, -2]), (np.int32(16000), [0, 2]), (2**64 + 16000, None)):
        for _ in range(2):
            if wanted is None:
                with pytest.raises((TypeError, ValueError, OverflowError)):
                    model(x, sr)
            else:
                assert np.array_equal(model(x, sr), wanted)
                assert np.array_equal(model.run({"x": x, "sr": sr})["y"], wanted)
    with pytest.raises(TypeError, match="whole numbers"):
        model(x, 16000.0)


def test_summary_and_profile(detector):
    model = fl.Model.load(detector)
    assert "fusedlstm.LSTM" in model.summary()
    times = model.profile(**inputs(np.random.default_rng(0), 1, 8), runs=5)
    assert {"fusedlstm.LSTM", "fusedlstm.Conv"} <= {one.operator for one in times}
    assert sum(one.share for one in times) == pytest.approx(1)
    assert [one.microseconds for one in times] == sorted((one.microseconds for one in times), reverse=True)
