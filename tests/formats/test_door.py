"""The door: what is recognised, once; whose mistake an exception is; what a file's name is put before."""

import os

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.formats import contents as contents_module
from fusedlstm.formats.containers import hdf5, source, zip
from fusedlstm.formats.native import safetensors as native

DATA = os.path.join(os.path.dirname(__file__), "..", "data")


@pytest.fixture
def native_file(tmp_path):
    path = tmp_path / "m.safetensors"
    fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)).save(path)
    return path


def counted(monkeypatch, module, name):
    """How often a class is made, as the length of a list."""
    made, real = [], getattr(module, name)

    class Counted(real):
        def __init__(self, *args, **options):
            made.append(args)
            super().__init__(*args, **options)

    monkeypatch.setattr(module, name, Counted)
    return made


CALLS = {
    "load": (lambda path: fl.LSTM.load(path), None),
    "all": (lambda path: fl.LSTM.load_all(path), None),
    "another name": (lambda path: fl.LSTM.load(path, "x"), "expected an LSTM called 'x', found ''"),
    "another class": (
        lambda path: fl.ConvLSTM.load(path),
        "expected a ConvLSTM, found none in this safetensors file; .*",
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_file_is_recognised_once(native_file, monkeypatch, call):
    """And its name is put before a message once."""
    opened = counted(monkeypatch, formats, "Source")
    run, message = CALLS[call]
    if message:
        with pytest.raises(fl.FormatError, match=f"^{native_file}: {message}$"):
            run(native_file)
    else:
        run(native_file)
    assert len(opened) == 1


@pytest.mark.parametrize(
    "module, name, file",
    [(hdf5, "Hdf5", "keras2.h5"), (hdf5, "Hdf5", "keras3.weights.h5"), (zip, "Archive", "pytorch_checkpoint.pt")],
)
def test_a_container_is_parsed_once(monkeypatch, module, name, file):
    parsed = counted(monkeypatch, module, name)
    assert fl.LSTM.load_all(os.path.join(DATA, file))
    assert len(parsed) == 1


OWN_MISTAKES = [IndexError, TypeError, KeyError, AttributeError, ZeroDivisionError, AssertionError, RecursionError]


@pytest.mark.parametrize("mistake", [*OWN_MISTAKES, ValueError])
def test_our_own_mistakes_are_not_the_files(native_file, monkeypatch, mistake):
    def read(source):
        raise mistake("ours")

    monkeypatch.setattr(native, "read", read)
    with pytest.raises(mistake, match="^'?ours'?$") as caught:
        fl.LSTM.load(native_file)
    assert type(caught.value) is mistake


@pytest.mark.parametrize("mistake", OWN_MISTAKES)
def test_nor_are_those_of_a_reader(native_file, monkeypatch, mistake):
    def reader():
        raise mistake("ours")

    monkeypatch.setattr(native, "read", lambda source: formats.Contents("x", {fl.LSTMWeights: {"": reader}}))
    for load in (fl.LSTM.load, fl.LSTM.load_all):
        with pytest.raises(mistake, match="ours"):
            load(native_file)


def test_what_weights_say_of_arrays_is_said_of_the_file(native_file, monkeypatch):
    def reader():
        return fl.LSTMWeights([])

    monkeypatch.setattr(native, "read", lambda source: formats.Contents("x", {fl.LSTMWeights: {"": reader}}))
    with pytest.raises(fl.FormatError, match=r"m\.safetensors: layers: expected at least one layer, found none$"):
        fl.LSTM.load(native_file)


def test_a_name_for_each_kind(monkeypatch):
    found = {fl.LSTMWeights: {"a": lambda: 1}, fl.ConvLSTMWeights: {"b": lambda: 2, "c": lambda: 3}}
    contents = formats.Contents("file", found)
    with pytest.raises(fl.FormatError, match=r"^expected an LSTM called 'b', found a ConvLSTM \(use ConvLSTM.load\)$"):
        contents.load(fl.LSTMWeights, "b")
    with pytest.raises(fl.FormatError, match=r"^expected one ConvLSTM, found 2; choose one with prefix=: 'b', 'c'$"):
        contents.load(fl.ConvLSTMWeights)
    monkeypatch.setitem(contents_module.KINDS, int, ("Number", "a number"))
    with pytest.raises(fl.FormatError, match="^expected a number, found none in this file; found .*'a' .use LSTM.load"):
        contents.load(int)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(fl.FormatError, match=f"^{path}: expected a file, found a pipe, a socket or a device$"):
            fl.LSTM.load(path)
    with pytest.raises(IsADirectoryError):
        fl.LSTM.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        fl.LSTM.load(tmp_path / "nothing")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(fl.FormatError, match="empty: expected a weights file .*, found an empty file"):
        fl.LSTM.load(tmp_path / "empty")


@pytest.mark.parametrize(
    "file, name",
    [
        ("pytorch_checkpoint.pt", "encoder.weight_ih_l0"),
        ("pytorch_state_dict.npz", "encoder.weight_ih_l0"),
        ("pytorch_bfloat16.safetensors", "encoder.weight_ih_l0"),
        ("keras2.h5", None),
        ("keras3.keras", None),
    ],
)
def test_tensors_by_name(file, name):
    contents = formats.open(os.path.join(DATA, file))
    (lstm, *_) = contents.listed(fl.LSTMWeights).values()
    arrays = {one: read() for one, read in contents.tensors.items()}
    wanted = lstm().layers[0][0].weight_ih
    assert any(array.shape in (wanted.shape, wanted.T.shape) for array in arrays.values())
    if name:
        np.testing.assert_array_equal(arrays[name], wanted)


def test_a_source_is_read_in_parts(native_file):
    opened = source.Source(native_file)
    whole = native_file.read_bytes()
    assert (opened.size, opened.head) == (len(whole), whole[:512])
    assert opened.read() == whole == bytes(opened.map())
    assert opened.once(len_of) is opened.once(len_of)


def len_of(source):
    return [source.size]
