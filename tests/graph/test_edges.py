"""Where graphs are small in odd ways, against ONNX Runtime: nothing along an axis, slices past an end, long chains."""

import time

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import fusedlstm as fl

FLOAT, INT64, INT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT8
node = helper.make_node


def proto(nodes, shape, outputs, **constants):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def agree(file, *shapes):
    model = fl.Model.load(file)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    peer = onnxruntime.InferenceSession(file, options)
    for shape in shapes:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        found = model.run({"x": x})
        for one, wanted in zip(found.values(), peer.run(None, {"x": x}), strict=True):
            assert (one.shape, one.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-6)


FAR = 2**40


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        (-3, FAR, 1),
        (-3, -1, 1),
        (1, -1, 1),
        (0, -2, 1),
        (2, FAR, 1),
        (-9, -FAR, -1),
        (-2, -9, -1),
        (9, 0, -2),
        (-1, 0, 1),
    ],
)
def test_slices_of_any_size(start, end, step):
    """A size that is open may be smaller than what a slice names: what follows from its shape must not be settled early."""
    nodes = [
        node("Slice", ["x", "start", "end", "axis", "step"], ["y"]),
        node("Shape", ["y"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
    ]
    ints = {"start": [start], "end": [end], "axis": [0], "step": [step]}
    for open_one in (("n", 2), None):
        for n in (1, 2, 3, 5):
            file = proto(
                nodes, open_one or (n, 2), ["y", "shape", "zeros"], **{k: np.array(v) for k, v in ints.items()}
            )
            agree(file, (n, 2))


def test_sizes_in_other_types():
    nodes = [node("Shape", ["x"], ["shape"]), *(node("Cast", ["shape"], [f"y{to}"], to=to) for to in (INT8, 6, 7))]
    agree(proto(nodes, ("a", "b"), ["y3", "y6", "y7"]), (3, 4), (300, 1))


def test_slopes_and_gains_for_an_axis_that_is_open():
    nodes = [node("PRelu", ["x", "slope"], ["y"]), node("LayerNormalization", ["y", "slope"], ["z"])]
    file = proto(nodes, ("a", "b"), ["y", "z"], slope=np.array([0.5, 2, 3], np.float32))
    agree(file, (2, 3), (1, 3))
    with pytest.raises(ValueError, match="PRelu"):
        fl.Model.load(file)(np.ones((2, 2), np.float32))


@pytest.mark.parametrize("bias", [False, True])
def test_products_of_nothing(bias):
    nodes = [node("MatMul", ["x", "w"], ["p"])]
    nodes += [node("Add", ["p", "b"], ["q"]), node("Relu", ["q"], ["y"])] if bias else [node("Identity", ["p"], ["y"])]
    constants = {"w": np.ones((0, 3), np.float32), **({"b": np.array([1, -1, 2], np.float32)} if bias else {})}
    agree(proto(nodes, ("n", 0), ["y"], **constants), (2, 0), (1, 0))


def test_an_index_into_nothing():
    model = fl.Model.load(proto([node("Gather", ["x", "last"], ["y"])], ("n", 2), ["y"], last=np.array(-1)))
    assert np.array_equal(model(np.array([[1, 2], [3, 4]], np.float32)), [3, 4])
    with pytest.raises(ValueError, match=r"Gather node 'y'.*out of range"):
        model(np.zeros((0, 2), np.float32))


def test_pads_that_cut_off_more_than_there_is():
    model = fl.Model.load(proto([node("Pad", ["x", "pads"], ["y"])], ("n",), ["y"], pads=np.array([-2, 3])))
    assert np.array_equal(model(np.array([1, 2, 3], np.float32)), [3, 0, 0, 0])
    with pytest.raises(ValueError, match="Pad node 'y': expected pads that leave something"):
        model(np.ones(1, np.float32))


def test_long_chains_of_parts():
    names = ["x", *(f"t{k}" for k in range(3000))]
    nodes = [node("Concat", [name, "x"], [names[k + 1]], axis=0) for k, name in enumerate(names[:-1])]
    agree(proto(nodes, ("n",), names[-1:]), (2,))


LARGE = {
    "Range": [node("Range", ["zero", "count", "one"], ["r"]), node("Cast", ["r"], ["y"], to=FLOAT)],
    "Pad": [node("Pad", ["x", "pads"], ["y"])],
    "Tile": [node("Tile", ["x", "repeats"], ["y"])],
    "Resize": [node("Resize", ["x", "", "", "repeats"], ["y"])],
}


@pytest.mark.parametrize("op", LARGE)
def test_tables_that_a_small_file_makes_large(op):
    """Planning is bounded, whatever sizes say that a tensor itself may have."""
    count = np.array(1 << 28)
    constants = {
        "zero": np.array(0),
        "one": np.array(1),
        "count": count,
        "pads": np.array([0, count]),
        "repeats": count[None],
    }
    nodes = [*LARGE[op][:-1], node("Add", ["x", "x"], ["x2"]), *LARGE[op][-1:]]
    model = fl.Model.load(proto(nodes, ("n",), ["y", "x2"], **constants))
    with pytest.raises(ValueError, match=f"{op} node .*: expected at most 67108864 elements along an axis, found"):
        model(np.ones(2, np.float32))


def test_places_of_what_is_not_zero_count_for_each_axis():
    """A constant of many axes has more numbers of places than elements: too many to be made while a file is read."""
    nodes = [
        node("ConstantOfShape", ["sizes"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        node("NonZero", ["ones"], ["places"]),
        node("Cast", ["places"], ["floats"], to=FLOAT),
        node("Add", ["x", "floats"], ["y"]),
    ]
    model = fl.Model.load(proto(nodes, (1,), ["y"], sizes=np.array([2] * 21)))
    assert sum(value.nbytes for value in model.simplified.constants.values()) < 100 << 20


def test_sizes_that_follow_from_sizes():
    """What is not known of a size does not grow with its history, in time or in depth."""
    far = {"start": np.array([-3]), "end": np.array([1 << 40])}
    names = ["x", *(f"t{k}" for k in range(1500))]
    nodes = [node("Slice", [name, "start", "end"], [names[k + 1]]) for k, name in enumerate(names[:-1])]
    agree(proto([*nodes, node("Relu", names[-1:], ["y"])], ("n",), ["y"], **far), (2,), (5,))
    nodes = [node("Shape", ["x"], ["s0"])]
    for k in range(300):
        nodes += [node("Div", [f"s{k}", "three"], [f"q{k}"]), node("Add", [f"q{k}", "s0"], [f"s{k + 1}"])]
    begun = time.process_time()
    agree(proto([*nodes, node("ConstantOfShape", ["s300"], ["y"])], ("n",), ["y"], three=np.array([3])), (2,), (50,))
    assert time.process_time() - begun < 5
