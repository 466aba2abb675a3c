"""Keras, ELMo and Flax files with anything changed: LSTMs or FormatError, soon and without much memory."""

import functools
import io
import json
import os
import zipfile

import numpy as np
import pytest
from flax_trees import cell, fused, ndarray, packed
from fuzz import NASTY, bytes_of, survives, tree_of, zip_of
from hdf5_files import DATA

h5py = pytest.importorskip("h5py")


def recurrent(class_name, **more):
    config = {"name": "enc", "units": 2, "use_bias": True, "activation": "relu", "recurrent_activation": "hard_sigmoid"}
    return {"module": "keras.layers", "class_name": class_name, "config": config | more, "registered_name": None}


def item(class_name, name, **config):
    return recurrent(class_name) | {"config": {"name": name, **config}}


def model(legacy):
    """A configuration with every kind of layer that is read."""
    stack = [recurrent("LSTMCell", name="lstm_cell"), recurrent("LSTMCell", name="lstm_cell_1")]
    stacked = item("StackedRNNCells", "stacked_rnn_cells", cells=stack)
    inside = [
        recurrent("LSTM", name="one", go_backwards=True, zero_output_for_mask=True),
        item("RNN", "two", cell=stacked),
        item("Bidirectional", "three", layer=recurrent("LSTM"), merge_mode="sum"),
        item("Sequential", "four", layers=[recurrent("LSTM", name="inner")]),
        item("TimeDistributed", "five", layer=recurrent("LSTM")),
    ]
    inside += [item("CuDNNLSTM", "six", units=2)] if legacy else []
    return item("Sequential", "m", layers=inside)


def cells(legacy, config):
    """Where the cells of that model are; without a configuration the order of a stack is unknown."""
    if legacy:
        yield from ("one/one/lstm_cell", "four/m/inner/lstm_cell", "five/five/lstm_cell", "six/six")
        yield from (f"two/two/stacked_rnn_cells/{name}" for name in ("lstm_cell", "lstm_cell_1") if config)
        yield from (f"three/three/{way}_enc/lstm_cell" for way in ("forward", "backward"))
    else:
        yield from (f"layers/{path}/cell" for path in ("lstm", "sequential/layers/lstm", "time_distributed/layer"))
        yield from (f"layers/rnn/cell/cells/{name}" for name in ("lstm_cell", "lstm_cell_1"))
        yield from (f"layers/bidirectional/{way}_layer/cell" for way in ("forward", "backward"))


@functools.cache
def keras_h5(legacy, config=True):
    rng, out = np.random.default_rng(0), io.BytesIO()
    with h5py.File(out, "w") as file:
        root = file.create_group("model_weights") if legacy and config else file
        for path in cells(legacy, config):
            inputs, biases = (2 if path.endswith("_1") else 3), (16 if path == "six/six" else 8)
            names = ("kernel:0", "recurrent_kernel:0", "bias:0") if legacy else ("vars/0", "vars/1", "vars/2")
            for name, shape in zip(names, ((inputs, 8), (2, 8), (biases,))):
                root[f"{path}/{name}"] = rng.normal(size=shape).astype(np.float32)
            if not legacy:
                root[f"{path}/vars"].attrs["name"] = "lstm_cell"
        if legacy:
            root.attrs["layer_names"] = [b"one", b"two", b"three", b"four", b"five", b"six"]
            file.attrs["keras_version"] = "2.21.0"
            if config:
                file.attrs["model_config"] = json.dumps(model(True))
    return out.getvalue()


def keras_zip(config=None, metadata=None):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"} if metadata is None else metadata))
        archive.writestr("config.json", json.dumps(model(False) if config is None else config))
        archive.writestr("model.weights.h5", keras_h5(False))
    return out.getvalue()


def elmo():
    out, rng = io.BytesIO(), np.random.default_rng(0)
    with h5py.File(out, "w") as file:
        for way in (0, 1):
            for k in (0, 1):
                for name, shape in {"W_0": (5 if k else 7, 8), "B": (8,), "W_P_0": (2, 3)}.items():
                    shape = (6, 8) if name == "W_0" and k else shape
                    file[f"RNN_{way}/RNN/MultiRNNCell/Cell{k}/LSTMCell/{name}"] = rng.normal(size=shape).astype("f4")
    return out.getvalue()


def hdf5_of(rng, data):
    """The HDF5 library changes a few things: attributes, a JSON value in one, shapes, types, names."""
    out = io.BytesIO(data)
    with h5py.File(out, "r+") as file:
        for _ in range(rng.integers(1, 4)):
            names = [""]
            file.visit(names.append)
            name = names[rng.integers(len(names))]
            place = file[name or "/"]
            kind = rng.integers(7)
            if kind <= 2:
                attributes(rng, place if kind else file)
            elif kind == 3 and name:
                del file[name]
            elif kind == 4 and name:
                to = f"{name}{rng.choice(['x', ':0', '_new/kernel', '_1'])}"
                file.move(name, f"{to}{rng.integers(1 << 30)}" if to in file else to)
            elif isinstance(place, h5py.Dataset):
                again(rng, file, name, place[()])
    return out.getvalue()


