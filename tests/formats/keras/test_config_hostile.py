"""Keras files that are damaged, lie or are made to do harm: FormatError, and nothing they name is imported."""

import json
import sys
import zipfile

import pytest
from keras_models import layers, saved, sequential

import fusedlstm as fl

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras with NumPy 2


def rewritten(source, target, **members):
    """A copy of a zip with some members replaced (None: left out)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = members.get(name.replace(".", "_"), old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


@pytest.fixture
def good(tmp_path):
    return saved(sequential(layers.LSTM(2, name="enc")), tmp_path, "good.keras")


def config_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def test_truncated(good, tmp_path):
    data = good.read_bytes()
    for tenth in range(1, 10):
        path = tmp_path / "cut.keras"
        path.write_bytes(data[: len(data) * tenth // 10])
        with pytest.raises(fl.FormatError, match="cut.keras"):
            fl.LSTM.load(path)


def test_configuration_is_data(good, tmp_path, monkeypatch):
    """Nothing that it names is imported, and code in it is not run."""
    (tmp_path / "evil.py").write_text("import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    config = config_of(good)
    code = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None, "closure": None}}
    items = [
        {"module": "evil", "class_name": "Layer", "config": {"name": "a"}, "registered_name": "Layer"},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "b", "function": code}},
        {"module": "evil", "class_name": "LSTM", "config": {"name": "c", "units": 2}, "registered_name": "LSTM"},
    ]
    config["config"]["layers"][:0] = items
    config["module"] = "evil"
    path = rewritten(good, tmp_path / "evil.keras", config_json=json.dumps(config))
    # The user's own "LSTM" comes first, so the variables stored under lstm are its, not enc's.
    with pytest.raises(fl.FormatError, match="layer class: expected keras.layers.LSTM"):
        fl.LSTM.load(path, prefix="c")
    with pytest.raises(fl.FormatError, match="layers/lstm_1/cell/vars': expected 3 variables, found \\[\\]"):
        fl.LSTM.load(path, prefix="enc")
    assert "evil" not in sys.modules and not (tmp_path / "evil.ran").exists()


def broken_configs():
    deep = "[" * 100_000 + "]" * 100_000
    nested = {"class_name": "Dense", "config": {}}
    for _ in range(60):
        nested = {"class_name": "Sequential", "config": {"name": "s", "layers": [nested]}}
    return {
        "model configuration: expected JSON, found it damaged": b"{",
        "model configuration: expected JSON, found it damaged .*utf-8": b'"\xff"',
        "model configuration: expected JSON that is nested a few levels": deep,
        "at most 32 nested models": json.dumps(nested),
        "expected class_name and config, found '3'": "3",
        "expected class_name and config, found 'None'": '{"class_name": "Sequential", "config": {"layers": [null]}}',
        "expected class_name and config, found": '{"class_name": ["LSTM"], "config": {}}',
    }


@pytest.mark.parametrize("message", broken_configs())
def test_damaged_configuration(message, good, tmp_path):
    path = rewritten(good, tmp_path / "bad.keras", config_json=broken_configs()[message])
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(path)


LIES = {
    "units": (3, r"vars/0': expected shape \(3, 12\) for 3 units, found \(3, 8\)"),
    "use_bias": (False, r"enc|vars': expected 2 variables, found .*vars/2"),
    "activation": (None, "activation: expected one of .*, found 'None'"),
    "go_backwards": ("yes", "go_backwards: expected true or false, found 'yes'"),
}


@pytest.mark.parametrize("key", LIES)
def test_configuration_that_lies(key, good, tmp_path):
    config = config_of(good)
    config["config"]["layers"][1]["config"][key] = LIES[key][0]
    path = rewritten(good, tmp_path / "bad.keras", config_json=json.dumps(config))
    with pytest.raises(fl.FormatError, match=LIES[key][1]):
        fl.LSTM.load(path)


def test_a_class_of_the_users_own_called_lstm(good, tmp_path):
    """What Keras writes for one that is registered and cannot be imported again: no module."""
    config = config_of(good)
    config["config"]["layers"][1] |= {"module": None, "registered_name": "own>LSTM"}
    path = rewritten(good, tmp_path / "own.keras", config_json=json.dumps(config))
    with pytest.raises(fl.FormatError, match="layer class: expected keras.layers.LSTM, found 'own>LSTM'"):
        fl.LSTM.load(path)


def test_missing_members(good, tmp_path):
    path = rewritten(good, tmp_path / "bad.keras", model_weights_h5=None)
    with pytest.raises(fl.FormatError, match="'model.weights.h5': expected in a .keras file, found metadata.json"):
        fl.LSTM.load(path)
    path = rewritten(good, tmp_path / "bad.keras", model_weights_h5=b"not HDF5")
    with pytest.raises(fl.FormatError, match="expected an HDF5 file, found content starting with b'not HDF5'"):
        fl.LSTM.load(path)


def test_zip_bomb(good, tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(config_of(good)))
        archive.writestr("model.weights.h5", bytes(50_000_000))
    with pytest.raises(fl.FormatError, match="zip bomb"):
        fl.LSTM.load(path)


def test_tensorflow_2_13_is_refused(good, tmp_path):
    """It counts layers in another way: reading it as Keras 3 could give one layer another's weights."""
    weights = tmp_path / "w.h5"
    with zipfile.ZipFile(good) as archive:
        weights.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
    path = rewritten(good, tmp_path / "tf.keras", model_weights_h5=weights.read_bytes())
    with pytest.raises(fl.FormatError, match=r"TensorFlow 2.12 and 2.13.*save it as .h5"):
        fl.LSTM.load(path)
