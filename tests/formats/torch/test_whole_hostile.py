"""Whole programs of torch.export that are damaged or meant to harm: FormatError alone, soon and without much memory."""

import copy
import io
import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch")
import fuzz
import torch
import torch_programs
from bounds import within_bounds
from torch import nn
from torch.export import Dim
from torch_programs import Of

import fusedlstm as fl


def layers(self, x, mask):
    y, (h, _) = self.rnn(self.emb(x))
    g, _ = self.gru(y)
    z = torch.cat([self.norm(y), g], -1).transpose(1, 2)
    z = self.conv(z).relu_()
    z[:, 0] = 1
    z = z.masked_fill(mask[:, None], 0.0).transpose(1, 2)
    a = nn.functional.scaled_dot_product_attention(z, z, z)
    parts = a.reshape(x.shape[0], -1, 2, 2).split(1, 2)
    self.count.add_(1)
    return {"y": parts[0].sum((1, 2)), "rest": (a[:, -1], h.mean(), x.shape[1])}


def moves(self, x):
    y = x.view(-1, 4)[1:].t().flip(0)
    i = torch.tensor([2, 0])
    z = torch.stack([y[i], y[:2]]).unbind(1)
    top = x.topk(2)
    return nn.functional.pad(z[0], (1, 2)), top.values, y.argmax(0), torch.arange(3) + x.new_zeros(3), x.unfold(0, 2, 1)


@pytest.fixture(scope="module")
def files():
    torch.manual_seed(0)
    parts = {"emb": nn.Embedding(9, 3), "rnn": nn.LSTM(3, 2, batch_first=True, bidirectional=True)}
    parts |= {"gru": nn.GRU(4, 2, batch_first=True), "norm": nn.LayerNorm(4), "conv": nn.Conv1d(6, 4, 3, padding=1)}
    module = Of(layers, **parts)
    module.register_buffer("count", torch.zeros(1))
    inputs = torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5, dtype=torch.bool)
    sizes = {0: Dim("batch", max=10)}
    made = [torch_programs.exported(module.eval(), inputs, (sizes, sizes))]
    return [*made, torch_programs.exported(Of(moves), (torch.randn(3, 4),))]


def tree_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("models/model.json")]
        return json.loads(archive.read(name))


