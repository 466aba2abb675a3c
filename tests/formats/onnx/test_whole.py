"""Whole ONNX files: operator sets old and new against ONNX Runtime, functions, files that are meant to harm."""

import contextlib
import os
import time
import warnings

import numpy as np
import pytest
from graphs import close, ops, random
from onnx_models import TensorProto, helper, onnx, tensor

from fusedlstm.errors import FormatError
from fusedlstm.formats.containers.source import Source
from fusedlstm.formats.onnx.whole import read_graph
from fusedlstm.graph import evaluate
from fusedlstm.graph.passes import simplify

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def info(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def proto(nodes, inputs=None, outputs=("y",), tensors=None, opset=17, **fields):
    inputs = {"x": ("batch", 3, 8)} if inputs is None else inputs
    graph = helper.make_graph(
        nodes,
        "g",
        [info(name, shape) for name, shape in inputs.items()],
        [one if not isinstance(one, str) else info(one) for one in outputs],
        [tensor(name, value) for name, value in (tensors or {}).items()],
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8, **fields)


def saved(model, tmp_path, name="model.onnx"):
    path = tmp_path / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def matches_runtime(model, tmp_path, **inputs):
    import onnxruntime

    path = saved(model, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    graph = read_graph(Source(path))
    assert not graph.refusals
    wanted = dict(zip((one.name for one in graph.outputs), session.run(None, inputs)))
    close(evaluate(graph, inputs), wanted)
    simple = simplify(graph)
    close(evaluate(simple, inputs), wanted)
    return simple


node = helper.make_node


@pytest.mark.parametrize(
    ("opset", "make"),
    [
        (9, lambda: [node("Squeeze", ["x1"], ["y"], axes=[1])]),
        (9, lambda: [node("Unsqueeze", ["x"], ["y"], axes=[0, 4])]),
        (9, lambda: [node("ReduceMean", ["x"], ["y"], axes=[-1], keepdims=0)]),
        (17, lambda: [node("ReduceMax", ["x"], ["y"], axes=[1])]),
        (11, lambda: [node("ReduceSum", ["x"], ["y"], axes=[1])]),
        (9, lambda: [node("Slice", ["x"], ["y"], axes=[1, 2], starts=[0, -3], ends=[2, 100])]),
        (9, lambda: [node("Split", ["x"], ["y", "z"], axis=2, split=[3, 5])]),
        (12, lambda: [node("Split", ["x"], ["y", "z"], axis=2)]),
        (8, lambda: [node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0], mode="nearest")]),
        (10, lambda: [node("Resize", ["x", "scales"], ["y"], mode="linear")]),
        (9, lambda: [node("Dropout", ["x"], ["y"], ratio=0.3)]),
        (9, lambda: [node("Clip", ["x"], ["y"], min=-0.5, max=0.25)]),
        (9, lambda: [node("Clip", ["x"], ["y"], max=0.25)]),
        (9, lambda: [node("Pad", ["x"], ["y"], pads=[0, 0, 2, 0, 0, 1], value=1.5)]),
        (9, lambda: [node("Pad", ["x"], ["y"], pads=[0, 0, 2, 0, 0, 1], mode="reflect")]),
        (9, lambda: [node("Softmax", ["x"], ["y"])]),
        (11, lambda: [node("LogSoftmax", ["x"], ["y"], axis=1)]),
        (12, lambda: [node("Softmax", ["x"], ["y"], axis=2)]),
        (12, lambda: [node("Softmax", ["x"], ["y"], axis=0)]),
        (9, lambda: [node("TopK", ["x"], ["y", "z"], k=3)]),
        (8, lambda: [node("BatchNormalization", ["x", "s", "s", "s", "v"], ["y"])]),
        (18, lambda: [node("Split", ["x"], ["y", "z"], axis=2, num_outputs=2)]),
        (13, lambda: [node("Softmax", ["x"], ["y"], axis=1)]),
        (10, lambda: [node("Scatter", ["x", "i", "u"], ["y"], axis=2)]),
    ],
)
def test_operator_sets(opset, make, tmp_path):
    tensors = {
        "scales": np.array([1, 1, 1.5], np.float32),
        "s": random(3),
        "v": random(3) ** 2,
        "i": np.array([[[1, 2]]]),
        "u": random(1, 1, 2),
    }
    nodes, x = make(), random(2, 3, 8)
    inputs, fed = {"x": ("batch", 3, 8)}, {"x": x}
    used = {name for one in nodes for name in one.input}
    if "x1" in used:
        inputs, fed = {"x1": ("batch", 1, 8)}, {"x1": random(2, 1, 8)}
    outputs = [name for one in nodes for name in one.output]
    if nodes[0].op_type == "TopK":
        outputs = ["y", info("z", None, INT)]
    model = proto(nodes, inputs, outputs, {k: v for k, v in tensors.items() if k in used}, opset)
    matches_runtime(model, tmp_path, **fed)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_old_softmax_of_unknown_rank(op, tmp_path):
    model = proto([node(op, ["x"], ["y"], axis=1)], {"x": None}, opset=11)
    matches_runtime(model, tmp_path, x=random(2, 3, 4))


