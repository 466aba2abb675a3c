"""Products with constants that are no product of rows as they stand, in lower precisions: against NumPy's."""

import numpy as np
import pytest
from rounding import held
from test_model_precision import f4, model, numbers, rows, schemes

import fusedlstm as fl
from fusedlstm.graph import Graph, Value, node

EINSUMS = {
    "btd,dhk->bhtk": ((2, 5, 12), (12, 3, 7)),
    "dhk,btd->hbtk": ((2, 5, 12), (12, 3, 7)),
    "b...hk,nhk->b...n": ((2, 5, 3, 4), (6, 3, 4)),
    "...xy,nyx->...n": ((2, 5, 3, 4), (6, 4, 3)),
}


def in_rows(equation, x, w, dtype, products):
    """An einsum of x and weights, of which each output is a row: the products are rounded row by row."""
    first, second = equation.split("->")[0].split(",")
    of_x, of_w = (second, first) if first == "dhk" else (first, second)
    out = equation.split("->")[1]
    summed = "".join(one for one in of_x if one in of_w)
    columns = "".join(one for one in of_w if one not in of_x)
    kept = np.einsum(f"{of_w}->{columns}{summed}", w)
    kept = held(kept.reshape(-1, np.prod([w.shape[of_w.index(one)] for one in summed])), dtype)
    rest = of_x.translate({ord(one): None for one in summed})
    turned = np.einsum(f"{of_x}->{rest}{summed}", x)
    lead = turned.shape[: turned.ndim - len(summed)]
    y = rows(kept, turned.reshape(*lead, -1), 0, products)
    y = y.reshape(*lead, *(w.shape[of_w.index(one)] for one in columns))
    return np.einsum(f"{rest}{columns}->{out}", y)


@schemes
@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum_with_weights(equation, dtype, products):
    of_x, of_w = EINSUMS[equation]
    x, w = numbers(*of_x), numbers(*of_w, seed=1)
    names = ["w", "x"] if equation.startswith("dhk") else ["x", "w"]
    full = model([node("Einsum", names, ["y"], "heads/sum", equation=equation)], (None, *of_x[1:]), {"w": w})
    expected = in_rows(equation, x, w, dtype, products)
    found = full.astype(dtype, products)(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-6 * max(1, np.abs(expected).max()))
    alone = full.astype(dtype, products)(x[1:])
    assert alone.tobytes() == np.take(found, [1], "hbtk".index("b") if equation.startswith("dhk") else 0).tobytes()
    assert full.astype(dtype, products, keep=["heads"])(x).tobytes() == full(x).tobytes()


@schemes
@pytest.mark.parametrize("count", [1, 3, 40])
def test_weights_on_the_left(dtype, products, count):
    w, x = numbers(8, 12), numbers(2, 12, count, seed=1)
    nodes = [node("MatMul", ["w", "x"], ["z"], "mix"), node("Add", ["z", "b"], ["y"])]
    full = model(nodes, (None, 12, None), {"w": w, "b": numbers(8, 1, seed=2)})
    made = rows(held(w, dtype), x.swapaxes(1, 2), 0, products).reshape(2, count, 8)
    expected = made.swapaxes(1, 2) + numbers(8, 1, seed=2)
    low = full.astype(dtype, products)
    np.testing.assert_allclose(low(x), expected, rtol=0, atol=4e-6)
    assert low(x[1:]).tobytes() == low(x)[1:].tobytes()
    assert full.astype(dtype, products, keep=["mix"])(x).tobytes() == full(x).tobytes()
    with pytest.raises(ValueError, match="keep: expected a node with weights, of 'mix'"):
        full.astype(dtype, keep=["head"])


def test_a_bilinear_form():
    w, x, z = numbers(7, 9, 8), numbers(5, 9, seed=1), numbers(5, 8, seed=2)
    made = node("Einsum", ["x", "w", "z"], ["y"], "form", equation="...i,oij,...j->...o")
    values = [Value("x", np.dtype(f4), (None, 9)), Value("z", np.dtype(f4), (None, 8))]
    full = fl.Model(Graph(values, [Value("y")], [made], {"w": w}))
    inner = rows(held(w.swapaxes(1, 2).reshape(56, 9), "int8"), x, 0, "int16").reshape(5, 7, 8)
    np.testing.assert_allclose(full.astype("int8")(x, z), np.einsum("boj,bj->bo", inner, z), rtol=0, atol=4e-6)
    assert full.astype("int8").in_words() == "int8 weights"


@pytest.mark.parametrize("equation", ["bhd,hdk->bhk", "bd,dk->k", "bd,ek->bk", "bd,dk->bdk", "bdd,dk->bk"])
def test_einsums_that_are_no_product_of_rows_stay(equation):
    sizes = dict(zip("bhdke", (4, 3, 5, 6, 2)))
    x, w = (numbers(*(sizes[one] for one in part), seed=2) for part in equation.split("->")[0].split(","))
    full = model([node("Einsum", ["x", "w"], ["y"], "sum", equation=equation)], x.shape, {"w": w})
    assert full.astype("int8")(x).tobytes() == full(x).tobytes()
    assert full.astype("int8").in_words() == "int8 weights; float32 stays: sum (Einsum) 100.0%"
