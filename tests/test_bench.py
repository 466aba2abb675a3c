"""The bench: that engines are checked before they are timed, and that what it says of the times is true."""

import json
import os
import shutil
import threading
import time

import limits as probe
import numpy as np
import pytest
from bench_engines import FAST_MS, SLOW_MS, Broken, Fast, Forgetful, Misshapen, Mute, Stub, Wrong
from reference import lstm as reference
from suite import bound
from suite.bound import Limits

import fusedlstm as fl
from fusedlstm import bench
from fusedlstm.bench import (
    Case,
    busy,
    oracle,
    peers,
    runner,
    session,
)

SMALL = (
    Case("step", 1, 2, 3, 5, num_layers=2),
    Case("both_ways_step", 1, 2, 3, 5, num_layers=2, bidirectional=True),
    Case("both_ways", 4, 2, 3, 5, num_layers=2, bidirectional=True),
)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_the_oracle_agrees_with_the_one_of_the_tests(case):
    weights, (x, state) = case.weights(), case.inputs()
    expected, _ = reference(weights, x.swapaxes(0, 1), state)
    np.testing.assert_allclose(oracle.lstm(weights, x, state), expected.swapaxes(0, 1), atol=1e-14)


def test_errors():
    assert oracle.errors(np.array([1.0, 2.0]), np.array([1.0, 2.5])) == (0.5, pytest.approx(np.sqrt(0.125)))
    assert oracle.errors(np.array([1.0, np.nan]), np.array([1.0, 2.5])) == (np.inf, np.inf)
    with pytest.raises(ValueError, match="shape"):  # and never a broadcast
        oracle.errors(np.zeros((1, 2)), np.zeros((3, 1, 2)))


@pytest.mark.parametrize("engine", [bench.FusedLSTM, *bench.PEERS], ids=lambda engine: engine.name)
def test_engines_compute_the_same(engine):
    for module in engine.needs:
        pytest.importorskip(module)
    if engine.name == "keras" and os.environ["KERAS_BACKEND"] != "jax":
        pytest.skip("Keras has another backend in this process; test_session has one of its own")
    for case in SMALL:
        weights, (x, state) = case.weights(), case.inputs()
        made = engine(weights, x, state, threads=1)
        for _ in range(2):  # from the initial state each time, whatever it keeps inside
            assert oracle.errors(made.y(), oracle.lstm(weights, x, state))[0] < 1e-6
            with made.session():
                made.call()


def test_steps_are_a_streams():
    case = SMALL[0]
    weights, (x, state) = case.weights(), case.inputs()
    made = bench.FusedLSTM(weights, x, state, threads=1)
    assert made.setting == "stream.step()"
    fresh = peers.FreshSample(weights, x, state, threads=1)
    assert oracle.errors(fresh.y(), oracle.lstm(weights, x, state))[0] < 1e-6
    fresh._stream.input[...] = 0
    assert oracle.errors(fresh.y(), oracle.lstm(weights, x, state))[0] < 1e-6  # it brings its sample
    row = bench.measure(case, [], duration=0)
    assert row.fresh.microseconds > 0 and list(row.engines) == ["fusedlstm"]
    assert bench.measure(SMALL[1], [], duration=0).fresh is None  # both ways: no stream
    assert bench.FusedLSTM(weights, x, state, threads=2).setting in ("stream.step()", "lstm(x, state=...)")


def test_measure_times_who_is_right_and_says_who_is_not():
    row = bench.measure(SMALL[2], [Stub, Fast, Wrong, Forgetful, Misshapen, Broken, Mute], duration=0)
    assert list(row.engines) == ["fusedlstm", "stub", "fast"]
    assert row.left_out["wrong"] == "wrong: off by 1.0e-02"
    assert row.left_out["forgetful"].startswith("wrong: ")
    assert "expected y of shape (4, 2, 10), found (2, 10)" in row.left_out["misshapen"]
    assert row.left_out["broken"] == "RuntimeError: no such operator"
    assert row.left_out["mute"] == "AssertionError: "
    for name, milliseconds in (("stub", SLOW_MS), ("fast", FAST_MS)):
        low, high = row.engines[name].quartiles
        assert milliseconds <= low / 1e3 <= row.engines[name].microseconds / 1e3 <= high / 1e3 < 2.5 * milliseconds
        assert 0 < row.engines[name].rms_error <= row.engines[name].max_error < 1e-6
    assert row.best_peer == "fast"
    assert row.speedup == row.engines["fast"].microseconds / row.ours.microseconds > 1