def test_functions_are_expanded(tmp_path):
    inner = helper.make_function(
        "own",
        "Scaled",
        ["a"],
        ["b"],
        [
            node("Constant", [], ["k"], value_float=0.5),
            onnx.parser.parse_node("h = LeakyRelu<alpha: float = @slope>(a)"),
            node("Mul", ["h", "k"], ["b"]),
        ],
        [helper.make_opsetid("", 17)],
        ["slope"],
    )
    outer = helper.make_function(
        "own",
        "Twice",
        ["a"],
        ["b"],
        [node("Scaled", ["a"], ["h"], domain="own", slope=0.3), node("Scaled", ["h"], ["b"], domain="own", slope=0.7)],
        [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
    )
    nodes = [node("Twice", ["x"], ["h"], domain="own"), node("Twice", ["h"], ["y"], domain="own")]
    simple = matches_runtime(proto(nodes, functions=[inner, outer]), tmp_path, x=random(2, 3, 8))
    assert ops(simple).count("LeakyRelu") == 4


def test_one_name_in_two_branches(tmp_path):
    def branch(op):
        return helper.make_graph([node(op, ["x"], ["h"]), node("Neg", ["h"], ["r"])], op, [], [info("r")])

    nodes = [
        node("If", ["flag"], ["a"], then_branch=branch("Relu"), else_branch=branch("Tanh")),
        node("If", ["flag"], ["b"], then_branch=branch("Tanh"), else_branch=branch("Relu")),
        node("Sub", ["a", "b"], ["y"]),
    ]
    for flag in (True, False):
        model = proto(nodes, tensors={"flag": np.array(flag)})
        assert not {"If"} & set(ops(matches_runtime(model, tmp_path, x=random(2, 3, 8))))


def test_outputs_cut_the_graph(tmp_path):
    nodes = [node("Relu", ["x"], ["h"]), node("Multinomial", ["h"], ["m"]), node("Unheard", ["m"], ["y"], domain="own")]
    path = saved(proto(nodes), tmp_path)
    refused = read_graph(Source(path)).refusals
    assert [one.split(":")[0] for one in refused] == ["Multinomial node 'm'", "own.Unheard node 'y'"]
    assert "random" in refused[0]
    cut = read_graph(Source(path), outputs=["h"])
    assert ops(cut) == ["Relu"] and [one.name for one in cut.outputs] == ["h"]
    with pytest.raises(FormatError, match="output 'nowhere': expected it to be computed"):
        read_graph(Source(path), outputs=["nowhere"])


@pytest.mark.parametrize(
    ("one", "match"),
    [
        (node("Unique", ["x"], ["y"]), "this operator is not supported"),
        (
            node("DynamicQuantizeLSTM", ["x"], ["y"], domain="com.microsoft"),
            r'load the float file and model.astype\("int8"\)',
        ),
        (node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y"], training_mode=1), "training mode"),
        (node("Cast", ["x"], ["y"], to=16), "expected a type of numbers that is supported, found bfloat16"),
        (node("Softmax", ["x"], ["y"], axes=3), "attribute axes: expected none such"),
        (node("Add", ["x"], ["y"]), "expected 2 inputs, found 1"),
        (
            node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="tf_crop_and_resize"),
            "expected half_pixel",
        ),
    ],
)
def test_refused_by_name(one, match, tmp_path):
    graph = read_graph(Source(saved(proto([one], tensors={"s": random(3)}), tmp_path)))
    (reason,) = graph.refusals
    assert reason.startswith(f"{(one.domain + '.') * bool(one.domain)}{one.op_type} node 'y': ")
    with contextlib.suppress(AssertionError):
        import re

        assert re.search(match, reason)
        return
    raise AssertionError(reason)


def damaged(model, tmp_path, match):
    with pytest.raises(FormatError, match=match):
        simplify(read_graph(Source(saved(model, tmp_path))))


def test_names_that_lie(tmp_path):
    damaged(proto([node("Relu", ["z"], ["y"])]), tmp_path, "tensor 'z': used, but defined nowhere")
    cycle = [node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]
    damaged(proto(cycle), tmp_path, "expected an order of nodes, found a cycle")
    twice = [node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])]
    damaged(proto(twice), tmp_path, "tensor 'y': expected one definition, found two")
    model = proto([node("Relu", ["x"], ["y"])])
    model.graph.node[0].attribute.append(helper.make_attribute("alpha", 1))
    model.graph.node[0].attribute.append(helper.make_attribute("alpha", 2))
    damaged(model, tmp_path, "expected attribute 'alpha' once, found it twice")


