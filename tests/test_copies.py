"""What survives copy.deepcopy, pickle, joblib and multiprocessing: the same numbers, to the last bit."""

import copy
import multiprocessing
import pickle
import sys

import numpy as np
import pytest
from conftest import random_weights
from copied import X, used

import fusedlstm as fl

RNG = np.random.default_rng(7)
FORWARD = random_weights(RNG, 6, 20, layers=2, batch_first=True)
BOTH = random_weights(RNG, 6, 20, layers=2, directions=2, batch_first=True)
CONV = fl.ConvLSTMWeights(
    RNG.standard_normal((8, 3, 3, 2)).astype(np.float32) / 4, RNG.standard_normal((8, 3, 3, 2)).astype(np.float32) / 4
)


def model():
    return fl.Sequential(fl.LSTM(FORWARD), fl.Linear(RNG.standard_normal((4, 20)).astype(np.float32)), "softmax")


def begun(stream):
    """A stream in the middle of a sequence."""
    stream.process(X[:1, :5])
    return stream


THINGS = {
    "LSTM": lambda: fl.LSTM(FORWARD),
    "LSTM both ways": lambda: fl.LSTM(BOTH),
    "LSTM of 8 bits": lambda: fl.LSTM(FORWARD).astype("int8", "int8"),
    "LSTM of bfloat16": lambda: fl.LSTM(FORWARD).astype("bfloat16"),
    "ConvLSTM": lambda: fl.ConvLSTM(CONV),
    "Model": model,
    "Model of float16": lambda: model().astype("float16"),
    "Stream": lambda: begun(fl.LSTM(FORWARD).stream()),
    "Model's stream": lambda: begun(model().stream()),
}


@pytest.fixture(params=THINGS)
def thing(request):
    return THINGS[request.param]()


def through_joblib(thing, folder):
    joblib = pytest.importorskip("joblib")
    joblib.dump(thing, folder / "thing.joblib")
    return joblib.load(folder / "thing.joblib")


WAYS = {
    "deepcopy": lambda thing, folder: copy.deepcopy(thing),
    "pickle": lambda thing, folder: pickle.loads(pickle.dumps(thing)),
    "oldest protocol": lambda thing, folder: pickle.loads(pickle.dumps(thing, 2)),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy(thing, way, tmp_path):
    twin = WAYS[way](thing, tmp_path)
    assert repr(twin) == repr(thing).replace("Sequential(", "Model(") or way == "deepcopy"  # parts put together stay so
    wanted = used(thing)  # first: a copy has a state of its own
    assert used(twin) == wanted


@pytest.fixture(scope="module", params=["fork", "spawn", "forkserver"])
def workers(request):
    if request.param not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {request.param} on {sys.platform}")
    fl.LSTM(BOTH)(X)  # a team of threads may be at work before a fork
    context = multiprocessing.get_context(request.param)
    if request.param == "forkserver":
        context.set_forkserver_preload(["fusedlstm"])
    with context.Pool(1) as pool:
        yield pool


def test_in_another_process(thing, workers):
    made = workers.apply_async(used, (thing,)).get(timeout=60)
    assert made == used(thing)


def test_what_a_process_inherits():
    """A fork has the packed weights of its parent, threads and all."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no fork on {sys.platform}")
    lstm = fl.LSTM(BOTH)
    wanted = used(lstm)
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(False)
    child = context.Process(target=lambda: writer.send(used(lstm) == wanted))
    child.start()
    assert reader.poll(60) and reader.recv()
    child.join()


@pytest.mark.parametrize("make", [lambda: fl.LSTM(FORWARD), model], ids=["LSTM", "Model"])
def test_the_streams_of_a_pool(make):
    """A pool says that it is not copied; its streams are, one by one, by their states."""
    pool = fl.StreamPool(make())
    ids = [pool.open() for _ in X]
    for t in range(3):
        pool.step(ids, np.ascontiguousarray(X[:, t]))
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="state"):
            copied(pool)
    other = fl.StreamPool(pickle.loads(pickle.dumps(pool.model)))
    moved = [other.open(pickle.loads(pickle.dumps(pool.state(one)))) for one in ids]
    x = np.ascontiguousarray(X[:, 3])
    assert np.array_equal(other.step(moved, x), pool.step(ids, x))
