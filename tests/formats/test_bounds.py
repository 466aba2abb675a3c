"""Time and memory in proportion to the file: small files that would cost much, each kind by the trick that it invites."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from bounds import within_bounds
from hdf5_files import many_layers

import fusedlstm as fl

N = 90_000


def zipped(members, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def noise(count):
    """A text that does not compress, and so justifies what comes after it."""
    letters = np.random.default_rng(0).integers(97, 123, count, dtype=np.uint8)
    return b"X" + struct.pack("<I", count) + letters.tobytes() + b"0"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def number(value):
    return b"M" + struct.pack("<H", value)


def checkpoint(program):
    """A checkpoint, with the bytes of one storage that all its tensors may share."""
    return zipped({"a/data.pkl": b"\x80\x02" + program + b".", "a/byteorder": "little", "a/data/0": bytes(32)})


def script(program, compression=zipfile.ZIP_DEFLATED):
    return zipped({"a/data.pkl": b"\x80\x02" + program + b".", "a/code/x.py": b""}, compression)


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x08tQ"
    b"K\0K\x04K\x01\x86K\x01K\x01\x86\x89ccollections\nOrderedDict\n)RtRq\x050"
)
"""Of shape (4, 1): both matrices of an LSTM of one unit. It is object 5."""
NAMES = [bytes(97 + i // 26**k % 26 for k in range(3)) for i in range(5000)]
LSTM = b"}(h\x06h\x05h\x07h\x05u"
START = TENSOR + text(b"weight_ih_l0") + b"q\x060" + text(b"weight_hh_l0") + b"q\x070"


def state_dict(names, *more):
    own = [text(name + which) + b"h\x05" for name in names for which in (b".weight_ih_l0", b".weight_hh_l0")]
    return (
        START + b"}(" + b"".join([*own, *(text(name) + b"h\x05" for name in more)]) + b"u"
    )  # the dictionary is on top


PICKLES = {
    "dictionaries": b"}" * N,
    "boxes in a list": b"](" + b"\x8f" * N + b"e",
    "dictionaries in a list": b"](" + b"}K\1K\1s" * (N // 6) + b"e",
    "objects": b"c__torch__\nA\nq\x00" + b"h\x00)R" * (N // 4),
    "names": text(b"a" * 200) + b"q\x00" + text(b"b" * 200) + b"q\x010" + b"h\x00h\x01\x93" * (N // 5),
    "tuples in each other": b"K\x01" + b"\x85" * N,
    "numbers": text(b"weight_ih_l0") + b"q\x000}h\x00](" + b"K\x01" * (N // 2) + b"es",
    "many LSTMs": state_dict(NAMES[:2000]),
    "many state dicts": START + b"}(" + b"".join(number(i) + LSTM for i in range(6000)) + b"u",
    "many state dicts under long keys": START
    + text(b"k" * 250)
    + b"q\x080}(h\x08}(h\x08}("
    + b"".join(number(i) + LSTM for i in range(5800))
    + b"uuu",
    "one state dict in many places": state_dict(NAMES[:800])
    + b"q\x090}("
    + b"".join(number(i) + b"h\x09" for i in range(8000))
    + b"u",
    "strangers": state_dict(NAMES[:800], *(name + b".lora_A.x" for name in NAMES[:2000])),
    "adapters": state_dict(NAMES[:800], *(b"lora_x" + name + b".y." + name for name in NAMES[:2000])),
    "dots": state_dict(NAMES[:800], *(b"." * 200 + name for name in NAMES[:200])),
}


@pytest.mark.parametrize("name", PICKLES)
def test_checkpoints(name):
    within_bounds(checkpoint(PICKLES[name]))
    within_bounds(b"\x80\x02" + PICKLES[name] + b".")


def test_long_names_of_modules():
    """A memoised key costs nothing to repeat, and a module's name has all of those around it."""
    module = text(b"k" * 250) + b"q\x010c__torch__\nA\nq\x02)R}h\x01h\x02)R}h\x01h\x02)R}("
    program = module + b"".join(text(name) + b"h\x02)R" for name in NAMES) + b"ubsbsb"
    assert "256 characters" in within_bounds(script(program, zipfile.ZIP_STORED))[0]


DEFLATED = {
    "dictionaries": b"}" * 1_900_000,
    "objects": b"c__torch__\nA\nq\x00" + b"h\x00)R" * 600_000,
    "names": text(b"__torch__." + b"a" * 190) + b"q\x00" + text(b"b" * 200) + b"q\x010" + b"h\x00h\x01\x93" * 600_000,
    "tuples": b"K\x01" + b"\x85" * 1_900_000,
}


@pytest.mark.parametrize("name", DEFLATED)
@pytest.mark.parametrize("kind", ["script", "checkpoint in a zip", "pickle in a zip"])
def test_deflated_pickles(name, kind):
    """An opcode over and over packs to nearly nothing: the packed size is what counts."""
    program = noise(40_000) + DEFLATED[name]
    if kind == "script":
        answers = within_bounds(script(program))
        assert "pickle opcodes, found more" in answers[0]
        return
    inside = {"a.pt": checkpoint(program)} if kind == "checkpoint in a zip" else {"a.pkl": b"\x80\x02" + program + b"."}
    assert "found" in within_bounds(zipped(inside, zipfile.ZIP_DEFLATED))[0]


def test_a_pickle_in_a_zip_is_read_when_it_is_a_model():
    data = zipped({"a.pt": checkpoint(state_dict([b"enc"]))}, zipfile.ZIP_DEFLATED)
    assert list(fl.LSTM.load_all(data)) == ["enc"]


