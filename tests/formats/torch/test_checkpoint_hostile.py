"""Checkpoints made to do harm: nothing is run, nothing outside a storage is read, nothing large is allocated."""

import copyreg
import os
import pickle
import time
import tracemalloc
import zipfile
from math import prod

import fuzz
import numpy as np
import pytest

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.formats.containers import pickle as container


def op(value):
    """The opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def checkpoint(path, program, records=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
        archive.writestr("archive/version", b"3\n")
        for key, data in dict(records).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def persistent(key="0", numel=24, kind="FloatStorage"):
    return b"(" + op("storage") + b"ctorch\n" + kind.encode() + b"\n" + op(key) + op("cpu") + op(numel) + b"tQ"


def tensor(size, stride=None, storage=persistent(), *, offset=0, metadata=None):  # noqa: B008
    if stride is None:
        stride = tuple(prod(size[i + 1 :]) for i in range(len(size)))
    arguments = storage + op(offset) + op(size) + op(stride) + b"\x89ccollections\nOrderedDict\n)R" + op(metadata)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def lstm(**changes):
    """The state dict of nn.LSTM(3, 2, bias=False), which lies in the records "0" and "1"."""
    tensors = {"weight_ih_l0": tensor((8, 3)), "weight_hh_l0": tensor((8, 2), storage=persistent("1", 16)), **changes}
    return b"}(" + b"".join(op(name) + program for name, program in tensors.items()) + b"u"


RECORDS = {"0": np.arange(24, dtype="f4").tobytes(), "1": np.arange(16, dtype="f4").tobytes()}


def refused(path, match, seconds=10.0, megabytes=64):
    """Loading gives FormatError with this message, soon and without much memory."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        with pytest.raises(fl.FormatError, match=match):
            fl.LSTM.load(path)
        assert time.perf_counter() - begin < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


def test_the_hand_made_file_is_good(tmp_path):
    path = checkpoint(tmp_path / "a.pt", lstm(), RECORDS)
    weights = formats.open(path).load(fl.LSTMWeights).layers[0][0]
    np.testing.assert_array_equal(weights.weight_ih, np.arange(24).reshape(8, 3))
    np.testing.assert_array_equal(weights.weight_hh, np.arange(16).reshape(8, 2))
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(torch.load(path)["weight_hh_l0"], weights.weight_hh)


def test_the_third_way_to_rebuild_a_tensor(tmp_path):
    """For types without a storage class; PyTorch reads it for all types."""
    storage = persistent(numel=96).replace(b"ctorch\nFloatStorage", b"ctorch.storage\nUntypedStorage")
    program = (
        b"ctorch._utils\n_rebuild_tensor_v3\n("
        + storage
        + b"".join(map(op, (3, (8, 2), (1, 8))))
        + b"\x89ccollections\nOrderedDict\n)Rctorch\nfloat32\ntR"
    )
    path = checkpoint(tmp_path / "a.pt", lstm(weight_hh_l0=program), RECORDS)
    weights = formats.open(path).load(fl.LSTMWeights).layers[0][0]
    np.testing.assert_array_equal(weights.weight_hh, 3 + np.arange(16).reshape(2, 8).T)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(torch.load(path)["weight_hh_l0"], weights.weight_hh)
    refused(checkpoint(path, lstm(weight_hh_l0=program.replace(b"K\x60", b"K\x61")), RECORDS), "of 97 bytes, found 96")


def call(name, argument):
    module, attribute = name.rsplit(".", 1)
    return f"c{module}\n{attribute}\n".encode() + op((argument,)) + b"R"