def attributes(rng, place):
    known = list(place.attrs) or ["name", "keras_version", "layer_names", "dtype"]
    name = known[rng.integers(len(known))]
    value = place.attrs.get(name)
    if name == "model_config" and rng.random() < 0.8:
        value = json.dumps(tree_of(rng, json.loads(value))) if value and str(value).startswith("{") else "{"
    else:
        value = [b"x", "enc", 3, np.zeros(3), h5py.Empty("f4"), "x" * 5000, np.bytes_(b"\xff")][rng.integers(7)]
    place.attrs.create(name, value)


def again(rng, file, name, value):
    """The dataset with another shape, type or layout."""
    shape = [int(rng.choice([0, 1, 2, 3, 8, 1 << 40])) for _ in range(rng.integers(0, 4))]
    dtype = rng.choice(["f4", "f2", ">f8", "i4", "V2", "S3"])
    del file[name]
    if rng.random() < 0.5:
        file.create_dataset(name, shape, dtype)
    else:
        file.create_dataset(
            name,
            data=np.resize(value, [min(size, 8) for size in shape]),
            **({"chunks": True, "compression": "gzip"} if shape and 0 not in shape and rng.random() < 0.3 else {}),
        )


def config_of(rng, data):
    kind = rng.integers(4)
    if kind == 0:
        return keras_zip(metadata=tree_of(rng, {"keras_version": "3.15.1", "date_saved": "x"}))
    if kind == 1:
        return keras_zip(config=NASTY[rng.integers(len(NASTY))])
    return keras_zip(config=tree_of(rng, model(False)))


def flax_tree():
    ends = {"forward_rnn": {"cell": cell(2, 2)}, "backward_rnn": {"cell": fused(2, 2)}}
    return {"params": {"enc": {"cell": cell(3, 2)}, "bi": ends}}


def flax_of(rng, data):
    """A tree with other values, or arrays that lie about their shape or type."""
    tree = tree_of(rng, flax_tree())

    def write(leaf):
        if not isinstance(leaf, np.ndarray):
            return 0
        if rng.random() < 0.9:
            return ndarray(leaf)
        return ndarray(
            leaf, **[{"shape": (1 << 40,)}, {"dtype": "object"}, {"data": b""}, {"shape": (-1,)}][rng.integers(4)]
        )

    try:
        from flax_trees import msgpack

        return msgpack.packb(tree, default=write)
    except (OverflowError, ValueError):
        return packed(flax_tree())


def flax_safetensors():
    from flax.traverse_util import flatten_dict
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(a) for name, a in flatten_dict(flax_tree(), sep=".").items()})


SOURCES = {
    "keras, zip": (keras_zip, zip_of),
    "keras, configuration": (keras_zip, config_of),
    "weights.h5, bytes": (lambda: keras_h5(False), bytes_of),
    "weights.h5, objects": (lambda: keras_h5(False), hdf5_of),
    "legacy, bytes": (lambda: keras_h5(True), bytes_of),
    "legacy, objects": (lambda: keras_h5(True), hdf5_of),
    "legacy weights, objects": (lambda: keras_h5(True, config=False), hdf5_of),
    "stored legacy, bytes": ((DATA / "keras2.h5").read_bytes, bytes_of),
    "elmo, bytes": (elmo, bytes_of),
    "elmo, objects": (elmo, hdf5_of),
    "flax, bytes": (lambda: packed(flax_tree()), bytes_of),
    "flax, tree": (lambda: packed(flax_tree()), flax_of),
    "flax safetensors, bytes": (flax_safetensors, bytes_of),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_whole_file_is_good(source, tmp_path):
    """Or damage would prove nothing."""
    make, _ = SOURCES[source]
    assert survives(tmp_path / "m", [make()]) == 0


def fuzz(source, count, seed, folder):
    make, damage = SOURCES[source]
    data, rng = make(), np.random.default_rng(seed)
    refused = survives(folder / "m", (damage(rng, data) for _ in range(count)))
    print(f"{source}: {refused} of {count} refused")
    assert refused > count // 20


@pytest.mark.parametrize("source", SOURCES)
def test_damaged(source, tmp_path):
    fuzz(source, 100, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_much_damaged(source, tmp_path):
    fuzz(source, int(os.environ.get("FUSEDLSTM_FUZZ", 2000)), 1, tmp_path)
