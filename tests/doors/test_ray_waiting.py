"""What calls and moves of fusedlstm.ray do while they wait; actors are stand-ins, which answer when the test says so."""

import threading
import time
from types import SimpleNamespace

import pytest

ray = pytest.importorskip("ray")

from fusedlstm.ray.calls import Call  # noqa: E402
from fusedlstm.ray.moves import move  # noqa: E402
from fusedlstm.ray.table import Place, Table  # noqa: E402

WITHIN = 5


@pytest.fixture
def table(monkeypatch):
    """Two actors, and three streams on each, in turn."""
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get", lambda answer: answer())
    adopt = SimpleNamespace(remote=lambda streams: None)
    table = Table(lambda: None, max_streams=100, max_waiting=1)
    table.places = [Place(SimpleNamespace(adopt=adopt)) for _ in range(2)]
    for _ in range(6):
        table.join(0, None)
    return table


def beside(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    time.sleep(0.05)  # it waits
    return thread


def test_calls_do_not_wait_for_each_other_s_room(table):
    go, ran = threading.Event(), []

    def step(*ids):
        def send(actor, some, which):
            return lambda: (go.wait(WITHIN), ([[id] for id in some], []))[1]

        Call(table, ids, [1] * len(ids), None, list).run(send)
        ran.append(ids)

    # One fills the second actor; the next wants it first, and the last has the first actor when it comes to it.
    threads = [beside(lambda ids=ids: step(*ids)) for ids in ((5,), (1, 0), (2, 3))]
    go.set()
    for thread in threads:
        thread.join(WITHIN)
    assert {*ran} == {(5,), (1, 0), (2, 3)} and [place.waiting for place in table.places] == [0, 0]


def test_ctrl_c_before_a_move_leaves_streams_that_go_on(table, monkeypatch):
    lives, target = [table.lives[0], table.lives[2]], table.places[1]
    lives[0].busy = True

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(table.changed, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        move(table, lives, target)
    assert not any(live.moving for live in lives)
    assert lives[0].busy  # the call that has it goes on