# What they do to `pickle.loads`, given a shell command and an expression that both create the marker file.
ATTACKS = {
    "os.system": lambda shell, code: call("os.system", shell),
    "posix.system": lambda shell, code: call(f"{os.name}.system", shell),
    "builtins.eval": lambda shell, code: call("builtins.eval", code),
    "__builtin__.eval": lambda shell, code: call("__builtin__.eval", code),
    "builtins.exec": lambda shell, code: call("builtins.exec", code),
    "another module": lambda shell, code: call("subprocess.getoutput", shell),
    "a dotted name": lambda shell, code: b"\x80\x04\x8c\x06shutil\x8c\x09os.system\x93" + op((shell,)) + b"R",
    "STACK_GLOBAL": lambda shell, code: b"\x8c\x02os\x8c\x06system\x93" + op((shell,)) + b"R",
    "INST": lambda shell, code: b"(" + op(shell) + b"ios\nsystem\n",
    "OBJ": lambda shell, code: b"(csubprocess\nPopen\n" + op(["sh", "-c", shell]) + b"o",
    "EXT1": lambda shell, code: b"\x82\xf5" + op((shell,)) + b"R",
    "EXT2": lambda shell, code: b"\x83\xf5\x00" + op((shell,)) + b"R",
    "EXT4": lambda shell, code: b"\x84\xf5\x00\x00\x00" + op((shell,)) + b"R",
    "BUILD with __setstate__": lambda shell, code: (
        b"ctypes\nSimpleNamespace\n)R}" + op("__setstate__") + b"cos\nsystem\nsb" + op(shell) + b"b"
    ),
    "in a state dict": lambda shell, code: b"}" + op("weight_ih_l0") + call("os.system", shell) + b"s",
    "in attributes": lambda shell, code: b"ccollections\nOrderedDict\n)R}" + op("a") + call("os.system", shell) + b"sb",
    "in a key": lambda shell, code: b"}" + call("os.system", shell) + b"Ns",
    "in arguments": lambda shell, code: b"ccollections\nCounter\n}" + op("a") + call("os.system", shell) + b"s\x85R",
    "discarded": lambda shell, code: call("os.system", shell) + b"0N",
}


@pytest.fixture
def extension():
    copyreg.add_extension("os", "system", 0xF5)
    yield
    copyreg.remove_extension("os", "system", 0xF5)


@pytest.mark.skipif(os.name != "posix", reason="the attacks are written for a POSIX shell")
@pytest.mark.parametrize("attack", ATTACKS)
def test_runs_nothing(tmp_path, extension, attack):
    def program(marker):
        return ATTACKS[attack](f"touch {marker}", f"open({str(marker)!r}, 'w').close()")

    control, marker = tmp_path / "control", tmp_path / "marker"
    result = pickle.loads(b"\x80\x02" + program(control) + b".")
    if attack == "OBJ":
        result.wait()
    assert control.exists(), "this pickle would do no harm, so the test would say nothing"
    refused(checkpoint(tmp_path / "a.pt", program(marker), RECORDS), "expected .*, found")
    wrapped = b"}(" + op("x") + program(marker) + op("model") + lstm() + b"u"  # carried along, and not looked into
    assert fl.LSTM.load(checkpoint(tmp_path / "b.pt", wrapped, RECORDS), "model").input_size == 3
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    {
        "SETITEM on a list": b"]" + op("a") + b"Ns",
        "SETITEM on a tuple": b")" + op("a") + b"Ns",
        "SETITEM on a tensor": tensor((24,)) + op("a") + b"Ns",
        "SETITEM on a name": b"ctorch\nSize\n" + op("a") + b"Ns",
        "SETITEMS on text": op("a") + b"(" + op("a") + b"Nu",
        "SETITEMS with an odd count": b"}(" + op("a") + b"u",
        "APPEND to a dictionary": b"}Na",
        "BUILD of a tensor": tensor((24,)) + b"}b",
        "BUILD of a list": b"]}b",
        "REDUCE of text": op("os.system") + b")R",
        "REDUCE without a tuple": b"ctorch\nSize\n]R",
        "a storage that is none": op(("storage", "FloatStorage", "0", "cpu", 24)) + b"Q",
        "a storage's name that is none": op("storage") + b"Q",
        "no pickle": b"hello",
        "no stop": op("a")[:2],
        "an empty stack": b"",
        "a missing mark": b"Nt",
        "a missing memo": b"h\x07",
        "a short argument list": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        "text that ends early": b"X\xff\xff\x00\x00abc",
    }.items(),
    ids=lambda item: item[0],
)
def test_malformed_pickle(tmp_path, program):
    refused(checkpoint(tmp_path / "a.pt", program[1], RECORDS), "data.pkl: (expected .*, found|damaged pickle)")


