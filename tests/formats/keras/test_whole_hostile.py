"""Damaged and hostile configurations of whole models: refused in words, in bounded time."""

import json
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from keras_models import keras, layers

import fusedlstm as fl

pytestmark = pytest.mark.filterwarnings("ignore")


def small():
    x = layers.Input((5, 3), name="x")
    y = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both")(layers.Masking()(x))
    y = layers.Conv1D(2, 2, name="conv")(layers.Concatenate()([y, layers.TimeDistributed(layers.Dense(2))(x)]))
    inner = keras.Sequential([layers.Input((4, 2)), layers.BatchNormalization(), layers.GRU(2)], name="inner")
    y = layers.Dropout(0.1)(inner(y)) * 2.0
    return keras.Model(x, [layers.Dense(1, name="out")(y[:, :1]), layers.Attention()([x, x])])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "m.keras"
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def load(stored, config, path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in stored.items():
            archive.writestr(name, json.dumps(config) if name == "config.json" else data)
    return fl.Model.load(path)


def places(tree, path=()):
    """Every place in a configuration that a model depends on."""
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key not in ("compile_config", "dtype", "kernel_initializer", "recurrent_initializer"):
                yield from places(value, (*path, key))
    elif isinstance(tree, list):
        for k, value in enumerate(tree):
            yield from places(value, (*path, k))


VALUES = (
    None,
    True,
    -1,
    0,
    3,
    1 << 70,
    0.5,
    float("nan"),
    "",
    "tanh",
    [],
    [1, 2],
    ["x", 0, 0],
    {},
    {"class_name": "Dense"},
)
VALUES += ({"class_name": "Dense", "config": {}}, {"class_name": "__tuple__", "config": {"value": [[]]}})


def changed(config, path, value):
    copy = json.loads(json.dumps(config))
    at = copy
    for key in path[:-1]:
        at = at[key]
    if path:
        at[path[-1]] = value
    return copy if path else value


def try_one(stored, config, path):
    try:
        model = load(stored, config, path)
        model(
            *(np.ones([2 if size is None else size for size in one.shape], one.dtype) for one in model.inputs.values())
        )
    except (fl.FormatError, ValueError):
        pass


def mutations(stored, count, seed, path):
    rng, config = np.random.default_rng(seed), json.loads(stored["config.json"])
    where = list(places(config))
    for _ in range(count):
        at, value = where[rng.integers(len(where))], VALUES[rng.integers(len(VALUES))]
        try:
            try_one(stored, changed(config, at, value), path)
        except Exception as error:
            raise AssertionError(f"{at} = {value!r}") from error


def test_changed_values(stored, tmp_path):
    mutations(stored, 400, 0, tmp_path / "m.keras")


@pytest.mark.slow
def test_many_changed_values(stored, tmp_path):
    mutations(stored, 10_000, 1, tmp_path / "m.keras")


def layer(kind, name, *inputs, **config):
    nodes = [{"args": [tensor(one) for one in inputs], "kwargs": {}}] if inputs else []
    config = {"name": name, **config}
    return {"class_name": kind, "module": "keras.layers", "config": config, "name": name, "inbound_nodes": nodes}


def tensor(name, node=0, index=0):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, node, index]}}


def functional(*inside, output, name="m"):
    items = [layer("InputLayer", "x", batch_shape=[None, 4], dtype="float32"), *inside]
    config = {"name": name, "layers": items, "input_layers": [["x", 0, 0]], "output_layers": [output]}
    return {"class_name": "Functional", "module": "keras", "registered_name": "Functional", "config": config}


def test_cycles(stored, tmp_path):
    config = functional(layer("ReLU", "a", "b"), layer("ReLU", "b", "a"), output=["a", 0, 0])
    with pytest.raises(fl.FormatError, match="expected layers without a cycle, found one"):
        load(stored, config, tmp_path / "m.keras")


def test_a_long_chain(stored, tmp_path):
    """Deeper than Python's recursion goes, and stated backwards."""
    names = ["x", *(f"r{k}" for k in range(3000))]
    inside = [layer("ReLU", name, before) for before, name in pairwise(names)]
    model = load(stored, functional(*reversed(inside), output=[names[-1], 0, 0]), tmp_path / "m.keras")
    assert model(np.full((1, 4), 2, np.float32)).tolist() == [[2] * 4]


def test_models_in_models_that_grow_without_bound(stored, tmp_path):
    """Each calls the one inside twice: 2^30 calls."""
    inner = functional(layer("Dropout", "d", "x"), output=["d", 0, 0], name="m0")
    for k in range(30):
        twice = {**inner, "name": f"m{k}", "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]}
        twice["inbound_nodes"].append({"args": [tensor(f"m{k}")], "kwargs": {}})
        inner = functional(twice, output=[f"m{k}", 2, 0], name=f"m{k + 1}")
    with pytest.raises(fl.FormatError, match=r"expected at most \d+ (nested models|calls of layers), found more"):
        load(stored, inner, tmp_path / "m.keras")


def test_sizes_that_the_file_does_not_justify(stored, tmp_path):
    config = functional(layer("RepeatVector", "r", "x", n=1 << 39), output=["r", 0, 0])
    with pytest.raises((fl.FormatError, ValueError), match="at most"):
        load(stored, config, tmp_path / "m.keras")(np.ones((1, 4), np.float32))


def test_nothing_of_a_configuration_is_imported(stored, tmp_path):
    for module, kind in (("os", "system"), ("keras.layers", "__class__"), ("keras.src.utils", "get_file")):
        one = {**layer(kind, "evil", "x"), "module": module}
        with pytest.raises(fl.FormatError, match="'evil'"):
            load(stored, functional(one, output=["evil", 0, 0]), tmp_path / "m.keras")
