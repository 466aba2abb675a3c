"""LSTMs that a file has in pieces, each alone by its name: against PyTorch, ONNX Runtime, LiteRT and float64."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tflite_loops
from graphs import Builder, random
from onnx_models import helper, numpy_helper, onnx
from test_cli import invoke
from tflite_files import LITERT, litert

import fusedlstm as fl
from fusedlstm import formats, graph
from fusedlstm.graph import Graph, Value

MODELS = Path("/work/shared/models")
torch = pytest.importorskip("torch")
nn = torch.nn


class Step(nn.Module):
    """One step with its states as inputs and outputs."""

    def __init__(self, features, hidden):
        super().__init__()
        self.cell = nn.LSTMCell(features, hidden)

    def forward(self, x, h, c):
        return self.cell(x, (h, c))


class Two(nn.Module):
    """Two cells, whose states lie in one tensor."""

    def __init__(self, features, hidden):
        super().__init__()
        self.first, self.second = nn.LSTMCell(features, hidden), nn.LSTMCell(hidden, hidden)

    def forward(self, x, h, c):
        first = self.first(x, (h[0], c[0]))
        second = self.second(first[0], (h[1], c[1]))
        return torch.stack([first[0], second[0]]), torch.stack([first[1], second[1]])


class Unrolled(nn.Module):
    """Every step written out."""

    def __init__(self, features, hidden):
        super().__init__()
        self.cell = nn.LSTMCell(features, hidden)

    def forward(self, x):
        h = c = torch.zeros(len(x), self.cell.hidden_size)
        made = []
        for t in range(x.shape[1]):
            h, c = self.cell(x[:, t], (h, c))
            made.append(h)
        return torch.stack(made, 1)


def exported(module, inputs, dynamo=False):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(module.eval(), inputs, dynamo=True, verbose=False).save(file)
        else:
            torch.onnx.export(module.eval(), inputs, file, dynamo=False)
    return file.getvalue()


def holds(lstm, cell, steps=5):
    """Whether it computes what a cell of PyTorch does, one step after the other."""
    x, h, c = torch.randn(3, steps, cell.input_size), torch.randn(3, cell.hidden_size), torch.randn(3, cell.hidden_size)
    found, _ = lstm(x.numpy() if lstm.batch_first else x.numpy().swapaxes(0, 1), (h.numpy()[None], c.numpy()[None]))
    wanted = []
    for one in x.unbind(1):
        h, c = cell(one, (h, c))
        wanted.append(h.detach().numpy())
    wanted = np.stack(wanted, 1 if lstm.batch_first else 0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("features", "dynamo"), [(3, False), (4, False), (4, True), pytest.param(3, True, marks=pytest.mark.slow)]
)
def test_cells_of_pytorch(features, dynamo):
    """Where the input is as wide as the state as well: which is which is seen from the order of inputs and outputs."""
    state = torch.randn(1, 4)
    module = Step(features, 4)
    (name,) = found = fl.LSTM.load_all(exported(module, (torch.randn(1, features), state, state), dynamo))
    assert "mul" in name.lower()
    holds(found[name], module.cell)
    module, state = Two(features, 4), torch.randn(2, 1, 4)
    data = exported(module, (torch.randn(1, features), state, state), dynamo)
    first, second = fl.LSTM.load_all(data).values()
    holds(first, module.first)
    holds(second, module.second)
    with pytest.raises(fl.FormatError, match=r"expected one LSTM, found 2; choose one with prefix=: '.*', '"):
        fl.LSTM.load(data)
    module = Unrolled(features, 4)
    data = exported(module, (torch.randn(2, 5, features),), dynamo)
    lstm = fl.LSTM.load(data)
    assert lstm.batch_first
    holds(lstm, module.cell)


def test_a_loop_of_torchscript():
    class Loop(Unrolled):
        def forward(self, x):
            h = torch.zeros(x.shape[0], 4)
            c = torch.zeros(x.shape[0], 4)
            made = torch.zeros(0, x.shape[0], 4)
            for t in range(x.shape[1]):
                h, c = self.cell(x[:, t], (h, c))
                made = torch.cat([made, h[None]], 0)
            return made

    module, file = Loop(4, 4).eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch.jit.script(module), (torch.randn(2, 5, 4),), file, dynamo=False)
    holds(fl.LSTM.load(file.getvalue()), module.cell)


def test_names_and_the_command_line(tmp_path):
    module, state = Two(3, 4), torch.randn(2, 1, 4)
    path = tmp_path / "two.onnx"
    path.write_bytes(exported(module, (torch.randn(1, 3), state, state)))
    names = list(fl.LSTM.load_all(path))
    assert names == ["/first/Mul_2", "/second/Mul_2"]  # the nodes that make h
    assert [one["prefix"] for one in json.loads(invoke("info", "--json", path))["lstms"]] == names
    invoke("convert", path, tmp_path / "second.safetensors", "--prefix", names[1])
    holds(fl.LSTM.load(tmp_path / "second.safetensors"), module.second)
    np.save(tmp_path / "x.npy", random(5, 2, 3))
    invoke("run", path, tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--prefix", names[0])
    assert np.load(tmp_path / "y.npy").shape == (5, 2, 4)
    fl.Model.load(path).save(tmp_path / "two.safetensors")
    assert list(fl.LSTM.load_all(tmp_path / "two.safetensors")) == names
    with pytest.raises(fl.FormatError, match=f"expected an LSTM called 'third', found '{names[0]}', '{names[1]}'"):
        fl.LSTM.load(path, "third")


def mixed():
    """An operator, and a cell in pieces behind it."""
    module = Step(3, 3)
    proto = onnx.load_from_string(exported(module, (torch.randn(1, 3), torch.randn(1, 3), torch.randn(1, 3))))
    (x, *_), graph_ = (one.name for one in proto.graph.input), proto.graph
    for one in graph_.node:
        for k, name in enumerate(one.input):
            if name == x:
                one.input[k] = "flat"
    arrays = {"W": random(1, 12, 3), "R": random(1, 12, 3, seed=1), "axis": np.array([0], np.int64)}
    graph_.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    before = [
        helper.make_node("Unsqueeze", [x, "axis"], ["sequence"], name="unsqueeze"),
        helper.make_node("LSTM", ["sequence", "W", "R"], ["", "last"], name="rnn", hidden_size=3),
        helper.make_node("Squeeze", ["last", "axis"], ["flat"], name="squeeze"),
    ]
    nodes = [*before, *graph_.node]
    del graph_.node[:]
    graph_.node.extend(nodes)
    return proto.SerializeToString(), module


def test_beside_operators(monkeypatch):
    """Operators come first, and cost what they did: nobody looks for pieces to load one."""
    data, module = mixed()
    looked, look = [], graph.lstms_inside
    monkeypatch.setattr(graph, "lstms_inside", lambda *given: looked.append(given) or look(*given))
    contents = formats.open(data)
    assert contents.load(fl.LSTMWeights).hidden_size == 3
    fl.LSTM.load(data, "rnn")
    assert not looked
    assert list(fl.LSTM.load_all(data)) == ["rnn", "/cell/Mul_2"]
    holds(fl.LSTM.load(data, "/cell/Mul_2"), module.cell)


def cell_of(b, x, h, c, weights):
    z = b("Add", b("MatMul", x, weights[0]), b("MatMul", h, weights[1]))
    i, f, g, o = b("Split", z, outputs=4, axis=-1, num_outputs=4)
    new = b("Add", b("Mul", b("Sigmoid", f), c), b("Mul", b("Sigmoid", i), b("Tanh", g)))
    return b("Mul", b("Sigmoid", o), b("Tanh", new)), new


WEIGHTS = random(4, 16), random(4, 16, seed=1)


def inside(made):
    return graph.lstms_inside(made, in_pieces=True)


def test_what_cannot_be_told_apart_is_refused():
    b = Builder(first=(1, 4), second=(1, 4), c=(1, 4))
    h, new = cell_of(b, "first", "second", "c", WEIGHTS)
    (read,) = inside(b.graph(b("Add", h, h), new)).values()  # h' comes out nowhere
    with pytest.raises(fl.FormatError, match="expected to know which of 'first' and 'second' is its hidden state"):
        read()
    b = Builder(x=(1, 4), h=(1, 4), c=(1, 4))
    (read,) = inside(b.graph(*cell_of(b, b("Relu", "x"), "h", "c", WEIGHTS))).values()
    np.testing.assert_allclose(read().layers[0][0].weight_hh, WEIGHTS[1].T)


def scanned(state):
    """A Scan over x (time, batch, 4) from a state that the model holds, of which every row of a batch gets a copy."""
    body = Builder(h_in=("batch", 4), c_in=("batch", 4), step=("batch", 4))
    made = cell_of(body, "step", "h_in", "c_in", WEIGHTS)
    outputs = tuple(Value(name) for name in (*made, body("Identity", made[0])))
    inner = Graph.unchecked(tuple(body.inputs), outputs, tuple(body.nodes))
    b = Builder(x=("time", "batch", 4))
    b.prefix, b.constants = "outer.", body.constants
    size = b("Slice", b("Shape", "x"), np.array([1]), np.array([2]))
    states = [b("Expand", one, b("Concat", size, np.array([4]), axis=0)) for one in state]
    found = b("Scan", *states, "x", outputs=3, body=inner, num_scan_inputs=1)
    return b.graph(found[2])


def test_learned_states_are_kept():
    """What a model starts from by itself is a part of its LSTM."""
    (read,) = inside(scanned([np.zeros((1, 4), np.float32)] * 2)).values()
    assert read().initial_state is None
    first = random(1, 4, seed=3), random(1, 4, seed=4)
    made = scanned(first)
    (read,) = inside(made).values()
    weights = read()
    for one, wanted in zip(weights.initial_state, first):
        np.testing.assert_array_equal(one[0], wanted)
    x = random(5, 2, 4)
    (name,) = (one.name for one in made.outputs)
    np.testing.assert_allclose(fl.LSTM(weights)(x)[0], graph.evaluate(made, {"x": x})[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("collect", ["list", "concatenation", "update"])
def test_loops_of_tflite(collect):
    weights = tflite_loops.cell("lstm", 4, 4)
    data = tflite_loops.loop("lstm", weights, collect=collect).bytes()
    x = random(2, 5, 4)
    lstm = fl.LSTM.load(data)
    y = lstm(x if lstm.batch_first else x.swapaxes(0, 1))[0]
    np.testing.assert_allclose(
        y if lstm.batch_first else y.swapaxes(0, 1), tflite_loops.run("lstm", weights, x), atol=1e-6
    )
    (name,) = fl.LSTM.load_all(data)
    assert fl.LSTM.load(data, name).hidden_size == 4


def test_loops_of_other_cells():
    data = tflite_loops.loop("gru", tflite_loops.cell("gru", 4, 4)).bytes()
    with pytest.raises(fl.FormatError, match=r"expected an LSTM, found none .*in its loops \(WHILE\) no LSTM was"):
        fl.LSTM.load(data)


@pytest.mark.skipif(not MODELS.exists(), reason="the models are not here")
class TestRealFiles:
    def test_a_step_of_silero(self):
        onnxruntime = pytest.importorskip("onnxruntime")
        path = MODELS / "silero_v5_decoder.onnx"
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        x, state = random(1, 128), random(2, 1, 128)
        names = [one.name for one in session.get_inputs()]
        wanted = next(one for one in session.run(None, dict(zip(names, (x, state)))) if one.shape == (2, 1, 128))
        _, (h, c) = fl.LSTM.load(path, "/rnn/Mul_2")(x[None], (state[:1], state[1:]))
        np.testing.assert_allclose(np.concatenate([h, c]), wanted, rtol=0, atol=1e-6)

    @pytest.mark.skipif(not LITERT, reason="needs LiteRT")
    def test_the_first_layer_of_dtln(self):
        data = (MODELS / "dtln_1.tflite").read_bytes()
        first, second = fl.LSTM.load_all(data)
        assert first.endswith("lstm_4/lstm_cell_4/StatefulPartitionedCall/mul_2")
        x, state = np.abs(random(1, 1, 257)), random(1, 2, 128, 2)
        wanted = litert(data, [x, state])[1]
        _, (h, c) = fl.LSTM.load(data, first)(x, (state[:, 0, None, :, 0], state[:, 0, None, :, 1]))
        np.testing.assert_allclose(h[0], wanted[:, 0, :, 0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(c[0], wanted[:, 0, :, 1], rtol=0, atol=1e-6)
        _, (h, c) = fl.LSTM.load(data, second)(h, (state[:, 1, None, :, 0], state[:, 1, None, :, 1]))
        np.testing.assert_allclose(h[0], wanted[:, 1, :, 0], rtol=0, atol=1e-6)

    def test_every_file(self):
        """Those with operators have no others; those in pieces have what they are known to have."""
        found = {}
        for path in [*MODELS.glob("*.onnx"), *MODELS.glob("*.tflite"), *MODELS.glob("*.keras"), *MODELS.glob("*.h5")]:
            found[path.name] = len(formats.open(path).pieces[fl.LSTMWeights])
        assert {name: count for name, count in found.items() if count} == {
            **{f"dtln_{name}.tflite": 2 for name in ("1", "2", "quant_1", "quant_2")},
            "dtln_2.onnx": 2,
            "silero_v5_decoder.onnx": 1,
            "silero_vad_op18_ifless.onnx": 2,
        }


def test_keras_written_out(tmp_path):
    keras = pytest.importorskip("keras")
    kernel, recurrent = (one.T.copy().T for one in WEIGHTS)
    x, h, c = (keras.Input((4,), name=name) for name in "xhc")
    z = keras.layers.Dense(16, use_bias=False)(x) + keras.layers.Dense(16)(h)
    i, f, g, o = keras.ops.split(z, 4, axis=-1)
    new = keras.ops.sigmoid(f) * c + keras.ops.sigmoid(i) * keras.ops.tanh(g)
    model = keras.Model([x, h, c], [keras.ops.sigmoid(o) * keras.ops.tanh(new), new])
    model.set_weights([kernel, recurrent, random(16, seed=2)])
    model.save(tmp_path / "a.keras")
    lstm = fl.LSTM.load(tmp_path / "a.keras")
    given = [random(2, 4, seed=k) for k in range(3)]
    _, found = lstm(given[0][None], (given[1][None], given[2][None]))
    for one, wanted in zip(found, model(given)):
        np.testing.assert_allclose(one[0], wanted.detach() if hasattr(wanted, "detach") else wanted, rtol=0, atol=1e-6)


def test_a_node_that_is_refused_elsewhere():
    """What cannot be run does not stand in the way of an LSTM."""
    b = Builder(x=(1, 4), h=(1, 4), c=(1, 4))
    h, new = cell_of(b, "x", "h", "c", WEIGHTS)
    made = b.graph(h, new)
    proto = helper.make_model(
        helper.make_graph(
            [
                *(helper.make_node(one.op, one.inputs, one.outputs, **_plain(one)) for one in made.nodes),
                helper.make_node("Fancy", [h], ["fancy"], domain="somebody"),
            ],
            "g",
            [helper.make_tensor_value_info(one.name, 1, one.shape) for one in made.inputs],
            [helper.make_tensor_value_info(name, 1, None) for name in (h, new, "fancy")],
            [numpy_helper.from_array(value, name) for name, value in made.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("somebody", 1)],
    )
    data = proto.SerializeToString()
    with pytest.raises(fl.FormatError, match="Fancy"):
        fl.Model.load(data)
    assert list(fl.LSTM.load_all(data)) == [h]


def _plain(one):
    return {name: value for name, value in one.attributes.items() if value is not None}
