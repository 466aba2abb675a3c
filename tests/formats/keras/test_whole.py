"""Whole Keras models against Keras."""

import re
from pathlib import Path

import numpy as np
import pytest
from keras_graphs import agree, check, flat, randomized
from keras_models import keras, layers

import fusedlstm as fl
from fusedlstm.formats.keras.model import whole
from fusedlstm.formats.keras.model.registry import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation", "ignore:.*HDF5 file via:UserWarning")
SHARED = Path("/work/shared/models")


def sequential(*inside, shape=(7, 3), dtype="float32", batch=None):
    return randomized(keras.Sequential([layers.Input(shape, batch_size=batch, dtype=dtype), *inside]))


def test_lstm_and_dense(tmp_path):
    model = sequential(layers.LSTM(5, name="enc"), layers.Dropout(0.2), layers.Dense(2, activation="relu", name="head"))
    check(model, tmp_path, batches=((3, 7), (1, 7)))
    ours = fl.Model.load(tmp_path / "m.keras")
    assert list(ours.outputs) == ["head"]
    assert ours.outputs["head"].shape == (None, 2)
    assert list(ours.inputs.values()) == [fl.Model.load(tmp_path / "m.h5").inputs[name] for name in ours.inputs]
    x = np.zeros((2, 7, 3), np.float32)
    cut = fl.Model.load(tmp_path / "m.keras", outputs=["enc", "head"]).run({next(iter(ours.inputs)): x})
    assert cut["enc"].shape == (2, 5)
    np.testing.assert_array_equal(cut["head"], ours(x))
    assert fl.LSTM.load(tmp_path / "m.keras").hidden_size == 5


@pytest.mark.parametrize("name", ["engine_wear.keras", "turbofan_autoencoder.keras", "next_word.keras"])
def test_real_models(name):
    if not (SHARED / name).exists():
        pytest.skip("the real models are not here")
    ours, theirs = fl.Model.load(SHARED / name), keras.models.load_model(SHARED / name, compile=False)
    (spec,) = ours.inputs.values()
    rng = np.random.default_rng(0)
    for batch in (1, 5):
        shape = (batch, *spec.shape[1:])
        x = rng.integers(0, 400, shape) if spec.dtype.kind == "i" else rng.normal(size=shape)
        x = x.astype(spec.dtype)
        agree([ours(x)], flat(theirs(x, training=False)))


def test_every_layer_is_in_the_table():
    table = (Path(__file__).parents[3] / "docs" / "models.md").read_text().partition("## Keras")[2]
    names = set(re.findall(r"\w+", table))
    assert len(whole.FAMILIES) > 10
    assert {kind for kind in LAYERS if not kind.startswith(("Convolution", "SeparableConvolution"))} <= names
