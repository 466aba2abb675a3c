"""HDF5 files that are damaged, unusual or made to do harm: FormatError, soon and without much memory."""

import struct

import numpy as np
import pytest
from hdf5_files import BIAS, DATA, KERNEL, RECURRENT, check, put, refused

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.formats.containers import hdf5 as _hdf5
from fusedlstm.formats.containers import hdf5_objects as _hdf5_objects

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path):
    """A Keras 3 weights file with one LSTM."""
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        put(file, "layers/lstm/cell/vars")
    return tmp_path / "m.weights.h5"


def replaced(path, **creation):
    """The recurrent kernel's dataset made anew in another way."""
    with h5py.File(path, "r+") as file:
        del file["layers/lstm/cell/vars/1"]
        return file.create_dataset("layers/lstm/cell/vars/1", **({"shape": (2, 8), "dtype": "f4"} | creation)) and path


def test_plain_file(path):
    check(path, prefix="layers/lstm")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/layers/lstm/cell/vars/0")])
def test_links(path, link):
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["x"] = RECURRENT
    with h5py.File(path, "r+") as file:
        del file["layers/lstm/cell/vars/1"]
        file["layers/lstm/cell/vars/1"] = link
    refused(path, "layers/lstm/cell/vars/1': expected an object in the file, found a soft or external link")


def test_external_storage(path):
    secret = path.parent / "secret"
    secret.write_bytes(bytes(64))
    replaced(path, external=[(str(secret), 0, 64)])
    refused(path, "vars/1': expected data inside the file, found external storage")


def test_virtual_dataset(path):
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["x"] = RECURRENT
    layout = h5py.VirtualLayout((2, 8), "f4")
    layout[:] = h5py.VirtualSource(str(path.parent / "other.h5"), "x", (2, 8))
    with h5py.File(path, "r+") as file:
        del file["layers/lstm/cell/vars/1"]
        file.create_virtual_dataset("layers/lstm/cell/vars/1", layout)
    refused(path, "vars/1': expected plain contiguous data")


@pytest.mark.parametrize("chunks, message", [(None, "found 0 in the file"), ((1 << 16, 8), "chunked")])
def test_forty_gigabytes_declared(path, chunks, message):
    with h5py.File(path, "r+") as file:
        del file["layers/lstm/cell/vars/0"]
        file.create_dataset("layers/lstm/cell/vars/0", (1_250_000_000, 8), "f4", chunks=chunks)
    assert path.stat().st_size < 20_000
    refused(path, f"vars/0': expected .*{message}")


@pytest.mark.parametrize("compact", [False, True])
def test_less_data_than_declared(path, compact):
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT if compact else h5py.h5d.CONTIGUOUS)
    with h5py.File(path, "r+") as file:
        del file["layers/lstm/cell/vars/1"]
        space = h5py.h5s.create_simple((2, 8))
        group = file["layers/lstm/cell/vars"].id
        h5py.h5d.create(group, b"1", h5py.h5t.IEEE_F32LE, space, creation).write(h5py.h5s.ALL, h5py.h5s.ALL, RECURRENT)
    check(path)
    start, _ = _hdf5.Hdf5(path.read_bytes()).message("layers/lstm/cell/vars/1", 0x08)
    data = bytearray(path.read_bytes())
    data[start + (2 if compact else 10)] = 60
    path.write_bytes(data)
    refused(path, r"vars/1': expected 64 bytes for shape \(2, 8\), found 60 in the file")


def test_compressed(path):
    replaced(path, data=RECURRENT, compression="gzip")
    refused(path, "perhaps compressed")


@pytest.mark.parametrize(
    "dtype, found",
    [
        ("i4", "int32"),
        (h5py.string_dtype(), "object"),
        (h5py.vlen_dtype(np.float32), "object"),
        (h5py.ref_dtype, "object"),
        ([("a", "f4")], "'a', '<f4'"),
        ("V2", r"\|V2"),
        ("S4", r"\|S4"),
        ("c8", "complex64"),
    ],
)
def test_types(path, dtype, found):
    dataset = replaced(path, dtype=dtype)
    with h5py.File(path, "r+") as file:
        dataset = file["layers/lstm/cell/vars/1"]
        if dtype not in (h5py.vlen_dtype(np.float32), h5py.ref_dtype):
            dataset[...] = np.zeros((2, 8), "S4" if found in ("object", r"\|S4") else dtype)
    refused(path, "vars/1': expected (floating-point numbers, found|128 bytes|256 bytes)")


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2", "<f8"])
def test_byte_orders_and_precisions(path, dtype):
    replaced(path, data=RECURRENT.astype("f2").astype(dtype), dtype=dtype)
    recurrent = fl.DirectionWeights(KERNEL.T, RECURRENT.astype("f2").astype("f4").T, BIAS)
    check(path, weights=fl.LSTMWeights([[recurrent]]))


def test_second_names_and_cycles(path):
    with h5py.File(path, "r+") as file:
        file["layers/lstm/cell/vars/loop"] = file["layers"]
    refused(path, "expected one name for each object, found two")
    with h5py.File(path, "r+") as file:
        del file["layers/lstm/cell/vars/loop"]
        file["layers/lstm_1/cell/vars/0"] = file["layers/lstm/cell/vars/0"]
    refused(path, "expected one name for each object, found two")


