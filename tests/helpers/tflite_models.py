"""TFLite models for the tests, with any of the fused operators' inputs, and what LiteRT's interpreter makes of them."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.bench.peers import tflite

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
TYPES = {np.dtype(np.float32): "FLOAT32", np.dtype(np.float16): "FLOAT16", np.dtype(np.int8): "INT8"}
TYPES |= {np.dtype(np.uint8): "UINT8", np.dtype(np.int32): "INT32"}


class Graph(tflite.Graph):
    """The bench's writer with other types, quantisation and names."""

    @property
    def model(self):
        return self._model

    @property
    def graph(self):
        return self._graph

    def stored(self, array, scale=None, zero=None, axis=0):
        """A constant of any type, quantised if `scale` is given."""
        index = self.constant(np.ascontiguousarray(array))
        tensor = self.graph.tensors[index]
        tensor.type = getattr(schema.TensorType, TYPES[array.dtype])
        if scale is not None:
            scale = np.atleast_1d(np.float32(scale))
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scale
            tensor.quantization.zeroPoint = np.broadcast_to(np.int64(0 if zero is None else zero), scale.shape).copy()
            tensor.quantization.quantizedDimension = axis
        return index

    def op(self, name, inputs, shape, names=("y",), **options):
        outputs = [self.tensor(shape) for _ in names]
        for index, one in zip(outputs, names, strict=True):
            self.graph.tensors[index].name = one
        self._add(name, inputs, outputs=outputs, **options)
        return outputs

    def dequantized(self, array, **how):
        """A constant behind a DEQUANTIZE operator."""
        index = self.stored(array, **how)
        return self.op("DEQUANTIZE", [index], array.shape, [f"d{index}"])[0]


@dataclass
class Arrays:
    """One direction's arrays as TFLite has them, absent ones None."""

    w: list
    r: list
    b: list
    p: list = field(default_factory=lambda: [None] * 3)
    projection: list = field(default_factory=lambda: [None] * 2)
    norm: list = field(default_factory=lambda: [None] * 4)

    @property
    def seventeen(self):
        return [*self.w, *self.r, *self.p, *self.b, *self.projection]

    @property
    def sizes(self):
        return self.r[1].shape  # (cells, output)


def arrays(features=3, cells=5, *, output=None, cifg=False, peephole=False, bias=True, norm=False, seed=0, scale=1.0):
    """Random arrays; `output` adds a projection, `bias` its bias."""
    rng = np.random.default_rng(seed)
    bound = scale / np.sqrt(cells)

    def uniform(*shape):
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    made = Arrays(
        [uniform(cells, features) for _ in range(4)],
        [uniform(cells, output or cells) for _ in range(4)],
        [uniform(cells) for _ in range(4)],
    )
    if peephole:
        made.p = [uniform(cells) for _ in range(3)]
    if output:
        made.projection = [uniform(output, cells), uniform(output) if bias else None]
    if norm:
        made.norm = [rng.uniform(0.5, 1.5, cells).astype(np.float32) for _ in range(4)]
    if cifg:
        made.w[0] = made.r[0] = made.b[0] = made.p[0] = made.norm[0] = None
    return made


def model(one, backward=None, *, time_major=False, batch=2, time=6, put=Graph.stored, inputs=20, merge=True, **options):
    """A graph with one LSTM. `put(graph, array)` stores a weight; biases and norms are always plain floats."""
    graph = Graph()
    output = one.sizes[1]
    x = graph.input((time, batch, one.w[1].shape[1]) if time_major else (batch, time, one.w[1].shape[1]))
    graph.graph.tensors[x].name = "x"

    def placed(direction):
        weights = [None if a is None else put(graph, a) for a in (*direction.w, *direction.r, *direction.p)]
        floats = [None if a is None else graph.constant(a) for a in direction.b]
        projection = [
            None if a is None else f(a) for f, a in zip((lambda a: put(graph, a), graph.constant), direction.projection)
        ]
        return [-1 if index is None else index for index in (*weights, *floats, *projection)]

    def states(direction):
        cells, output = direction.sizes
        return [graph.tensor((batch, size), variable=True) for size in (output, cells)]

    options = {"fusedActivationFunction": schema.ActivationFunctionType.TANH, "timeMajor": time_major} | options
    lead = (time, batch) if time_major else (batch, time)
    if backward is None:
        wired = [x, *placed(one), *states(one)]
        if inputs == 24:
            wired += [-1 if a is None else graph.constant(a) for a in one.norm]
        made = graph.op("UNIDIRECTIONAL_SEQUENCE_LSTM", wired, (*lead, output), **options)
    else:
        wired = [x, *placed(one), *placed(backward), *states(one), *states(backward), *[-1] * 9]
        shape, names = ((*lead, 2 * output), ["y"]) if merge else ((*lead, output), ["y", "y_backward"])
        made = graph.op("BIDIRECTIONAL_SEQUENCE_LSTM", wired, shape, names, mergeOutputs=merge, **options)
    graph.outputs(made)
    graph.arrays = one
    return graph