def test_order_of_nodes_does_not_matter(tmp_path):
    nodes = [node("Relu", ["h"], ["y"]), node("Neg", ["x"], ["h"])]
    graph = read_graph(Source(saved(proto(nodes), tmp_path)))
    assert ops(graph) == ["Neg", "Relu"]


def test_types_and_shapes_that_lie(tmp_path):
    model = proto([node("Add", ["x", "w"], ["y"])], tensors={"w": np.ones(8)})
    damaged(model, tmp_path, "Add node 'y': expected inputs of one type, found float32 and float64")
    model = proto([node("MatMul", ["x", "w"], ["y"])], tensors={"w": random(9, 2)})
    damaged(model, tmp_path, "MatMul node 'y': expected matrices that fit together")
    model = proto([node("Relu", ["x"], ["y"])], {"x": [2**40, 2**40]})
    damaged(model, tmp_path, "input 'x': expected at most .* bytes")
    model = proto([node("Reshape", ["x", "s"], ["y"])], {"x": [2, 3]}, tensors={"s": np.array([-2, -3])})
    damaged(model, tmp_path, "Reshape node 'y': expected")
    w = tensor("w", random(3))
    w.dims[0] = 2**40
    model = proto([node("Add", ["x", "w"], ["y"])])
    model.graph.initializer.append(w)
    assert "expected 4398046511104 bytes" in read_graph(Source(saved(model, tmp_path))).refusals[0]


def quickly(seconds):
    class Watch:
        def __enter__(self):
            self.start = time.perf_counter()

        def __exit__(self, *error):
            assert time.perf_counter() - self.start < seconds

    return Watch()


def test_many_nodes(tmp_path):
    nodes = [node("Neg", [f"h{k}"], [f"h{k + 1}"]) for k in range(100_000)]
    with quickly(30):
        damaged(proto(nodes, {"h0": [1]}, ["h100000"]), tmp_path, "expected at most 50000 nodes, found more")
    nodes = nodes[:20_000]
    with quickly(60):
        simplify(read_graph(Source(saved(proto(nodes, {"h0": [1]}, ["h20000"]), tmp_path))))


