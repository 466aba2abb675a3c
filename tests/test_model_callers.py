"""What plain Python may do to whole models: arrays that change, names that run code, values that do not fit."""

import gc
import os
import pickle
import signal
import sys
import threading
import time

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import fusedlstm as fl

f4 = np.float32
FLOAT, INT64, INT32, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8
node = helper.make_node


def proto(nodes, inputs, outputs, **constants):
    """A file in memory; inputs are (name, type, shape), outputs names."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(one, FLOAT, None) for one in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def load(*args, **constants):
    return fl.Model.load(proto(*args, **constants))


def summing(x=(1, "n"), state=(1, 1)):
    """y and the next state are the state and the sum of x."""
    nodes = [
        node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
        node("Add", ["state", "sum"], ["stateN"]),
        node("Identity", ["stateN"], ["y"]),
    ]
    return load(nodes, [("x", FLOAT, x), ("state", FLOAT, state)], ["y", "stateN"], axes=np.array([0, 1]))


def deciding(kind=INT64):
    """-x at 16000, else x."""

    def branch(name, op):
        return helper.make_graph(
            [node(op, ["x"], [name])], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )

    nodes = [
        node("Equal", ["sr", "wide"], ["is_wide"]),
        node("If", ["is_wide"], ["y"], then_branch=branch("a", "Neg"), else_branch=branch("b", "Identity")),
        node("Add", ["state", "y"], ["stateN"]),
    ]
    dtype = np.int64 if kind == INT64 else np.int32
    inputs = [("x", FLOAT, [1]), ("state", FLOAT, [1]), ("sr", kind, [])]
    return load(nodes, inputs, ["y", "stateN"], wide=dtype(16000))


def test_one_tensor_handed_out_twice():
    nodes = [node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["z"]), node("Add", ["state", "z"], ["stateN"])]
    inputs = [("x", FLOAT, [2]), ("state", FLOAT, [2])]
    file = proto(nodes, inputs, ["y", "y", "z", "stateN"])
    model, x, zeros = fl.Model.load(file), np.array([1, -1], f4), np.zeros(2, f4)
    wanted = onnxruntime.InferenceSession(file).run(None, {"x": x, "state": zeros})
    assert all(np.array_equal(a, b) for a, b in zip(model(x, zeros), wanted, strict=True))
    for _ in range(2):
        found = model.run({"x": x, "state": zeros})
        assert list(found) == ["y", "z", "stateN"]
        assert np.array_equal(found["z"], wanted[2])
    y, z = model.stream().step(x)
    assert np.array_equal(y, wanted[0])
    assert np.array_equal(z, wanted[2])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (UINT8, [300]),
        (UINT8, [-1]),
        (INT32, np.array([1 << 40])),
        (INT64, np.array([(1 << 63) + 5], np.uint64)),
    ],
)
def test_whole_numbers_that_do_not_fit(kind, value):
    model = load([node("Cast", ["x"], ["y"], to=FLOAT)], [("x", kind, ["n"])], ["y"])
    for _ in range(2):  # not the first call alone
        assert model(np.array([7])) == 7
        with pytest.raises(ValueError, match=r"'x': expected u?int\d+, .* found"):
            model(value)


def test_a_rate_of_more_bits_decides_nothing():
    x = np.ones(1, f4)
    with pytest.raises(ValueError, match="'sr': expected int32"):
        deciding(INT32)(x, x, (1 << 32) + 16000)


def test_names_that_python_uses_as_well():
    names = ["self", "runs"]
    model = load([node("Sub", names, ["y"])], [(name, FLOAT, [1]) for name in names], ["y"])
    one = np.ones(1, f4)
    assert model(self=one, runs=one) == 0
    assert model.profile(one, one, runs=1)


def test_values_that_decide_change_while_a_plan_is_made():
    """A plan is kept for the value that it was made for, whatever another thread writes."""
    model, x, sr, stop = deciding(), np.ones(1, f4), np.array(16000), threading.Event()

    def spoil():
        while not stop.is_set():
            sr[...] = 8000
            sr[...] = 16000

    thread, interval = threading.Thread(target=spoil), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            model._plans.clear()
            model(x, x, sr)
            assert model(x, x, np.array(16000))[0] == -1
            assert model(x, x, np.array(8000))[0] == 1
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def adding(size=1 << 20):
    return load([node("Add", ["a", "b"], ["c"])], [("a", FLOAT, ["n"]), ("b", FLOAT, ["n"])], ["c"]), np.ones(size, f4)


def test_a_name_that_runs_code_when_it_is_compared():
    model, b = adding()
    a = b.copy()
    model.run({"a": a, "b": b})

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            a.resize(1, refcheck=False)  # its memory is gone
            return str.__eq__(self, other)

    with pytest.raises(ValueError, match="'b'|'a'"):
        model.run({"a": a, Name("b"): b})


def test_garbage_that_runs_code_when_outputs_are_made():
    outputs = [f"y{k}" for k in range(40)]  # more than tuples that CPython keeps have
    model = load([node("Neg", ["x"], [name]) for name in outputs], [("x", FLOAT, ["n"])], outputs)
    x = np.ones(1 << 18, f4)
    model(x)

    class Garbage:
        def __init__(self):
            self.me = self

        def __del__(self):
            x.resize(1, refcheck=False)

    gc.collect()
    threshold = gc.get_threshold()
    try:
        gc.disable()
        Garbage()
        gc.set_threshold(1)
        gc.enable()
        found = model(x)
    finally:
        gc.set_threshold(*threshold)
    assert {one.shape for one in found} == {x.shape}


def test_a_stream_keeps_no_array_of_the_caller_s():
    stream, ones = summing().stream(), np.ones((1, 1), f4)
    stream.state = {"state": ones}
    ones[:] = 100
    assert stream.step(np.ones((1, 3), f4)) == 4
    nodes = [node("Mul", ["x", "gain"], ["y"]), node("Add", ["state", "y"], ["stateN"])]
    model = load(
        nodes, [(name, FLOAT, [shape]) for name, shape in (("x", "n"), ("gain", 1), ("state", 1))], ["y", "stateN"]
    )
    gain = np.ones(1, f4)
    stream = model.stream(fixed={"gain": gain})
    gain[:] = 100
    assert stream.step(np.ones(1, f4)) == 1
    assert stream.copy().step(np.ones(1, f4)) == 1


def test_streams_fix_what_decides():
    model, x = deciding(), np.ones(1, f4)
    with pytest.raises(ValueError, match="'sr': expected it in fixed"):
        model.stream()
    assert model.stream(fixed={"sr": 16000}).step(x) == -1


def test_contexts_that_cannot_be():
    model = summing(("rows", "n"))
    stream = model.stream(context={"x": np.int64(1)})
    assert stream.step(np.ones((1, 2), f4)) == 2
    for rows in (2, 3):
        with pytest.raises(ValueError, match="context of 'x': expected rows as before"):
            stream.step(np.ones((rows, 2), f4))
    assert stream.step(np.ones((1, 1), f4)) == 4
    scalar = load(
        [node("Add", ["state", "x"], ["stateN"]), node("Neg", ["x"], ["y"])],
        [("x", FLOAT, []), ("state", FLOAT, [1])],
        ["y", "stateN"],
    )
    with pytest.raises(ValueError, match="context: expected"):
        scalar.stream(context={"x": 1})
    assert scalar.stream().step(2.0) == -2


def test_a_fault_on_the_way_gives_the_state_back():
    model = load(
        [node("Gather", ["table", "i"], ["y"]), node("Add", ["state", "y"], ["stateN"])],
        [("i", INT64, []), ("state", FLOAT, [])],
        ["y", "stateN"],
        table=np.array([1, 2, 3], f4),
    )
    stream = model.stream()
    assert np.array_equal(stream.process(np.array([0, 1])), [1, 2])
    with pytest.raises(ValueError, match="out of range"):
        stream.process(np.array([2, 2, 9, 1]))
    assert stream.state["state"] == 3


def test_threads_with_steps_of_other_shapes():
    """A step counts, or is refused; none is lost on the way from one memory to another."""
    stream, counted, stop = summing().stream(), [], threading.Event()

    def steps(length):
        x, done = np.ones((1, length), f4), 0
        while not stop.is_set():
            try:
                stream.step(x)
            except RuntimeError:
                continue
            done += 1
        counted.append(done * length)

    threads, interval = [threading.Thread(target=steps, args=(k,)) for k in (1, 2, 3)], sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for one in threads:
        one.start()
    time.sleep(1)
    stop.set()
    for one in threads:
        one.join()
    sys.setswitchinterval(interval)
    assert stream.state["state"] == sum(counted)


def test_short_runs_and_then_long_ones():
    """What a run takes may depend on values: whoever kept the GIL for short ones gives it away for long ones."""
    model = load(
        [node("RNN", ["x", "w", "r", "", "lengths"], ["", "y"], hidden_size=64)],
        [("x", FLOAT, ["t", 1, 1]), ("lengths", INT32, [1])],
        ["y"],
        w=np.zeros((1, 64, 1), f4),
        r=np.zeros((1, 64, 64), f4),
    )
    x, counts, stop = np.zeros((200000, 1, 1), f4), [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1
            time.sleep(0)

    for _ in range(20):
        model(x, np.zeros(1, np.int32))
    thread = threading.Thread(target=count)
    thread.start()
    model(x, np.full(1, 200000, np.int32))
    before = counts[0]
    model(x, np.full(1, 200000, np.int32))
    made = counts[0] - before
    stop.set()
    thread.join()
    assert made > 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_plans_are_made():
    model, x, stop = summing((1, "n")), np.zeros((1, 1), f4), threading.Event()

    def plans():
        n = 0
        while not stop.is_set():
            n = n % 200 + 1
            model(np.zeros((1, n), f4), x)

    thread = threading.Thread(target=plans)
    thread.start()
    try:
        for _ in range(8):
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                model(np.zeros((1, 999), f4), x)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here")
def test_large_memory_of_other_shapes_is_given_back():
    nodes = [
        node("Conv", ["x", "w"], ["wide"]),
        node("Relu", ["wide"], ["positive"]),
        node("ReduceMean", ["positive"], ["y"]),
    ]
    model = load(nodes, [("x", FLOAT, [1, 1, "t"])], ["y"], w=np.ones((64, 1, 3), f4))
    model(np.ones((1, 1, 100_000), f4))
    before = resident()
    for k in range(1, 9):
        model(np.ones((1, 1, 100_000 - k), f4))
    assert resident() - before < 100 << 20  # of 26 MB each


def test_arrays_that_were_pickled_cost_no_more(monkeypatch):
    """Their types are equal to NumPy's own, but not the same objects."""
    model = summing()
    x, state = (pickle.loads(pickle.dumps(np.ones((1, n), f4))) for n in (3, 1))
    assert x.dtype is not np.dtype(f4)
    expected = model(x, state)
    monkeypatch.setattr(fl.Model, "_run", None)  # the way for what does not fit as it is
    for given in ((x, state), (x.astype(f4), state)):
        for one, other in zip(model(*given), expected, strict=True):
            assert np.array_equal(one, other)
    with pytest.raises(TypeError):
        model(x.astype(">f4"), state)  # would be told of by _run
