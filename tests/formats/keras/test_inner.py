"""LSTMs inside of layers that are no models: their configuration is read wherever it is, or there is none."""

import io
import json
import os
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from hdf5_files import refused
from keras_models import FILES, check, keras, layers, randomized, saved, sequential
from run import run

import fusedlstm as fl
from fusedlstm import formats

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras with NumPy 2

WHOLE = ("m.keras", "m.h5")
serialize = keras.saving.serialize_keras_object


@keras.saving.register_keras_serializable(package="test")
class Holder(layers.Layer):
    """Holds layers in an attribute or a list, which its configuration calls something else if `argument` says so."""

    def __init__(self, held, argument="held", own=False, **kw):
        super().__init__(**kw)
        self.held, self.argument, self.own = held, argument, own

    def parts(self):
        return list(self.held) if isinstance(self.held, (list, tuple)) else [self.held]

    def build(self, shape):
        for part in self.parts():
            part.build(shape)
        if self.own:
            self.gain = self.add_weight(shape=(1,), name="gain")
        self.built = True

    def call(self, x):
        found = [part(x) for part in self.parts()]
        return found if isinstance(self.held, (list, tuple)) else found[0]

    def compute_output_shape(self, shape):
        found = [part.compute_output_shape(shape) for part in self.parts()]
        return found if isinstance(self.held, (list, tuple)) else found[0]

    def get_config(self):
        held = [serialize(one) for one in self.held] if isinstance(self.held, (list, tuple)) else serialize(self.held)
        return super().get_config() | {self.argument: held, "argument": self.argument, "own": self.own}


def holding(held, **options):
    return Holder(held, name="holder", **options)


def model_of(layer):
    x = layers.Input((7, 3))
    return randomized(keras.Model(x, layer(x)))


ODD = {"activation": "relu", "recurrent_activation": "hard_sigmoid", "return_sequences": True}
INNER = {
    "LSTM": lambda: layers.LSTM(4, go_backwards=True, name="in", **ODD),
    "cell": lambda: layers.RNN(layers.LSTMCell(4, activation="softsign"), return_sequences=True, name="in"),
    "stack": lambda: layers.RNN([layers.LSTMCell(4), layers.LSTMCell(2, activation="elu")], name="in"),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(4, **ODD), merge_mode="sum", name="in"),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.LSTM(2, **ODD), name="in"),
}


@pytest.mark.parametrize("argument", ["held", "layer", "forward_layer", "cell", "something"])
@pytest.mark.parametrize("inner", ["LSTM", "cell", "stack", "Bidirectional"])
def test_a_wrapper(inner, argument, tmp_path):
    """By whatever name its configuration calls what it holds."""
    model = model_of(holding(INNER[inner](), argument=argument))
    for file in WHOLE:
        contents = formats.open(saved(model, tmp_path, file))
        assert list(contents.expect(fl.LSTMWeights)) == ["holder/in"]
        for prefix in ("holder/in", "holder"):
            check(model.layers[1].held, contents.load(fl.LSTMWeights, prefix))


def test_wrappers_in_wrappers_and_models(tmp_path):
    inside = keras.Sequential([layers.Input((7, 3)), INNER["LSTM"]()], name="model")
    model = model_of(holding(Holder(inside, name="second")))
    for file in WHOLE:
        contents = formats.open(saved(model, tmp_path, file))
        assert list(contents.expect(fl.LSTMWeights)) == ["holder/second/model/in"]
        check(inside.layers[0], contents.load(fl.LSTMWeights))


def test_around_one_step(tmp_path):
    """A TimeDistributed of a layer that holds one, and Keras's own Wrapper."""
    held = layers.LSTM(2, **ODD, name="in")
    x = layers.Input((5, 7, 3))
    model = randomized(keras.Model(x, layers.TimeDistributed(Holder(held, name="holder"), name="frames")(x)))
    path = saved(model, tmp_path, "m.keras")
    check(held, formats.open(path).load(fl.LSTMWeights, "frames/in"))


