"""Which nodes of a model stay in float32: those that are asked for by name, and those that it says by itself."""

import re

import numpy as np
import pytest
from rounding import held
from test_model_precision import f4, model, numbers

import fusedlstm as fl
from fusedlstm.graph import node


def test_what_is_kept_stays_in_float32():
    nodes = [
        node("MatMul", ["x", "w"], ["z"], "body/dense"),
        node("MatMul", ["z", "v"], ["y"], "head/dense_1/MatMul"),
    ]
    w, v, x = numbers(6, 8), numbers(8, 4, seed=1), numbers(2, 6, seed=2)
    full = model(nodes, (None, 6), {"w": w, "v": v})
    for name in ("head", "dense_1", "head/dense_1", "dense_1/MatMul", "head/dense_1/MatMul", "*dense_1*"):
        found = full.astype("int8", keep=[name])(x)
        kept = held(w.T, "int8").T
        np.testing.assert_allclose(found, x @ kept @ v, atol=1e-4)
        assert np.abs(found - full.astype("int8")(x)).max() > 1e-4
    assert full.astype("int8", keep=["head", "body"])(x).tobytes() == full(x).tobytes()
    with pytest.raises(ValueError, match="keep: expected a node with weights, of 'body/dense', 'head/dense_1/MatMul'"):
        full.astype("int8", keep=["dense_2"])
    with pytest.raises(TypeError, match=r"keep: expected a sequence of names such as \['head'\]"):
        full.astype("int8", keep="head")


def three():
    """Products with weights whose names are parts of each other, and one of what is computed."""
    nodes = [
        node("MatMul", ["x", "a"], ["p"], "/out/MatMul"),
        node("MatMul", ["p", "b"], ["q"], "/out/MatMul/inner"),
        node("MatMul", ["q", "c"], ["s"], "/MatMul"),
        node("MatMul", ["s", "s"], ["y"], "/MatMul_1"),
    ]
    return model(nodes, (6, 6), {name: numbers(6, 6, seed=k) for k, name in enumerate("abc")}, ("p", "q", "s", "y"))


@pytest.mark.parametrize(
    "keep, kept",
    [
        (["/MatMul"], "s"),
        (["/out/MatMul"], "p"),
        (["out"], "pq"),
        (["/out"], "pq"),
        (["inner"], "q"),
        (["MatMul"], "pqs"),
        (["*/MatMul"], "ps"),
        (("/out/MatMul", "inner"), "pq"),
        (["*"], "pqs"),
        (None, ""),
        ((), ""),
    ],
)
def test_a_whole_name_means_no_other_node(keep, kept, tmp_path):
    full = three()
    low = full.astype("int8", keep=keep)
    low.save(tmp_path / "low.safetensors")
    for one in (low, fl.Model.load(tmp_path / "low.safetensors"), low.astype("int8", keep=keep)):
        x = np.eye(6, dtype=f4)
        for made, name in zip(one(x), "abc"):
            left = made
            w = numbers(6, 6, seed="abc".index(name))
            rounded = held(w.T, "int8").T
            exact = "pqs"["abc".index(name)] in kept
            np.testing.assert_allclose(left, x @ (w if exact else rounded), rtol=0, atol=2e-5)
            assert np.abs(left - x @ (rounded if exact else w)).max() > 1e-4
            x = made


@pytest.mark.parametrize(
    "keep, error, words",
    [
        ([""], ValueError, "keep: expected names, found '', which names nothing"),
        (["/"], ValueError, "keep: expected names, found '/', which names nothing"),
        (["MatMul", "."], ValueError, "found '.', which names nothing"),
        (["/MatMul_1"], ValueError, "of '/out/MatMul', '/out/MatMul/inner', '/MatMul'; found '/MatMul_1'"),
        (["/inner"], ValueError, "found '/inner'"),
        ([1], TypeError, "keep: expected names, found 1"),
        ([None], TypeError, "keep: expected names, found None"),
        (5, TypeError, "keep: expected a sequence of names, found int"),
        (b"out", TypeError, "keep: expected a sequence of names, found bytes"),
    ],
)
def test_names_that_keep_nothing(keep, error, words):
    with pytest.raises(error, match=re.escape(words)):
        three().astype("int8", keep=keep)


def test_one_matrix_of_two_nodes_of_which_one_is_kept():
    nodes = [node("MatMul", ["x", "w"], ["z"], "a"), node("MatMul", ["z", "w"], ["y"], "b")]
    w, x = numbers(6, 6), numbers(2, 6, seed=2)
    full = model(nodes, (None, 6), {"w": w}, ("z", "y"))
    z, y = full.astype("int8", keep=["b"])(x)
    assert z.tobytes() == full.astype("int8")(x)[0].tobytes() != full(x)[0].tobytes()
    np.testing.assert_allclose(y, z.astype(float) @ w, atol=1e-6)


def test_what_stays_is_said():
    """Depthwise convolutions, whose weights no product takes, products with batches of matrices, and what is kept."""
    nodes = [
        node("Conv", ["x", "depthwise"], ["p"], "depthwise", group=6),
        node("ConvTranspose", ["p", "turned"], ["q"], "turned", group=6),
        node("Conv", ["q", "few"], ["r"], "few"),
        node("Conv", ["r", "grouped"], ["s"], "grouped", group=2),
        node("MatMul", ["s", "one by one"], ["t"], "heads"),
        node("Conv", ["t", "kept"], ["y"], "kept"),
    ]
    shapes = {"depthwise": (6, 1, 3), "turned": (6, 1, 3), "few": (4, 6, 1), "grouped": (18, 2, 1), "kept": (5, 18, 1)}
    constants = {name: numbers(*shape) for name, shape in shapes.items()} | {"one by one": numbers(2, 9, 9)}
    full, x = model(nodes, (2, 6, 9), constants), numbers(2, 6, 9, seed=1)
    total = sum(one.size for one in constants.values())
    names = [("heads", "MatMul", 162), ("kept", "Conv", 90), ("depthwise", "Conv", 18), ("turned", "ConvTranspose", 18)]
    wanted = ", ".join(f"{name} ({op}) {size / total:.1%}" for name, op, size in names)
    low = full.astype("int8", "int8", keep=["kept"])
    assert low.summary() == f"{low.simplified}\nint8 by int8 weights; float32 stays: {wanted}"
    assert repr(low).endswith(", dtype=int8 by int8)") and "dtype" not in repr(full)
    assert full.summary() == str(full.simplified)
    several = model([node("Conv", ["x", "w"], ["y"], "conv", group=6)], (2, 6, 9), {"w": numbers(6, 1, 3)})
    assert several.astype("float16")(x).tobytes() == several(x).tobytes()
    with pytest.raises(ValueError, match="keep: expected a node with weights, of 'few', 'grouped', 'kept'"):
        full.astype("int8", keep=["depthwise"])
