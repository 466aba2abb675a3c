"""What a file does not say is told: once for each load, with the argument that states it, and never where it is stated."""

import json
import pickle
import re
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import random_weights
from hdf5_files import DATA

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.cli import cli
from fusedlstm.weights import BATCH_FIRST

CHECKPOINT = DATA / "pytorch_checkpoint.pt"
CELLS = DATA / "tensorflow1_cells.npz"
CELL = "plain/rnn/basic_lstm_cell"
AXES = r"^x of three axes is taken as \(batch, time, input\), as nothing says otherwise; state it with batch_first=True, or"


def heard(action):
    """What an action gives, and the assumptions that it warns of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = action()
    return result, [one for one in told if issubclass(one.category, fl.AssumptionWarning)]


@pytest.fixture(autouse=True)
def strictly():
    """What is not expected is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", fl.AssumptionWarning)
        yield


def x(lstm, *shape):
    return np.zeros((*shape, lstm.input_size), np.float32)


def test_the_order_of_the_axes_is_told_at_the_first_call_where_it_matters():
    lstm = fl.LSTM.load(CHECKPOINT)
    lstm(x(lstm, 5))
    lstm(x(lstm, 5)[None][0])
    with pytest.warns(fl.AssumptionWarning, match=AXES) as told:
        lstm(x(lstm, 2, 5))
    assert Path(told[0].filename) == Path(__file__) and told[0].message.argument == "batch_first"
    lstm(x(lstm, 2, 5))
    lstm.astype("float16")(x(lstm, 2, 5))
    lstm.astype("float16").astype("int8")(x(lstm, 2, 5))


def test_streams_do_not_depend_on_it(tmp_path):
    path = plain_npz(tmp_path)
    lstm = fl.LSTM.load(path)
    lstm.stream(2).step(x(lstm, 2))
    lstm.stream().process(x(lstm, 4))
    lstm.stream().process(x(lstm, 1, 4))
    pool = fl.StreamPool(lstm, capacity=2)
    pool.step([pool.open()], x(lstm, 1))
    pool.process({pool.open(): x(lstm, 4)})
    with pytest.warns(fl.AssumptionWarning, match=AXES):  # rows of several streams and steps do
        lstm.stream(2).process(x(lstm, 2, 4))
    lstm(x(lstm, 2, 4))


def test_packed_sequences_do_not_depend_on_it():
    torch = pytest.importorskip("torch")
    lstm = fl.LSTM.load(CHECKPOINT)
    lstm(torch.nn.utils.rnn.pack_padded_sequence(torch.zeros(4, 2, lstm.input_size), [4, 3]))


