"""Whole models in the native form: read back bit for bit, without another library, and as safely as anything."""

import copy
import json
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import variants
from bounds import within_bounds
from fuzz import NASTY

import fusedlstm as fl
from fusedlstm.formats.containers.safetensors import serialise
from fusedlstm.formats.native.safetensors import serialised
from fusedlstm.formats.native.stored import MODEL_KEY
from fusedlstm.graph import Graph, Value, node

DATA = Path(__file__).parents[2] / "data"
F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
RNG = np.random.default_rng(0)


def array(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def whole():
    """Every kind of attribute, constants of many types, one array under two names, a graph inside a node."""
    kernel = array(3, 4)
    branch = Graph((), (), ()).replace(
        outputs=(Value("then"),), nodes=(node("Mul", ["product", "factor"], "then", "inside"),)
    )
    other = Graph((), (), ()).replace(outputs=(Value("else"),), nodes=(node("Neg", ["product"], "else"),))
    nodes = [
        node("MatMul", ["x", "kernel"], "first", "première 🎈"),
        node("MatMul", ["x", "tied"], "second"),
        node("Add", ["first", "second"], "product"),
        node("If", ["flag"], "chosen", then_branch=branch, else_branch=other),
        node("Cast", ["wide"], "narrow", to=F32),
        node("Mul", ["chosen", "narrow"], "scaled"),
        node("Shape", ["scaled"], "shape"),
        node("ConstantOfShape", ["shape"], "filled", value=np.array([0.25], np.float32)),
        node("Add", ["scaled", "filled"], "y"),
        node("Unsqueeze", ["y", "__metadata__"], "steps"),
        node("LSTM", ["steps", "w", "r"], ["all", "h"], "cell", hidden_size=2),
        node("HardSigmoid", ["y"], "z", alpha=0.1, beta=1 / 3),
        node("fusedlstm.Dense", ["z", "square"], "dense", activation=fl.Activation("elu", 0.5)),
    ]
    constants = {
        "kernel": kernel,
        "tied": kernel,
        "turned": kernel.T,  # other numbers in the same memory
        "some": kernel[::2],
        "upper": kernel[:2],
        "factor": np.array(2.5, np.float32),
        "wide": np.array([1e-3, -1, 1, 2], np.float64),
        "__metadata__": np.array([0]),
        "w": array(1, 8, 4),
        "r": array(1, 8, 2),
        "square": array(4, 4),
    }
    inputs = [Value("x", F32, ("batch", 3)), Value("flag", np.dtype(np.bool_), ())]
    outputs = [Value("y", F32, ("batch", None)), Value("h"), Value("dense"), Value("z", np.dtype(np.float16))]
    return Graph(inputs, outputs, nodes, constants, "a name")


def same(a, b):
    """All that a graph says, arrays by their bits."""
    assert (a.name, a.inputs, a.outputs) == (b.name, b.inputs, b.outputs)
    assert len(a.nodes) == len(b.nodes)
    for one, other in zip(a.nodes, b.nodes):
        assert (one.op, one.inputs, one.outputs, one.name) == (other.op, other.inputs, other.outputs, other.name)
        assert one.attributes.keys() == other.attributes.keys()
        for name, value in one.attributes.items():
            again = other.attributes[name]
            if isinstance(value, Graph):
                same(value, again)
            elif isinstance(value, np.ndarray):
                assert (value.dtype, value.shape, value.tobytes()) == (again.dtype, again.shape, again.tobytes())
            elif not isinstance(value, fl.LSTMWeights):
                assert type(value) is type(again) and value == again, name
    assert a.constants.keys() == b.constants.keys()
    for name, value in a.constants.items():
        again = b.constants[name]
        assert (value.dtype, value.shape, value.tobytes()) == (again.dtype, again.shape, again.tobytes())


def equal(model, again, *inputs):
    found, expected = (one(*inputs) for one in (again, model))
    for y, wanted in zip(found, expected, strict=True):
        assert y.dtype == wanted.dtype and y.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("flag", [True, False])
def test_read_back(tmp_path, flag):
    model = fl.Model(whole())
    model.save(tmp_path / "m.safetensors")
    again = fl.Model.load(tmp_path / "m.safetensors")
    same(model.graph, again.graph)
    assert repr(model) == repr(again)
    equal(model, again, array(5, 3), flag)
    tensors = fl.load_tensors(tmp_path / "m.safetensors")
    assert "kernel" in tensors and "tied" not in tensors  # stored once
    assert fl.Model.load(tmp_path / "m.safetensors", outputs=["product"])(np.ones((1, 3)), flag).shape == (1, 4)
    with pytest.raises(fl.FormatError, match="nowhere"):
        fl.Model.load(tmp_path / "m.safetensors", outputs=["neither"])


@pytest.mark.parametrize("seed", range(20))
def test_lstms_of_any_kind(seed):
    weights = variants.random_weights(np.random.default_rng(seed), largest=9)
    if seed % 4 == 0:
        weights = fl.LSTM(weights).astype(["float16", "bfloat16", "int8"][seed // 4 % 3]).weights
    nodes = [
        node("fusedlstm.LSTM", ["x"], ["y"], weights=weights),
        node("fusedlstm.LSTM", ["x"], ["z"], weights=weights, x_batch_first=1),
    ]
    graph = Graph([Value("x", F32, (None, None, weights.input_size))], [Value("y"), Value("z")], nodes)
    model, data = fl.Model(graph), serialised(graph)
    again = fl.Model.load(data)
    assert [one.attributes["weights"].dtype for one in again.graph.nodes] == [weights.dtype] * 2
    assert again.graph.nodes[0].attributes["weights"] is again.graph.nodes[1].attributes["weights"]
    x = array(3, 3, weights.input_size)
    equal(model, again, x)
    if weights.merge != "none":
        np.testing.assert_array_equal(again(x)[0], fl.LSTM(replace(weights, batch_first=False))(x)[0])
    alone = fl.LSTM.load(data, "z")
    assert alone.batch_first and alone.weights.differences == weights.differences
    assert data == serialised(again.graph)


def test_copies_and_pickles():
    model, x = fl.Model(whole()), array(2, 3)
    for again in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        equal(model, again, x, True)


def test_lstms_inside_have_names(tmp_path):
    fl.Model(whole()).save(tmp_path / "m.safetensors")
    assert list(fl.LSTM.load_all(tmp_path / "m.safetensors")) == ["cell"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the file says the order of the axes
        lstm = fl.LSTM.load(tmp_path / "m.safetensors")
        x = array(6, 1, 4)
        assert lstm(x)[0].shape == (6, 1, 2)


def test_lstms_inside_are_those_of_the_onnx_file(tmp_path):
    """By the same names, with their axes in the same order, those on top of each other apart."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")

    class Stack(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.LSTM(3, 4, 2, batch_first=True), torch.nn.LSTM(4, 2, bidirectional=True)

        def forward(self, x):
            return self.b(self.a(x)[0].transpose(0, 1))[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Stack(), torch.zeros(1, 5, 3), tmp_path / "m.onnx", dynamo=False)
    fl.Model.load(tmp_path / "m.onnx").save(tmp_path / "m.safetensors")
    wanted, found = (fl.LSTM.load_all(tmp_path / f"m.{kind}") for kind in ("onnx", "safetensors"))
    assert len(wanted) == 3 and list(wanted) == list(found)
    for one, other in zip(wanted.values(), found.values()):
        x = array(3, 3, one.input_size)
        assert one.batch_first == other.batch_first
        np.testing.assert_array_equal(one(x)[0], other(x)[0])


def test_no_other_library_is_needed(tmp_path):
    fl.Model(whole()).save(tmp_path / "m.safetensors")
    code = (
        "import sys, numpy as np\n"
        "for name in ('onnx', 'torch', 'keras', 'tensorflow'): sys.modules[name] = None\n"
        "import fusedlstm as fl\n"
        f"print(fl.Model.load({str(tmp_path / 'm.safetensors')!r})(np.ones((1, 3), np.float32), True)[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 4)\n"


def test_the_file_is_safetensors(tmp_path):
    from safetensors import safe_open

    fl.Model(whole()).save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        np.testing.assert_array_equal(file.get_tensor("kernel"), fl.load_tensors(tmp_path / "m.safetensors")["kernel"])
    with pytest.raises(ValueError, match="suffix of another format"):
        fl.Model(whole()).save(tmp_path / "m.onnx")


def test_stored_file():
    """Written by version 1; outputs are PyTorch's (make_native_model.py)."""
    expected = np.load(DATA / "native_model_outputs.npz")
    model = fl.Model.load(DATA / "native_model_1.safetensors")
    assert list(model.inputs) == ["tokens", "loud"] and model.inputs["tokens"].shape == (None, None)
    for loud in (True, False):
        found = model(expected["tokens"], loud)
        np.testing.assert_allclose(found, expected[f"loud_{loud}"], rtol=2e-5, atol=1e-6)


def said_of(data):
    """Tensors, and the JSON as a tree."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    said = json.loads(header.pop("__metadata__")[MODEL_KEY])
    kinds = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
    tensors = {
        name: (
            one["dtype"],
            np.frombuffer(
                data[start + one["data_offsets"][0] : start + one["data_offsets"][1]], kinds[one["dtype"]]
            ).reshape(one["shape"]),
        )
        for name, one in header.items()
    }
    return tensors, said


def packed(tensors, said):
    return serialise(tensors, {MODEL_KEY: said if isinstance(said, str) else json.dumps(said)})


TENSORS, SAID = said_of(serialised(whole()))


def test_the_tests_pack_as_we_do():
    assert packed(TENSORS, SAID) == packed(*said_of(packed(TENSORS, SAID)))
    same(
        fl.Model.load(packed(TENSORS, SAID)).graph,
        fl.Model.load(serialised(fl.Model.load(packed(TENSORS, SAID)).graph)).graph,
    )


def at(*path):
    """A change of the value at one place."""

    def change(value):
        def changed(said):
            inner = said
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value

        return changed

    return change


def nested(depth):
    """Graphs inside each other."""
    inside = {"inputs": [], "outputs": [["x", None, None]], "nodes": [], "name": ""}
    for _ in range(depth):
        one = {"op": "If", "inputs": ["flag"], "outputs": [], "attributes": {"then_branch": inside}, "name": ""}
        inside = {"inputs": [], "outputs": [["x", None, None]], "nodes": [one], "name": ""}
    return inside


CHANGES = {
    "a newer version": (at("version")(3), "written by a later"),
    "a version with a precision, and none": (at("version")(2), "precision"),
    "no version": (at("version")(None), "expected version 1"),
    "another operator set": (at("opset")(99), "operator set 22"),
    "an unknown entry": (at("more")(1), "expected inputs, outputs, nodes, name"),
    "no nodes": (at("nodes")({}), "expected a list"),
    "an unknown operator": (at("nodes", 0, "op")("system"), "operator of docs/operators.md"),
    "an unknown attribute": (at("nodes", 0, "attributes")({"name": "x"}), "attribute 'name': expected none such"),
    "an attribute of another kind": (at("nodes", 11, "attributes", "alpha")([1]), "expected a number"),
    "a number past all": (at("nodes", 11, "attributes", "alpha")(10**400), "expected a number"),
    "a missing attribute": (at("nodes", 4, "attributes")({}), "attribute to: expected a dtype"),
    "a dtype that is none": (at("nodes", 4, "attributes", "to")("object"), "expected one of"),
    "a graph that is none": (at("nodes", 3, "attributes", "then_branch")(3), "expected an object"),
    "a tensor that is none": (at("nodes", 7, "attributes", "value")("nothing"), "name of a tensor of this file"),
    "a constant that is none": (at("constants", "w")("nothing"), "name of a tensor of this file"),
    "a constant of another type": (at("constants", "w")(["r"]), "name of a tensor of this file"),
    "two definitions": (at("nodes", 1, "outputs")(["first"]), "two"),
    "two definitions, one inside": (
        at("nodes", 3, "attributes", "then_branch", "nodes")(
            [{"op": "Neg", "inputs": ["x"], "outputs": [name], "attributes": {}, "name": ""} for name in ("y", "then")]
        ),
        "two",
    ),
    "a cycle": (at("nodes", 0, "inputs")(["y", "kernel"]), "defined before it"),
    "a name that is none": (at("nodes", 0, "inputs")(["x", 7]), "expected text"),
    "half of a character": (at("nodes", 0, "name")("\ud800"), "half of a character"),
    "too many inputs": (at("nodes", 0, "inputs")(["x"] * 3), "expected 2 inputs"),
    "an output that nothing makes": (at("outputs")([["nothing", None, None]]), "computed"),
    "a size below 0": (at("inputs", 0, 2)([-1]), "names of sizes"),
    "true as a size": (at("inputs", 0, 2)([True]), "names of sizes"),
    "a size past all": (at("inputs", 0, 2)([2**40, 3]), "at most"),
    "many sizes": (at("outputs", 0, 2)([1] * 40), "dimensions"),
    "an input that is no list": (at("inputs")([3]), "expected a list"),
    "an input of two parts": (at("inputs")([["x", None]]), "a name, a dtype and a shape"),
    "an activation that is none": (at("nodes", 12, "attributes", "activation")(["swoosh", 1, 1]), "swoosh"),
    "weights in its place": (at("nodes", 12, "attributes", "activation")(0), "a name, alpha and beta"),
    "an LSTM that is none": (
        at("nodes", 12)(
            {"op": "fusedlstm.LSTM", "inputs": ["x"], "outputs": ["dense"], "attributes": {"weights": 1}, "name": ""}
        ),
        "expected one of 0 LSTMs",
    ),
    "graphs that are too deep": (at("nodes", 3, "attributes", "then_branch")(nested(60)), "deep"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_damage_has_its_word(what):
    change, message = CHANGES[what]
    said = copy.deepcopy(SAID)
    change(said)
    with pytest.raises(fl.FormatError, match=message) as told:
        fl.Model.load(packed(TENSORS, said))
    assert len(str(told.value)) < 1000 and str(told.value).count("<bytes>") == 1


def places(tree, path=()):
    """Every place in a tree."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


WITH_LSTM = said_of(
    serialised(
        Graph(
            [Value("x", F32, (None, None, 3))],
            [Value("y")],
            [node("fusedlstm.LSTM", ["x"], "y", weights=variants.random_weights(np.random.default_rng(2)))],
        )
    )
)


@pytest.mark.parametrize(("tensors", "original"), [(TENSORS, SAID), WITH_LSTM], ids=["operators", "LSTM"])
def test_any_change_is_an_error_or_a_model(tensors, original):
    """Each place of the JSON with something else in it, or gone."""
    for path in places(original):
        for value in ("gone", *NASTY[::3]):
            said = copy.deepcopy(original)
            inner = said
            for key in path[:-1]:
                inner = inner[key]
            if value == "gone":
                del inner[path[-1]]
            else:
                inner[path[-1]] = value
            try:
                fl.Model.load(packed(tensors, said))
            except fl.FormatError as told:
                assert len(str(told)) < 2000  # noqa: PT017


def small(nodes, **more):
    return json.dumps(
        {"version": 1, "opset": 22, "inputs": [["x", "float32", [2]]], "outputs": [["x", None, None]]}
        | {"nodes": nodes, "name": "", "constants": {}, "lstms": []}
        | more
    )


def one(op, inputs, outputs, **attributes):
    return {"op": op, "inputs": inputs, "outputs": outputs, "attributes": attributes, "name": ""}


ONES = {"one": ("F32", np.ones((1024, 1), np.float32)), "big": ("I64", np.array([1024, 1 << 18]))}
COSTLY = {
    "nodes": small([one("Neg", ["x"], [str(k)]) for k in range(700)]),
    "a chain of nodes": small(
        [one("Neg", [str(k - 1) if k else "x"], [str(k)]) for k in range(700)], outputs=[["699", None, None]]
    ),
    "a sum that doubles": small(
        [one("Concat", [str(k - 1) if k else "x"] * 2, [str(k)], axis=0) for k in range(600)],
        outputs=[["599", None, None]],
    ),
    "names": small([], constants={str(k): "one" for k in range(3000)}),
    "lists": small([[]] * 20000),
    "depth": '{"version": 1, "nodes": ' + "[" * 39000 + "]" * 39000 + "}",
    "objects": small([{}] * 20000),
    "numbers": '{"version": 1, "nodes": ' + "9" * 80000 + "}",
    "zeros": small(
        [one("Expand", ["one", "big"], ["y"])], outputs=[["y", None, None]], constants={"one": "one", "big": "big"}
    ),
}


@pytest.mark.parametrize("what", COSTLY)
def test_small_files_cost_little(what):
    within_bounds(packed(ONES, COSTLY[what]))
