"""Transposes move behind what does not mind them: the same numbers, and fewer nodes."""

import numpy as np
import pytest
from graphs import Builder, ops, random, simplified

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def conv(b, x, features, filters, seed=0):
    """A convolution with channels last."""
    w = random(filters, features, 3, 3, seed=seed)
    made = b("Conv", b("Transpose", x, perm=FIRST), w, random(filters, seed=seed + 1), auto_pad="SAME_UPPER")
    return b("Transpose", made, perm=LAST)


def test_a_normalisation_and_an_activation_join_the_convolution():
    b = Builder(x=("batch", 6, 5, 3))
    x = conv(b, "x", 3, 4)
    x = b("Relu", b("Add", b("Mul", x, random(4, seed=5)), random(1, 1, 4, seed=6)))
    found = simplified(b.graph(conv(b, x, 4, 2, seed=7)))
    assert ops(found) == ["Transpose", "fusedlstm.Conv", "fusedlstm.Conv", "Transpose"]


ALONE = {
    "Sigmoid": {},
    "Clip": {},
    "Elu": {"alpha": 0.5},
    "HardSigmoid": {"alpha": 0.3},
    "Gelu": {},
    "LeakyRelu": {"alpha": 0.1},
    "Neg": {},
}


@pytest.mark.parametrize("op", ALONE)
def test_alone(op):
    b = Builder(x=("batch", 6, 5, 3))
    more = [np.array(-0.5, np.float32), np.array(0.5, np.float32)] if op == "Clip" else []
    x = b(op, b("Transpose", "x", perm=FIRST), *more, **ALONE[op])
    assert "Transpose" not in ops(simplified(b.graph(b("Transpose", x, perm=LAST))))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
def test_branches(op):
    b = Builder(x=("batch", 6, 5, 3), y=("batch", 6, 5, 3))
    x, y = (b("Transpose", name, perm=FIRST) for name in "xy")
    if op == "Div":
        y = b("Exp", y)
    x = b(op, x, y)
    x = b(op, x, np.abs(random(3, 1, 1)) + 1)
    x = b(op, np.abs(random(5, seed=3)) + 1, x)
    assert "Transpose" not in ops(simplified(b.graph(b("Transpose", x, perm=LAST))))


def test_concat_and_pad():
    b = Builder(x=("batch", 6, 5, 3), y=("batch", 6, 5, 2))
    x = b("Concat", *(b("Transpose", name, perm=FIRST) for name in "xy"), axis=1)
    x = b("Pad", x, np.array([0, 1, 2, 3, 0, 0, 1, 2]))
    found = simplified(b.graph(b("Transpose", x, perm=LAST)))
    assert ops(found) == ["Concat", "Pad"]


@pytest.mark.parametrize("keeps", [0, 1])
@pytest.mark.parametrize("axes", [(2, 3), (1,), (-1,), (1, 3)])
def test_reductions(axes, keeps):
    b = Builder(x=("batch", 6, 5, 3))
    x = b("ReduceMean", b("Transpose", "x", perm=FIRST), np.array(axes), keepdims=keeps)
    found = simplified(b.graph(x))
    assert ("Transpose" in ops(found)) == (bool(keeps) or axes == (-1,))  # what is left would be in another order


def test_what_two_take_stays():
    b = Builder(x=("batch", 6, 5, 3))
    x = b("Transpose", "x", perm=FIRST)
    found = simplified(b.graph(b("Relu", x), b("Softmax", x, axis=1)))
    assert ops(found).count("Transpose") == 1
    b = Builder(x=("batch", 6, 5, 3), y=("batch", 3, 6, 5))
    found = simplified(b.graph(b("Add", b("Transpose", "x", perm=FIRST), "y")))
    assert ops(found) == ["Transpose", "Add"]
