"""The evaluator and the passes against ONNX Runtime, on real models where they are present."""

import time
from pathlib import Path

import numpy as np
import pytest
from graphs import close, ops, random

from fusedlstm.formats.containers.source import Source
from fusedlstm.formats.onnx.whole import read_graph
from fusedlstm.graph import evaluate
from fusedlstm.graph.passes import simplify
from fusedlstm.graph.specialise import deciding_inputs, specialise

MODELS = Path("/work/shared/models")
FILES = sorted(MODELS.glob("*.onnx"))
pytestmark = pytest.mark.skipif(not FILES, reason="the models are not here")


def inputs(stem, batch, time, rate):
    frame = {"input": random(batch, 576 if rate == 16000 else 288, scale=0.1)}
    state = {"state": random(2, batch, 128, scale=0.1, seed=1), "sr": np.array(rate, np.int64)}
    return {
        "dtln_1": lambda: {"input_2": abs(random(1, 1, 257)), "input_3": random(1, 2, 128, 2, scale=0.1)},
        "dtln_2": lambda: {"input_4": random(1, 1, 512), "input_5": random(1, 2, 128, 2, scale=0.1)},
        "engine_wear": lambda: {"input_layer": random(batch, 30, 17)},
        "nnsplit_en": lambda: {"input": np.random.default_rng(time).integers(0, 256, (batch, 4 * time), np.uint8)},
        "silero_v5_decoder": lambda: {"input": random(batch, 128), "state": random(2, batch, 128)},
        "silero_v5_encoder": lambda: {"input": random(batch, 576, scale=0.1)},
        "silero_vad_16k_sequence": lambda: {
            "input": random(time, 576, scale=0.1),
            "h": random(1, 1, 128, scale=0.1),
            "c": random(1, 1, 128, scale=0.1, seed=2),
        },
    }.get(stem, lambda: frame | state)()


# What each becomes: the LSTMs that it has when its shapes are known, and the most nodes.
EXPECTED = {
    "dtln_1": (2, 20),
    "dtln_2": (2, 26),
    "engine_wear": (2, 5),
    "nnsplit_en": (1, 8),
    "silero_v5_decoder": (1, 9),
    "silero_v5_encoder": (0, 12),
    "silero_vad": (1, 25),
    "silero_vad_16k_op15": (1, 25),
    "silero_vad_16k_sequence": (1, 20),
    "silero_vad_op18_ifless": (1, 25),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_against_onnxruntime(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    graph = read_graph(Source(path))
    assert not graph.refusals
    simple = simplify(graph)
    for batch, steps, rate in ((1, 5, 16000), (3, 16, 16000), (1, 1, 8000)):
        if rate == 8000 and path.stem not in ("silero_vad", "silero_vad_op18_ifless"):
            continue
        fed = inputs(path.stem, batch, steps, rate)
        wanted = dict(zip((one.name for one in graph.outputs), session.run(None, fed)))
        deciding = deciding_inputs(simple)
        assert deciding == (["sr"] if path.stem in ("silero_vad", "silero_vad_op18_ifless") else [])
        special = specialise(
            simple, {name: value.shape for name, value in fed.items()}, {name: fed[name] for name in deciding}
        )
        for one in (graph, simple, special):
            close(evaluate(one, fed), wanted)
        lstms, nodes = EXPECTED[path.stem]
        assert ops(special).count("fusedlstm.LSTM") == lstms
        assert len(special.nodes) <= nodes, special
        assert not {"If", "LSTM", "Conv", "MatMul", "Gemm"} & set(ops(special))


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shapes_are_settled_quickly(path):
    graph = simplify(read_graph(Source(path)))
    fed = inputs(path.stem, 1, 5, 16000)
    values = {name: fed[name] for name in deciding_inputs(graph)}
    shapes = {name: value.shape for name, value in fed.items()}
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        specialise(graph, shapes, values)
        best = min(best, time.perf_counter() - start)
    assert best < 20e-6 * sum(1 for _ in graph.walk())
