"""What several threads cost beside others: calls on all threads by calls on one, which should never be much above 1.

    python benchmarks/noisy_threads.py [--seconds 4] [--only "spinner on each"] [--report noisy.json]

Each case runs in turn on one thread and on two, some calls at a time, while something else goes on: processes that
spin, other engines between our calls, eight threads of ours, one CPU, or a process that is stopped a quarter of the
time, as a quota of CPU time does. Medians and means of the same moments. Peers that are not installed are left out,
and named.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np

import fusedlstm as fl

RNG = np.random.default_rng(0)
SPIN = "while True: pass"
# time, batch, input, hidden, layers, directions
CASES = {
    "lm_step": (1, 1, 512, 512, 2, 1),
    "10 x 256": (10, 1, 256, 256, 1, 1),
    "100 x 128": (100, 1, 128, 128, 1, 1),
    "100 x 256": (100, 1, 256, 256, 1, 1),
    "20 x 1024": (20, 1, 1024, 1024, 1, 1),
    "b8_256": (50, 8, 256, 256, 1, 1),
    "b32_256": (50, 32, 256, 256, 1, 1),
    "bi256": (100, 1, 256, 256, 1, 2),
}


def models(time_steps, batch, inputs, hidden, layers, directions):
    """The same LSTM on one thread and on two, and an x."""

    def draw(*shape):
        return RNG.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(hidden))

    sizes = [inputs, *[hidden * directions] * (layers - 1)]
    weights = fl.LSTMWeights(
        [
            [
                fl.DirectionWeights(draw(4 * hidden, size), draw(4 * hidden, hidden), draw(4 * hidden))
                for _ in range(directions)
            ]
            for size in sizes
        ],
        batch_first=True,
    )
    x = RNG.standard_normal((batch, time_steps, inputs)).astype(np.float32)
    return fl.LSTM(weights, threads=1), fl.LSTM(weights, threads=2), x


def ratios(case, seconds, between=None):
    """Two threads by one: of medians, and of means."""
    *engines, x = models(*CASES[case])
    spent = [[], []]
    for engine in engines:
        engine(x)
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(spent[1]) < 12:
        for engine, own in zip(engines, spent, strict=True):
            for _ in range(6):
                if between is not None:
                    between()
                start = time.perf_counter()
                engine(x)
                own.append(time.perf_counter() - start)
    one, two = spent
    return {
        "microseconds": round(float(np.median(one)) * 1e6, 1),
        "median": round(float(np.median(two) / np.median(one)), 3),
        "mean": round(float(np.mean(two) / np.mean(one)), 3),
    }


@contextmanager
def spinning(*cpus):
    """Processes that spin, each on a CPU; None: wherever they like."""
    found = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in cpus]
    try:
        for process, cpu in zip(found, cpus, strict=True):
            if cpu is not None:
                os.sched_setaffinity(process.pid, {cpu})
        time.sleep(0.5)
        yield None
    finally:
        for process in found:
            process.kill()
            process.wait()


@contextmanager
def quiet():
    yield None


@contextmanager
def one_cpu():
    before = os.sched_getaffinity(0)

    def allow(cpus):
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), cpus)

    allow({min(before)})
    try:
        yield None
    finally:
        allow(before)


@contextmanager
def stopped():
    """Us, a quarter of each tenth of a second."""
    code = f"""
import os, signal, time
while os.getppid() == {os.getpid()}:
    time.sleep(0.075)
    os.kill({os.getpid()}, signal.SIGSTOP)
    time.sleep(0.025)
    os.kill({os.getpid()}, signal.SIGCONT)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield None
    finally:
        process.terminate()  # a handler would come too late: it may have stopped us
        process.wait()
        os.kill(os.getpid(), signal.SIGCONT)


@contextmanager
def eight_callers():
    """Seven more threads that call an LSTM of ours all the time."""
    _, engine, x = models(*CASES["100 x 256"])
    done = threading.Event()

    def call():
        while not done.is_set():
            engine(x)

    others = [threading.Thread(target=call) for _ in range(7)]
    for one in others:
        one.start()
    try:
        yield None
    finally:
        done.set()
        for one in others:
            one.join()


@contextmanager
def onnxruntime():
    """Its threads spin for a while after each run."""
    import onnx
    import onnxruntime as ort
    from onnx import helper

    w = onnx.numpy_helper.from_array(RNG.normal(size=(256, 256)).astype(np.float32), "w")
    ends = [helper.make_tensor_value_info(name, 1, [512, 256]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session, x = ort.InferenceSession(model.SerializeToString()), np.zeros((512, 256), np.float32)
    yield lambda: session.run(None, {"x": x})


@contextmanager
def pytorch():
    import torch

    lstm, x = torch.nn.LSTM(256, 256), torch.zeros(20, 2, 256)

    def call():
        with torch.no_grad():
            lstm(x)

    yield call


def scenarios():
    """By name; what is missing here is named instead."""
    cpus = sorted(os.sched_getaffinity(0))
    found = {"nothing": quiet, "one spinner": lambda: spinning(None)}
    found |= {f"a spinner on CPU {cpu}": lambda cpu=cpu: spinning(cpu) for cpu in cpus[:2]}
    found |= {"a spinner on each CPU": lambda: spinning(*cpus), "two on each CPU": lambda: spinning(*cpus, *cpus)}
    found |= {"one CPU": one_cpu, "stopped a quarter of the time": stopped, "eight callers": eight_callers}
    peers = {"ONNX Runtime": (onnxruntime, ("onnxruntime", "onnx")), "PyTorch": (pytorch, ("torch",))}
    for name, (peer, needs) in peers.items():
        if all(map(find_spec, needs)):
            found[f"{name} between"] = peer
        else:
            print(f"left out: {name}, which needs {' and '.join(needs)}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each case in each scenario")
    parser.add_argument("--only", default="", help="scenarios whose names have this in them")
    parser.add_argument("--cases", default=",".join(CASES), help="which, with commas")
    parser.add_argument("--report", help="where the figures go as JSON")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}; ratios of two threads to one: median (mean)")
    figures = {}
    for name, scenario in scenarios().items():
        if options.only not in name:
            continue
        with scenario() as between:
            rows = {case: ratios(case, options.seconds, between) for case in options.cases.split(",")}
        shown = ", ".join(f"{case} {row['median']:.2f} ({row['mean']:.2f})" for case, row in rows.items())
        print(f"{name:30s} {shown}", flush=True)
        figures[name] = rows
    if options.report:
        with open(options.report, "w") as file:
            json.dump({"load": os.getloadavg(), "ratios": figures}, file, indent=1)


if __name__ == "__main__":
    main()
