"""What a small file may cost, whoever made it: 2 s of CPU, and 64 MB beside 50 times its size."""

import gc
import os
import pickle
import time
import warnings

import pytest

import fusedlstm as fl
from fusedlstm import formats

resource = pytest.importorskip("resource")

SECONDS, FREE, TIMES, SMALL = 2.0, 64 << 20, 50, 100_000
QUESTIONS = (fl.LSTM.load_all, fl.ConvLSTM.load_all, fl.load_tensors, lambda given: formats.open(given).whole())


def within_bounds(data):
    """Every question that a file may be asked is answered within the bounds, each in a process of its own; the answers."""
    assert len(data) < SMALL, len(data)
    answers = []
    for ask in QUESTIONS:
        answer, seconds, memory = _apart(ask, data)
        for _ in range(3):  # a busy neighbour on the same core costs CPU time as well
            if seconds < SECONDS:
                break
            answer, seconds, memory = _apart(ask, data)
        assert seconds < SECONDS, f"{seconds:.2f} s: {answer}"
        assert memory < FREE + TIMES * len(data), f"{memory >> 20} MB: {answer}"
        answers.append(answer)
    return answers


def _apart(ask, data):
    """What is answered, and what it took: a forked child's high-water mark is its own."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            gc.freeze()  # what earlier tests left is not walked, and its pages copied, at the file's expense
            before, begin = _peak(), time.process_time()
            found = _answer(ask, data), time.process_time() - begin, _peak() - before
            os.write(here, pickle.dumps(found))
        finally:
            os._exit(0)
    os.close(here)
    with os.fdopen(there, "rb") as pipe:
        told = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(told) if told else ("nothing", float("inf"), 0)


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _answer(ask, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = ask(data)
        except fl.FormatError as error:
            return str(error)[:1000]
    return f"{len(found)} things" if isinstance(found, dict) else "a graph"