@pytest.mark.parametrize("depth", [20, 45, 90])
def test_deep_graphs(depth, tmp_path):
    message = helper.make_graph([node("Relu", ["x"], ["r"])], "g", [], [info("r")]).SerializeToString()
    other = helper.make_graph([], "e", [], [info("x")])
    for _ in range(depth):
        one = node("If", ["flag"], ["r"], else_branch=other)
        one.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        bare = helper.make_graph([], "g", [], [info("r")]).SerializeToString()
        message = field(1, one.SerializeToString()[: -one.attribute[-1].ByteSize()][:-2] + attribute(message)) + bare
    model = proto([], tensors={"flag": np.array(True)})
    head = model.SerializeToString()
    whole = head + field(7, message)  # protobuf merges the two graphs
    with quickly(20), contextlib.suppress(FormatError):
        graph = read_graph(Source(saved(whole, tmp_path)))
        assert depth < 45
        simplify(graph)


def attribute(graph):
    """A field of a node: an attribute that is a graph."""
    return field(5, b"\x0a\x0bthen_branch" + field(6, graph) + b"\xa0\x01\x05")


def field(number, content):
    """A field of a protobuf message that holds bytes."""
    size, length = b"", len(content)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def test_function_bombs(tmp_path):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "F0", ["a"], ["b"], [node("Relu", ["a"], ["b"])], imports)]
    for k in range(1, 30):
        body = [node(f"F{k - 1}", ["a"], ["h"], domain="own"), node(f"F{k - 1}", ["h"], ["b"], domain="own")]
        functions.append(helper.make_function("own", f"F{k}", ["a"], ["b"], body, imports))
    with quickly(30):
        damaged(
            proto([node("F29", ["x"], ["y"], domain="own")], functions=functions),
            tmp_path,
            "expected at most 50000 nodes",
        )
    endless = helper.make_function("own", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="own")], imports)
    damaged(proto([node("F", ["x"], ["y"], domain="own")], functions=[endless]), tmp_path, "expected calls at most")


def test_loop_bomb(tmp_path):
    body = helper.make_graph(
        [node("Identity", ["go"], ["go2"]), node("Add", ["s", "s"], ["s2"])],
        "body",
        [info("i", [], INT), info("go", [], TensorProto.BOOL), info("s", [1])],
        [info("go2", [], TensorProto.BOOL), info("s2", [1])],
    )
    tensors = {"n": np.array(2**62), "t": np.array(True), "w": random(1)}
    model = proto([node("Loop", ["n", "t", "w"], ["h"], body=body), node("Add", ["x", "h"], ["y"])], tensors=tensors)
    with quickly(10):
        assert "Loop" in ops(simplify(read_graph(Source(saved(model, tmp_path)))))


def test_concat_bomb(tmp_path):
    nodes = [node("Concat", [f"k{k}", f"k{k}"], [f"k{k + 1}"], axis=0) for k in range(60)]
    nodes.append(node("ReduceMax", ["k60"], ["m"]))
    nodes.append(node("Add", ["x", "m"], ["y"]))
    with quickly(10):
        damaged(proto(nodes, tensors={"k0": random(10)}), tmp_path, "expected at most .* bytes")


def test_products_of_large_constants(tmp_path):
    nodes = [node("MatMul", [f"k{k}", f"k{k}"], [f"k{k + 1}"]) for k in range(200)]
    nodes.append(node("MatMul", ["x", "k200"], ["y"]))
    model = proto(nodes, {"x": [1, 1500]}, tensors={"k0": random(1500, 1500, scale=0.01)})
    with quickly(30):
        simplify(read_graph(Source(saved(model, tmp_path))))


