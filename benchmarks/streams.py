"""Live streams: throughput and latency by their number, beside ONNX Runtime; the latency of a million single steps.

    python benchmarks/streams.py --report out          # pins itself to one CPU; some two minutes

Every contestant runs one time step of every stream of a 128→128 LSTM, each stream with a state of its own, from x in
NumPy's memory to y in NumPy's memory, on one thread:

    pool          StreamPool.step on shuffled ids
    streams       a loop over Stream.step(x, out=y), one object a stream
    ort run       a loop over session.run: x and the states go in, y and the new states come out
    ort loop      the same at its best: everything bound, two bindings a stream that swap its states
    ort batch     one ONNX Runtime call of a batch, everything bound; states gathered and scattered with NumPy
    batch         lstm(x, state=..., out=y): our batch kernel without streams

They take turns; the figure is the median turn, with the fastest one beside it.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

import fusedlstm as fl
from fusedlstm.bench.peers import onnxmodel

SIZE = 128
INK, COLOURS = "#22303c", ("#e4572e", "#f5b29c", "#c9dbe6", "#a9c7da", "#3a7ca5", "#8d99a3")


def lstm_of(inputs: int, hidden: int) -> fl.LSTM:
    rng = np.random.default_rng(0)
    bound = 1 / np.sqrt(hidden)
    shapes = ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,))
    arrays = [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]
    return fl.LSTM(fl.LSTMWeights([[fl.DirectionWeights(*arrays)]]))


def pool(lstm, x, y):
    streams = fl.StreamPool(lstm, capacity=len(x))
    ids = np.random.default_rng(0).permutation([streams.open() for _ in x])
    return lambda: streams.step(ids, x, out=y)


def loop_of_streams(lstm, x, y):
    steps = [(lstm.stream().step, x_t, y_t) for x_t, y_t in zip(x, y)]

    def call():
        for step, x_t, y_t in steps:
            step(x_t, out=y_t)

    return call


def batch(lstm, x, y):
    x, y = x[:, None], y[:, None]
    state = [None]

    def call():
        _, state[0] = lstm(x, state=state[0], out=y)

    return call


def ort_session(lstm, rows):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnxmodel.build(lstm.weights, 1, rows, True)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def bind(session, **arrays):
    from onnxruntime import OrtValue

    binding = session.io_binding()
    for one in session.get_inputs():
        binding.bind_ortvalue_input(one.name, OrtValue.ortvalue_from_numpy(arrays[one.name]))
    for one in session.get_outputs():
        array = arrays[one.name]
        binding.bind_output(one.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return binding


def ort_run(lstm, x, y):
    session = ort_session(lstm, 1)
    names = [one.name for one in session.get_outputs()]
    zeros = np.zeros((1, 1, SIZE), np.float32)
    feeds = [{"x": row.reshape(1, 1, -1), "h0": zeros, "c0": zeros} for row in x]

    def call():
        for b, feed in enumerate(feeds):
            found = dict(zip(names, session.run(names, feed)))
            y[b], feed["h0"], feed["c0"] = found["y0"][0, 0, 0], found["hn0"], found["cn0"]

    return call


def ort_loop(lstm, x, y):
    session = ort_session(lstm, 1)
    states = np.zeros((len(x), 4, 1, 1, SIZE), np.float32)  # h and c, twice
    turns = []
    for one in (0, 2), (2, 0):
        turns.append(
            [
                bind(session, x=x[b].reshape(1, 1, -1), h0=state[one[0]], c0=state[one[0] + 1],
                     y0=y[b].reshape(1, 1, 1, -1), hn0=state[one[1]], cn0=state[one[1] + 1])
                for b, state in enumerate(states)
            ]
        )  # fmt: skip

    def call():
        for binding in turns[0]:
            session.run_with_iobinding(binding)
        turns.reverse()

    call.keep = states, x, y
    return call


def ort_batch(lstm, x, y):
    rows = len(x)
    session = ort_session(lstm, rows)
    slots = np.random.default_rng(0).permutation(rows)
    h, c = np.zeros((2, rows, SIZE), np.float32)
    before, after = np.zeros((2, 2, 1, rows, SIZE), np.float32)
    binding = bind(
        session, x=x[None], y0=y.reshape(1, 1, rows, SIZE), h0=before[0], c0=before[1], hn0=after[0], cn0=after[1]
    )

    def call():
        np.take(h, slots, axis=0, out=before[0, 0], mode="clip")
        np.take(c, slots, axis=0, out=before[1, 0], mode="clip")
        session.run_with_iobinding(binding)
        h[slots] = after[0, 0]
        c[slots] = after[1, 0]

    call.keep = x, y
    return call


CONTESTANTS = {
    "pool": pool,
    "streams": loop_of_streams,
    "ort run": ort_run,
    "ort loop": ort_loop,
    "ort batch": ort_batch,
    "batch": batch,
}


def compare(lstm, count, seconds):
    """Microseconds of one step of `count` streams: {name: {median, best, p99, turns}}."""
    x = np.random.default_rng(count).standard_normal((count, SIZE)).astype(np.float32)
    expected = np.concatenate([lstm(np.stack([row] * 3))[0][-1:] for row in x])
    calls, times = {}, {}
    for name, make in CONTESTANTS.items():
        y = np.empty((count, SIZE), np.float32)
        calls[name], times[name] = make(lstm, x, y), []
        for _ in range(3):
            calls[name]()
        error = np.abs(y - expected).max()
        if not error < 1e-5:
            raise SystemExit(f"{name}, {count} streams: off by {error}")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["pool"]) < 7:
        for name, call in calls.items():
            turn = time.perf_counter() + min(0.02, seconds / 50)
            while True:
                start = time.perf_counter()
                call()
                now = time.perf_counter()
                times[name].append((now - start) * 1e6)
                if now >= turn:
                    break
    return {
        name: {"median": np.median(t), "best": min(t), "p99": np.quantile(t, 0.99), "turns": len(t)}
        for name, t in times.items()
    }


def step_latencies(lstm, steps):
    """Nanoseconds of each of so many steps of one stream."""
    x = np.random.default_rng(0).standard_normal((1000, lstm.input_size)).astype(np.float32)
    out, rows = np.empty(lstm.hidden_size, np.float32), list(x)
    step, clock, taken = lstm.stream().step, time.perf_counter_ns, np.empty(steps, np.int64)
    for row in rows:
        step(row, out=out)
    for k in range(steps):
        row = rows[k % 1000]
        start = clock()
        step(row, out=out)
        taken[k] = clock() - start
    return taken


def quantiles(taken):
    named = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: float(np.quantile(taken, q)) / 1e3 for name, q in named.items()}


def draw(report, latencies, folder):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "font.size": 9})
    counts = [row["streams"] for row in report["throughput"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, colour in zip(CONTESTANTS, COLOURS):
        times = np.array([row["us"][name]["median"] for row in report["throughput"]])
        style = {"color": colour, "marker": "o", "markersize": 3, "label": name}
        left.plot(counts, np.array(counts) / times * 1e6, **style)
        right.plot(counts, times, **style)
    left.set(xscale="log", yscale="log", xlabel="live streams", ylabel="steps a second, all streams together")
    right.set(xscale="log", yscale="log", xlabel="live streams", ylabel="microseconds until every stream has stepped")
    right.legend(frameon=False)
    figure.suptitle(f"Live streams of a {SIZE}→{SIZE} LSTM, one thread")
    figure.savefig(folder / "streams.png", dpi=120)
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for (name, taken), colour in zip(latencies.items(), (COLOURS[0], COLOURS[4])):
        us = taken / 1e3
        bins = np.geomspace(max(us.min(), 0.1), us.max(), 120)
        axes.hist(us, bins, histtype="step", color=colour, label=f"{name}: p99.9 {np.quantile(us, 0.999):.2f} µs")
    axes.set(xscale="log", yscale="log", xlabel="microseconds", ylabel="steps", title="Stream.step, each call timed")
    axes.legend(frameon=False)
    figure.savefig(folder / "step_latency.png", dpi=120)


def show(report):
    print(f"{report['cpu']}, {report['isa']}; microseconds for a step of all streams, median (best)\n")
    print("| streams | " + " | ".join(CONTESTANTS) + " | pool is faster than ort run | ort loop | ort batch | batch |")
    print("|--:" * (len(CONTESTANTS) + 5) + "|")
    for row in report["throughput"]:
        us = row["us"]
        cells = [f"{us[name]['median']:,.1f} ({us[name]['best']:,.1f})" for name in CONTESTANTS]
        cells += [f"{row['speedup'][name]:.2f}" for name in ("ort run", "ort loop", "ort batch", "batch")]
        print(f"| {row['streams']:,} | " + " | ".join(cells) + " |")
    print("\n| Stream.step, µs | p50 | p99 | p99.9 | max |\n|:--|--:|--:|--:|--:|")
    for name, found in report["step_latency_us"].items():
        print(f"| {name} | " + " | ".join(f"{value:,.2f}" for value in found.values()) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", default="1,2,5,10,20,50,100,200,500,1000,2000", help="how many, with commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each number of streams")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the latency histogram")
    parser.add_argument("--report", type=Path, help="a folder for streams.json and the pictures")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    fl.set_num_threads(1)
    lstm = lstm_of(SIZE, SIZE)
    report = {"cpu": fl.cpu_info()["model"], "isa": fl.cpu_info()["isa"], "throughput": [], "step_latency_us": {}}
    for count in map(int, arguments.streams.split(",")):
        us = compare(lstm, count, arguments.seconds)
        speedup = {name: us[name]["median"] / us["pool"]["median"] for name in us}
        report["throughput"].append({"streams": count, "us": us, "speedup": speedup})
    latencies = {f"{i}→{h}": step_latencies(lstm_of(i, h), arguments.steps) for i, h in ((1, 40), (SIZE, SIZE))}
    report["step_latency_us"] = {name: quantiles(taken) for name, taken in latencies.items()}
    show(report)
    if arguments.report:
        arguments.report.mkdir(parents=True, exist_ok=True)
        (arguments.report / "streams.json").write_text(json.dumps(report, indent=1) + "\n")
        draw(report, latencies, arguments.report)


if __name__ == "__main__":
    main()
