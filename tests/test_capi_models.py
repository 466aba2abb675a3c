"""Streams of whole models through the C API: the bytes of Python's, handles, states, and nothing asked of the system."""

import ctypes
import os
import sys
import threading
from ctypes import byref, c_size_t, c_void_p

import numpy as np
import pytest
from c_api import API, BUSY, CLOSED, INVALID, OK, TORN
from c_programs import ROOT, compile_c, run_counted
from graphs import Builder

import fusedlstm as fl

f4 = np.float32


class Array(ctypes.Structure):
    _fields_ = [("data", c_void_p), *((name, c_size_t) for name in ("rows", "row_bytes", "stride"))]

    def floats(self, type_=f4):
        """The memory as an array, if it is one row."""
        assert self.rows == 1
        memory = (ctypes.c_char * self.row_bytes).from_address(self.data)
        return np.frombuffer(memory, type_)


def numbers(*shape, seed=0):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * 0.3).astype(f4)


def amplifier():
    """Causal convolutions, an LSTM and a head: a sample in, a sample out."""
    from fusedlstm.graph import Graph, Value, node

    lstm = fl.LSTMWeights([[fl.DirectionWeights(numbers(80, 8), numbers(80, 20), numbers(80))]], batch_first=True)
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[0, 2, 1]),
        node("Conv", ["a", "w"], ["b"], pads=[4, 0], kernel_shape=[3], dilations=[2]),
        node("Tanh", ["b"], ["c"]),
        node("Transpose", ["c"], ["d"], perm=[0, 2, 1]),
        node("fusedlstm.LSTM", ["d"], ["e"], weights=lstm, x_batch_first=1, y_batch_first=1),
        node("MatMul", ["e", "v"], ["y"]),
    ]
    values = [Value("x", np.dtype(f4), ("batch", "time", 1))]
    constants = {"w": numbers(8, 1, 3), "v": numbers(20, 1)}
    return fl.Model(Graph(values, [Value("y", np.dtype(f4), None)], nodes, constants))


def opened(handle):
    stream = c_size_t()
    assert API.open_model(handle, byref(stream)) == OK
    return stream.value


def arrays(stream):
    x, y = Array(), Array()
    assert API.model_input(stream, 0, byref(x)) == OK
    assert API.model_output(stream, 0, byref(y)) == OK
    return x.floats(), y.floats()


def steps(stream, sequence):
    x, y = arrays(stream)
    found = []
    for one in sequence:
        x[...] = one
        assert API.step_model(stream) == OK
        found.append(y.copy())
    return np.array(found)


@pytest.fixture(params=["float32", "int8"])
def stream(request):
    return amplifier().astype(request.param).stream()


def test_the_bytes_of_the_whole_sequence(stream):
    x = numbers(50, 1, seed=1)
    expected = stream.model(x[None])[0]
    handle = stream.handle
    ours = [opened(handle) for _ in range(3)]
    for one in ours:  # each has a state of its own
        assert steps(one, x).tobytes() == expected.tobytes()
    assert API.reset_model(ours[0]) == OK
    assert steps(ours[0], x).tobytes() == expected.tobytes()
    assert [API.close_model(one) for one in ours] == [OK] * 3


def test_they_start_where_pythons_stream_is(stream):
    x = numbers(50, 1, seed=1)
    expected = stream.model(x[None])[0]
    stream.process(x[None, :20])
    one = opened(stream.handle)
    stream.process(x[None, 20:])  # goes on by itself
    assert steps(one, x[20:]).tobytes() == expected[20:].tobytes()
    assert API.reset_model(one) == OK
    assert steps(one, x[20:]).tobytes() == expected[20:].tobytes()


