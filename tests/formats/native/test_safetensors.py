"""safetensors files of PyTorch, and our own form, which keeps every bit."""

import contextlib
import json
import os
import pathlib
import struct
import tracemalloc

import fuzz
import numpy as np
import pytest

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.formats.containers import safetensors as container
from fusedlstm.formats.native import safetensors

DATA = pathlib.Path(__file__).parents[2] / "data"


def weights(layers=1, directions=1, bias=True, projection=False, batch_first=True):
    rng = np.random.default_rng(1)

    def one(size):
        out = 2 if projection else 3
        array = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
        return fl.DirectionWeights(
            array(12, size), array(12, out), array(12) if bias else None, array(2, 3) if projection else None
        )

    width = directions * (2 if projection else 3)
    return fl.LSTMWeights([[one(width if k else 4) for _ in range(directions)] for k in range(layers)], batch_first)


def same_bits(a, b):
    assert a.batch_first is b.batch_first
    assert len(a.layers) == len(b.layers)
    for x, y in zip((one for layer in a.layers for one in layer), (one for layer in b.layers for one in layer)):
        assert x.arrays.keys() == y.arrays.keys()
        for name, array in x.arrays.items():
            np.testing.assert_array_equal(array.view(np.uint32), y.arrays[name].view(np.uint32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "config", [{}, {"num_layers": 2, "bidirectional": True, "proj_size": 2}, {"bias": False}], ids=str
)
def test_pytorch_names(tmp_path, dtype, config):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(3)
    module = torch.nn.LSTM(4, 5, batch_first=True, **config).to(getattr(torch, dtype))
    state = {f"module.encoder.{name}": value for name, value in module.state_dict().items()}
    save_file(
        {**state, "steps": torch.tensor(3), "f8": torch.zeros(2, dtype=torch.float8_e4m3fn)},
        tmp_path / "a",
        {"format": "pt"},
    )
    assert list(formats.open(tmp_path / "a").expect(fl.LSTMWeights)) == ["encoder"]
    x = torch.randn(2, 6, 4)
    with torch.no_grad():
        expected, (h_, c_) = module.float()(x)
    y, (h, c) = fl.LSTM.load(tmp_path / "a")(x.numpy())
    for ours, theirs in ((y, expected), (h, h_), (c, c_)):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


def test_stored_file():
    expected = np.load(DATA / "pytorch_outputs.npz")
    y, _ = fl.LSTM.load(DATA / "pytorch_bfloat16.safetensors")(expected["x"])
    np.testing.assert_allclose(y, expected["y_bfloat16"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers, directions", [(1, 1), (2, 2)])
def test_native_form(tmp_path, layers, directions, bias, projection, batch_first):
    original = weights(layers, directions, bias, projection, batch_first)
    fl.LSTM(original).save(tmp_path / "a.safetensors")
    same_bits(fl.LSTM.load(tmp_path / "a.safetensors").weights, original)


def test_native_form_keeps_every_bit(tmp_path):
    bits = np.array([0x80000000, 0x7FC00001, 0xFFC12345, 0x7F800001, 0x7F800000, 0xFF800000, 1, 0x80000001], np.uint32)
    odd = bits.view(np.float32)
    original = fl.LSTMWeights([[fl.DirectionWeights(np.tile(odd, (8, 1)), np.stack([odd, odd[::-1]], 1), odd)]])
    safetensors.save(original, tmp_path / "a.safetensors")
    again = formats.open(tmp_path / "a.safetensors").load(fl.LSTMWeights)
    same_bits(again, original)
    np.testing.assert_array_equal(again.layers[0][0].bias.view(np.uint32), bits)


def test_native_form_is_plain_safetensors(tmp_path):
    from safetensors import safe_open

    safetensors.save(weights(1, 2, projection=True, batch_first=False), tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["fusedlstm"]) == {"version": 1, "batch_first": False}
        names = {
            f"{name}_l0{direction}"
            for name in ("weight_ih", "weight_hh", "bias", "weight_hr")
            for direction in ("", "_reverse")
        }
        assert set(file.keys()) == names


def test_save_is_whole_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    safetensors.save(weights(), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(os, "fsync", fail)
        safetensors.save(weights(2), path)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before
    safetensors.save(weights(2), str(path))
    same_bits(formats.open(path).load(fl.LSTMWeights), weights(2))
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(OSError):
        safetensors.save(weights(), tmp_path / "none" / "a.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege on Windows")
def test_save_keeps_links_and_permissions(tmp_path):
    link, target = tmp_path / "link", tmp_path / "a.safetensors"
    link.symlink_to(target)
    safetensors.save(weights(), link)
    assert link.is_symlink() and target.is_file()
    (tmp_path / "plain").write_bytes(b"")
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def file(path, header, data=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def refused(path, match):
    tracemalloc.start()
    try:
        with pytest.raises(fl.FormatError, match=match):
            fl.LSTM.load(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = {"weight_ih_l0": entry([8, 3], 0, 96), "weight_hh_l0": entry([8, 2], 96, 160)}
DATA_160 = np.arange(40, dtype="<f4").tobytes()


def test_the_hand_made_file_is_good(tmp_path):
    found = formats.open(file(tmp_path / "a", GOOD, DATA_160)).load(fl.LSTMWeights).layers[0][0]
    np.testing.assert_array_equal(found.weight_hh, np.arange(24, 40).reshape(8, 2))
    formats.open(file(tmp_path / "b", json.dumps(GOOD, indent=2).encode() + b"   ", DATA_160)).load(fl.LSTMWeights)


@pytest.mark.parametrize(
    "header, length, match",
    [
        (GOOD, 2**63, "header: expected at most 16777216 bytes, found 9223372036854775808"),
        (GOOD, 2**24 + 1, "header: expected at most"),
        (GOOD, 10_000, "damaged"),
        (GOOD, 20, "damaged"),
        (b'{"a": ' + b"[" * 100_000, None, "damaged"),
        ({**GOOD, "weight_hh_l0": entry([8, 2], 96, 164)}, None, "damaged"),
        ({**GOOD, "weight_hh_l0": entry([8, 2], 92, 156)}, None, "damaged"),
        ({**GOOD, "weight_hh_l0": entry([8, 2**61], 96, 160)}, None, "damaged"),
        ({**GOOD, "weight_hh_l0": entry([-8, -2], 96, 160)}, None, "damaged"),
        ({**GOOD, "weight_hh_l0": entry([2**40, 2**30], 96, 160)}, None, "damaged"),
        ({**GOOD, "weight_hh_l0": entry([8, 2], 96, 160, "F33")}, None, "damaged"),
        (
            {**GOOD, "weight_hh_l0": entry([8, 2], 96, 160, "I32")},
            None,
            "weight_hh_l0: expected a floating-point tensor, found dtype int32",
        ),
        (
            {**GOOD, "weight_hh_l0": entry([8, 2], 96, 112, "F8_E4M3"), "optimizer.rest": entry([12], 112, 160)},
            None,
            "weight_hh_l0: expected F32, .*found F8_E4M3",
        ),
        ({**GOOD, "weight_hh_l0": entry([2, 8], 96, 160)}, None, r"weight_hh_l0: expected shape .*found \(2, 8\)"),
        ({**GOOD, "weight_hr_l0": GOOD["weight_hh_l0"]}, None, "damaged|weight_hr_l0"),
        ({"weight": entry([40], 0, 160)}, None, "expected an LSTM, found none in this safetensors file"),
    ],
)
def test_hostile_headers(tmp_path, header, length, match):
    refused(file(tmp_path / "a", header, DATA_160, length), match)


def test_a_name_twice(tmp_path):
    """Two entries for one name: whichever counts, nothing outside the file is read or allocated."""
    good, lie = json.dumps(GOOD)[1:-1], json.dumps({"weight_hh_l0": entry([2**20, 2**18], 96, 96 + 2**40)})[1:-1]
    refused(file(tmp_path / "a", f"{{{good}, {lie}}}".encode(), DATA_160), "damaged|weight_hh_l0: expected")
    found = (
        formats.open(file(tmp_path / "b", f"{{{lie}, {good}}}".encode(), DATA_160)).load(fl.LSTMWeights).layers[0][0]
    )
    np.testing.assert_array_equal(found.weight_hh, np.arange(24, 40).reshape(8, 2))


@pytest.mark.parametrize("begin, end", [(96, 2**40), (96, 160), (150, 2**40 + 150)])
def test_offsets_are_not_taken_on_trust(tmp_path, monkeypatch, begin, end):
    """Should the library ever read a header in another way than we do."""
    monkeypatch.setattr(container, "safe_open", lambda *_, **__: contextlib.nullcontext())
    header = {"weight_ih_l0": entry([2**19, 2**19], begin, end), "weight_hh_l0": entry([2**19, 2**17], begin, end)}
    refused(file(tmp_path / "a", header, DATA_160), "weight_ih_l0: expected 1099511627776 bytes within")


@pytest.mark.parametrize(
    "text, match",
    [
        ("{}", "expected a JSON object with a version"),
        ("[]", "expected a JSON object with a version"),
        ("nonsense", "expected JSON, found it damaged .Expecting value"),
        ('{"version": "1", "batch_first": true}', "expected a JSON object with a version"),
        ('{"version": 3, "batch_first": true}', "expected version 1 or 2, found 3"),
        ('{"version": 1, "batch_first": 1}', "expected batch_first to be true or false"),
        ("[" * 100_000, "expected JSON that is nested a few levels deep"),
    ],
)
def test_native_metadata(tmp_path, text, match):
    refused(file(tmp_path / "a", {**GOOD, "__metadata__": {"fusedlstm": text}}, DATA_160), match)


@pytest.mark.parametrize("tenth", range(10))
def test_truncated(tmp_path, tenth):
    data = (DATA / "pytorch_bfloat16.safetensors").read_bytes()
    (tmp_path / "a").write_bytes(data[: len(data) * tenth // 10])
    refused(tmp_path / "a", "a: (damaged safetensors|expected a weights file)")


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz(tmp_path, count):
    """Bytes of the header and of the numbers, and the header's values."""
    path, rng = tmp_path / "a.safetensors", np.random.default_rng(5)
    fl.LSTM(weights(directions=2)).save(path)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])

    def files():
        for k in range(count):
            if k % 2:
                yield fuzz.bytes_of(rng, data[:start]) + data[start:]
                continue
            bad = json.dumps(fuzz.tree_of(rng, header)).encode()
            yield len(bad).to_bytes(8, "little") + bad + data[start:]

    assert fuzz.survives(path, files()) > count / 4
