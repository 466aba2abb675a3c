"""TensorFlow Lite files written by hand, byte by byte: no library is needed. LiteRT checks them where it is there."""

import importlib.util
import struct

import numpy as np

import fusedlstm as fl
from fusedlstm.formats.tflite.whole.schema import _NAMES

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
RESOURCE, VARIANT = 13, 14
LITERT = importlib.util.find_spec("ai_edge_litert") is not None


class _Writer:
    """A flatbuffer. A table is a dict: field -> (format, number), text, array, table, or list of tables."""

    def __init__(self):
        self.data = bytearray()

    def align(self, size, offset=0):
        while (len(self.data) + offset) % size:
            self.data.append(0)

    def table(self, fields):
        count = max(fields, default=-1) + 1
        self.align(8)
        vtable = len(self.data)
        self.data += bytes(4 + 2 * count)
        self.align(8)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable)
        later = []
        for field, value in fields.items():
            form, number = value if isinstance(value, tuple) else ("I", 0)
            self.align(struct.calcsize(form))
            struct.pack_into("<H", self.data, vtable + 4 + 2 * field, len(self.data) - start)
            if not isinstance(value, tuple):
                later.append((len(self.data), value))
            self.data += struct.pack("<" + form, number)
        struct.pack_into("<HH", self.data, vtable, 4 + 2 * count, len(self.data) - start)
        for place, value in later:
            self.point(place, value)
        return start

    def point(self, place, value):
        if isinstance(value, dict):
            at = self.table(value)
        elif isinstance(value, str):
            self.align(4)
            at = len(self.data)
            self.data += struct.pack("<I", len(value.encode())) + value.encode() + b"\0"
        elif isinstance(value, np.ndarray):
            self.align(16, 4)
            at = len(self.data)
            self.data += struct.pack("<I", value.size) + value.tobytes()
        else:
            self.align(4)
            at = len(self.data)
            self.data += struct.pack("<I", len(value)) + bytes(4 * len(value))
            for k, one in enumerate(value):
                self.point(at + 4 + 4 * k, one)
        struct.pack_into("<I", self.data, place, at - place)


class Subgraph:
    """One subgraph; tensors are their numbers."""

    def __init__(self, file, name="main"):
        self.file, self.name = file, name
        self.tensors, self.operators, self.inputs, self.outputs = [], [], [], []

    def tensor(self, shape, dtype="float32", *, name=None, data=None, scale=None, zero=0, axis=0, variable=False):
        kind = TYPES[str(np.dtype(dtype))] if not isinstance(dtype, int) else dtype
        concrete = np.array([1 if size is None else size for size in shape], np.int32)
        fields = {0: concrete, 1: ("b", kind), 3: name or f"{self.name}.t{len(self.tensors)}"}
        if data is not None:
            self.file.buffers.append({0: np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)})
            fields[2] = ("I", len(self.file.buffers) - 1)
        if scale is not None:
            scales = np.atleast_1d(np.float32(scale))
            zeros = np.broadcast_to(np.int64(zero), scales.shape).copy()
            fields[4] = {2: scales, 3: zeros, 6: ("i", axis)}
        if variable:
            fields[5] = ("?", True)
        if None in shape:
            fields[7] = np.array([-1 if size is None else size for size in shape], np.int32)
        self.tensors.append(fields)
        return len(self.tensors) - 1

    def input(self, shape, dtype="float32", name=None):
        self.inputs.append(self.tensor(shape, dtype, name=name or f"{self.name}.x{len(self.inputs)}"))
        return self.inputs[-1]

    def constant(self, value, **how):
        value = np.asarray(value)
        return self.tensor(value.shape, value.dtype, data=value, **how)

    def ints(self, *values):
        return self.constant(np.array(values, np.int32))

    def op(self, kind, inputs, *shapes, options=None, dtype="float32", names=None):
        """Add an operator; its output, or all of them. Options: their type and {field: (format, value)}."""
        made = [self.tensor(shape, dtype, name=names[k] if names else None) for k, shape in enumerate(shapes)]
        self.put(kind, inputs, made, options)
        return made[0] if len(made) == 1 else made

    def put(self, kind, inputs, outputs, options=None):
        fields = {0: ("I", self.file.code(kind)), 1: np.array(inputs, np.int32), 2: np.array(outputs, np.int32)}
        if options is not None:
            fields |= {3: ("B", options[0]), 4: options[1]}
        self.operators.append(fields)


class File:
    """A model."""

    def __init__(self):
        self.buffers, self.codes, self.subgraphs = [{}], [], []
        self.main = self.subgraph("main")

    def subgraph(self, name):
        self.subgraphs.append(Subgraph(self, name))
        return self.subgraphs[-1]

    def code(self, kind):
        if kind not in self.codes:
            self.codes.append(kind)
        return self.codes.index(kind)

    def bytes(self):
        writer = _Writer()
        writer.data += bytes(4) + b"TFL3"
        codes = []
        for kind in self.codes:
            number = _NAMES.index(kind) if kind in _NAMES else 32
            codes.append({0: ("b", min(number, 127)), 2: ("i", 2 if kind == "BROADCAST_TO" else 1), 3: ("i", number)})
            if number == 32:
                codes[-1][1] = kind
        graphs = [
            {
                0: one.tensors,
                1: np.array(one.inputs, np.int32),
                2: np.array(one.outputs, np.int32),
                3: one.operators,
                4: one.name,
            }
            for one in self.subgraphs
        ]
        writer.point(0, {0: ("I", 3), 1: codes, 2: graphs, 3: "", 4: self.buffers})
        return bytes(writer.data)


def litert(data, inputs):
    """What LiteRT's interpreter makes of a file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=kind)
    for one, x in zip(made.get_input_details(), inputs, strict=True):
        made.resize_tensor_input(one["index"], x.shape)
    made.allocate_tensors()
    for one, x in zip(made.get_input_details(), inputs, strict=True):
        made.set_tensor(one["index"], x)
    made.invoke()
    return [made.get_tensor(one["index"]) for one in made.get_output_details()]


def close(found, expected, error=2e-5):
    """Whether numbers agree, to `error` of the largest."""
    assert found.shape == np.shape(expected), (found.shape, np.shape(expected))
    if np.asarray(expected).dtype.kind in "iub":
        np.testing.assert_array_equal(found, expected)
        return
    most = float(np.abs(expected).max(initial=1e-9))
    assert float(np.abs(np.asarray(found, np.float64) - expected).max(initial=0)) <= error * most


def agrees(file, inputs, *expected, check=True):
    """Our numbers are those expected, and so are LiteRT's where it is there."""
    data = file if isinstance(file, bytes) else file.bytes()
    found = fl.Model.load(data)(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    for one, wanted in zip(found, expected, strict=True):
        close(one, wanted)
    if LITERT and check:
        for one, wanted in zip(litert(data, inputs), expected, strict=True):
            close(one, wanted, 1e-4)


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
