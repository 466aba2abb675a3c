"""Names of an earlier version: they work as the new ones do, and say so."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import random_weights

import fusedlstm as fl
from fusedlstm.check import check
from fusedlstm.cli import cli
from fusedlstm.demo import WEIGHTS

old = pytest.mark.filterwarnings("error::DeprecationWarning")


def told():
    return pytest.warns(DeprecationWarning, match="activations.* is called .*products")


@pytest.fixture
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 8))


def test_keywords(lstm, tmp_path):
    lstm.save(tmp_path / "model")
    with told():
        low = lstm.astype("int8", activations="int8")
    with told():
        loaded = fl.LSTM.load(tmp_path / "model", dtype="int8", activations="int8")
    with told():
        made = fl.LSTMWeights(lstm.weights.layers, dtype="bfloat16", activations="bfloat16")
    with told():
        other = replace(low.weights, activations="int16")
    with told():
        found = check(lstm, "int8", activations="int8", x=np.ones((1, 2, 3), np.float32))
    assert [low.weights.products, loaded.weights.products, made.products, other.products] == [
        *("int8", "int8", "bfloat16", "int16")
    ]
    for one in (low.weights, made, found):
        with told():
            assert one.activations == one.products
    with told(), pytest.raises(ValueError, match="products: expected float32 beside float16"):
        lstm.astype("float16", activations="int8")
    with pytest.raises(TypeError):
        lstm.astype("float16", activation="int8")


@old
def test_new_names_do_not_warn(lstm, tmp_path):
    low = lstm.astype("int8", products="int8")
    low.save(tmp_path / "model")
    assert fl.LSTM.load(tmp_path / "model").weights.products == "int8"
    assert pickle.loads(pickle.dumps(low)).weights.products == "int8"
    assert replace(low.weights, batch_first=False).products == "int8"


@old
def test_files_and_pickles_of_before(lstm, tmp_path):
    """The native form says `activations` now as then; a pickle may have the field by its old name."""
    lstm.astype("int8", "int8").save(tmp_path / "model")
    header = (tmp_path / "model").read_bytes()[8:].split(b"\0")[0]
    assert rb"\"activations\": \"int8\"" in header and b"products" not in header
    before = object.__new__(fl.LSTMWeights)
    fields = {**lstm.astype("int8", "int8").weights.__dict__}
    fields["activations"] = fields.pop("products")
    before.__dict__.update(fields)
    assert pickle.loads(pickle.dumps(before)).products == "int8"


def test_options(tmp_path):
    run = CliRunner()
    for option in ("--products", "--activations"):
        out = tmp_path / option
        found = run.invoke(cli, ["convert", str(WEIGHTS), str(out), "--dtype", "int8", option, "int8"])
        assert found.exit_code == 0 and fl.LSTM.load(out).weights.precision == "int8 by int8"
        assert ("called --products" in found.stderr) == (option == "--activations")
        about = json.loads(run.invoke(cli, ["info", "--json", str(out)]).stdout)["lstms"][0]
        assert about["products"] == about["activations"] == "int8"
    found = run.invoke(cli, ["check", str(WEIGHTS), "--dtype", "bfloat16", "--activations=bfloat16"])
    assert found.exit_code == 0 and "bfloat16 by bfloat16" in found.stdout
    assert "--activations" not in run.invoke(cli, ["convert", "--help"]).stdout