def external(tmp_path, location, keys=()):
    model = proto([node("Add", ["x", "w"], ["y"])], {"x": [8]})
    w = TensorProto(name="w", data_type=FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), *keys):
        w.external_data.add(key=key, value=value)
    model.graph.initializer.append(w)
    return saved(model, tmp_path)


def test_external_data(tmp_path):
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    w = random(8)
    for folder in (tmp_path, inside, inside / "sub"):
        (folder / "w.bin").write_bytes(b"\0" * 4 + w.tobytes())
    os.symlink(tmp_path / "w.bin", inside / "link.bin")
    os.symlink(tmp_path, inside / "folder")
    offset = [("offset", "4")]
    for location in ("w.bin", "sub/w.bin"):
        path = external(inside, location, offset)
        assert "external_data=True alone" in read_graph(Source(path)).refusals[0]
        graph = read_graph(Source(path), external_data=True)
        np.testing.assert_array_equal(graph.constants["w"], w)
    for location in ("../w.bin", str(tmp_path / "w.bin"), "link.bin", "folder/w.bin", "none.bin", "sub", "", "w.bin\0"):
        graph = read_graph(Source(external(inside, location, offset)), external_data=True)
        assert graph.refusals and "tensor 'w': expected" in graph.refusals[0], location
    for keys in ([("offset", "8")], [("offset", "-4")], [("offset", "x")], [("length", "4")]):
        assert read_graph(Source(external(inside, "w.bin", keys)), external_data=True).refusals
    os.mkfifo(inside / "fifo")
    with quickly(5):
        assert read_graph(Source(external(inside, "fifo")), external_data=True).refusals


def test_changed_bytes_raise_nothing_else(tmp_path):
    nodes = [
        node("Unsqueeze", ["x", "a"], ["h"]),
        node("Conv", ["h", "w"], ["c"], pads=[1, 1]),
        node("Relu", ["c"], ["r"]),
        node("Softmax", ["r"], ["y"], axis=1),
    ]
    whole = bytearray(
        proto(nodes, {"x": ["batch", 8]}, tensors={"a": np.array([1]), "w": random(4, 1, 3)}).SerializeToString()
    )
    rng = np.random.default_rng(0)
    for _ in range(600):
        changed = whole.copy()
        for at in rng.integers(len(whole), size=rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        with contextlib.suppress(FormatError):
            simplify(read_graph(Source(saved(bytes(changed), tmp_path))))


@pytest.mark.parametrize(
    "op", ["Softmax", "Clip", "Upsample", "Pad", "Split", "BatchNormalization", "Dropout", "Constant"]
)
def test_nodes_without_inputs_or_outputs(op):
    """Whose outputs are used, is refused; the others do no harm."""
    for given, made in (([], ["q"]), (["x"], []), ([], [])):
        model = proto([helper.make_node(op, given, made), helper.make_node("Add", ["x", "x"], ["y"])], opset=8)
        graph = read_graph(Source(model.SerializeToString(), name=""), outputs=["q"] if made else None)
        assert not made or graph.refusals


@pytest.mark.parametrize("options", [{"value_float": "one"}, {"value": 1}, {"value_ints": ["a"]}, {}])
def test_constants_that_are_none(options):
    model = proto([helper.make_node("Constant", [], ["q"], **options), helper.make_node("Add", ["x", "q"], ["y"])])
    (refused,) = read_graph(Source(model.SerializeToString(), name="")).refusals
    assert "expected a number or a tensor" in str(refused)


@pytest.mark.parametrize("shape", [(), (32,), (2, 32, 8)])
def test_weights_of_another_rank(shape):
    """Where nothing is known of the sequence, whose shape is checked first."""
    tensors = {"w": np.zeros(shape, np.float32), "r": np.zeros((1, 32, 8), np.float32)}
    model = proto([helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=8)], {"x": None}, tensors=tensors)
    assert "LSTM" in ops(simplify(read_graph(Source(model.SerializeToString(), name=""))))