# -- ways to store a weight, for `model` ---------------------------------------------------------------------------------


def per_tensor(graph, array, put=Graph.stored):
    scale = np.float32(np.abs(array).max() / 127)
    return put(graph, np.round(array / scale).astype(np.int8), scale=scale)


def per_channel(graph, array, put=Graph.dequantized):
    if array.ndim == 1:
        return per_tensor(graph, array, put)
    scale = (np.abs(array).max(axis=1) / 127).astype(np.float32)
    return put(graph, np.round(array / scale[:, None]).astype(np.int8), scale=scale, axis=0)


def asymmetric(graph, array):
    scale = np.float32(np.abs(array).max() / 127)
    return graph.dequantized((np.round(array / scale) + 120).clip(0, 255).astype(np.uint8), scale=scale, zero=120)


def float16(graph, array):
    return graph.dequantized(array.astype(np.float16))


def saved(graph, tmp_path, name="model.tflite"):
    path = tmp_path / name
    path.write_bytes(graph if isinstance(graph, bytes) else graph.serialised())
    return path


def interpreter(graph, x):
    """All outputs, from states of zero, and the states afterwards in the order of their tensors."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    made = Interpreter(
        model_content=graph if isinstance(graph, bytes) else graph.serialised(),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], x)
    made.invoke()
    variables = [index for index, tensor in enumerate(graph.graph.tensors) if tensor.isVariable]
    return [made.get_tensor(one["index"]).copy() for one in made.get_output_details()], [
        made.get_tensor(index).copy() for index in variables
    ]


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def error(graph, x, tmp_path, run):
    """The largest difference of y, h and c from LiteRT's."""
    read = formats.open(saved(graph, tmp_path)).load(fl.LSTMWeights)
    y, (h, c) = run(read, x)
    ys, states = interpreter(graph, x)
    y = list(y) if isinstance(y, tuple) else [y]
    pairs = [*zip(y, ys, strict=True), *zip((part[d] for d in range(len(h)) for part in (h, c)), states, strict=True)]
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def many_lstms(count):
    """A file of so many LSTMs of one unit, which share all that they can: each takes 20 bytes."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 17)

    def numbers(*values):
        return builder.CreateNumpyVector(np.array(values, np.int32))

    def table(kind, **fields):
        getattr(schema, f"{kind}Start")(builder)
        for name, value in fields.items():
            getattr(schema, f"{kind}Add{name}")(builder, value)
        return getattr(schema, f"{kind}End")(builder)

    def tables(start, made):
        start(builder, len(made))
        for one in reversed(made):
            builder.PrependUOffsetTRelative(one)
        return builder.EndVector()

    data = builder.CreateNumpyVector(np.zeros(4, np.uint8))
    buffers = [table("Buffer"), table("Buffer", Data=data)]
    name, matrix, vector, x = builder.CreateString(""), numbers(1, 1), numbers(1), numbers(1, 1, 1)
    tensors = [
        table("Tensor", Shape=x, Name=name),
        table("Tensor", Shape=matrix, Buffer=1, Name=name),
        table("Tensor", Shape=vector, Buffer=1, Name=name),
        table("Tensor", Shape=matrix, Name=name, IsVariable=True),
    ]
    inputs = numbers(0, *[1] * 8, *[-1] * 3, *[2] * 4, -1, -1, 3, 3)
    options = table("UnidirectionalSequenceLSTMOptions", FusedActivationFunction=4)
    lstms = [table("Operator", Inputs=inputs, BuiltinOptionsType=71, BuiltinOptions=options) for _ in range(count)]
    operators = tables(schema.SubGraphStartOperatorsVector, lstms)
    listed = tables(schema.SubGraphStartTensorsVector, tensors)
    ends = numbers(0)
    graph = table("SubGraph", Tensors=listed, Inputs=ends, Outputs=ends, Operators=operators)
    code = table("OperatorCode", DeprecatedBuiltinCode=44, BuiltinCode=44)
    parts = {
        "OperatorCodes": tables(schema.ModelStartOperatorCodesVector, [code]),
        "Subgraphs": tables(schema.ModelStartSubgraphsVector, [graph]),
        "Buffers": tables(schema.ModelStartBuffersVector, buffers),
    }
    builder.Finish(table("Model", Version=3, **parts), b"TFL3")
    return bytes(builder.Output())
