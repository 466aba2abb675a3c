"""RTNeural, GuitarML and NAM files: the numbers of the modules that they were written from."""

import json

import fuzz
import numpy as np
import pytest
import reference

import fusedlstm as fl
from fusedlstm import formats

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(3)


def write(path, model):
    path.write_text(json.dumps(model))
    return path


def check(module, path, prefix=None, state=None):
    """nn.LSTM's numbers, from the oracle and the engine."""
    weights = formats.open(path).load(fl.LSTMWeights, prefix)
    x = torch.randn(2, 7, module.input_size)
    module.batch_first = True
    with torch.no_grad():
        y_, (h_, c_) = module(x, state and tuple(one.expand(-1, 2, -1).contiguous() for one in state))
    for y, (h, c) in (reference.lstm(weights, x.numpy()), fl.LSTM(weights)(x.numpy())):
        for ours, theirs in ((y, y_), (h, h_), (c, c_)):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-6)
    return weights


def layer(kind, units, weights, **more):
    return {"type": kind, "activation": "", "shape": [None, None, units], "weights": weights, **more}


def rtneural(*modules):
    """As Keras's get_weights gives them: x @ kernel, gates i, f, c, o as PyTorch's i, f, g, o."""
    layers = [layer("dense", modules[0].input_size, [[[0.5]], [0.0]])]
    for module in modules:
        p = {name: value.detach().double() for name, value in module.named_parameters()}
        arrays = [p["weight_ih_l0"].T, p["weight_hh_l0"].T, p["bias_ih_l0"] + p["bias_hh_l0"]]
        layers.append(layer("lstm", module.hidden_size, [array.tolist() for array in arrays], activation="tanh"))
    layers.append(layer("gru", 8, []))
    return {"in_shape": [None, None, 1], "layers": layers}


def test_rtneural(tmp_path):
    one, two = torch.nn.LSTM(2, 8), torch.nn.LSTM(8, 5)
    path = write(tmp_path / "a.json", rtneural(one))
    check(one, path)
    check(one, path, "lstm")
    path = write(tmp_path / "b.json", rtneural(one, two))
    assert list(formats.open(path).expect(fl.LSTMWeights)) == ["lstm", "lstm_1"]
    check(one, path, "lstm")
    check(two, path, "lstm_1")


def test_rtneural_against_keras(tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((None, 1)), keras.layers.LSTM(6, return_sequences=True)])
    weights = [np.asarray(w).tolist() for w in model.layers[0].get_weights()]
    path = write(tmp_path / "a.json", {"in_shape": [None, None, 1], "layers": [layer("lstm", 6, weights)]})
    x = np.random.default_rng(0).normal(size=(2, 9, 1)).astype(np.float32)
    y, _ = fl.LSTM.load(path)(x)
    np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=0, atol=1e-6)


def guitarml(module, **changes):
    state = {f"rec.{name}": value.tolist() for name, value in module.state_dict().items()}
    head = {"lin.weight": [[0.1] * module.hidden_size], "lin.bias": [0.2]}
    about = {"model": "SimpleRNN", "input_size": module.input_size, "skip": 1, "output_size": 1, "unit_type": "LSTM"}
    about |= {"num_layers": module.num_layers, "hidden_size": module.hidden_size, "bias_fl": True, **changes}
    return {"model_data": about, "state_dict": state | head}


@pytest.mark.parametrize("inputs, layers", [(1, 1), (2, 1), (1, 2)])
def test_guitarml(tmp_path, inputs, layers):
    module = torch.nn.LSTM(inputs, 8, layers)
    path = write(tmp_path / "a.json", guitarml(module))
    assert list(formats.open(path).expect(fl.LSTMWeights)) == ["rec"]
    check(module, path)


def test_names_of_pytorch_at_the_top(tmp_path):
    """As RTNeural's own examples for PyTorch."""
    module = torch.nn.LSTM(1, 8)
    check(module, write(tmp_path / "a.json", guitarml(module)["state_dict"]), "rec")


