"""Random graphs around LSTMs against ONNX Runtime, and what is left of real files after random changes."""

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from graphs import close, random
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import helper, onnx, tensor

from fusedlstm import Model
from fusedlstm.errors import FormatError
from fusedlstm.formats.containers.source import Source
from fusedlstm.formats.onnx.whole import from_proto, read_graph
from fusedlstm.graph import evaluate
from fusedlstm.graph.passes import simplify
from fusedlstm.graph.specialise import deciding_inputs, specialise

SLOW = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
QUICK = settings(SLOW, max_examples=40)
SMALL = (
    "Relu",
    "Tanh",
    "Sigmoid",
    "Neg",
    "Abs",
    "Exp",
    "Softplus",
    "LeakyRelu",
    "Elu",
    "HardSigmoid",
    "Identity",
    "Erf",
)


class Growing:
    """A model that grows by one operator at a time; x is (batch, time, features)."""

    def __init__(self, opset, features, seed):
        self.opset, self.seed = opset, seed
        self.nodes, self.tensors, self.count = [], {}, 0
        self.live = [("x", features)]  # tensors (batch, time, features)

    def name(self):
        self.count += 1
        return f"t{self.count}"

    def const(self, value):
        name = self.name()
        self.tensors[name] = value
        return name

    def random(self, *shape):
        self.seed += 1
        return self.const(random(*shape, seed=self.seed, scale=0.5))

    def node(self, op, *inputs, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def axes(self, op, x, axes):
        """An operator whose axes were an attribute once."""
        if self.opset < 13:
            return self.node(op, x, axes=axes)
        return self.node(op, x, self.const(np.array(axes, np.int64)))


def elementwise(m, draw, x, n):
    return m.node(draw(st.sampled_from(SMALL)), x), n


def binary(m, draw, x, n):
    others = [name for name, width in m.live if width == n]
    other = draw(st.sampled_from(others)) if draw(st.booleans()) else m.random(n)
    pair = [x, other] if draw(st.booleans()) else [other, x]
    return m.node(draw(st.sampled_from(("Add", "Sub", "Mul"))), *pair), n


def dense(m, draw, x, n):
    width = draw(st.integers(1, 6))
    y = m.node("MatMul", x, m.random(n, width))
    return (m.node("Add", y, m.random(width)) if draw(st.booleans()) else y), width


def convolution(m, draw, x, n):
    width, kernel, causal = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.booleans())
    y = m.node("Transpose", x, perm=[0, 2, 1])
    pads = [kernel - 1, 0] if causal else [(kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2]
    y = m.node("Conv", y, m.random(width, n, kernel), m.random(width), pads=pads)
    if draw(st.booleans()):
        channel = [m.random(width) for _ in range(3)]
        y = m.node("BatchNormalization", y, *channel, m.const(random(width, seed=m.seed) ** 2 + 0.1))
    return m.node("Transpose", y, perm=[0, 2, 1]), width


def pooling(m, draw, x, n):
    y = m.node("Transpose", x, perm=[0, 2, 1])
    y = m.node(draw(st.sampled_from(("MaxPool", "AveragePool"))), y, kernel_shape=[3], pads=[1, 1])
    return m.node("Transpose", y, perm=[0, 2, 1]), n


def lstm(m, draw, x, n):
    direction = draw(st.sampled_from(("forward", "reverse", "bidirectional")))
    op = draw(st.sampled_from(("LSTM", "LSTM", "GRU", "RNN")))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    hidden, d = draw(st.integers(1, 5)), 2 if direction == "bidirectional" else 1
    inputs = [
        m.node("Transpose", x, perm=[1, 0, 2]),
        m.random(d, gates * hidden, n),
        m.random(d, gates * hidden, hidden),
    ]
    if draw(st.booleans()):
        inputs.append(m.random(d, 2 * gates * hidden))
    y = m.node(op, *inputs, hidden_size=hidden, direction=direction)
    if d == 1:
        y = m.axes("Squeeze", y, [1])
    else:
        y = m.node("Transpose", y, perm=[0, 2, 1, 3])
        y = m.node("Reshape", y, m.const(np.array([0, 0, -1], np.int64)))
    return m.node("Transpose", y, perm=[1, 0, 2]), d * hidden


def normal(m, draw, x, n):
    mean = m.node("ReduceMean", x, axes=[-1]) if m.opset < 18 else m.node("ReduceMean", x, m.const(np.array([-1])))
    centred = m.node("Sub", x, mean)
    square = m.node("Mul", centred, centred)
    variance = (
        m.node("ReduceMean", square, axes=[-1])
        if m.opset < 18
        else m.node("ReduceMean", square, m.const(np.array([-1])))
    )
    root = m.node("Sqrt", m.node("Add", variance, m.const(np.float32(1e-2))))
    return m.node("Add", m.node("Mul", m.node("Div", centred, root), m.random(n)), m.random(n)), n


def softmax(m, draw, x, n):
    return m.node("Softmax", x, axis=2), n


def join(m, draw, x, n):
    other, width = draw(st.sampled_from(m.live))
    return m.node("Concat", x, other, axis=draw(st.sampled_from((2, -1))) if m.opset > 10 else 2), n + width


def part(m, draw, x, n):
    start, end = sorted((draw(st.integers(0, n - 1)), draw(st.integers(1, n))))
    end = max(end, start + 1)
    if m.opset < 10:
        return m.node("Slice", x, axes=[2], starts=[start], ends=[end]), end - start
    limits = [m.const(np.array([k], np.int64)) for k in (start, end, 2)]
    return m.node("Slice", x, *limits), end - start


def backwards(m, draw, x, n):
    if m.opset < 10:
        return x, n
    limits = [m.const(np.array([k], np.int64)) for k in (-1, -(2**62), 1, -1)]
    return m.node("Slice", x, *limits), n


def around(m, draw, x, n):
    """To a flat tensor and back, by the shape at run time."""
    shape = m.node("Shape", x)
    flat = m.node("Reshape", x, m.const(np.array([-1, n], np.int64)))
    return m.node("Reshape", m.node("Tanh", flat), shape), n


def zeros(m, draw, x, n):
    """Zeros, or ones, of a size that is known when it runs."""
    fill = tensor("fill", np.array([draw(st.sampled_from((0.0, 1.0)))], np.float32))
    return m.node("Add", x, m.node("ConstantOfShape", m.node("Shape", x), value=fill)), n


STEPS = (
    elementwise,
    elementwise,
    binary,
    binary,
    dense,
    convolution,
    pooling,
    lstm,
    lstm,
    normal,
    softmax,
    join,
    part,
    backwards,
    around,
    zeros,
)


@st.composite
def models(draw):
    m = Growing(draw(st.integers(9, 22)), draw(st.integers(1, 5)), draw(st.integers(0, 99)) * 1000)
    features = m.live[0][1]
    for _ in range(draw(st.integers(1, 9))):
        x, n = draw(st.sampled_from(m.live[-3:]))
        m.live.append(draw(st.sampled_from(STEPS))(m, draw, x, n))
    y, n = m.live[-1]
    if draw(st.booleans()):  # the last step
        if m.opset < 10:
            y = m.node("Gather", y, m.const(np.array(-1, np.int64)), axis=1) if m.opset > 10 else y
        else:
            limits = [m.const(np.array([k], np.int64)) for k in (-1, 2**62, 1)]
            y = m.axes("Squeeze", m.node("Slice", y, *limits), [1])
    y = m.node("Identity", y)
    static = draw(st.booleans())
    shape = (2, 4, features) if static else ("batch", "time", features)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        m.nodes,
        "g",
        [info("x", 1, shape)],
        [info(y, 1, None)],
        [tensor(k, np.asarray(v)) for k, v in m.tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", m.opset)], ir_version=8)
    return model, [(2, 4, features)] if static else [(1, 1, features), (3, 6, features)]


def agree(case):
    import onnxruntime

    model, shapes = case
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = from_proto(model)
    assert not graph.refusals
    simple, engine = simplify(graph), Model(graph)
    for shape in shapes:
        fed = {"x": random(*shape)}
        try:
            wanted = dict(zip((one.name for one in graph.outputs), session.run(None, fed)))
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail:  # it reuses buffers of other shapes now and then
            continue
        if not all(np.isfinite(value).all() and np.abs(value).max(initial=0) < 1e4 for value in wanted.values()):
            continue
        assert not deciding_inputs(simple)
        for one in (graph, simple, specialise(simple, {"x": shape})):
            close(evaluate(one, fed), wanted, 5e-5, 0.5)
        close(engine.run(fed), wanted, 5e-5, 0.5)


@pytest.mark.slow
@SLOW
@given(models())
def test_random_graphs(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(case)


@QUICK
@given(models())
def test_some_random_graphs(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(case)


MODELS = Path("/work/shared/models")


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_changed_files(path, tmp_path):
    """Random changes to what is no tensor: refused, or read; nothing else, and never for long."""
    whole, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    model = onnx.load_from_string(bytes(whole))
    big = [one.raw_data for one in model.graph.initializer if len(one.raw_data) > 1000]
    inside = np.zeros(len(whole), bool)
    for data in big:
        at = whole.find(data)
        inside[at : at + len(data)] = True
    places = np.flatnonzero(~inside)
    for k in range(2000):
        changed = whole.copy()
        for at in rng.choice(places, rng.integers(1, 5)):
            changed[at] = rng.integers(256)
        file = tmp_path / f"{k % 2}.onnx"
        file.write_bytes(changed)
        with contextlib.suppress(FormatError):
            simplify(read_graph(Source(file)))
