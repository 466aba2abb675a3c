"""Live models: what a step, a block, a pool and a lower precision cost, beside ONNX Runtime and LiteRT, on one thread.

    python benchmarks/live_models.py [FOLDER]       # of real files: silero_vad.onnx, dtln_*.tflite, dtln_quant_*.tflite

Each pair runs in turn, medians of rounds; peers that are not installed and files that are not there are left out and
named.
"""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import fusedlstm as fl
from fusedlstm.bench.session import prepare
from fusedlstm.graph import Graph, Value, node

F4 = np.dtype(np.float32)
RNG = np.random.default_rng(0)


def numbers(*shape):
    return (RNG.standard_normal(shape) * 0.2).astype(F4)


def medians(*calls, seconds=1.5):
    """Microseconds of each, in turn."""
    counts, times = [], [[] for _ in calls]
    for call in calls:
        call()
        count, start = 1, time.perf_counter()
        call()
        count = max(1, int(3e-3 / max(time.perf_counter() - start, 1e-7)))
        counts.append(count)
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times[0]) < 5:
        for call, count, own in zip(calls, counts, times, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                call()
            own.append((time.perf_counter() - start) / count * 1e6)
    return [float(np.median(own)) for own in times]


def amplifier():
    """Two causal convolutions of 16 channels and 12 taps, an LSTM of 36, dense."""
    lstm = fl.LSTMWeights([[fl.DirectionWeights(numbers(144, 16), numbers(144, 36), numbers(144))]], batch_first=True)
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1])]
    for k, source in enumerate(("t", "a0")):
        nodes += [node("Conv", [source, f"w{k}", f"b{k}"], [f"z{k}"], pads=[11, 0]), node("Tanh", [f"z{k}"], [f"a{k}"])]
    nodes += [
        node("Transpose", ["a1"], ["s"], perm=[0, 2, 1]),
        node("fusedlstm.LSTM", ["s"], ["h"], weights=lstm, x_batch_first=1, y_batch_first=1),
        node("MatMul", ["h", "v"], ["y"]),
    ]
    constants = {
        "w0": numbers(16, 1, 12),
        "w1": numbers(16, 16, 12),
        "b0": numbers(16),
        "b1": numbers(16),
        "v": numbers(36, 1),
    }
    return fl.Model(Graph([Value("x", F4, ("batch", "time", 1))], [Value("y", F4, None)], nodes, constants))


def of_amplifier():
    for dtype in ("float32", "int8"):
        stream, x = amplifier().astype(dtype).stream(), numbers(1, 64, 1)
        stream.step(x[:, 0])
        step, block = medians(stream.step, lambda stream=stream, x=x: stream.process(x))
        rate = 64 / 44100 / (block * 1e-6)
        yield f"amplifier {dtype}: a sample {step:.2f} µs (aim 1), blocks of 64 at {rate:.0f} times real time (aim 25)"


