"""ConvLSTMs of Keras and Flax, for files of them."""

import json
import os
import zipfile

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
layers = keras.layers


def randomized(model, rng):
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape, scale=0.4))
    return model


def one_layer(**options):
    options = {"filters": 3, "kernel_size": 3, "padding": "same", "name": "radar"} | options
    return randomized(
        keras.Sequential([keras.Input((2, 7, 6, 2)), layers.ConvLSTM2D(**options)]), np.random.default_rng(0)
    )


def changed(path, change):
    """A .keras file with a change to its ConvLSTM's configuration."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    item = next(one for one in config["config"]["layers"] if one["class_name"].startswith("ConvLSTM"))
    change(item)
    members["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def flax_cell(rng, rank=2, filters=5, channels=3, kernel=None, bias=True):
    linen, jax = pytest.importorskip("flax.linen"), pytest.importorskip("jax")
    cell = linen.ConvLSTMCell(filters, kernel or tuple(int(n) for n in rng.integers(1, 5, rank)), use_bias=bias)
    x = rng.standard_normal((2, 4, *(8, 7)[:rank], channels)).astype(np.float32)
    carry = cell.initialize_carry(jax.random.key(0), x[:, 0].shape)
    params = cell.init(jax.random.key(1), carry, x[:, 0])
    return cell, jax.tree.map(lambda a: rng.normal(size=a.shape, scale=0.4).astype(np.float32), params), x
