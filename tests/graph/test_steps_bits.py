"""Steps give the same bits for a row alone or in a batch, however it lies in memory, and on every instruction set."""

import numpy as np
import pytest
from conftest import ISAS
from graphs import FLOAT, Builder, random
from planned import run_planned

from fusedlstm import _core

FUSED = [isa for isa in ISAS if isa != "scalar"]
SHAPE = (7, 10, 11)
FUNCTIONS = ["Sigmoid", "Tanh", "Exp", "Softplus", "Softsign", "Elu", "Gelu", "Mish", "Erf", "Floor", "Round", "Ceil"]
FUNCTIONS += ["Selu", "Celu", "HardSwish", "Swish", "Neg", "Abs", "Reciprocal", "Relu", "LeakyRelu"]


def axes(*numbers):
    return np.array(numbers, np.int64)


def const(*shape, seed=1):
    return random(*shape, seed=seed)


def logs(b, x):
    size = b("Add", b("Abs", x), np.float32(0.01))
    return b("Add", b("Log", size), b("Sqrt", size))


GRAPHS = {op: lambda b, x, op=op: b(op, x) for op in FUNCTIONS}
GRAPHS |= {
    "logs": logs,
    "arithmetic": lambda b, x: b(
        "Div", b("Sub", b("Mul", x, const(10, 1)), const(11)), b("Add", b("Mul", x, x), np.float32(1))
    ),
    "extremes": lambda b, x: b(
        "Where", b("Less", x, const(11)), b("Max", x, const(10, 1)), b("Min", x, np.float32(0.3))
    ),
    "batch": lambda b, x: b("BatchNormalization", x, *(np.abs(const(10, seed=k)) for k in range(4))),
    "lrn": lambda b, x: b("LRN", x, size=3),
    "max": lambda b, x: b("MaxPool", x, kernel_shape=(3,), pads=(1, 1), strides=(2,)),
    "average": lambda b, x: b("AveragePool", x, kernel_shape=(4,), pads=(1, 2)),
    "norm": lambda b, x: b("LpPool", x, kernel_shape=(3,)),
    "depthwise": lambda b, x: b("Conv", x, const(20, 1, 3), const(20), group=10, pads=(1, 1)),
    "groups": lambda b, x: b("Conv", x, const(10, 5, 3), group=2),
    "transposed": lambda b, x: b("ConvTranspose", x, const(10, 4, 5), const(4), strides=(2,)),
    "transposed depthwise": lambda b, x: b("ConvTranspose", x, const(10, 1, 5), strides=(3,), group=10),
    "pad": lambda b, x: b("Pad", x, np.array([0, 2, -1, 0, 1, 3]), mode="reflect"),
    "linear": lambda b, x: b("Resize", x, "", np.array([1, 1, 1.7], np.float32), mode="linear"),
    "across": lambda b, x: b("Resize", x, "", np.array([1, 1.4, 1], np.float32), mode="cubic"),
}
for _name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp"):
    for _axes in ((1,), (2,), (1, 2)):
        GRAPHS[f"{_name} {_axes}"] = lambda b, x, name=_name, over=_axes: b(f"Reduce{name}", x, axes(*over))
for _axis in (1, 2):
    for _name in ("Softmax", "LogSoftmax", "LpNormalization"):
        GRAPHS[f"{_name} {_axis}"] = lambda b, x, name=_name, axis=_axis: b(name, x, axis=axis)
    GRAPHS[f"layer {_axis}"] = lambda b, x, axis=_axis: b(
        "LayerNormalization", x, const(*SHAPE[axis:]), const(*SHAPE[axis:], seed=2), axis=axis
    )
    GRAPHS[f"rms {_axis}"] = lambda b, x, axis=_axis: b("RMSNormalization", x, const(*SHAPE[axis:]), axis=axis)
GRAPHS["instance"] = lambda b, x: b("InstanceNormalization", x, const(10), const(10, seed=2))
GRAPHS["group"] = lambda b, x: b("GroupNormalization", x, const(10), const(10, seed=2), num_groups=5)


def graph_of(name, order=(0, 1, 2)):
    """One that takes the axes of x in some order."""
    b = Builder(x=tuple(SHAPE[axis] if axis else "N" for axis in order))
    x = b("Transpose", "x", perm=tuple(int(k) for k in np.argsort(order))) if order != (0, 1, 2) else "x"
    return b.graph(GRAPHS[name](b, x))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_row_alone_or_in_a_batch(name):
    graph, x = graph_of(name), random(*SHAPE, scale=2.0)
    (whole,) = run_planned(graph, {"x": x})
    for row in range(len(x)):
        (alone,) = run_planned(graph, {"x": x[row : row + 1]})
        assert alone.tobytes() == whole[row : row + 1].tobytes(), row


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("order", [(0, 2, 1), (1, 2, 0), (2, 1, 0)])
def test_in_any_order_of_axes(name, order):
    x = random(*SHAPE, scale=2.0)
    (wanted,) = run_planned(graph_of(name), {"x": x})
    (found,) = run_planned(graph_of(name, order), {"x": np.ascontiguousarray(x.transpose(order))})
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_on_every_instruction_set(name, rows):
    graph, x = graph_of(name), random(rows, *SHAPE[1:], scale=2.0)
    found, before = {}, _core.isa()
    try:
        for isa in FUSED:
            _core.use_isa(isa)
            found[isa] = run_planned(graph, {"x": x})[0].tobytes()
        _core.use_isa("scalar")
        (scalar,) = run_planned(graph, {"x": x})
    finally:
        _core.use_isa(before)
    assert len(set(found.values())) == 1, name
    np.testing.assert_allclose(
        scalar, np.frombuffer(found[FUSED[0]], np.float32).reshape(scalar.shape), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["Sum", "Max", "LogSumExp", "Prod"])
def test_long_rows_in_any_way(kind):
    """Along rows, across them, and gathered: more terms than one chunk of a sum."""
    x = random(5, 3000, scale=0.3) + np.float32(kind == "Prod")
    for apart in (1, 2):
        b = Builder(x=(5 * apart, 3000 * apart), turned=(3000 * apart, 5 * apart))
        ends, steps = np.array([5 * apart, 3000 * apart]), np.array([apart, apart])
        one = b("Slice", "x", axes(0, 0), ends, axes(0, 1), steps)
        other = b("Slice", "turned", axes(0, 0), ends[::-1], axes(0, 1), steps)
        graph = b.graph(b(f"Reduce{kind}", one, axes(1), keepdims=0), b(f"Reduce{kind}", other, axes(0), keepdims=0))
        wide = np.repeat(np.repeat(x, apart, 0), apart, 1)
        found = run_planned(graph, {"x": wide, "turned": np.ascontiguousarray(wide.T)})
        assert found[0].tobytes() == found[1].tobytes()
        if apart == 1:
            first = found[0]
    assert first.tobytes() == found[0].tobytes()
    assert found[0].dtype == FLOAT