def nam(module, initial, outputs=1, **changes):
    numbers = []
    for k in range(module.num_layers):
        p = {
            name: getattr(module, f"{name}_l{k}").detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        numbers += torch.cat([p["weight_ih"], p["weight_hh"]], 1).flatten().tolist()
        numbers += (p["bias_ih"] + p["bias_hh"]).tolist() + initial[0][k, 0].tolist() + initial[1][k, 0].tolist()
    numbers += [0.25] * (outputs * (module.hidden_size + 1))
    config = {"input_size": module.input_size, "hidden_size": module.hidden_size, "num_layers": module.num_layers}
    if outputs > 1:
        config["out_channels"] = outputs
    return {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": numbers, **changes}


@pytest.mark.parametrize("layers, inputs, outputs", [(1, 1, 1), (3, 1, 1), (2, 2, 3)])
def test_nam(tmp_path, layers, inputs, outputs):
    """Its learned initial state is part of the model."""
    module = torch.nn.LSTM(inputs, 8, layers)
    initial = (torch.randn(layers, 1, 8), torch.randn(layers, 1, 8))
    path = write(tmp_path / "a.nam", nam(module, initial, outputs))
    weights = check(module, path, state=initial)
    np.testing.assert_array_equal(np.stack(weights.initial_state[0])[:, 0], initial[0][:, 0])
    zeros = (torch.zeros(layers, 1, 8),) * 2
    assert check(module, write(path, nam(module, zeros, outputs))).plain


def changed(model, value, *keys):
    model = json.loads(json.dumps(model))
    place = model
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return model


def models():
    module = torch.nn.LSTM(1, 2)
    return {
        "rtneural": rtneural(module),
        "guitarml": guitarml(module),
        "nam": nam(module, (torch.ones(1, 1, 2), torch.ones(1, 1, 2))),
    }


REFUSED = [
    ("rtneural", "relu", ("layers", 1, "activation"), r"layers\[1\]\.activation: expected 'tanh', found 'relu'"),
    ("rtneural", [], ("layers", 1, "weights"), r"layers\[1\]\.weights: expected kernel.*found 0 arrays"),
    ("rtneural", 3, ("layers", 1, "weights"), r"layers\[1\]\.weights: expected kernel.*found int"),
    (
        "rtneural",
        [[1.0] * 8] * 2,
        ("layers", 1, "weights", 0),
        r"layers\[1\]\.weights\[0\]: expected shape \(1, 8\), found \(2, 8\)",
    ),
    (
        "rtneural",
        [[1.0] * 8, [1.0]],
        ("layers", 1, "weights", 1),
        r"layers\[1\]\.weights\[1\]: expected lists of equal length",
    ),
    (
        "rtneural",
        [1.0] * 7,
        ("layers", 1, "weights", 2),
        r"layers\[1\]\.weights\[2\]: expected shape \(8,\), found \(7,\)",
    ),
    (
        "rtneural",
        [1.0] * 7 + ["1"],
        ("layers", 1, "weights", 2),
        r"layers\[1\]\.weights\[2\]: expected numbers .*found 1",
    ),
    (
        "rtneural",
        [1.0] * 7 + [True],
        ("layers", 1, "weights", 2),
        r"layers\[1\]\.weights\[2\]: expected numbers .*found True",
    ),
    (
        "rtneural",
        [1.0] * 7 + [1e39],
        ("layers", 1, "weights", 2),
        r"layers\[1\]\.weights\[2\]: expected numbers .*found 1e\+39",
    ),
    ("rtneural", [None, None, 3], ("layers", 1, "shape"), r"layers\[1\]\.weights\[0\]: expected shape \(1, 12\)"),
    ("rtneural", [], ("layers", 1, "shape"), r"layers\[1\]\.shape: expected a list that ends in a size"),
    ("rtneural", [None, None, None], ("in_shape",), "in_shape: expected a whole number above 0, found None"),
    ("rtneural", ..., ("layers", 1, "type"), r"layers\[1\]: expected an object with type and shape"),
    ("guitarml", "GRU", ("model_data", "unit_type"), "model_data.unit_type: expected 'LSTM', found 'GRU'"),
    ("guitarml", 3, ("model_data", "hidden_size"), "model_data.hidden_size: expected 2 as in state_dict, found 3"),
    ("guitarml", 2, ("model_data", "num_layers"), "model_data.num_layers: expected 1 as in state_dict, found 2"),
    ("guitarml", [1.0] * 7, ("state_dict", "rec.bias_ih_l0"), r"rec.bias_ih_l0: expected shape \(8,\).*found \(7,\)"),
    ("guitarml", ..., ("state_dict", "rec.bias_ih_l0"), "rec.bias_ih_l0: expected a tensor, found none"),
    ("guitarml", [[None]] * 8, ("state_dict", "rec.weight_ih_l0"), "rec.weight_ih_l0: expected numbers"),
    ("guitarml", [[[[[[[[[[]]]]]]]]]], ("state_dict", "lin.bias"), "lin.bias: expected at most 8 lists in each other"),
    ("nam", "WaveNet", ("architecture",), "architecture: expected 'LSTM', found 'WaveNet'"),
    ("nam", 2, ("config", "num_layers"), r"weights: expected \d+ numbers for 2 layer.* of 2 units, .*found 39"),
    ("nam", 10**12, ("config", "num_layers"), r"weights: expected \d+ numbers for 10+ layer.*found 39"),
    ("nam", 0, ("config", "num_layers"), "config.num_layers: expected a whole number above 0, found 0"),
    ("nam", True, ("config", "hidden_size"), "config.hidden_size: expected a whole number above 0, found True"),
    ("nam", ..., ("config", "input_size"), "config.input_size: expected a whole number above 0, found None"),
    ("nam", [1.0] * 42, ("weights",), "weights: expected 39 numbers for 1 layer.*found 42"),
    ("nam", [[1.0]], ("weights",), "config, weights: expected an object and a flat list"),
    ("nam", 3, ("config",), "config, weights: expected an object and a flat list"),
]


@pytest.mark.parametrize(
    "name, value, keys, message", REFUSED, ids=[f"{n}-{'.'.join(map(str, k))}-{v!s:.15}" for n, v, k, _ in REFUSED]
)
def test_refused(tmp_path, name, value, keys, message):
    path = write(tmp_path / "a.json", changed(models()[name], value, *keys))
    with pytest.raises(fl.FormatError, match=rf"a\.json: {message}"):
        formats.open(path).load(fl.LSTMWeights)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"a": NaN}', "NaN where a finite number"),
        ('{"a": -Infinity}', "-Infinity where a finite number"),
        ('{"a": 1, "a": 2}', "'a' twice in one object"),
        ('{"a": 1', "model: expected JSON, found it damaged"),
        ('{"a": ' + "[" * 100_000, "nested a few levels deep"),
        ('{"a": ' + '{"a":' * 100_000, "nested a few levels deep"),
        ('{"a": ' + "1" * 10_000 + "}", "model: expected JSON, found it damaged"),
        ('{"a": "\ud800"}'.encode("utf-8", "surrogatepass"), "model: expected JSON, found it damaged"),
        ('{"layers": [], "name": "x"}', "found a JSON object with 'layers', 'name'"),
        ("{}", "found a JSON object with nothing in it"),
        ('{"in_shape": [1], "layers": []}', "expected an LSTM, found none"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_strange_json(tmp_path, text, message):
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(fl.FormatError, match=message):
        formats.open(tmp_path / "a.json").expect(fl.LSTMWeights)


def test_too_long(tmp_path, monkeypatch):
    from fusedlstm.formats.audio import models as json_models

    monkeypatch.setattr(json_models, "MAX_BYTES", 100)
    path = write(tmp_path / "a.json", models()["nam"])
    with pytest.raises(fl.FormatError, match="expected at most 100 bytes of JSON, found"):
        formats.open(path).load(fl.LSTMWeights)


def test_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(models()["guitarml"]).encode())
    assert formats.open(tmp_path / "a.json").load(fl.LSTMWeights).hidden_size == 2


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["rtneural", "guitarml", "nam"])
def test_fuzz(tmp_path, name, count):
    rng, model = np.random.default_rng(5), models()[name]
    text = json.dumps(model).encode()

    def files():
        for k in range(count):
            yield fuzz.bytes_of(rng, text) if k % 2 else json.dumps(fuzz.tree_of(rng, model)).encode()

    assert fuzz.survives(tmp_path / "a.json", files(), seconds=1.0, megabytes=4) > count / 4