def session_of(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def of_silero(path):
    model, frame = fl.Model.load(path), numbers(1, 576)
    session, state = session_of(path), {"state": np.zeros((2, 1, 128), F4)}

    def by_hand():
        _, state["state"] = session.run(None, {"input": frame, "sr": np.array(16000), **state})

    stream = model.stream(fixed={"sr": 16000})
    stream.step(frame)
    ours, peer = medians(stream.step, by_hand)
    yield f"silero, a frame by stream: {ours:.1f} µs, ONNX Runtime by hand {peer:.1f}: {peer / ours:.2f} (aim 5)"
    pool = fl.StreamPool(model, 1000, fixed={"sr": 16000})
    ids, frames = np.array([pool.open() for _ in range(1000)]), numbers(1000, 576)
    batch = {"input": frames, "state": np.zeros((2, 1000, 128), F4), "sr": np.array(16000)}
    pooled, batched = (
        one / 1000 for one in medians(lambda: pool.step(ids, frames), lambda: session.run(None, batch), seconds=6)
    )
    yield (
        f"silero, 1,000 in a pool: {pooled:.1f} µs each; {ours / pooled:.2f} of one stream's rate (aim 1.3), "
        f"{peer / pooled:.2f} of ONNX Runtime in a loop (6), {batched / pooled:.2f} of it on a batch (1.5)"
    )
    for dtype in ("float16", "bfloat16", "int8"):
        low = model.astype(dtype).stream(fixed={"sr": 16000})
        low.step(frame)
        full, lower = medians(stream.step, low.step)
        yield f"silero {dtype}: {lower:.1f} µs, {full / lower:.2f} of float32 (aim 1.2)"


def forecaster():
    """A step of LSTM 64 and a head as ONNX has it, its states in and out."""
    from onnx import TensorProto, helper, numpy_helper

    lstm = ["x", "w", "r", "b", "", "h", "c"]
    nodes = [
        helper.make_node("LSTM", lstm, ["", "hn", "cn"], hidden_size=64),
        helper.make_node("Squeeze", ["hn", "axis"], ["last"]),
        helper.make_node("Gemm", ["last", "v", "d"], ["y"]),
    ]
    constants = {"w": numbers(1, 256, 9), "r": numbers(1, 256, 64), "b": numbers(1, 512), "v": numbers(64, 1)}
    constants |= {"d": numbers(1), "axis": np.array([0])}
    shapes = {"x": [1, "n", 9], "y": ["n", 1], **{name: [1, "n", 64] for name in ("h", "c", "hn", "cn")}}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    ends = [[values[name] for name in names] for names in (("x", "h", "c"), ("y", "hn", "cn"))]
    graph = helper.make_graph(nodes, "step", *ends, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


async def served(step, clients, seconds, pause=0.0):
    """Steps a second, and the 99th percentile of what one takes in milliseconds; clients pause between their steps."""
    stop, took = time.perf_counter() + seconds, []

    async def client(k):
        x = numbers(1, 9)
        await asyncio.sleep(pause * k / clients)
        while time.perf_counter() < stop:
            start = time.perf_counter()
            await step(k, x)
            took.append(time.perf_counter() - start)
            if pause:
                await asyncio.sleep(pause)

    await asyncio.gather(*map(client, range(clients)))
    return len(took) / seconds, float(np.quantile(took, 0.99)) * 1e3


async def of_batcher(clients=500, seconds=4):
    data = forecaster()
    session, states = session_of(data), [[np.zeros((1, 1, 64), F4)] * 2 for _ in range(clients)]

    def run(k, x):
        h, c = states[k]
        y, *states[k] = session.run(None, {"x": x[None], "h": h, "c": c})
        return y

    with ThreadPoolExecutor(1) as worker:
        loop = asyncio.get_running_loop()

        def theirs(k, x):
            return loop.run_in_executor(worker, run, k, x)

        rate, _ = await served(theirs, clients, seconds)
        _, late = await served(theirs, clients, seconds, 0.1)
    pool = fl.StreamPool(fl.Model.load(data), clients)
    async with fl.AsyncBatcher(pool) as batcher:
        ids = [await batcher.open() for _ in range(clients)]

        def own(k, x):
            return batcher.step(ids[k], x)

        ours, _ = await served(own, clients, seconds)
        _, our_late = await served(own, clients, seconds, 0.1)
    return (
        f"forecaster, {clients} clients: {ours:,.0f} steps a second at most, ONNX Runtime {rate:,.0f}: "
        f"{ours / rate:.2f} (aim 5); p99 at ten a second each {our_late:.1f} ms (aim 5), ONNX Runtime's {late:.1f}"
    )


def of_dtln(folder):
    from ai_edge_litert.interpreter import Interpreter

    sizes, total, peers, errors = (257, 512), 0.0, 0.0, []
    for stage, size in enumerate(sizes, 1):
        model = fl.Model.load(folder / f"dtln_{stage}.tflite")
        low, x, state = model.astype("int8"), np.abs(numbers(1, 1, size)), numbers(1, 2, 128, 2)
        quantised = Interpreter(str(folder / f"dtln_quant_{stage}.tflite"), num_threads=1)
        quantised.allocate_tensors()
        inputs, outputs = quantised.get_input_details(), quantised.get_output_details()
        by_shape = {array.shape: array for array in (x, state)}

        def run(quantised=quantised, inputs=inputs, outputs=outputs, by_shape=by_shape):
            for one in inputs:
                quantised.set_tensor(one["index"], by_shape[tuple(one["shape"])])
            quantised.invoke()
            return [quantised.get_tensor(one["index"]) for one in outputs]

        given = [by_shape[tuple(one.shape)] for one in model.inputs.values()]
        ours, peer = medians(lambda low=low, given=given: low(*given), run)
        total, peers = total + ours, peers + peer
        exact, found = ({one.shape: one for one in many} for many in (model(*given), low(*given)))
        theirs = {one.shape: one for one in run()}
        errors.append([float(np.abs(some[x.shape] - exact[x.shape]).max()) for some in (found, theirs)])
    error, other = np.max(errors, axis=0)
    yield (
        f"DTLN int8, both stages: {total:.1f} µs, LiteRT's {peers:.1f}: {peers / total:.2f} (aim 1.2); "
        f"largest error {error:.1e} against {other:.1e}"
    )


def main():
    prepare(1)
    fl.set_num_threads(1)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    cpu = fl.cpu_info()
    print(cpu)
    for line in of_amplifier():
        print(line)
    if find_spec("onnxruntime") and find_spec("onnx"):
        print(asyncio.run(of_batcher()))
    if folder is not None and (folder / "silero_vad.onnx").is_file() and find_spec("onnxruntime"):
        for line in of_silero(folder / "silero_vad.onnx"):
            print(line)
    else:
        print("left out: silero_vad.onnx beside ONNX Runtime (no file, or not installed)")
    if folder is not None and (folder / "dtln_quant_1.tflite").is_file() and find_spec("ai_edge_litert"):
        for line in of_dtln(folder):
            print(line)
    else:
        print("left out: DTLN beside LiteRT (no files, or not installed)")


if __name__ == "__main__":
    main()
