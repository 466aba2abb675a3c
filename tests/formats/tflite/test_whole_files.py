"""Real TensorFlow Lite files, where they are present, against LiteRT: frame after frame with their states."""

from pathlib import Path

import numpy as np
import pytest
from tflite_files import LITERT, close, litert, random

import fusedlstm as fl

MODELS = Path("/work/shared/models")
pytestmark = [
    pytest.mark.skipif(not MODELS.exists(), reason="the models are not here"),
    pytest.mark.skipif(not LITERT, reason="needs LiteRT"),
]


@pytest.mark.parametrize(
    ("name", "error"), [("dtln_1", 2e-5), ("dtln_2", 2e-5), ("dtln_quant_1", 0.1), ("dtln_quant_2", 0.1)]
)
def test_dtln(name, error):
    """Weights in 8 bits: LiteRT rounds what comes in as well."""
    data = (MODELS / f"{name}.tflite").read_bytes()
    model = fl.Model.load(data)
    (x, first), state = model.inputs.values(), np.zeros((1, 2, 128, 2), np.float32)
    assert first.shape == state.shape
    for seed in range(4):
        frame = np.abs(random(*x.shape, seed=seed)) * 0.3
        found, expected = model(frame, state), litert(data, [frame, state])
        for one, other in zip(found, expected, strict=True):
            close(one, other, error)
        state = expected[1]


def test_a_stream_of_dtln():
    model = fl.Model.load(MODELS / "dtln_1.tflite")
    stream, state = model.stream(), np.zeros((1, 2, 128, 2), np.float32)
    for seed in range(4):
        frame = np.abs(random(1, 1, 257, seed=seed))
        mask, state = model(frame, state)
        close(stream.step(frame), mask)


def test_the_fused_operator():
    data = (MODELS / "mnist_lstm.tflite").read_bytes()
    x = random(1, 28, 28)
    model = fl.Model.load(data)
    close(model(x), litert(data, [x])[0])
    close(model(x), litert(data, [x])[0])  # its states start at zero each time


def test_variables_without_values_are_refused():
    path = Path("/work/shared/cases/keras/while_loop.tflite")
    if not path.exists():
        pytest.skip("the file is not here")
    with pytest.raises(fl.FormatError, match="variable '.*': expected its value in the file, found none; convert the"):
        fl.Model.load(path)
