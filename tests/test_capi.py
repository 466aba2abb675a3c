"""The C API through ctypes: sizes that may grow, handles that are closed, made up, raced for, or torn by a fork."""

import ctypes
import os
import signal
import threading
import time
from ctypes import byref, c_size_t, sizeof

import numpy as np
import pytest
from c_api import API, BUSY, CLOSED, INVALID, OK, TORN, Api, Sizes
from conftest import random_weights

import fusedlstm as fl


def opened(lstm, batch=1):
    handle = c_size_t()
    assert API.open(lstm.handle, batch, byref(handle)) == OK
    return handle.value


@pytest.fixture
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 7, 19, 2))


def test_the_table_says_its_version_and_size():
    assert API.version == 2 and API.size == sizeof(Api)


def test_sizes_by_the_bytes_that_the_caller_knows(lstm):
    expected = Sizes(7, 19, 2, 2 * (19 + 19), 4 * 19 * (7 + 19) + 4 * 19 * (19 + 19))
    for known in (0, 8, 16, sizeof(Sizes), sizeof(Sizes) + 24):
        memory = (ctypes.c_ubyte * (sizeof(Sizes) + 32))(*[0xAB] * (sizeof(Sizes) + 32))
        API.sizes(lstm.handle, byref(memory), known)
        assert bytes(memory)[:known] == (bytes(expected) + bytes(24))[:known]  # numbers that it does not know are 0
        assert bytes(memory)[known:] == b"\xab" * (len(memory) - known)


def test_handles_that_are_closed_or_made_up(lstm):
    x, y = np.ones(7, np.float32), np.empty(19, np.float32)
    state, twin = np.empty(76, np.float32), c_size_t()
    handle = opened(lstm)
    assert API.step(handle, x.ctypes.data, y.ctypes.data, None) == OK
    assert API.close(handle) == OK
    for gone in (handle, 0, 1, 2**24, 2**63 + 5, 2**64 - 1, handle + 1, opened(lstm) ^ (1 << 40)):
        assert API.close(gone) == CLOSED
        assert API.step(gone, x.ctypes.data, y.ctypes.data, None) == CLOSED
        assert API.process(gone, 1, x.ctypes.data, 7, 7, y.ctypes.data, 19, 19) == CLOSED
        assert API.get_state(gone, state.ctypes.data) == CLOSED
        assert API.set_state(gone, state.ctypes.data) == CLOSED
        assert API.reset(gone, None) == CLOSED
        assert API.copy(gone, byref(twin)) == CLOSED


def test_no_handle_comes_twice(lstm):
    seen = set()
    for _ in range(50):
        handles = [opened(lstm) for _ in range(40)]
        assert not seen & set(handles) and len(set(handles)) == 40
        seen |= set(handles)
        for handle in handles:
            assert API.close(handle) == OK


def test_more_streams_than_a_chunk_of_the_table_holds(lstm):
    handles = [opened(lstm) for _ in range(2500)]
    x, y = np.ones(7, np.float32), np.empty(19, np.float32)
    assert {API.step(handle, x.ctypes.data, y.ctypes.data, None) for handle in handles} == {OK}
    assert {API.close(handle) for handle in handles} == {OK}
    assert API.open(lstm.handle, 0, byref(c_size_t())) == INVALID


def test_close_while_others_step():
    """Threads of C, without the GIL: some step, one closes. Whoever comes late is told, and nobody reads freed memory."""
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 64, 64))
    found = {}
    end = time.monotonic() + 2
    while time.monotonic() < end:
        handle, stepped = opened(lstm), threading.Event()

        def step(handle=handle, stepped=stepped):
            x, y = np.ones(64, np.float32), np.empty(64, np.float32)
            while (status := API.step(handle, x.ctypes.data, y.ctypes.data, None)) != CLOSED:
                found[status] = found.get(status, 0) + 1
                stepped.set()
            found[CLOSED] = found.get(CLOSED, 0) + 1

        threads = [threading.Thread(target=step) for _ in range(2)]
        for thread in threads:
            thread.start()
        stepped.wait(10)  # else the first thing that the threads meet is a closed stream
        while API.close(handle) == BUSY:
            pass
        for thread in threads:
            thread.join()
    assert set(found) <= {OK, BUSY, CLOSED} and found[OK] > 10 and found[CLOSED] > 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_stream_torn_by_a_fork():
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 64, 512))
    size = 2 * 512
    x, y = np.ones((2000, 64), np.float32), np.empty((2000, 512), np.float32)
    busy, idle, done = opened(lstm), opened(lstm), threading.Event()

    def step():
        while not done.is_set():
            API.process(busy, len(x), x.ctypes.data, 64, 64, y.ctypes.data, 512, 512)

    thread = threading.Thread(target=step)
    thread.start()
    time.sleep(0.1)
    torn = 0
    for _ in range(20):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            code = 1
            try:
                state, out, twin = np.zeros(size, np.float32), np.empty(512, np.float32), c_size_t()
                one = x[0].ctypes.data, out.ctypes.data, None
                assert API.step(idle, *one) == OK
                expected = out.copy()
                if API.get_state(busy, state.ctypes.data) == TORN:
                    assert API.step(busy, *one) == API.copy(busy, byref(twin)) == TORN
                    assert API.reset(busy, bytes([1])) == TORN  # some rows: others would stay torn
                    assert API.set_state(busy, np.zeros(size, np.float32).ctypes.data) == OK
                    assert API.step(busy, *one) == OK and out.tobytes() == expected.tobytes()
                    assert API.close(busy) == OK
                    code = 3
                else:
                    code = 0
            finally:
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 3)
        torn += status == 3
    done.set()
    thread.join()
    assert torn > 0 and API.close(busy) == API.close(idle) == OK