def test_measure_refuses_us_when_we_are_wrong(monkeypatch):
    monkeypatch.setattr(runner, "FusedLSTM", Wrong)
    with pytest.raises(ValueError, match=r"fusedlstm is off by 1.0e-02"):
        bench.measure(SMALL[2], [])


def test_single_steps_have_quantiles_and_others_have_none():
    step, other = (bench.measure(case, [], duration=0) for case in (SMALL[0], SMALL[2]))
    assert step.ours.latency["p50"] > 0 and other.ours.latency == {}
    assert runner._quantiles(list(range(1000, 6000))) == pytest.approx(
        {"p50": 3.4995, "p99": 5.949, "p99.9": 5.994}, abs=1e-3
    )
    assert list(runner._quantiles([1] * 4999)) == ["p50", "p99"]
    assert list(runner._quantiles([1] * 499)) == ["p50"]


def test_one_thread_is_taken_where_it_is_faster():
    class Either(Stub):
        chooses_threads = True

        def __init__(self, weights, x, state, threads):
            super().__init__(weights, x, state, threads)
            self.milliseconds = 1 if threads == 1 else 3

    weights, (x, state) = SMALL[2].weights(), SMALL[2].inputs()
    made = runner._make(Either, weights, x, state, 2)
    assert (made.milliseconds, made.note) == (1, "one thread")


def test_a_session_is_a_process_of_its_own(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    peers = [peer for peer in bench.PEERS if peer.name == "keras" and bench.installed(peer)]
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    with bench.Session(1) as own:
        row = own.run(runner.measure, "small", SMALL[2], [Stub, *peers], 1, 0)
    assert list(row.engines) == ["fusedlstm", "stub", *(peer.name for peer in peers)], row.left_out
    assert "XLA_FLAGS" not in os.environ
    if before is not None:
        assert os.sched_getaffinity(0) == before


def test_cpus_are_on_different_cores_if_possible(tmp_path):
    for cpu, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(siblings + "\n")
    assert [session.pick_cpus(range(4), count, tmp_path) for count in (1, 2, 3, 9)] == [
        [2],
        [0, 2],
        [0, 2, 3],
        [0, 1, 2, 3],
    ]
    assert session.pick_cpus([1, 3], 2, tmp_path) == [1, 3]
    assert session.pick_cpus([4, 5], 1, tmp_path / "nowhere") == [5]


# 100 GFLOP/s; 1 ns a cell; 16 GB/s up to 1 MiB and 8 GB/s from 4 MiB on.
LIMITS = Limits("now", 100.0, 1.0, ((1024, 16.0), (1 << 20, 16.0), (1 << 22, 8.0), (1 << 30, 8.0)))


@pytest.mark.parametrize(
    ("case", "threads", "microseconds"),
    [
        # 64 KiB of each kind: 4.096 us to read, 0.328 to multiply by one row; 0.064 for the cells
        (Case("step", 1, 1, 64, 64), 1, 4.096 + 4.096 + 0.064),
        (Case("sequence", 100, 1, 64, 64), 1, 100 * 32768 / 1e5 + 100 * (4.096 + 0.064)),
        (Case("batch", 10, 100, 64, 64), 1, 1000 * 32768 / 1e5 + 10 * (100 * 32768 / 1e5 + 6.4)),
        (Case("both", 100, 1, 64, 64, bidirectional=True), 1, 2 * (100 * 32768 / 1e5 + 100 * (4.096 + 0.064))),
        (Case("layers", 100, 1, 64, 64, 3), 1, 3 * (100 * 32768 / 1e5 + 100 * (4.096 + 0.064))),
        (Case("threads", 100, 1, 64, 64), 2, (100 * 32768 / 1e5 + 100 * (4.096 + 0.064)) / 2),
        # 16 MiB of recurrent weights come from where 8 GB/s are read; half of it does too
        (Case("large", 100, 1, 1024, 1024), 1, 100 * 8388608 / 1e5 + 100 * ((16 << 20) / 8e3 + 1.024)),
        # in a sequence the recurrent 1 MiB alone comes by again and again
        (Case("resident", 100, 1, 256, 256), 1, 100 * 524288 / 1e5 + 100 * ((1 << 20) / 16e3 + 0.256)),
        # a step reads both kinds, 1 MiB and 1 MiB: half-way (by the logarithm) between the speeds, 1/16 and 1/8
        (Case("between", 1, 1, 256, 256), 1, (2 << 20) * (1 / 16 + 1 / 8) / 2 / 1e3 + 0.256),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_bound(case, threads, microseconds):
    assert LIMITS.bound(case, threads) == pytest.approx(microseconds, rel=1e-9)


def test_limits_are_read_for_this_machine_only(tmp_path):
    path = tmp_path / "limits.json"
    one = {"gflops": 1.0, "cell_ns": 1.0, "reads": [[1, 1.0], [2, 1.0]]}
    path.write_text(json.dumps({"cpu": "mine", "measured": "now", "isas": {"avx2": one}}))
    for isa in ("avx2", "avx2vnni"):
        assert bound.load(path, "mine", isa) == Limits("now", 1.0, 1.0, [[1, 1.0], [2, 1.0]])
    for model, isa, message in (("yours", "avx2", "this machine, yours"), ("mine", "neon", "with neon, found avx2")):
        with pytest.raises(ValueError, match=message):
            bound.load(path, model, isa)
    path.write_text("{}")
    with pytest.raises(ValueError, match="benchmarks/limits.py"):
        bound.load(path, "mine", "avx2")


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "c++")) is None, reason="needs a C++ compiler")
def test_limits_are_plausible(monkeypatch):
    if not {"avx2", "avx512"} & set(fl.cpu_info()["available"]) or not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs AVX2 and Linux")
    monkeypatch.setattr(probe, "RUNS", 1)
    measured = probe.measure()
    assert measured["cpu"] == fl.cpu_info()["model"]
    for isa, lanes in (("avx2", 8), ("avx512", 16)):
        if isa in measured["isas"]:
            one = Limits("now", **measured["isas"][isa])
            assert 0.2 * lanes < one.gflops / 2 < 64 * lanes  # at least 0.2, at most 64 multiply-adds a lane and ns
            assert 0.05 < one.cell_ns < 50
            speeds = [speed for _, speed in one.reads]
            assert max(speeds[:3]) > min(speeds[-3:]) > 0.1


