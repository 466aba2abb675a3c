"""Damaged files of ConvLSTMs: a clear error or a ConvLSTM that runs, soon and within bounded memory."""

import io
import json
import os
import time
import tracemalloc
import zipfile

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
from conv_cases import random_weights
from conv_files import changed, flax_cell, one_layer

import fusedlstm as fl

FILES = ("m.keras", "m.h5", "m.safetensors", "m.msgpack")
MOST_BYTES, MOST_SECONDS = 64 << 20, 5.0


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A small file of each format, by name."""
    folder = tmp_path_factory.mktemp("valid")
    for name in FILES[:2]:
        one_layer().save(folder / name)
    fl.ConvLSTM(random_weights(np.random.default_rng(0), 2, 3, (3, 3))).save(folder / FILES[2])
    _, params, _ = flax_cell(np.random.default_rng(0), filters=3, channels=2, kernel=(3, 3))
    (folder / FILES[3]).write_bytes(pytest.importorskip("flax.serialization").to_bytes(params))
    return {name: (folder / name).read_bytes() for name in FILES}


def mutated(rng, content):
    """Some bytes changed, some repeated or lost, or the end cut off."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(data)))
        match int(rng.integers(6)):
            case 0 | 1 | 2:
                data[at] ^= 1 << int(rng.integers(8))
            case 3:
                data[at : at + 4] = rng.integers(0, 256, 4, np.uint8).tobytes()
            case 4:
                data[at:at] = data[at : at + int(rng.integers(1, 40))]
            case 5:
                del data[at : at + int(rng.integers(1, 40))]
    return bytes(data[: int(rng.integers(len(data)))] if rng.random() < 0.1 else data)


def load_and_run(path):
    """Whether it loads; whatever loads runs."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        lstm = fl.ConvLSTM.load(path)
    except ValueError:  # FormatError among them
        return False
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MOST_BYTES and time.perf_counter() - start < MOST_SECONDS
    space = (4, 5)[: lstm.weights.rank]
    shape = (1, 2, lstm.channels, *space) if lstm.weights.channels_first else (1, 2, *space, lstm.channels)
    if min(lstm.weights.output_size(space)) > 0:
        lstm(np.ones(shape, np.float32))
    return True


def fuzz(valid, folder, name, rounds):
    path = folder / name
    path.write_bytes(valid[name])
    assert load_and_run(path)
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        if name == "m.keras" and seed % 4:  # a member instead, with the right checksum
            with zipfile.ZipFile(io.BytesIO(valid[name])) as archive:
                members = {member: archive.read(member) for member in archive.namelist()}
            member = ("config.json", "metadata.json", "model.weights.h5")[seed % 3]
            members[member] = mutated(rng, members[member])
            rewrite(path, members)
        else:
            path.write_bytes(mutated(rng, valid[name]))
        load_and_run(path)


def rewrite(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", FILES)
def test_fuzz(valid, tmp_path, name):
    fuzz(valid, tmp_path, name, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_fuzz_long(valid, tmp_path, name):
    fuzz(valid, tmp_path, name, 2000)


VALUES = (
    None,
    True,
    -1,
    0,
    2,
    2**31,
    2**63,
    1.5,
    float("nan"),
    "",
    "same",
    "tanh",
    [],
    [1, 1],
    [2**40, 2**40],
    {},
    [[[]]],
)


@pytest.mark.parametrize("seed", range(100))
def test_fuzz_of_the_configuration(valid, tmp_path, seed):
    """Values of JSON that mean something else."""
    rng = np.random.default_rng(seed)
    path = tmp_path / "m.keras"
    path.write_bytes(valid["m.keras"])

    def change(item):
        for _ in range(int(rng.integers(1, 4))):
            key = str(rng.choice(list(item["config"])))
            item["config"][key] = VALUES[int(rng.integers(len(VALUES)))]

    load_and_run(changed(path, change))


@pytest.mark.parametrize("seed", range(60))
def test_fuzz_of_the_native_metadata(valid, tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = tmp_path / "m.safetensors"
    data = valid["m.safetensors"]
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    stored = json.loads(header["__metadata__"]["fusedlstm_conv_lstm"])
    for _ in range(int(rng.integers(1, 3))):
        stored[str(rng.choice(list(stored)))] = VALUES[int(rng.integers(len(VALUES)))]
    header["__metadata__"]["fusedlstm_conv_lstm"] = json.dumps(stored)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    load_and_run(path)


def test_a_bomb_in_the_archive(valid, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(valid["m.keras"])
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.weights.h5"] += bytes(200 << 20)
    rewrite(path, members, zipfile.ZIP_DEFLATED)
    with pytest.raises(fl.FormatError, match="zip bomb"):
        fl.ConvLSTM.load(path)