def test_copies_and_states(stream):
    x = numbers(30, 1, seed=1)
    handle = stream.handle
    expected = stream.model(x[None])[0]
    one, twin = opened(handle), c_size_t()
    steps(one, x[:10])
    assert API.copy_model(one, byref(twin)) == OK
    size = API.model_state_bytes(handle)
    state = (ctypes.c_char * size)()
    assert API.get_model_state(one, state) == OK
    for other in (one, twin.value):
        assert steps(other, x[10:]).tobytes() == expected[10:].tobytes()
    fresh = opened(handle)
    assert API.set_model_state(fresh, state) == OK
    assert steps(fresh, x[10:]).tobytes() == expected[10:].tobytes()


def test_states_of_the_file_fixed_inputs_and_context():
    from fusedlstm.graph import Graph, Value, node

    nodes = [
        node("ReduceSum", ["x", "axes"], ["s"], keepdims=1),
        node("Mul", ["s", "gain"], ["t"]),
        node("Add", ["state", "t"], ["stateN"]),
        node("Identity", ["stateN"], ["y"]),
    ]
    shapes = {"x": (1, 6), "state": (1, 1), "gain": ()}
    values = [Value(name, np.dtype(f4), shape) for name, shape in shapes.items()]
    outputs = [Value(name, np.dtype(f4), None) for name in ("y", "stateN")]
    model = fl.Model(Graph(values, outputs, nodes, {"axes": np.array([1])}))
    options = {"fixed": {"gain": f4(3)}, "context": {"x": 2}}
    stream, again = model.stream(**options), model.stream(**options)
    x = numbers(9, 4, seed=2)
    stream.step(x[:1])
    again.step(x[:1])
    one = opened(stream.handle)
    found = steps(one, x[1:])
    expected = np.array([again.step(row[None])[0] for row in x[1:]])
    assert found.tobytes() == expected.tobytes()
    twin = c_size_t()
    assert API.copy_model(one, byref(twin)) == OK
    assert steps(twin.value, x).tobytes() == np.array([again.step(row[None])[0] for row in x]).tobytes()


def test_handles_that_are_closed_or_made_up(stream):
    one, array = opened(stream.handle), Array()
    assert API.model_input(one, 1, byref(array)) == INVALID
    assert API.model_output(one, 2**63, byref(array)) == INVALID
    assert API.close_model(one) == OK
    state = (ctypes.c_char * API.model_state_bytes(stream.handle))()
    for gone in (one, 0, 1, 2**64 - 1):
        for status in (
            API.close_model(gone),
            API.step_model(gone),
            API.copy_model(gone, byref(c_size_t())),
            API.model_input(gone, 0, byref(array)),
            API.get_model_state(gone, state),
            API.set_model_state(gone, state),
            API.reset_model(gone),
        ):
            assert status == CLOSED


def test_a_value_that_cannot_be_changes_nothing():
    from fusedlstm.graph import Graph, Value, node

    nodes = [
        node("Gather", ["table", "id"], ["row"], axis=0),
        node("Add", ["row", "h"], ["hn"]),
        node("Identity", ["hn"], ["y"]),
    ]
    values = [Value("id", np.dtype(np.int64), (1,)), Value("h", np.dtype(f4), (1, 3))]
    outputs = [Value(name, np.dtype(f4), None) for name in ("y", "hn")]
    model = fl.Model(Graph(values, outputs, nodes, {"table": numbers(5, 3)}))
    stream = model.stream()
    one, x, y = opened(stream.handle), Array(), Array()
    assert API.model_input(one, 0, byref(x)) == OK and API.model_output(one, 0, byref(y)) == OK
    ids = x.floats(np.int64)
    total = np.zeros(3, f4)
    for k, status in ((2, OK), (7, INVALID), (1, OK), (-9, INVALID), (4, OK)):
        ids[0] = k
        assert API.step_model(one) == status
        if status == OK:
            total = numbers(5, 3)[k] + total
            assert y.floats().tobytes() == total.tobytes()