def test_waits_for_threads_that_spin():
    """ONNX Runtime's do for 50 ms after a call, on the CPU that the next engine needs."""
    stop = time.perf_counter() + 0.1

    def spin():
        while time.perf_counter() < stop:
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    runner._wait_for_quiet()
    waited_until = time.perf_counter()
    thread.join()
    assert stop <= waited_until < stop + 0.5


def test_a_busy_machine_is_noticed(tmp_path):
    def row(*quartiles):
        figures = {"fusedlstm": runner.Figures(10.0, quartiles, 0, 0), "a": runner.Figures(20.0, (19.9, 20.1), 0, 0)}
        return runner.Row(SMALL[2], 1, figures)

    assert busy.signs({"load": 0.1, "steal": 0.0}, {"seq": row(9.5, 10.5)}) == []
    assert busy.signs({}, {"seq": row(9.5, 10.5)}) == []  # not recorded
    found = busy.signs({"load": 2.0, "steal": 0.03}, {"seq": row(9.0, 11.0)})
    assert found[0] == "a load of 2.0 before the first case" and found[1].startswith("3 % of the time")
    assert found[2] == "quartiles more than 15 % apart in 1 of 1 (seq: 20 %)"
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1\n")
    assert busy._ticks(stat) == (80, 360) and busy._ticks(tmp_path / "none") is None
    assert set(busy.Watch().seen()) == {"load", "steal"}


def test_what_is_level_is_neither_won_nor_lost():
    def row(ours, theirs):
        return runner.Row(
            SMALL[2], 1, {"fusedlstm": runner.Figures(1, ours, 0, 0), "a": runner.Figures(2, theirs, 0, 0)}
        )

    assert row((9, 11), (10, 12)).level and row((9, 11), (10, 12)).told == "≈"
    assert row((10, 12), (9, 11)).level and row((9, 13), (10, 11)).level
    assert not row((9, 10), (11, 12)).level and row((9, 10), (11, 12)).told == "2.00"
    assert not row((11, 12), (9, 10)).level