def test_what_the_hdf5_library_reads(tmp_path):
    """Groups of several tree levels, long headers, names of any alphabet: the same members, arrays and attributes."""
    rng = np.random.default_rng(2)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for k in range(400):
            data = rng.normal(size=rng.integers(1, 4, rng.integers(0, 4))).astype(("<f2", "<f4", ">f8")[k % 3])
            dataset = file.create_dataset(f"{'wide' if k % 4 else 'one/two'}/{'x' * (k % 50)}{k}", data=data)
            for n in range(k % 12):
                dataset.attrs[f"attribute {n}"] = "text " * (k * n)
        file["ünï/日本"] = np.arange(3.0)
        file["ünï"].attrs["fixed"] = np.bytes_("déjà vu".encode())
    with h5py.File(tmp_path / "m.h5") as file:
        ours = _hdf5.Hdf5((tmp_path / "m.h5").read_bytes())
        visited = []
        file.visit(visited.append)
        assert sorted(visited) == sorted((ours.groups | ours.datasets) - {""})
        for name in ours.datasets:
            np.testing.assert_array_equal(ours.read(name), file[name][()].astype(np.float32))
            for n in range(12):
                assert ours.text(name, f"attribute {n}") == file[name].attrs.get(f"attribute {n}")
        assert ours.text("ünï", "fixed") == "déjà vu"


def test_layouts_that_keras_does_not_write(path, tmp_path):
    with h5py.File(tmp_path / "new.h5", "w", libver="latest") as file:
        put(file, "layers/lstm/cell/vars")
    refused(tmp_path / "new.h5", "expected HDF5 of the oldest layout, as Keras writes it")
    with h5py.File(path, "r+") as file:
        for k in range(9):
            file.create_group(f"ü{k}")
    refused(path, "expected at most 8 members where a name is not ASCII")


def test_structures_that_overlap(path):
    """An object header that continues in itself, and says that it has 65535 messages."""
    header = _hdf5.Hdf5(path.read_bytes())._headers["layers"]
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, header + 2, 0xFFFF)
    struct.pack_into("<HHIQQ", data, header + 16, 0x10, 16, 0, header + 16, 24)
    path.write_bytes(data)
    refused(path, "its structures overlap")


def test_depth_and_count(path, monkeypatch):
    with h5py.File(path, "r+") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")
    refused(path, "at most 64 nested groups")
    monkeypatch.setattr(_hdf5_objects, "MAX_OBJECTS", 6)
    with h5py.File(path, "r+") as file:
        del file["g"]
    refused(path, "expected at most 6 objects")


@pytest.mark.parametrize(
    "value", [3, np.zeros((50, 50)), h5py.Empty("f4"), np.array([b"a", b"b"]), np.bytes_(b"\xff\xfe")]
)
def test_names_that_are_no_text(path, value):
    with h5py.File(path, "r+") as file:
        file.create_group("layers/lstm/vars").attrs.create("name", value)
    refused(path, "attribute 'name'|no UTF-8")


def test_huge_attribute(path):
    """A configuration of megabytes that is no configuration."""
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = [b"lstm"]
        file.attrs["model_config"] = "[" * 3_000_000
    refused(path, "model configuration: expected JSON", megabytes=32)


def test_shapes_that_do_not_fit(path):
    replaced(path, shape=(3, 8), data=np.zeros((3, 8), "f4"))
    refused(path, "expected an LSTM, found none")
    with h5py.File(path, "r+") as file:
        file["layers/lstm/cell/vars"].attrs["name"] = "lstm_cell"
    refused(path, r"vars/0': expected shape \(3, 12\) for 3 units, found \(3, 8\)")


def test_peepholes_are_not_left_out(path):
    with h5py.File(path, "r+") as file:
        file["layers/lstm/cell/vars"].attrs["name"] = "lstm_cell"
        file["layers/lstm/cell/vars/3"] = np.zeros(6, "f4")
    refused(path, "expected kernel, recurrent_kernel and perhaps bias, found .*vars/3")


def test_half_a_bidirectional(path):
    with h5py.File(path, "r+") as file:
        file.move("layers/lstm", "layers/bidirectional/forward_layer")
    refused(path, "expected one LSTM cell, a stack of them or one in each direction, found")


def test_other_hdf5_files(path):
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = KERNEL, BIAS
        file["layers/low_rank/vars/0"], file["layers/low_rank/vars/1"] = KERNEL, RECURRENT
    refused(path, "expected an LSTM, found none in this Keras HDF5 file")


@pytest.mark.parametrize("stored", ["keras2.h5", "keras3.weights.h5", "keras3.keras"])
def test_truncated(stored, tmp_path):
    data = (DATA / stored).read_bytes()
    path = tmp_path / stored
    for tenth in range(1, 10):
        path.write_bytes(data[: len(data) * tenth // 10])
        refused(path, stored)


@pytest.mark.parametrize("stored", ["keras2.h5", "keras3.weights.h5"])
def test_damaged_bytes(stored, tmp_path):
    """Whatever byte is wrong: an LSTM or FormatError, nothing else."""
    rng = np.random.default_rng(9)
    path = tmp_path / stored
    outcomes = set()
    for _ in range(60):
        data = bytearray((DATA / stored).read_bytes())
        for at in rng.integers(0, len(data), 20):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            for reader in formats.open(path).expect(fl.LSTMWeights).values():
                reader()
            outcomes.add("loaded")
        except fl.FormatError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_saved_model_directory(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(fl.FormatError, match=r"SavedModel directory.*tf_keras.models.load_model\(directory\).save"):
        fl.LSTM.load(tmp_path)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        fl.LSTM.load(tmp_path / "none.h5")
    with pytest.raises(IsADirectoryError):
        fl.LSTM.load(tmp_path)
