"""Loops over masked sequences against what they mean: layers over the valid steps, whatever pattern these have."""

import numpy as np
import pytest
from graphs import Builder, ops, random

import fusedlstm as fl
from fusedlstm.graph import Graph, Value, evaluate, node
from fusedlstm.graph.passes import simplify

BOOL = np.dtype(np.bool_)
VALID = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], bool).T


def masked(kind="LSTM", zero=False, begin=0.0, mask_type=BOOL, rank=3, columns=False, other=False):
    """As Keras writes it: states and what came out last are chosen by the mask of the step."""
    batch = 4 if columns else "batch"
    gates, names = {"LSTM": (4, "hc"), "GRU": (3, "h")}[kind]
    inputs = ["turn", "go", "before", *names]
    shapes = [Value("turn", np.dtype(np.int64), ()), Value("go", BOOL, ())]
    shapes += [Value(name, np.dtype(np.float32), (batch, 4)) for name in inputs[2:]]
    body = Builder()
    body.prefix = "in."
    step = body("Unsqueeze", body("Gather", "x", "turn"), body.const(np.array([0])))
    states = [body("Unsqueeze", name, body.const(np.array([0]))) for name in names]
    weights = [body.const(random(1, gates * 4, size, seed=size)) for size in (3, 4)]
    made = body(kind, step, *weights, "", "", *states, outputs=1 + len(names), hidden_size=4)
    new = [body("Squeeze", one, body.const(np.array([0]))) for one in made[1:]]
    valid = body("Gather", "mask", "turn")
    valid = valid if rank == 3 else body("Unsqueeze", valid, body.const(np.array([1])))
    valid = valid if mask_type == BOOL else body("Cast", valid, to=BOOL)
    valid = body("Reshape", valid, body.const(np.array([1, 4]))) if columns else valid
    out = body("Where", valid, new[-1 if other else 0], "zeros" if zero else "before")
    chosen = [body("Where", valid, one, name) for one, name in zip(new, names)]
    kept = body("Where", valid, new[0], "before")
    inner = Graph.unchecked(tuple(shapes), tuple(map(Value, ("go", kept, *chosen, out))), tuple(body.nodes))
    shape = ("time", batch, 1)[:rank]
    b = Builder(x=("time", batch, 3), mask=(mask_type, shape))
    b.constants = {**body.constants, "four": np.array([4])}
    size = b("Concat", b("Shape", "x", start=1, end=2), "four", axis=0)
    first = [b("Expand", b.const(np.float32(begin)), size) for _ in inputs[2:]]
    b.nodes.append(node("ConstantOfShape", [size], ["zeros"]))
    steps = b("Squeeze", b("Shape", "x", start=0, end=1), b.const(np.array([0])))
    b.nodes.append(node("Loop", [steps, "", *first], ["last", *(f"{n}_n" for n in names), "y"], body=inner))
    return b.graph("last", *(f"{n}_n" for n in names), "y")


def given(mask_type=BOOL, rank=3, rows=5):
    mask = VALID[:, :rows] if rank == 2 else VALID[:, :rows, None]
    return {"x": random(5, rows, 3), "mask": mask.astype(mask_type)}


def agrees(graph, inputs):
    wanted, found = evaluate(graph, inputs), fl.Model(graph).run(inputs)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_layer(kind, zero, rank):
    graph = masked(kind, zero, rank=rank)
    found = ops(simplify(graph))
    assert "Loop" not in found and ("GRU" if kind == "GRU" else "fusedlstm.LSTM") in found
    agrees(graph, given(rank=rank))


@pytest.mark.parametrize(
    "how", [{"begin": 0.5}, {"mask_type": np.dtype(np.float32)}, {"columns": True}, {"other": True, "zero": True}]
)
def test_what_stays_a_loop(how):
    """What comes out first is what it begins with; a mask of numbers, or of columns; the cell state comes out."""
    graph = masked(**how)
    assert "Loop" in ops(simplify(graph))
    agrees(graph, given(how.get("mask_type", BOOL), rows=4 if "columns" in how else 5))