def test_what_has_no_step_that_always_gives_something():
    rng = numbers(4, 1, 3)
    waiting = fl.Sequential(fl.Transpose(1, 2), fl.Conv1d(rng), fl.Transpose(1, 2), shape=(None, None, 1)).stream()
    with pytest.raises(ValueError, match="handle: expected 2 steps before it"):
        waiting.handle  # noqa: B018
    x = numbers(20, 1, seed=3)
    expected = waiting.model(x[None])[0]
    waiting.process(x[None, :2])
    assert steps(opened(waiting.handle), x[2:]).tobytes() == expected.tobytes()
    strides = fl.Sequential(
        fl.Transpose(1, 2), fl.Conv1d(rng, stride=2), fl.Transpose(1, 2), shape=(None, None, 1)
    ).stream()
    with pytest.raises(ValueError, match="one in every 2 steps"):
        strides.handle  # noqa: B018


def test_threads_of_c(stream):
    """Each in a stream of its own; one that two are in says so."""
    x = numbers(3000, 1, seed=4)
    expected = stream.model(x[None])[0].tobytes()
    handle, found = stream.handle, []
    threads = [threading.Thread(target=lambda: found.append(steps(opened(handle), x).tobytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    shared, statuses = opened(handle), set()

    def run():
        for _ in range(20000):
            statuses.add(API.step_model(shared))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses <= {OK, BUSY} and OK in statuses


def test_a_handle_that_is_asked_for_again_while_c_opens_streams():
    build = Builder(x=(1, 4), gains=(64, 1 << 10), state=(1, 4))
    after = build("Add", build("Add", "x", "state"), build("ReduceSum", "gains", keepdims=0))
    model = fl.Model(build.graph(build("Neg", after), after))
    gains = np.zeros((64, 1 << 10), f4)
    gains[0, 0] = 1
    stream = model.stream(fixed={"gains": gains}, states={"state": after})
    handle, found, done = stream.handle, set(), threading.Event()

    def client():
        while not done.is_set():
            one = opened(handle)
            found.add(steps(one, np.ones((1, 4), f4)).tobytes())
            API.close_model(one)

    threads = [threading.Thread(target=client) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3000):
        assert stream.handle == handle
    done.set()
    for thread in threads:
        thread.join()
    assert found == {np.full(4, -2, f4).tobytes()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_goes_on(stream):
    x = numbers(20, 1, seed=5)
    expected = stream.model(x[None])[0]
    one = opened(stream.handle)
    steps(one, x[:10])
    child = os.fork()
    if child == 0:
        os._exit(0 if steps(one, x[10:]).tobytes() == expected[10:].tobytes() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert TORN not in (API.step_model(one),)


COUNTED = """
import ctypes, os, sys
sys.path[:0] = sys.argv[2:]
import fusedlstm as fl
from test_capi_models import amplifier
counter = ctypes.PyDLL(os.environ["LD_PRELOAD"])
run = getattr(counter, sys.argv[1])
run.argtypes = [ctypes.c_void_p] * 2
stream = amplifier().stream()
sys.exit(run(fl.c_api(), stream.handle))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloading and seccomp are Linux's")
@pytest.mark.parametrize("how", ["count_in_model_steps", "step_model_without_system_calls"])
def test_step_neither_allocates_nor_locks_nor_enters_the_kernel(tmp_path, how):
    run_counted(tmp_path, COUNTED, how, str(ROOT / "tests"), str(ROOT / "tests" / "helpers"))


def test_the_example(tmp_path, stream):
    """From the native form to blocks of 64 samples, and one that is shorter."""
    stream.model.save(tmp_path / "amplifier.safetensors")
    stream = fl.Model.load(tmp_path / "amplifier.safetensors").stream()
    run = ctypes.CDLL(compile_c(tmp_path, ROOT / "examples" / "model.c")).run
    run.argtypes = [c_void_p] * 4 + [c_size_t] * 2
    x = numbers(1000, 1, seed=6)
    y = np.empty_like(x)
    assert run(fl.c_api(), stream.handle, x.ctypes.data, y.ctypes.data, len(x), 64) == OK
    assert y.tobytes() == stream.model(x[None])[0].tobytes()