def test_a_member_that_unpacks_to_far_more():
    data = zipped({"a.safetensors": struct.pack("<Q", 2) + b"{}" + bytes(900_000)}, zipfile.ZIP_DEFLATED)
    assert "unpack it and load that" in within_bounds(data)[0]


HEADERS = {
    "spaces": "{'descr':'<f4'}" + " " * 9900 + "$",
    "brackets": "{'descr': " + "[" * 4000 + "]" * 4000,
    "backslashes": "{'descr': '" + "\\" * 9000,
    "commas": "{'shape': (" + ", " * 4900 + ")}",
    "digits": "{'shape': (" + "9" * 9000 + ",), 'descr': '<f4', 'fortran_order': False}",
    "many numbers": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9," * 4000 + ")}",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_arrays(name):
    header = HEADERS[name].encode()
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64)
    count = 700 if name != "spaces" else 300
    data = zipped({f"{i}.npy": array for i in range(count)}, zipfile.ZIP_DEFLATED)
    while len(data) >= 100_000:
        count = count * 9 // 10
        data = zipped({f"{i}.npy": array for i in range(count)}, zipfile.ZIP_DEFLATED)
    within_bounds(data)


def test_arrays_of_zeros():
    """They pack to nearly nothing; what they unpack to in all is bounded."""
    arrays = {f"{i}.weight_ih_l0": np.zeros((4, 50_000), np.float64) for i in range(10)}
    arrays |= {f"{i}.weight_hh_l0": np.zeros((4, 1), np.float64) for i in range(10)}
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    within_bounds(out.getvalue())


def test_safetensors():
    header = {
        f"{i}.weight_{w}h_l0": {"dtype": "F32", "shape": [4, 1], "data_offsets": [0, 16]}
        for i in range(400)
        for w in "ih"
    }
    at = 0
    for entry in header.values():
        entry["data_offsets"] = [at, at := at + 16]
    table = json.dumps(header).encode()
    data = struct.pack("<Q", len(table)) + table + bytes(at)
    assert within_bounds(data)[0] == "400 things"


@pytest.mark.parametrize("part", ["[", ".", "/", "1.", "lora_x.", "[a]", "lstm/", "cell_0/", "base_layer.", "]["])
def test_long_names(part):
    """A pattern may take the square of a name's length."""
    names = ["weight_ih_l0", "weight_hh_l0", part * (80_000 // len(part))]
    ends = [16 * k for k in range(4)]
    header = {n: {"dtype": "F32", "shape": [4, 1], "data_offsets": ends[k : k + 2]} for k, n in enumerate(names)}
    table = json.dumps(header).encode()
    within_bounds(struct.pack("<Q", len(table)) + table + bytes(48))


def test_json():
    for value in ("[" * 199 + "]" * 199, "[]," * 30_000 + "[]", "{}," * 30_000 + "{}", "1," * 45_000 + "1"):
        within_bounds(b'{"layers": [' + value.encode() + b"]}")
    rows = json.dumps({"state_dict": {f"{i}.weight_ih_l0": [[1]] * 4 for i in range(1500)}})
    within_bounds(rows.encode())


def test_hdf5():
    answers = within_bounds(many_layers(170))
    assert answers[0] == "170 things" and answers[2] == "510 things"


def test_hdf5_is_parsed_once(monkeypatch):
    """Whatever is asked of a file of many layers."""
    from fusedlstm.formats.containers import hdf5_objects

    count = []
    init = hdf5_objects.Objects.__init__
    monkeypatch.setattr(hdf5_objects.Objects, "__init__", lambda self, data: (count.append(1), init(self, data))[1])
    assert len(fl.LSTM.load_all(many_layers(50))) == 50
    assert len(count) == 1


def test_onnx():
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    weight = numpy_helper.from_array(np.zeros((1, 4, 1), np.float32), "W")
    x = helper.make_tensor_value_info("x", 1, None)

    def model(nodes, *more):
        graph = helper.make_graph(nodes, "g", [x], [], [weight, *more])
        return helper.make_model(graph).SerializeToString()

    def lstm(k, source):
        return helper.make_node("LSTM", ["x", source, "W"], [f"{k:x}"], hidden_size=1)

    assert within_bounds(model([lstm(k, "W") for k in range(1800)]))[0] == "1800 things"
    big = numpy_helper.from_array(np.zeros(3000, np.float32), "big")
    folds = [helper.make_node("Concat", ["big" if d == 0 else f"y{d - 1}"] * 2, [f"y{d}"], axis=0) for d in range(7)]
    within_bounds(model([*folds, *(lstm(k, "y6") for k in range(1700))], big))
    empty = onnx.ModelProto(ir_version=8)
    empty.graph.node.extend(onnx.NodeProto() for _ in range(N // 2))
    within_bounds(empty.SerializeToString())


def test_tflite():
    from tflite_models import many_lstms

    answers = within_bounds(many_lstms(4400))
    assert answers[0] == "4400 things"


def test_msgpack():
    msgpack = pytest.importorskip("msgpack")
    tree = {name.decode(): {} for name in NAMES}
    for _ in range(60):
        tree = {"a" * 300: tree}
    within_bounds(msgpack.packb({"params": tree}))
    within_bounds(
        b"\x81\xa6params\xde"
        + struct.pack(">H", 20_000)
        + b"".join(b"\xcd" + struct.pack(">H", i) + b"\x80" for i in range(20_000))
    )
    cell = {"ii": {"kernel": b""}, "hi": {"kernel": b""}}
    within_bounds(msgpack.packb({"params": {name.decode(): cell for name in NAMES[:3000]}}))
