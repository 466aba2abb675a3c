"""NumPy archives with PyTorch's names."""

import io
import pathlib
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import fusedlstm as fl
from fusedlstm import formats

DATA = pathlib.Path(__file__).parents[2] / "data"


def arrays(dtype=np.float32, dot=""):
    rng = np.random.default_rng(2)
    shapes = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
    return {dot + name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def refused(path, match):
    tracemalloc.start()
    try:
        with pytest.raises(fl.FormatError, match=match):
            fl.LSTM.load(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "config", [{}, {"num_layers": 2, "bidirectional": True, "proj_size": 2}, {"bias": False}], ids=str
)
def test_pytorch_names(tmp_path, save, config):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    module = torch.nn.LSTM(4, 5, batch_first=True, **config)
    save(tmp_path / "a.npz", **{f"enc.{name}": value.numpy() for name, value in module.state_dict().items()}, steps=3)
    x = torch.randn(2, 6, 4)
    with torch.no_grad():
        expected, (h_, c_) = module(x)
    y, (h, c) = fl.LSTM.load(tmp_path / "a.npz", "enc")(x.numpy())
    for ours, theirs in ((y, expected), (h, h_), (c, c_)):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


def test_stored_file():
    expected = np.load(DATA / "pytorch_outputs.npz")
    y, (h, c) = fl.LSTM.load(DATA / "pytorch_state_dict.npz")(expected["x"])
    for ours, theirs in ((y, expected["y"]), (h, expected["h"]), (c, expected["c"])):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_kinds_of_arrays(tmp_path, dtype, order):
    original = arrays(dtype)
    np.savez(tmp_path / "a.npz", **{name: np.asarray(array, order=order) for name, array in original.items()})
    found = formats.open(tmp_path / "a.npz").load(fl.LSTMWeights).layers[0][0]
    np.testing.assert_array_equal(found.weight_ih, original["weight_ih_l0"].astype(np.float32))
    assert found.bias.dtype == np.float32


def test_several(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(dot="a."), **arrays(dot="module.b."))
    assert list(formats.open(tmp_path / "a.npz").expect(fl.LSTMWeights)) == ["a", "b"]
    refused(tmp_path / "a.npz", r"a\.npz: expected one LSTM, found 2; choose one with prefix=: 'a', 'b'")


class Harm:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (pathlib.Path.touch, (self.marker,))


def test_pickled_objects(tmp_path):
    marker = tmp_path / "marker"
    objects = np.array([[Harm(marker)] * 3] * 8, dtype=object)
    np.savez(tmp_path / "a.npz", **{**arrays(), "weight_ih_l0": objects})
    refused(tmp_path / "a.npz", "weight_ih_l0: expected numbers, found Python objects")
    assert not marker.exists()
    np.savez(tmp_path / "b.npz", **arrays(), notes=objects)  # not looked at
    refused(tmp_path / "b.npz", "notes: expected the tensors of nn.LSTM .*ignore=.*notes")
    fl.LSTM.load(tmp_path / "b.npz", ignore=["notes"])
    assert not marker.exists()
    np.load(tmp_path / "b.npz", allow_pickle=True)["notes"]
    assert marker.exists(), "this array would do no harm, so the test would say nothing"


@pytest.mark.parametrize("dtype", ["i1", "i8", "?", "c8", "U1", "V2", [("a", "f4")], [("\u20ac", "f4")]], ids=str)
def test_other_dtypes(tmp_path, dtype):
    np.savez(tmp_path / "a.npz", **{**arrays(), "weight_hh_l0": np.zeros((8, 2), dtype)})
    refused(tmp_path / "a.npz", "weight_hh_l0: expected (a floating-point tensor|numbers), found dtype")
    np.savez(tmp_path / "b.npz", **arrays(), notes=np.zeros((8, 2), dtype))
    fl.LSTM.load(tmp_path / "b.npz", ignore=["notes"])


def member(header, data=b"", version=1):
    header = header.encode() + b" " * 8 + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + data


def hand_made(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays().items():
            file = io.BytesIO()
            np.save(file, array)
            archive.writestr(f"{name}.npy", content if name == "weight_ih_l0" else file.getvalue())
    return path


def described(shape="(8, 3)", dtype="'<f4'", order="False"):
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"


def test_the_hand_made_file_is_good(tmp_path):
    for version in (1, 2, 3):
        formats.open(hand_made(tmp_path / "a.npz", member(described(), bytes(96), version))).load(fl.LSTMWeights)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (8L, 3L), }",  # of Python 2
        '{"shape": (8,3),"descr":"<f4",\n"fortran_order" : False}',
        "{'descr': '<f4', 'fortran_order': True, 'shape': (8, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (24,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
    ],
)
def test_headers_as_numpy_reads_them(tmp_path, text):
    data = np.arange(1 if "()" in text else 24, dtype="<f4").tobytes()
    expected = np.load(io.BytesIO(member(text, data)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", member(text, data))
    np.testing.assert_array_equal(fl.load_tensors(tmp_path / "a.npz")["a"], expected)


@pytest.mark.parametrize("shape", [(0, 3), (1,) * 9, (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["<f4", ">i2", "?", "<c16", "<U3", "S2", "<M8[ns]", "V3"])
def test_tensors_of_every_kind(tmp_path, shape, dtype):
    array = np.zeros(shape, dtype)
    np.savez(tmp_path / "a.npz", a=array)
    found = fl.load_tensors(tmp_path / "a.npz")["a"]
    assert found.dtype == array.dtype and found.shape == shape


@pytest.mark.parametrize(
    "content, match",
    [
        (member(described(), bytes(92)), "weight_ih_l0: expected 96 bytes for shape .*, found 92"),
        (member(described(), bytes(100)), "weight_ih_l0: expected 96 bytes for shape .*, found 100"),
        (member(described("(8, 1099511627776)"), bytes(96)), "weight_ih_l0: "),
        (member(described("(8, 3)", "('<f4', (268435456,))"), bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member(described("(8, 3)", "'<V1099511627776'"), bytes(96)), "weight_ih_l0"),
        (member(described("(-8, -3)"), bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (
            member(described("(8, 3)", "'|O'"), pickle.dumps([None] * 24)),
            "weight_ih_l0: expected numbers, found Python",
        ),
        (
            member(described("(8, 3)", "'nonsense'"), bytes(96)),
            "weight_ih_l0: expected numbers, found dtype 'nonsense'",
        ),
        (member(described(order="0"), bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member("{'shape': (8, 3), " + described()[1:], bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member(described("(8 3)"), bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member(described("(,)"), bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member(described("(8, " + "3" * 30 + ")"), bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member(described("8"), bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member("__import__('os')", bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member("(" * 5000, bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member("-" * 9000 + "1", bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member(described() + " " * 20_000, bytes(96)), "weight_ih_l0.npy: damaged array header"),
        (member(described(), bytes(96), version=9), "weight_ih_l0.npy: damaged array header"),
        (member(described())[:40], "weight_ih_l0.npy: damaged array header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "weight_ih_l0.npy: damaged array header"),
        (b"", "weight_ih_l0.npy: damaged array header"),
    ],
)
def test_hostile_arrays(tmp_path, content, match):
    refused(hand_made(tmp_path / "a.npz", content), match)


def test_zip_bomb(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **arrays(), zeros=np.zeros(8 << 20, np.float32))
    refused(tmp_path / "a.npz", "zip bomb")


def test_shapes_that_do_not_fit(tmp_path):
    np.savez(tmp_path / "a.npz", **{**arrays(), "bias_hh_l0": np.zeros(6, np.float32)})
    refused(tmp_path / "a.npz", r"a\.npz: bias_hh_l0: expected shape \(8,\).*, found \(6,\)")


@pytest.mark.parametrize("tenth", range(10))
def test_truncated(tmp_path, tenth):
    data = (DATA / "pytorch_state_dict.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: len(data) * tenth // 10])
    refused(tmp_path / "a.npz", r"a\.npz: (damaged zip|expected a weights file)")