def with_tree(data, tree):
    """The archive with another program, with or without what examples it holds."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as other:
        for name in archive.namelist():
            text = json.dumps(tree) if name.endswith("models/model.json") else archive.read(name)
            other.writestr(name, text)
    return out.getvalue()


NUMBERS = [-1, 0, 1, 2, 3, 7, 127, 2**31, 2**62]


def changed(tree, rng):
    """A program with some numbers and names of its nodes and types set to others."""
    tree = copy.deepcopy(tree)
    graph = tree["graph_module"]["graph"]
    for _ in range(int(rng.integers(1, 4))):
        nodes, names = graph["nodes"], list(graph["tensor_values"])
        place = [*nodes, *graph["tensor_values"].values(), tree["graph_module"]["signature"]][
            int(rng.integers(len(nodes) * 2))
        ]
        for _ in range(12):  # down to a leaf
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = keys[int(rng.integers(len(keys)))]
            value = place[key]
            if isinstance(value, (dict, list)) and value:
                place = value
                continue
            if isinstance(value, bool):
                place[key] = not value
            elif isinstance(value, int):
                place[key] = int(rng.choice(NUMBERS))
            elif isinstance(value, str) and key in ("name", "as_name"):
                place[key] = names[int(rng.integers(len(names)))]
            elif isinstance(value, str) and key == "target":
                place[key] = nodes[int(rng.integers(len(nodes)))]["target"]
            break
        if rng.random() < 0.1:
            nodes.insert(int(rng.integers(len(nodes))), nodes.pop(int(rng.integers(len(nodes)))))
    return tree


def mutations(files, count, first):
    refused = 0
    trees = list(map(tree_of, files))
    for seed in range(first, first + count):
        rng, which = np.random.default_rng(seed), seed % len(files)
        kind = seed // len(files) % 4
        if kind == 0:
            data = fuzz.zip_of(rng, files[which])
        elif kind == 1:
            data = with_tree(files[which], fuzz.tree_of(rng, trees[which]))
        else:
            data = with_tree(files[which], changed(trees[which], rng))
        try:
            refused += not fuzz.runs(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    return refused


def test_the_whole_ones_run(files):
    assert all(fuzz.runs(data) for data in files)


@pytest.mark.filterwarnings("ignore")
def test_mutations(files):
    assert mutations(files, 24, 0) > 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_2000_mutations(files):
    assert mutations(files, 2000, 1000) > 600


# Small programs that would cost much.


def node(target, outputs, **inputs):
    arguments = [{"name": name, "arg": value, "kind": 1} for name, value in inputs.items()]
    made = [{"as_tensor": {"name": name}} for name in outputs]
    return {"target": f"torch.ops.aten.{target}", "inputs": arguments, "outputs": made, "metadata": {}}


def tensor(name):
    return {"as_tensor": {"name": name}}


def sizes(*values):
    return [{"as_int": one} if isinstance(one, int) else {"as_expr": {"expr_str": one}} for one in values]


def archive(nodes, metas, outputs, x=(4,)):
    """A program without weights."""
    metas = {"x": x, **metas}
    values = {name: {"dtype": 7, "sizes": sizes(*shape), "layout": 7, "strides": []} for name, shape in metas.items()}
    graph = {"nodes": nodes, "tensor_values": values}
    specs = {"input_specs": [{"user_input": {"arg": tensor("x")}}]}
    specs["output_specs"] = [{"user_output": {"arg": tensor(name)}} for name in outputs]
    tree = {"graph_module": {"graph": graph, "signature": specs}, "range_constraints": {}}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a/archive_format", "pt2")
        file.writestr("a/data/weights/model_weights_config.json", '{"config": {}}')
        file.writestr("a/models/model.json", json.dumps(tree, separators=(",", ":")))
    return out.getvalue()


def chain(count, make, shape, x=(4,)):
    nodes = [make(f"t{k}", f"t{k - 1}" if k else "x") for k in range(count)]
    return archive(nodes, {f"t{k}": shape for k in range(count)}, [f"t{count - 1}"], x)


LONG = "+".join(f"(s{k}*s{k + 1}//{k + 2})" for k in range(25))
CASES = {
    "joined with itself": lambda: chain(
        250, lambda new, old: node("cat.default", [new], tensors={"as_tensors": [{"name": old}] * 2}), ("s0",)
    ),
    "repeated": lambda: chain(
        250, lambda new, old: node("repeat.default", [new], self=tensor(old), repeats={"as_ints": [1 << 40]}), ("s0",)
    ),
    "constants": lambda: chain(
        250, lambda new, old: node("arange.default", [new], end={"as_int": 4_000_000}), (4_000_000,)
    ),
    "unit matrices": lambda: chain(250, lambda new, old: node("eye.default", [new], n={"as_int": 2000}), (2000, 2000)),
    "windows": lambda: chain(
        250,
        lambda new, old: node(
            "unfold.default",
            [new],
            self=tensor("x"),
            **{name: {"as_int": one} for name, one in (("dimension", 0), ("size", 2000), ("step", 1))},
        ),
        (2001, 2000),
        (4000,),
    ),
    "expressions": lambda: chain(
        50, lambda new, old: node("relu.default", [new], self=tensor(old)), (LONG,) * 4, (LONG,) * 4
    ),
    "brackets": lambda: chain(
        100, lambda new, old: node("relu.default", [new], self=tensor(old)), ("(" * 240 + ")" * 240,)
    ),
    "signs": lambda: chain(120, lambda new, old: node("relu.default", [new], self=tensor(old)), ("-" * 450 + "1",)),
    "powers": lambda: chain(200, lambda new, old: node("relu.default", [new], self=tensor(old)), ("9**9**9**9",)),
    "steps": lambda: chain(
        250,
        lambda new, old: node("tensor_split.sections", [new], self=tensor("x"), sections={"as_int": 9999}),
        (1,),
    ),
    "means of parts": lambda: chain(
        250,
        lambda new, old: node("adaptive_avg_pool1d.default", [new], self=tensor("x"), output_size={"as_ints": [4001]}),
        (1, 1, 4001),
        (1, 1, 4096),
    ),
    "views that are written to": lambda: archive(
        [
            *(
                node("unsqueeze.default", [f"v{k}"], self=tensor(f"v{k - 1}" if k else "x"), dim={"as_int": 0})
                for k in range(20)
            ),
            *(node("relu_.default", [f"w{k}"], self=tensor(f"v{k % 20}")) for k in range(220)),
        ],
        {
            **{f"v{k}": (1,) * (k + 1) + (4,) for k in range(20)},
            **{f"w{k}": (1,) * (k % 20 + 1) + (4,) for k in range(220)},
        },
        ["w219"],
    ),
}


@pytest.mark.parametrize(
    "name", [*list(CASES)[:3], *(pytest.param(one, marks=pytest.mark.slow) for one in list(CASES)[3:])]
)
def test_small_files_that_would_cost_much(name):
    data = CASES[name]()
    within_bounds(data)
    fuzz.runs(data)


def test_graphs_in_each_other():
    inner = {"nodes": [], "tensor_values": {}, "inputs": [tensor("x")], "outputs": [tensor("x")]}
    for k in range(12):
        graph = {"as_graph": {"name": f"g{k}", "graph": inner}}
        hop = node("wrap", [f"t{k}"])
        hop |= {"target": "torch.ops.higher_order.wrap_with_set_grad_enabled"}
        hop["inputs"] = [{"name": "", "arg": one} for one in ({"as_bool": False}, graph, tensor("x"))]
        inner = {"nodes": [hop], "tensor_values": {}, "inputs": [tensor("x")], "outputs": [tensor(f"t{k}")]}
    with pytest.raises(fl.FormatError, match="at most 8 deep"):
        fl.Model.load(archive(inner["nodes"], {"t11": (4,)}, ["t11"]))


def relu(new, old):
    return node("relu.default", [new], self=tensor(old))


WRONG = {
    "used before it is computed": (
        archive([relu("a", "b"), relu("b", "x")], {"a": (4,), "b": (4,)}, ["a"]),
        "'b'.*found it nowhere",
    ),
    "defined twice": (archive([relu("a", "x"), relu("a", "x")], {"a": (4,)}, ["a"]), "'a': expected one definition"),
    "another shape": (archive([relu("a", "x")], {"a": (5,)}, ["a"]), r"relu.*expected shape \(5,\), found \(4,\)"),
    "no type": (archive([relu("a", "x")], {}, ["x", "b"]), "'b'.*found it nowhere"),
    "another argument": (
        archive([node("relu.default", ["a"], self={"as_int": 3}, other={"as_strange": 1})], {"a": ()}, ["a"]),
        "relu",
    ),
    "no argument": (archive([node("relu.default", ["a"])], {"a": ()}, ["a"]), "self: expected an argument"),
    "a text": (
        archive([node("add.Tensor", ["a"], self=tensor("x"), other={"as_string": "x"})], {"a": (4,)}, ["a"]),
        "expected a tensor or a number",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    data, message = WRONG[name]
    with pytest.raises(fl.FormatError, match=message):
        fl.Model.load(data)
