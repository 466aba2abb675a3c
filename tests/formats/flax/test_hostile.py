"""Flax parameters that are refused: other cells, inconsistent trees, damaged and hostile msgpack."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
from flax_trees import cell, fused, msgpack, ndarray, packed, random, refused, saved

import fusedlstm as fl
from fusedlstm import formats

DATA = Path(__file__).parents[2] / "data"


def test_prefix(tmp_path):
    ends = {"forward_rnn": {"cell": cell(seed=1)}, "backward_rnn": {"cell": fused()}}
    tree = {
        "params": {"enc": {"cell": cell()}, "bi": ends, "head": {"kernel": random(5, 2)}},
        "batch_stats": {"x": cell()},
    }
    path = saved(packed(tree), tmp_path)
    assert list(formats.open(path).expect(fl.LSTMWeights)) == ["enc/cell", "bi"]
    for prefix, directions in (("enc/cell", 1), ("enc", 1), ("bi", 2)):
        assert fl.LSTM.load(path, prefix).bidirectional == (directions == 2)
        assert fl.LSTM.from_flax(tree, prefix).bidirectional == (directions == 2)
    refused(tree, tmp_path, r"expected one LSTM, found 2; choose one with prefix=: 'enc/cell', 'bi'")
    refused(tree, tmp_path, r"expected an LSTM called 'dec', found 'enc/cell', 'bi'", prefix="dec")


def test_root(tmp_path):
    assert list(formats.open(saved(packed(cell()), tmp_path)).expect(fl.LSTMWeights)) == [""]
    assert list(formats.open(saved(packed({"cell": fused()}), tmp_path)).expect(fl.LSTMWeights)) == ["cell"]


def test_no_lstm(tmp_path):
    gru = {"dense_i": {"kernel": random(3, 15), "bias": random(15)}, "dense_h": {"kernel": random(5, 15)}}
    linen_gru = {name: {"kernel": random(3, 3)} for name in ("ir", "iz", "in", "hr", "hz", "hn")}
    conv = {"ih": {"kernel": random(3, 3, 1, 4)}, "hh": {"kernel": random(3, 3, 1, 4), "bias": random(4)}}
    for tree in (gru, linen_gru, conv, {"Dense_0": {"kernel": random(3, 3)}}):
        refused({"params": {"layer": tree}}, tmp_path, "expected an LSTM, found none")


def test_other_objects():
    for params in (None, [cell()], object()):
        with pytest.raises(TypeError, match="params: expected a nested dict of parameters, found"):
            fl.LSTM.from_flax(params)


def _without(tree, *path):
    *parents, last = path
    for name in parents:
        tree = tree[name]
    del tree[last]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: _without(t, "io"), "tensor 'enc/cell/io/kernel': expected it, found none"),
        (lambda t: _without(t, "ho", "bias"), "tensor 'enc/cell/ho/bias': expected it, found none"),
        (lambda t: t.update(ho=3), "tensor 'enc/cell/ho/kernel': expected it, found none"),
        (lambda t: t["ig"].update(bias=random(5)), "'enc/cell/ig': expected only kernel, found 'bias'"),
        (lambda t: t.update(peephole={"kernel": random(5)}), "'enc/cell': expected only .*, found 'peephole'"),
        (lambda t: t["ig"].update(kernel=random(4, 5)), r"ig/kernel': expected shape \(3, 5\), found \(4, 5\)"),
        (lambda t: t["hf"].update(kernel=random(5, 6)), r"hf/kernel': expected shape \(5, 5\), found \(5, 6\)"),
        (lambda t: t["hf"].update(bias=random(4)), r"hf/bias': expected shape \(5\), found \(4,\)"),
        (lambda t: t["hi"].update(kernel=random(25)), r"hi/kernel': expected shape \(any, any\), found \(25,\)"),
        (lambda t: t["ii"].update(kernel=random(2, 3, 5)), r"ii/kernel': expected shape \(any, any\)"),
    ],
)
def test_inconsistent_cells(change, match, tmp_path):
    tree = cell()
    change(tree)
    refused({"params": {"enc": {"cell": tree}}}, tmp_path, match)


def test_inconsistent_fused_cells(tmp_path):
    for name, array in (("kernel", random(5, 15)), ("bias", random(5))):
        tree = fused()
        tree["dense_h"][name] = array
        refused(tree, tmp_path, rf"tensor 'dense_h/{name}': expected shape .*20.*, found")


def test_bidirectional_with_one_lstm(tmp_path):
    gru = {"dense_i": {"kernel": random(3, 15), "bias": random(15)}, "dense_h": {"kernel": random(5, 15)}}
    tree = {"bi": {"forward_rnn": {"cell": cell()}, "backward_rnn": {"cell": gru}}}
    refused(tree, tmp_path, "'bi/backward_rnn/cell/dense_i': expected only kernel, found 'bias'")
    del tree["bi"]["backward_rnn"]["cell"]
    refused(tree, tmp_path, "tensor 'bi/backward_rnn/cell/ii/kernel': expected it, found none")
    tree["bi"]["backward_rnn"]["cell"] = cell(hidden=4)
    refused(tree, tmp_path, "expected hidden size 5")


def test_wrong_kinds_of_leaves(tmp_path):
    for leaf, found in ((1.5, "found"), ("text", "found"), (None, "found"), (True, "found")):
        tree = cell()
        tree["ii"]["kernel"] = leaf
        refused(tree, tmp_path, f"tensor 'ii/kernel': expected .*{found}")
    for dtype in ("int32", "bool", "complex64"):
        tree = cell()
        tree["ii"]["kernel"] = np.ones((3, 5), dtype)
        refused(tree, tmp_path, f"tensor 'ii/kernel': expected .* found .*{dtype}")
    tree = cell()
    tree["ii"]["kernel"] = np.array([[object()] * 5] * 3)
    with pytest.raises(fl.FormatError, match="ii/kernel': expected an array of floats, found object"):
        fl.LSTM.from_flax(tree)


def test_deep_trees(tmp_path):
    tree = cell()
    for _ in range(100):
        tree = {"a": tree}
    refused(tree, tmp_path, "expected a tree at most 64 levels deep")
    endless = {}
    endless["a"] = endless
    with pytest.raises(fl.FormatError, match="expected a tree at most 64 levels deep"):
        fl.LSTM.from_flax(endless)


# -- damaged and hostile files ----------------------------------------------------------------------------------------


def test_truncated_at_every_tenth(tmp_path):
    whole = (DATA / "flax_linen.msgpack").read_bytes()
    for tenth in range(10):
        with pytest.raises(fl.FormatError, match=r"model\.msgpack"):
            formats.open(saved(whole[: len(whole) * tenth // 10], tmp_path)).expect(fl.LSTMWeights)
    with pytest.raises(fl.FormatError, match="damaged"):
        formats.open(saved(whole + b"\0", tmp_path)).expect(fl.LSTMWeights)


def test_changed_bytes_raise_nothing_else(tmp_path):
    whole = bytearray(packed({"params": {"enc": {"cell": cell()}}}))
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole), 300):
        damaged = whole.copy()
        damaged[at] = rng.integers(256)
        with contextlib.suppress(fl.FormatError):
            fl.LSTM.load(saved(bytes(damaged), tmp_path))


K = np.ones((3, 5), np.float32)


@pytest.mark.parametrize(
    ("leaf", "match"),
    [
        (ndarray(K, shape=(3, 6)), r"expected 72 bytes for float32 of shape \(3, 6\), found 60"),
        (ndarray(K, shape=(3, -5)), r"expected a shape, found \(3, -5\)"),
        (ndarray(K, shape=(3, 5.0)), "expected a shape"),
        (ndarray(K, shape=(2**62, 2**62)), "expected 8507.* bytes"),
        (ndarray(K, shape=(True,)), "expected a shape"),
        (ndarray(K, shape=[1] * 100), "damaged"),
        (ndarray(K, shape=3), "expected shape, dtype and bytes"),
        (ndarray(K, data=b""), "found 0"),
        (ndarray(K, data=K.tobytes() + b"more"), "expected 60 bytes .* found 64"),
        (ndarray(K, dtype="float64"), "expected 120 bytes for float64"),
        (ndarray(K, dtype="object"), "expected one of float16, bfloat16, .*, found dtype 'object'"),
        (ndarray(K, dtype="O"), "found dtype 'O'"),
        (ndarray(K, dtype="V4"), "found dtype 'V4'"),
        (ndarray(K, dtype="i4,(1000000000,)i4"), "found dtype"),
        (msgpack.ExtType(1, b""), "damaged"),
        (msgpack.ExtType(1, b"\x93\x92\x03\x05"), "damaged"),
        (msgpack.ExtType(1, b"\x91" * 5000), "damaged"),
        (msgpack.ExtType(1, msgpack.packb({})), "expected shape, dtype and bytes, found dict"),
        (msgpack.ExtType(3, ndarray(K).data), "expected an array .*found extension 3"),
        (msgpack.ExtType(9, ndarray(K).data), "found extension 9"),
        ({"__msgpack_chunked_array__": True}, "expected chunks numbered from 0, found None"),
        ({"__msgpack_chunked_array__": True, "shape": {"0": 3, "1": 5}, "chunks": {}}, "expected chunks of one type"),
        ({"__msgpack_chunked_array__": True, "shape": {"0": 3, "2": 5}, "chunks": {"0": K}}, "numbered from 0"),
        ({"__msgpack_chunked_array__": True, "shape": {"0": 3, "1": 6}, "chunks": {"0": K}}, r"fill shape \(3, 6\)"),
        ({"__msgpack_chunked_array__": True, "shape": {"0": 3, "1": 5}, "chunks": {"0": 7}}, "expected an array"),
    ],
)
def test_arrays_that_lie(leaf, match, tmp_path):
    tree = cell()
    tree["ii"]["kernel"] = leaf
    refused({"first": K, "rnn": tree}, tmp_path, "tensor 'rnn/ii/kernel': .*" + match, file_only=True)


def test_a_name_twice(tmp_path):
    kernel = packed(K)
    twice = b"\x82\xa1a" + kernel + b"\xa1a" + kernel
    with pytest.raises(fl.FormatError, match="expected 'a' once, found it twice in one map"):
        formats.open(saved(twice, tmp_path)).expect(fl.LSTMWeights)
    number_and_name = b"\x83\xa1b" + kernel + b"\x01" + kernel + b"\xa11" + kernel
    with pytest.raises(fl.FormatError, match="expected '1' once"):
        formats.open(saved(number_and_name, tmp_path)).expect(fl.LSTMWeights)
    refused(
        {"a/b": {"cell": cell()}, "a": {"b": {"cell": cell()}}},
        tmp_path,
        "expected one LSTM called 'a/b/cell', found two",
    )


@pytest.mark.parametrize(
    "rest",
    [
        b"\xa1z" + b"\x81\xa1a" * 5000 + b"\xc0",  # maps in maps
        b"\xa1z" + b"\x91" * 5000 + b"\xc0",  # lists in lists
        b"\xa1z\x92\x01\x02",  # a list, which Flax writes as a map
        b"\xa1z\xdd\xff\xff\xff\xff",  # a list of 4 billion
        b"\xa1z\xdf\xff\xff\xff\xff",
        b"\xa1z\xdb\xff\xff\xff\xff",
        b"\xa1z\xc9\xff\xff\xff\xff\x01",
        b"\xa1z\xc1",
        b"\xa1\xff\xc0",  # not UTF-8
        b"\x91\x01\xc0",  # a list as key
        b"\xc0\xc0",
        b"\xd6\xff\x00\x00\x00\x00\xc0",  # a time as key
    ],
)
def test_damaged_msgpack(rest, tmp_path):
    with pytest.raises(fl.FormatError, match=r"model\.msgpack: expected (whole msgpack data|names as keys)"):
        formats.open(saved(b"\x82\xa1a" + packed(K) + rest, tmp_path)).expect(fl.LSTMWeights)


def test_bomb_of_empty_maps(tmp_path):
    many = packed({str(i): {} for i in range(50000)})
    with pytest.raises(fl.FormatError, match="expected at most 100000 entries"):
        formats.open(
            saved(b"\x84\xa1a" + packed(K) + b"".join(key + many for key in (b"\xa1b", b"\xa1c", b"\xa1d")), tmp_path)
        ).expect(fl.LSTMWeights)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x02}q\x00.",  # a pickle
        b"\x81\xa1a\x01",  # msgpack without arrays
        msgpack.packb({"a": [1.0] * 200}),
        msgpack.packb({"a": msgpack.ExtType(5, b"x")}),
        b"\x81\xa4a\0bc" + packed(K),
        b"\x93" + packed(K) * 3,
        random(200).tobytes(),
        b"plain text",
    ],
)
def test_other_files_are_not_taken_for_flax(content, tmp_path):
    from fusedlstm.formats.containers.source import Source
    from fusedlstm.formats.flax import msgpack as module

    assert module.read(Source(saved(content, tmp_path))) is None


def test_long_names_before_the_first_array(tmp_path):
    path = saved(packed({"n" * 300: {"m" * 300: {"cell": cell()}}}), tmp_path)
    (prefix,) = formats.open(path).expect(fl.LSTMWeights)
    assert prefix.endswith("m/cell")


def test_without_the_library(tmp_path, monkeypatch):
    path = saved(packed(cell()), tmp_path)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ImportError, match=r"pip install \"fusedlstm\[flax\]\""):
        formats.open(path).expect(fl.LSTMWeights)
