"""ONNX files that are damaged or meant to harm."""

import contextlib
import os
import sys

import numpy as np
import pytest
from onnx_models import TensorProto, helper, model, node, random, refused, saved, tensor, weights

import fusedlstm as fl
from fusedlstm import formats


def test_truncated_at_every_tenth(tmp_path):
    whole = model(*weights()).SerializeToString()
    for tenth in range(10):
        path = saved(whole[: len(whole) * tenth // 10], tmp_path)
        with pytest.raises(fl.FormatError, match=r"model\.onnx"):
            fl.LSTM.load(path)


def test_changed_bytes_raise_nothing_else(tmp_path):
    whole = bytearray(model(*weights(), nodes=[node("Identity", ["x"], "i")]).SerializeToString())
    rng = np.random.default_rng(0)
    structure = [at for at in range(len(whole)) if at < 300 or at > len(whole) - 300]
    for at in rng.choice(structure, 300):
        damaged = whole.copy()
        damaged[at] = rng.integers(256)
        with contextlib.suppress(fl.FormatError):
            fl.LSTM.load(saved(bytes(damaged), tmp_path))


def _w(**fields):
    w = tensor("W", weights()[0])
    for key, value in fields.items():
        if isinstance(value, list):
            del getattr(w, key)[:]
            getattr(w, key).extend(value)
        else:
            setattr(w, key, value)
    return w


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"raw_data": b"\0" * 239}, r"tensor 'W': expected 240 bytes for shape \(1, 20, 3\), found 239"),
        ({"raw_data": b"\0" * 244}, "found 244"),
        ({"dims": [1, 20, 4]}, "expected 320 bytes"),
        ({"dims": [1, 20, -3]}, r"expected a shape, found \(1, 20, -3\)"),
        ({"dims": [-1, -20, 3]}, "expected a shape"),
        ({"dims": [2**62, 2**62, 4]}, "expected 3402.* bytes"),
        ({"dims": [2**32, 2**32, 0]}, "tensor 'W'"),
        ({"dims": [1] * 100}, "expected a shape"),
        (
            {"float_data": [0.0] * 60},
            "expected its data in raw_data or float_data, found it in float_data and raw_data",
        ),
        ({"int32_data": [0] * 60}, "found it in int32_data and raw_data"),
        ({"data_type": 8}, "expected a number type, found ONNX data type 8"),
        ({"data_type": 99}, "found ONNX data type 99"),
        ({"data_type": 11}, "expected 480 bytes"),
    ],
)
def test_tensors_that_lie(fields, match, tmp_path):
    refused(model(w=_w(**fields)), tmp_path, match)


def test_typed_fields_that_lie(tmp_path):
    short = TensorProto(name="W", dims=[1, 20, 3], data_type=1, float_data=[0.0] * 59)
    refused(model(w=short), tmp_path, "expected 60 numbers for shape .* found 59")
    wide = TensorProto(name="W", dims=[1, 20, 3], data_type=10, int32_data=[0] * 59 + [65536])
    refused(model(w=wide), tmp_path, "expected numbers of 2 byte")
    part = _w()
    part.segment.end = 5
    refused(model(w=part), tmp_path, "found a segment")


@pytest.fixture
def opened():
    """The files that Python opens from here on."""
    names = []
    if not hasattr(sys, "_fusedlstm_opened"):
        sys._fusedlstm_opened = []
        sys.addaudithook(lambda event, args: event == "open" and [log.append(args[0]) for log in sys._fusedlstm_opened])
    sys._fusedlstm_opened.append(names)
    yield names
    sys._fusedlstm_opened.remove(names)


