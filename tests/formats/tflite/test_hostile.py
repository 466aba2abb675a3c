"""TFLite files that are damaged or meant to harm: FormatError alone, within bounds of time and memory."""

import copy
import struct
import time

import numpy as np
import pytest
from fuzz import bytes_of, survives
from fuzz_fields import number_of
from tflite_models import Graph, arrays, float16, model, per_channel, per_tensor, saved

import fusedlstm as fl
from fusedlstm import formats


def graphs():
    """One of each kind that is read."""
    full = arrays(cifg=True, peephole=True, output=2, norm=True)
    yield model(full, inputs=24, cellClip=0.5, projClip=0.5)
    yield model(arrays(peephole=True), arrays(peephole=True, seed=1), put=per_tensor, merge=False)
    yield model(arrays(), put=per_channel)
    yield model(arrays(), put=float16)
    graph = model(arrays(), time_major=True)
    (x,), (y,) = graph.ends
    before = graph.reverse(x)
    graph.graph.operators.insert(0, graph.graph.operators.pop())
    graph.graph.operators[1].inputs[0] = before
    graph.outputs([graph.reverse(y)])
    yield graph


GRAPHS = list(graphs())
WHOLE = [graph.serialised() for graph in GRAPHS]


def objects(root):
    """Every object of the schema in a model, with the names of its fields."""
    waiting = [root]
    while waiting:
        one = waiting.pop()
        yield one
        for value in vars(one).values():
            for inner in value if isinstance(value, list) else [value]:
                if hasattr(inner, "Pack"):
                    waiting.append(inner)


def changed(graph, rng):
    """The file with one to three fields set to something else; None where the writer itself refuses."""
    other = Graph()
    other._model = copy.deepcopy(graph.model)
    found = list(objects(other.model))
    for _ in range(int(rng.integers(1, 4))):
        one = found[int(rng.integers(len(found)))]
        if not vars(one):
            continue
        name = str(rng.choice(list(vars(one))))
        value = getattr(one, name)
        if isinstance(value, (bool, int, float)):
            setattr(one, name, number_of(rng, value))
        elif isinstance(value, str | bytes):
            setattr(one, name, str(rng.choice(["", "x", "y", "t2"])))
        elif isinstance(value, list | np.ndarray) and len(value):
            index = int(rng.integers(len(value)))
            if rng.random() < 0.6 and isinstance(value[index], int):
                value[index] = number_of(rng, value[index])
            else:
                setattr(
                    one, name, [*value[:index], *value[index + 1 :]] if rng.random() < 0.5 else [*value, value[index]]
                )
        elif value is not None:
            setattr(one, name, None)
    try:
        return other.serialised()
    except Exception:
        return None


def files(count, first):
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        which = seed % len(WHOLE)
        yield (changed(GRAPHS[which], rng) if seed % 2 else None) or bytes_of(rng, WHOLE[which])


def test_the_whole_ones_are_read(tmp_path):
    assert survives(tmp_path / "model.tflite", WHOLE) == 0


def test_fuzz(tmp_path):
    assert survives(tmp_path / "model.tflite", files(100, 0)) > 30


@pytest.mark.slow
def test_fuzz_2000(tmp_path):
    refused = survives(tmp_path / "model.tflite", files(2000, 1000))
    print("refused", refused)
    assert refused > 600


def test_refusals_are_in_words_of_our_own(tmp_path):
    """Not whatever Python says of an index that is not there, which `formats` would wrap as "damaged"."""
    messages = []
    for data in files(200, 5000):
        try:
            for read in formats.open(saved(data, tmp_path)).expect(fl.LSTMWeights).values():
                read()
        except fl.FormatError as error:
            messages.append(str(error))
    assert len(messages) > 60
    assert not [one for one in messages if "damaged" in one]


def test_every_truncation(tmp_path):
    whole = WHOLE[0]
    for size in range(8, len(whole) - 64, 97):
        with pytest.raises(fl.FormatError, match=r"model\.tflite"):
            for read in formats.open(saved(whole[:size], tmp_path)).expect(fl.LSTMWeights).values():
                read()


# -- files written by hand --------------------------------------------------------------------------------------------


def table(*fields):
    """A vtable and a table after it: fields of 4 bytes each, None for absent. Starts at the vtable."""
    present = [one for one in fields if one is not None]
    offsets, at = [], 4
    for one in fields:
        offsets.append(0 if one is None else at)
        at += 4 if one is not None else 0
    vtable = struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), 4 + 4 * len(present), *offsets)
    vtable += b"\0" * (-len(vtable) % 4)
    return vtable, struct.pack(f"<i{len(present)}I", len(vtable), *present)


def refused(data, tmp_path, match, **limits):
    path = tmp_path / "model.tflite"
    assert survives(path, [data], **limits) == 1
    with pytest.raises(fl.FormatError, match=match):
        formats.open(path).load(fl.LSTMWeights)


def test_root_outside_of_the_file(tmp_path):
    for root in (2**32 - 1, 2**31, 100, 5):
        refused(struct.pack("<I", root) + b"TFL3" + b"\0" * 8, tmp_path, "expected")
    refused(b"\0\0\0\0TFL3", tmp_path, "expected")