def test_several(tmp_path):
    """In a list: each by its own name."""
    held = [layers.LSTM(3, name="a", **ODD), layers.LSTM(3, name="b", return_sequences=True), INNER["Bidirectional"]()]
    model = model_of(holding(held, argument="towers"))
    for file in WHOLE:
        contents = formats.open(saved(model, tmp_path, file))
        assert sorted(contents.expect(fl.LSTMWeights)) == ["holder/a", "holder/b", "holder/in"]
        for layer in held:
            check(layer, contents.load(fl.LSTMWeights, f"holder/{layer.name}"))


def without_names(path):
    """As Keras 3.0 to 3.4 and tf_keras write it: groups do not carry their layers' names."""

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        file.visititems(lambda _, group: group.attrs.pop("name", None) and None)
    members["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_without_names(tmp_path):
    """What is the only one is known; two of one shape in attributes that the configuration does not name are not."""
    model = model_of(holding(INNER["LSTM"](), argument="something"))
    path = without_names(saved(model, tmp_path, "m.keras"))
    check(model.layers[1].held, formats.open(path).load(fl.LSTMWeights))
    held = [layers.LSTM(3, name="a", **ODD), layers.LSTM(3, name="b", return_sequences=True)]
    path = without_names(saved(model_of(holding(held)), tmp_path, "m.keras"))
    for layer in held:  # the attribute is called as the argument is
        check(layer, formats.open(path).load(fl.LSTMWeights, f"holder/{layer.name}"))
    path = without_names(saved(model_of(holding(held, argument="towers")), tmp_path, "m.keras"))
    for prefix in ("holder/a", "holder/b"):
        with pytest.raises(
            fl.FormatError, match=f"layer '{prefix}': expected one LSTM for it inside of 'layers/holder'"
        ):
            fl.LSTM.load(path, prefix)
    weights = formats.open(path, {"activation": "relu", "recurrent_activation": "hard_sigmoid"}).load(
        fl.LSTMWeights, "layers/holder/held/lstm"
    )
    check(held[0], weights)


def told(action):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        result = action()
    return result, [str(one.message) for one in heard if issubclass(one.category, fl.AssumptionWarning)]


@pytest.mark.parametrize("own", [False, True])
def test_variables_of_the_wrappers_own_are_told(own, tmp_path):
    model = model_of(holding(INNER["LSTM"](), own=own))
    for file in WHOLE:
        path = saved(model, tmp_path, file)
        lstm, messages = told(lambda path=path: fl.LSTM.load(path))
        check(model.layers[1].held, lstm.weights)
        assert len(messages) == own
        if own:
            assert "test>Holder around it, which has variables of its own, is taken to leave this layer" in messages[0]


@keras.saving.register_keras_serializable(package="test")
class WeightNormalization(Holder):
    """Named as one that computes with other weights than those it stores."""


def test_wrappers_that_change_weights_are_refused(tmp_path):
    model = model_of(WeightNormalization(INNER["LSTM"](), name="holder"))
    for file in WHOLE:
        with pytest.raises(
            fl.FormatError, match="layer 'holder/in': expected the weights that it runs with, found test>W"
        ):
            fl.LSTM.load(saved(model, tmp_path, file))


@keras.saving.register_keras_serializable(package="test")
class Secret(Holder):
    """Says nothing of what it holds."""

    def get_config(self):
        return layers.Layer.get_config(self)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.encoder = layers.LSTM(4, name="in", **ODD)

    def call(self, x):
        return self.encoder(x)


def secret(kind):
    if kind == "layer":
        model = model_of(Secret(layers.LSTM(4, name="in", **ODD), name="holder"))
        return model, model.layers[1].held, "holder/in"
    model = Subclassed()
    model(np.zeros((1, 2, 3), np.float32))
    return randomized(model), model.encoder, "in"


@pytest.mark.parametrize("kind", ["layer", "model"])
def test_held_by_a_class_that_does_not_say(kind, tmp_path):
    """Refused where the model has a configuration, and assumed where it has none; stated it is as it was."""
    model, layer, prefix = secret(kind)
    config = {"activation": "relu", "recurrent_activation": "hard_sigmoid", "keras_version": keras.__version__}
    for file in FILES if kind == "layer" else ("m.keras", "m.weights.h5"):
        path = saved(model, tmp_path, file)
        if file.endswith(".weights.h5"):
            lstm, messages = told(lambda path=path: fl.LSTM.load(path))
            assert len(messages) == 1 and "taken with Keras's defaults (activation tanh" in messages[0]
            assert lstm.weights.layers[0][0].plain
        else:
            with pytest.raises(
                fl.FormatError, match=r"found none in the model's.*; state it with config=\"model.json\""
            ):
                fl.LSTM.load(path)
        lstm, messages = told(lambda path=path: fl.LSTM.load(path, prefix, config=config))
        assert not messages and not lstm.weights.assumed
        check(layer, lstm.weights)
        for stated in (layer.get_config() | {"keras_version": keras.__version__}, serialize(layer)):
            check(layer, formats.open(path, stated).load(fl.LSTMWeights))


@keras.saving.register_keras_serializable(package="test")
class Own(layers.LSTM):
    """A class of the user's own, which may compute anything."""


def test_a_class_of_ones_own_that_is_an_lstm(tmp_path):
    model = sequential(Own(4, activation="relu", return_sequences=True, name="in"))
    for file in WHOLE:
        path = saved(model, tmp_path, file)
        with pytest.raises(
            fl.FormatError, match="expected keras.layers.LSTM, found 'test>Own'; config= states what it"
        ):
            fl.LSTM.load(path)
        check(model.layers[0], formats.open(path, {"activation": "relu"}).load(fl.LSTMWeights, "in"))


TF_KERAS = """
import sys, numpy as np, tf_keras as keras
layers = keras.layers

@keras.utils.register_keras_serializable(package="test")
class Holder(layers.Layer):
    def __init__(self, held, **kw):
        super().__init__(**kw)
        self.inside = held
    def call(self, x):
        return self.inside(x)
    def get_config(self):
        return super().get_config() | {"held": keras.utils.legacy.serialize_keras_object(self.inside)}

held = layers.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid", return_sequences=True, name="in")
x = layers.Input((7, 3))
model = keras.Model(x, Holder(held, name="holder")(x))
rng = np.random.default_rng(0)
model.set_weights([rng.normal(size=w.shape, scale=0.6) for w in model.get_weights()])
model.save("m.keras"); model.save("m.h5")
data = rng.normal(size=(2, 7, 3)).astype("float32")
np.savez("y.npz", x=data, y=model(data))
"""


def test_a_wrapper_in_tf_keras(tmp_path):
    pytest.importorskip("tf_keras")
    subprocess.run([sys.executable, "-c", TF_KERAS], cwd=tmp_path, check=True, capture_output=True, env=QUIET)
    with np.load(tmp_path / "y.npz") as expected:
        for file in WHOLE:
            weights = formats.open(tmp_path / file).load(fl.LSTMWeights, "holder/in")
            np.testing.assert_allclose(run(weights, expected["x"])[0], expected["y"], rtol=0, atol=1e-5)


QUIET = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def test_two_sizes(tmp_path):
    """Keras runs directions of two sizes; here they are two LSTMs."""
    both = layers.Bidirectional(
        layers.LSTM(4, return_sequences=True),
        backward_layer=layers.LSTM(6, go_backwards=True, activation="relu", return_sequences=True),
        name="both",
    )
    model = model_of(both)
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype(np.float32)
    wanted = np.asarray(keras.ops.convert_to_numpy(both(x)))
    for file in WHOLE:
        path = saved(model, tmp_path, file)
        with pytest.raises(
            fl.FormatError, match="'both': expected a Bidirectional of one size, found two; load .*/backward_"
        ):
            fl.LSTM.load(path)
        found = [fl.LSTM.load(path, f"both/{way}_layer")(x)[0] for way in ("forward", "backward")]
        np.testing.assert_allclose(np.concatenate(found, -1), wanted, rtol=0, atol=1e-5)


def test_hostile_nests(tmp_path):
    """Many layers in one, each of which may be any: soon told apart."""
    path = saved(model_of(holding(INNER["LSTM"]())), tmp_path, "m.keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    holder = config["config"]["layers"][1]["config"]
    holder["held"] = [holder["held"]] * 2000
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refused(path, "expected one LSTM, found 2001", megabytes=64)