@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "link.bin", "/etc/passwd"])
@pytest.mark.parametrize("keep", [True, False])
def test_external_data_is_never_opened(location, keep, tmp_path, opened):
    inside = tmp_path / "model"
    inside.mkdir()
    for folder in (tmp_path, inside):
        (folder / "secret.bin").write_bytes(weights()[0].tobytes())
    os.symlink(tmp_path / "secret.bin", inside / "link.bin")
    w = _w()
    if not keep:
        w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value=location)
    path = saved(model(w=w), inside)
    del opened[:]
    with pytest.raises(
        fl.FormatError, match=r"tensor 'W': .*external data, which is never opened; save the model whole"
    ):
        fl.LSTM.load(path)
    assert not [one for one in opened if str(one).endswith((".bin", "passwd"))]


def test_two_definitions_of_a_name(tmp_path):
    proto = model()
    proto.graph.initializer.append(tensor("W", np.zeros((1, 20, 3), np.float32)))
    refused(proto, tmp_path, "tensor 'W': expected one definition, found two")


def test_attribute_given_twice(tmp_path):
    proto = model()
    proto.graph.node[0].attribute.append(helper.make_attribute("hidden_size", 7))
    refused(proto, tmp_path, "expected attribute 'hidden_size' once, found it twice")


def test_concat_bomb(tmp_path):
    nodes = [node("Concat", [f"k{i}", f"k{i}"], f"k{i + 1}", axis=0) for i in range(60)]
    proto = model(tensors={"k0": np.ones((1, 20, 3), np.float32)}, nodes=nodes, inputs={"W": "k60"})
    refused(proto, tmp_path, "expected constants of a size that the file justifies")


def test_gather_bomb(tmp_path):
    tensors = {"k": np.ones((1, 20000), np.float32), "i": np.zeros(20000, np.int64)}
    proto = model(tensors=tensors, nodes=[node("Gather", ["k", "i"], "g")], inputs={"W": "g"})
    refused(proto, tmp_path, "expected constants of a size that the file justifies")


@pytest.mark.parametrize("which", ["W", "initial_h"])
def test_long_chains(which, tmp_path):
    """No recursion without end, no quadratic search."""
    nodes = [node("Identity", [f"k{i}"], f"k{i + 1}") for i in range(20000)]
    proto = model(tensors={"k0": np.zeros((1, 2, 5), np.float32)}, nodes=nodes, inputs={which: "k20000"})
    refused(proto, tmp_path, "expected at most 100 operators in a row")


def test_cycle(tmp_path):
    nodes = [node("Identity", ["b"], "a"), node("Identity", ["a"], "b")]
    refused(model(nodes=nodes, inputs={"W": "a"}), tmp_path, "expected at most 100 operators in a row")


def test_deep_subgraphs(tmp_path):
    graph = b"\x12\x01g"
    for _ in range(200):
        graph = field(1, field(5, field(6, graph)))  # a node with an attribute that is a graph
    refused(b"\x08\x08" + field(7, graph), tmp_path, "damaged protobuf data")


def test_bomb_of_empty_messages(tmp_path):
    bomb = field(7, field(1, b"") * 1_100_000)
    refused(b"\x08\x08" + bomb, tmp_path, "expected at most 1000000 protobuf fields")


def field(number, content):
    """A field of a protobuf message that holds bytes."""
    size, length = b"", len(content)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


@pytest.mark.parametrize(
    "content",
    [
        b"\x08\x01\x12\x05hello" * 3,  # another protobuf, as a TensorFlow SavedModel starts
        b"\x08\x09\x3a\x04\xf8\x01\x01\x00",  # field 7 is no graph
        b"\x08\x00\x3a\x00",  # version 0
        b"\x08" * 40,
        b"\x08\x09\x3b",
        b"\x08",
        b"",
        random(100).tobytes(),
    ],
)
def test_other_files_are_not_taken_for_onnx(content, tmp_path):
    from fusedlstm.formats.containers.source import Source
    from fusedlstm.formats.onnx import model as module

    path = tmp_path / "file"
    path.write_bytes(content)
    assert module.read(Source(path)) is None


def test_without_the_library(tmp_path, monkeypatch):
    path = saved(model(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install \"fusedlstm\[onnx\]\""):
        formats.open(path).expect(fl.LSTMWeights)