def plain_npz(folder, **arrays):
    rng = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
    for name in arrays.pop("names", [""]):
        arrays |= {name + key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_once_for_each_load(tmp_path):
    path = plain_npz(tmp_path, names=["a.", "b."])
    first = fl.LSTM.load_all(path)
    _, told = heard(lambda: [lstm(x(lstm, 2, 5)) for lstm in first.values()])
    assert len(told) == 1
    again = fl.LSTM.load(path, "a")
    with pytest.warns(fl.AssumptionWarning, match=AXES):
        again(x(again, 2, 5))


def test_once_for_all_threads(tmp_path):
    lstm = fl.LSTM.load(plain_npz(tmp_path))
    start = threading.Barrier(8)

    def call():
        start.wait()
        lstm(x(lstm, 2, 5))

    def race():
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(heard(race)[1]) == 1


@pytest.mark.parametrize("batch_first", [True, False])
def test_stated_is_silent(batch_first, tmp_path):
    """And so is all that comes of it."""
    for lstm in (
        fl.LSTM.load(CHECKPOINT, batch_first=batch_first),
        *fl.LSTM.load_all(CELLS, batch_first=batch_first, config={}).values(),
        fl.LSTM(random_weights(np.random.default_rng(0), 3, 4, batch_first=batch_first)),
    ):
        for one in (lstm, lstm.astype("bfloat16"), pickle.loads(pickle.dumps(lstm))):
            assert one.batch_first is batch_first and not one.weights.assumed and "assumed" not in repr(one)
            one(x(one, 2, 5))
            one.save(tmp_path / "a.safetensors")
            again = fl.LSTM.load(tmp_path / "a.safetensors")
            again(x(again, 2, 5))


def test_what_is_assumed_stays_so_until_it_is_saved(tmp_path):
    lstm = fl.LSTM.load(CHECKPOINT)
    assert repr(lstm).endswith("batch_first=True, assumed=batch_first)")
    for one in (lstm.astype("int8"), pickle.loads(pickle.dumps(lstm))):
        assert [a.argument for a in one.weights.assumed] == ["batch_first"] and "assumed=batch_first" in repr(one)
    with pytest.warns(fl.AssumptionWarning, match=AXES):
        lstm.save(tmp_path / "a.safetensors")
    again = fl.LSTM.load(tmp_path / "a.safetensors")
    assert not again.weights.assumed and again.batch_first
    again(x(again, 2, 5))


def test_a_stack_of_cells(tmp_path):
    torch = pytest.importorskip("torch")
    cells = torch.nn.ModuleList([torch.nn.LSTMCell(3, 4), torch.nn.LSTMCell(4, 4)])
    torch.save(cells.state_dict(), tmp_path / "a.pt")
    lstm = fl.LSTM.load(tmp_path / "a.pt", "")
    assert lstm.num_layers == 2 and lstm.weights.assumed == (BATCH_FIRST,)


def test_live_torch_modules_say():
    torch = pytest.importorskip("torch")
    for module in (torch.nn.LSTM(3, 4), torch.nn.LSTM(3, 4, batch_first=True), torch.nn.LSTMCell(3, 4)):
        lstm = fl.LSTM.from_torch(module)
        assert not lstm.weights.assumed
        lstm(x(lstm, 2, 5))


def test_exported_programs_say(tmp_path):
    torch = pytest.importorskip("torch")
    program = torch.export.export(torch.nn.LSTM(3, 4).eval(), (torch.zeros(5, 2, 3),))
    torch.export.save(program, tmp_path / "a.pt2")
    lstm = fl.LSTM.load(tmp_path / "a.pt2")
    assert not lstm.batch_first and not lstm.weights.assumed


def test_onnx_and_native_files_say():
    pytest.importorskip("onnx")
    for lstm in fl.LSTM.load_all(DATA / "onnx_torch.onnx").values():
        assert not lstm.weights.assumed
        lstm(x(lstm, 2, 5))


# TensorFlow 1's cells, ELMo, Flax: how they were built is not in the file.

TOLD = (
    r"taken as a TensorFlow 1 cell of its defaults \(forget_bias 1.0, .*; state it with config=\{\"forget_bias\": 1.0\}"
)


def test_tensorflow1_is_told_when_it_is_loaded():
    with pytest.warns(fl.AssumptionWarning, match=f"tensorflow1_cells.npz: LSTM '{CELL}': {TOLD}") as told:
        lstm = fl.LSTM.load(CELLS, CELL)
    assert Path(told[0].filename) == Path(__file__) and told[0].message.argument == "config"
    assert "assumed=batch_first+config" in repr(lstm)
    found, told = heard(lambda: fl.LSTM.load_all(CELLS))
    assert len(told) == 1 and repr(CELL) in str(told[0].message) and len(found) > 2
    assert "full/rnn/lstm_cell" not in str(told[0].message)  # whose arrays say it


def test_tensorflow1_stated():
    """By the caller, or by the file (data/make_tensorflow1.py); both may not contradict each other."""
    said = fl.LSTM.load(CELLS, CELL, config={"forget_bias": 1.0}, batch_first=True)
    assert "assumed" not in repr(said)
    bias = said.weights.layers[0][0].bias
    other = fl.LSTM.load(CELLS, CELL, config={"forget_bias": 0.25, "cell_clip": 3, "activation": "relu"})
    np.testing.assert_allclose(bias - other.weights.layers[0][0].bias, np.repeat([0, 0.75, 0, 0], 4), atol=1e-6)
    cell = other.weights.layers[0][0].cell
    assert (cell.cell_clip, str(cell.candidate), str(cell.output), str(cell.gate)) == (3.0, "relu", "relu", "sigmoid")
    assert "config" not in [one.argument for one in fl.LSTM.load(CELLS, "full/rnn/lstm_cell").weights.assumed]
    with np.load(CELLS) as arrays:
        (name,) = (name for name in arrays if name.startswith("full/") and name.endswith("cell_clip"))
        clip = float(arrays[name])
    fl.LSTM.load(CELLS, "full/rnn/lstm_cell", config={"cell_clip": clip})
    for config, message in {
        (("cell_clip", clip + 1),): "config, cell_clip: expected .*, as the file says, found",
        (("forget_bia", 1.0),): "config: expected a dict with any of forget_bias, .*, found .'forget_bia'",
        (("forget_bias", "1"),): "config, forget_bias: expected one number",
        (("activation", "softmax"),): "config, activation: expected one of tanh, .*, found 'softmax'",
    }.items():
        with pytest.raises(fl.FormatError, match=message):
            fl.LSTM.load(CELLS, "full/rnn/lstm_cell", config=dict(config))


def flax_params(seed=0):
    rng, params = np.random.default_rng(seed), {}
    for gate in "ifgo":
        params[f"i{gate}"] = {"kernel": rng.normal(size=(3, 4)).astype(np.float32)}
        params[f"h{gate}"] = {"kernel": rng.normal(size=(4, 4)).astype(np.float32), "bias": np.zeros(4, np.float32)}
    return {"params": {"cell": params}}


def test_flax_is_told_and_stated(tmp_path):
    message = r"^LSTM 'cell': taken with Flax's defaults \(gate_fn sigmoid, .*; state it with config=\{\}"
    with pytest.warns(fl.AssumptionWarning, match=message):
        lstm = fl.LSTM.from_flax(flax_params(), "cell")
    with pytest.warns(fl.AssumptionWarning, match=AXES):
        lstm(x(lstm, 2, 5))
    lstm = fl.LSTM.from_flax(flax_params(), config={}, batch_first=True)
    lstm(x(lstm, 2, 5))
    assert not lstm.weights.assumed
    (tmp_path / "options.json").write_text(json.dumps({"activation_fn": "relu", "reverse": True, "keep_order": True}))
    lstm = fl.LSTM.from_flax(flax_params(), config=tmp_path / "options.json")
    assert lstm.weights.differences == ["candidate=relu", "output=relu", "reverse"]
    for config, message in (
        ({"activation_fn": "sin"}, "config, activation_fn: expected one of jax.nn's .*, found 'sin'"),
        ({"reverse": True}, "config, keep_order: expected reverse=True beside keep_order=True"),
        ({"activation": "relu"}, "config: expected a dict with any of gate_fn, .*, found .'activation'"),
        ({"keep_order": 1}, "config, keep_order: expected true or false, found '1'"),
        ({"merge_fn": "max"}, "merge: expected one of"),
    ):
        with pytest.raises(fl.FormatError, match=message):
            fl.LSTM.from_flax(flax_params(), config=config)


@pytest.mark.parametrize(
    "name", ["elu", "gelu", "hard_sigmoid", "leaky_relu", "silu", "soft_sign", "softplus", "swish"]
)
def test_flax_functions_by_name(name):
    """Flax's own cell with the function of that name."""
    nn, jax = pytest.importorskip("flax.linen"), pytest.importorskip("jax")
    function = getattr(jax.nn, name)
    rnn = nn.RNN(nn.LSTMCell(4, activation_fn=function, gate_fn=jax.nn.hard_sigmoid), reverse=True, keep_order=True)
    given = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    variables = rnn.init(jax.random.key(0), given)
    config = {"activation_fn": name, "gate_fn": "hard_sigmoid", "reverse": True, "keep_order": True}
    lstm = fl.LSTM.from_flax(variables, config=config, batch_first=True)
    np.testing.assert_allclose(lstm(given)[0], rnn.apply(variables, given), rtol=0, atol=1e-5)


def test_config_is_refused_where_nothing_is_left_to_state(tmp_path):
    fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)).save(tmp_path / "a.safetensors")
    for path in (CHECKPOINT, tmp_path / "a.safetensors"):
        with pytest.raises(fl.FormatError, match="config: expected none, as this .* leaves nothing to state with it"):
            fl.LSTM.load(path, config={"activation": "relu"})
    with pytest.raises(FileNotFoundError):
        fl.LSTM.load(CELLS, CELL, config=tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(fl.FormatError, match="config .*bad.json: expected JSON, found it damaged"):
        fl.LSTM.load(CELLS, CELL, config=tmp_path / "bad.json")


# On the command line.


def invoke(*args):
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


def test_info_marks_it():
    assert re.search(r"encoder .* batch,\s+assumed\s", invoke("info", CHECKPOINT).stdout)
    text = " ".join(invoke("info", CELLS).stdout.split())
    assert f"{CELL}, assumed: taken as a TensorFlow 1 cell of its defaults (forget_bias 1.0" in text
    assert "taken as" not in invoke("info", CELLS, "--config", '{"forget_bias": 1.0}').stdout
    about = json.loads(invoke("info", CELLS, "--json").stdout)["lstms"]
    by_prefix = {one["prefix"]: one["assumed"].keys() for one in about}
    assert by_prefix[CELL] == {"batch_first", "config"} and by_prefix["full/rnn/lstm_cell"] == {"batch_first"}


def test_commands_tell_it_in_a_line(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 5, 3), np.float32))
    run = ("run", CELLS, tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--prefix", CELL)
    errors = invoke(*run).stderr.splitlines()
    assert [line.startswith("Warning: ") for line in errors] == [True, True]
    assert "--config" in errors[0] and "--batch-first or --time-first" in errors[1]
    assert invoke(*run, "--batch-first", "--config", '{"forget_bias": 1.0}').stderr == ""
    assert "--batch-first" in invoke("convert", CHECKPOINT, tmp_path / "a.safetensors").stderr
    assert invoke("check", CHECKPOINT, "--dtype", "int8").stderr == ""


def test_nothing_that_is_shipped_relies_on_it():
    from fusedlstm import demo

    demo.run()
    formats.open(CELLS).load_all(fl.LSTMWeights)  # readers mark, and tell nobody: `info` only shows