def test_vtable_outside_of_the_file(tmp_path):
    for back in (100, -100, 2**31 - 1, -(2**31)):
        refused(struct.pack("<I4si", 8, b"TFL3", back), tmp_path, "bytes at byte")


def test_a_list_longer_than_the_file(tmp_path):
    vtable, model_table = table(3, None, 8)  # subgraphs follow
    head = struct.pack("<I4s", 8 + len(vtable), b"TFL3") + vtable + model_table
    for count in (10, 2**30, 2**32 - 1):
        refused(head + b"\0" * 4 + struct.pack("<I", count) + b"\0" * 8, tmp_path, "bytes at byte")


def overlapping(count, distinct=True):
    """`count` subgraphs that are one table, with `count` operators."""
    body = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def add(*fields):
        vtable, one = table(*fields)
        body.extend(vtable + one)
        return len(body) - len(one)

    def listed(field, count, *fields, tables=1):
        """Make a field a list of a table, or of several, many times."""
        struct.pack_into("<I", body, field, len(body) - field)
        body.extend(struct.pack("<I", count))
        start = len(body)
        vtable, one = map(len, table(*fields))
        places = [start + 4 * count + vtable + k % tables * (vtable + one) for k in range(count)]
        body.extend(b"".join(struct.pack("<I", place - start - 4 * k) for k, place in enumerate(places)))
        return min(add(*fields) for _ in range(tables))

    root = add(None, 0, 0)
    struct.pack_into("<I", body, 0, root)
    listed(root + 4, 1, None)  # an operator code
    graph = listed(root + 8, count, None, None, None, 0)
    listed(graph + 4, count, None, tables=count if distinct else 1)
    return bytes(body)


@pytest.mark.parametrize(
    ("count", "padding", "match"),
    [
        (2000, 0, "expected tensors and lists of a size that the file justifies"),
        (20_000, 20 << 20, "expected at most 300000 tables and indices, found more"),
    ],
)
def test_lists_that_multiply(count, padding, match, tmp_path):
    """As many graphs, each with as many operators. Without tracemalloc, which would take most of the time."""
    path, start = saved(overlapping(count) + b"\0" * padding, tmp_path), time.process_time()
    with pytest.raises(fl.FormatError, match=match):
        formats.open(path).expect(fl.LSTMWeights)
    assert time.process_time() - start < 10


def test_one_operator_under_many_names(tmp_path):
    refused(
        overlapping(2000, distinct=False), tmp_path, "operator at byte [0-9]+: expected once, found twice in one list"
    )


def test_field_outside_of_its_table(tmp_path):
    vtable, root = table(None, 8)
    vtable = vtable[:6] + struct.pack("<H", 12) + vtable[8:]
    data = struct.pack("<I4s", 8 + len(vtable), b"TFL3") + vtable + root + b"\0" * 16
    refused(data, tmp_path, "expected field 1 in a table of 8 bytes, found it at 12")


def test_one_weight_many_times(tmp_path):
    """Buffers are shared: what is read in all is bounded by the file."""
    big = np.zeros((1000, 1000), np.float32)
    graph = model(arrays(1000, 1000))
    data = graph.serialised()
    assert survives(tmp_path / "model.tflite", [data], megabytes=200) == 0
    for tensor in graph.graph.tensors:
        if list(tensor.shape) == [1000, 1000]:
            tensor.buffer = graph.graph.tensors[graph.graph.operators[0].inputs[1]].buffer
    used = {tensor.buffer for tensor in graph.graph.tensors}
    for index, buffer in enumerate(graph.model.buffers):
        if index not in used:
            buffer.data = None
    shared = graph.serialised()
    assert len(shared) < len(data) / 6 and big.nbytes < len(shared)
    assert survives(tmp_path / "model.tflite", [shared], megabytes=200) == 0


def test_reading_again_and_again(tmp_path):
    """What may be read is counted for each reading."""
    (read,) = formats.open(saved(WHOLE[0] + b"\0" * (1 << 16), tmp_path)).expect(fl.LSTMWeights).values()
    for _ in range(200):
        read()


@pytest.mark.parametrize("offset", [2, 100, 2**31, 2**63])
def test_data_behind_the_flatbuffer(offset, tmp_path):
    graph = model(arrays())
    operator = graph.graph.operators[0]
    buffer = graph.model.buffers[graph.graph.tensors[operator.inputs[2]].buffer]
    stored = bytes(buffer.data)
    buffer.data, buffer.offset, buffer.size = None, 2, len(stored)
    whole = graph.serialised()
    buffer.offset = len(whole)
    path = saved(graph.serialised() + stored, tmp_path)
    np.testing.assert_array_equal(
        formats.open(path).load(fl.LSTMWeights).layers[0][0].weight_ih[5:10],
        np.frombuffer(stored, np.float32).reshape(5, 3),
    )
    buffer.offset = offset if offset > 100 else len(whole) + offset
    refused(graph.serialised() + stored, tmp_path, "expected 60 bytes at byte")


def test_no_library_is_needed(tmp_path, monkeypatch):
    import sys

    for name in ("flatbuffers", "ai_edge_litert", "tflite", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    assert formats.open(saved(WHOLE[0], tmp_path)).load(fl.LSTMWeights).hidden_size == 5