HUGE = 2**62
LIES = {
    "storage longer than its record": (tensor((8, 3), storage=persistent(numel=25)), "storage of 100 bytes, found 96"),
    "storage shorter than its record": (tensor((7, 3), storage=persistent(numel=23)), "7, 3"),
    "storage shorter, same shape": (tensor((8, 3), storage=persistent(numel=23)), "storage of 92 bytes, found 96"),
    "another itemsize": (tensor((8, 3), storage=persistent(kind="DoubleStorage")), "storage of 192 bytes, found 96"),
    "a storage of zettabytes": (tensor((8, 3), storage=persistent(numel=HUGE)), f"storage of {4 * HUGE} bytes"),
    "a missing record": (
        tensor((8, 3), storage=persistent("7")),
        "'archive/data/7': expected in the archive, found none",
    ),
    "a record outside": (tensor((8, 3), storage=persistent("../../etc/passwd")), "found none of that name"),
    "no storage": (tensor((8, 3), storage=b"N"), "data.pkl: expected the arguments of torch._utils._rebuild_tensor_v2"),
    "a huge offset": (tensor((8, 3), offset=HUGE), "weight_ih_l0: .*within the 24.*found a view up to"),
    "an offset one too large": (tensor((8, 3), offset=1), "weight_ih_l0: .*within the 24.*found a view up to 24"),
    "a negative offset": (tensor((8, 3), offset=-1), "weight_ih_l0: expected an offset and 2 strides of 0 or more"),
    "a fractional offset": (tensor((8, 3), offset=0.5), "weight_ih_l0: expected an offset and 2 strides"),
    "a huge stride": (tensor((8, 3), (HUGE, 1)), "weight_ih_l0: .*within the 24.*found a view up to"),
    "a stride that wraps around": (tensor((8, 3), (2**61, 1)), "weight_ih_l0: .*within the 24"),
    "a stride too large": (tensor((8, 3), (3, 2)), "weight_ih_l0: .*within the 24.*found a view up to 25"),
    "a negative stride": (tensor((8, 3), (-3, 1)), "weight_ih_l0: expected an offset and 2 strides of 0 or more"),
    "too few strides": (tensor((8, 3), (3,)), "weight_ih_l0: expected an offset and 2 strides"),
    "strides that are none": (tensor((8, 3), 3), "weight_ih_l0: expected an offset and 2 strides"),
    "a huge size": (tensor((8, HUGE), (0, 0)), "weight_ih_l0: "),
    "a size beyond all": (tensor((8, 2**5000), (3, 1)), "weight_ih_l0: expected a shape"),
    "a negative size": (tensor((-8, 3), (3, 1)), "weight_ih_l0: expected a shape"),
    "a size of truth": (tensor((True, 3), (3, 1)), "weight_ih_l0: expected a shape"),
    "a size that is none": (tensor("ab", (3, 1)), "weight_ih_l0: expected a shape"),
    "a size of a thousand numbers": (tensor((1,) * 1000), "weight_ih_l0: expected a shape"),
    "an expanded view": (tensor((8, 3), (0, 1), storage=persistent("2", 3)), "weight_ih_l0: .*at most the 3 numbers"),
    "a terabyte by expanding": (tensor((8, 2**35), (0, 0)), "weight_ih_l0: "),
    "an unknown type": (
        tensor((8, 3), storage=persistent(kind="QUInt8Storage")),
        "weight_ih_l0: expected float32.*QUInt8",
    ),
    "a negated view": (tensor((8, 3), metadata={"neg": True}), "weight_ih_l0: .*conjugated or negated"),
    "not a tensor": (op("text"), "weight_ih_l0: expected a tensor or numbers, found str"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_about_sizes(tmp_path, lie):
    program, message = LIES[lie]
    records = {**RECORDS, "2": bytes(12)}
    refused(checkpoint(tmp_path / "a.pt", lstm(weight_ih_l0=program), records), message, megabytes=1)


def test_a_stride_that_is_never_used(tmp_path):
    """PyTorch leaves any stride at a dimension of one."""
    path = checkpoint(
        tmp_path / "a.pt",
        lstm(weight_ih_l0=tensor((8, 1), (1, HUGE), persistent(numel=8))),
        {**RECORDS, "0": bytes(32)},
    )
    assert formats.open(path).load(fl.LSTMWeights).input_size == 1


def test_a_thousand_layers_from_the_same_bytes(tmp_path):
    shared = op("x") + tensor((400, 100), storage=persistent(numel=40000)) + b"q\x010"  # memo 1
    layers = b"".join(op(f"weight_{w}_l{k}") + b"h\x01" for k in range(1000) for w in ("ih", "hh"))
    path = checkpoint(tmp_path / "a.pt", shared + b"0}(" + layers + b"u", {"0": bytes(160000)})
    refused(path, "parameters in this LSTM from a file of this size, found 80000000 that share", megabytes=16)


def test_layers_that_would_be_counted_for_years(tmp_path):
    path = checkpoint(tmp_path / "a.pt", lstm(weight_ih_l999999999=tensor((8, 3))), RECORDS)
    refused(path, "weight_ih_l1: expected a tensor, found none")


def test_compressed_members(tmp_path):
    refused(
        checkpoint(tmp_path / "a.pt", lstm(), RECORDS, zipfile.ZIP_DEFLATED),
        "expected stored data, found it compressed",
    )


def test_zip_bomb(tmp_path):
    path = checkpoint(tmp_path / "a.pt", lstm(), {**RECORDS, "2": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    refused(path, "zip bomb", megabytes=1)


BOMBS = {
    "tuples in tuples": b")" + b"\x85" * 100_000,
    "lists in lists": b"]" * 100_000 + b"a" * 99_999,
    "dictionaries in dictionaries": b"}" + (op("a") + b"}") * 20_000 + b"s" * 20_000,
    "tuples that double": b")" + b"q\x01h\x01\x86" * 20_000,
    "lists that double": b"]q\x01" + b"(h\x01h\x01e" * 50_000,
    "dictionaries that branch": b"}q\x01"
    + (b"}(" + b"".join(op(str(i)) + b"h\x01" for i in range(100)) + b"uq\x01") * 15,
    "a list in itself": b"]q\x01h\x01a",
    "a dictionary in itself": b"}q\x01" + op("a") + b"h\x01s",
    "a deep key": b"}" + b")" + b"\x85" * 100_000 + b"Ns",
    "a key of a million digits": b"\x8b"
    + (400_000).to_bytes(4, "little")
    + b"\x01" * 400_000
    + b"q\x010}"
    + b"h\x01Ns" * 20_000,
    "a long argument list": (
        b"("
        + persistent()
        + b"N" * 100_000
        + b"tq\x010ctorch._utils\n_rebuild_tensor_v2\nq\x02"
        + b"h\x02h\x01R0" * 50_000
    ),
    "a huge memo": b"Nr\xff\xff\xff\x7f",
    "a huge text": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little"),
    "huge bytes": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little"),
    "a huge bytearray": b"\x80\x05\x96" + (2**40).to_bytes(8, "little"),
    "a huge frame": b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N",
    "a name of a megabyte": b"cdatetime\n" + b"a" * (1 << 20) + b"\n" + b"q\x01" * 50_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_pickle_bombs(tmp_path, bomb):
    refused(checkpoint(tmp_path / "a.pt", BOMBS[bomb]), "expected .*, found|damaged")


def test_too_many_opcodes(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "MAX_OPCODES", 1000)
    refused(checkpoint(tmp_path / "a.pt", b"N0" * 500), "at most 1000 pickle opcodes, found more")


def test_many_dictionaries(tmp_path):
    """Each is walked through once, however often it is named."""
    program = b"}(" + b"".join(op(str(i)) + lstm() for i in range(500)) + b"u"
    refused(checkpoint(tmp_path / "a.pt", program, RECORDS), "expected one LSTM, found 500; choose one with prefix=")


def test_random_damage(tmp_path):
    """Whatever byte of the pickle is hit, there is an error or an LSTM of numbers that the file holds."""
    good, rng = lstm(), np.random.default_rng(0)
    held = {*range(24)}
    for _ in range(400):
        bad = bytearray(good)
        for at in rng.integers(len(bad), size=rng.integers(1, 4)):
            bad[at] = rng.integers(256)
        try:
            weights = formats.open(checkpoint(tmp_path / "a.pt", bytes(bad), RECORDS)).load(fl.LSTMWeights)
        except fl.FormatError:
            continue
        for array in weights.layers[0][0].arrays.values():
            assert held.issuperset(array.ravel()) or "DoubleStorage" in str(bad)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz(tmp_path, count):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(5)
    model = torch.nn.ModuleDict({"a": torch.nn.LSTM(2, 3), "b": torch.nn.LSTMCell(2, 3)})
    torch.nn.utils.parametrizations.weight_norm(model["a"], "weight_hh_l0")
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    assert fuzz.survives(tmp_path / "a.pt", (fuzz.zip_of(rng, data) for _ in range(count))) > count / 4


def test_several_roots(tmp_path):
    path = checkpoint(tmp_path / "a.pt", lstm(), RECORDS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"")
    refused(path, "expected one data.pkl in a folder of the archive, found 2")
