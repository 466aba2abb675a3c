"""Programs of torch.export without PyTorch: the module's numbers, and only what the archive holds."""

import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch")
import fuzz
import torch
import torch_models

import fusedlstm as fl
from fusedlstm import formats


def save(model, path, x=None):
    x = torch.randn(5, 2, 3) if x is None else x
    torch.export.save(torch.export.export(model, (x,)), path)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return torch_models.Model().eval()


@pytest.fixture
def exported(tmp_path):
    """An exported LSTM in a module called rnn."""
    path = tmp_path / "a.pt2"
    module = torch.nn.LSTM(3, 4)
    save(torch.nn.Sequential(module).eval(), path)
    return path, module


def test_every_lstm_of_a_module(model, tmp_path):
    path = tmp_path / "a.pt2"
    save(model, path)
    assert sorted(formats.open(path).expect(fl.LSTMWeights)) == torch_models.PREFIXES
    for prefix, module in torch_models.modules(model).items():
        torch_models.check(module, fl.LSTM.load(path, prefix))


@pytest.mark.parametrize("wrap", [lambda module: module, torch.nn.Sequential])
def test_batch_first_is_the_modules_own(tmp_path, wrap):
    for batch_first in (False, True):
        save(wrap(torch.nn.LSTM(3, 4, batch_first=batch_first)).eval(), tmp_path / "a.pt2")
        assert fl.LSTM.load(tmp_path / "a.pt2").batch_first is batch_first
        assert fl.LSTM.load(tmp_path / "a.pt2", batch_first=not batch_first).batch_first is not batch_first


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(tmp_path, dtype):
    module = torch.nn.LSTM(3, 4).to(getattr(torch, dtype)).eval()
    save(module, tmp_path / "a.pt2", torch.randn(5, 2, 3, dtype=getattr(torch, dtype)))
    torch_models.check(module, fl.LSTM.load(tmp_path / "a.pt2"))


def test_weights_in_one_storage(tmp_path):
    """Every tensor a view; and one transposed, with its strides."""
    module = torch.nn.LSTM(3, 4).eval()
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    at = 0
    for name, p in list(module.named_parameters()):
        view = flat[at : at + p.numel()].view_as(p)
        at += p.numel()
        setattr(module, name, torch.nn.Parameter(view))
    module.weight_ih_l0 = torch.nn.Parameter(module.weight_ih_l0.detach().t().contiguous().t())
    save(module, tmp_path / "a.pt2")
    config = read_config(tmp_path / "a.pt2")["config"]
    assert len({entry["path_name"] for entry in config.values()}) < 4
    assert config["weight_ih_l0"]["tensor_meta"]["strides"] == [{"as_int": 1}, {"as_int": 16}]
    torch_models.check(module, fl.LSTM.load(tmp_path / "a.pt2"))


def read_config(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("_weights_config.json")]
        return json.loads(archive.read(name))


def changed(path, change):
    """The archive with `change` done to its tensors' configuration."""
    config = read_config(path)
    change(config["config"])
    write_config(path, config)


def write_config(path, config):
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, json.dumps(config) if name.endswith("_weights_config.json") else data)


def setter(*keys):
    *keys, value = keys

    def change(config):
        place = config["0.weight_hh_l0"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


META = "tensor_meta"
CHANGES = [
    (setter("use_pickle", True), "0.weight_hh_l0: expected plain bytes, found a pickled tensor"),
    (setter("path_name", "weight_99"), "weights/weight_99': expected in the archive, found none"),
    (setter("path_name", "../../../etc/passwd"), "found none of that name"),
    (setter("path_name", 3), "0.weight_hh_l0: expected path_name, use_pickle and tensor_meta"),
    (setter(META, None), "0.weight_hh_l0: expected path_name, use_pickle and tensor_meta"),
    (setter(META, "dtype", 2), "0.weight_hh_l0: expected a floating-point tensor, found dtype int8"),
    (setter(META, "dtype", 29), "0.weight_hh_l0: expected float32, .*found torch.float8_e4m3fn"),
    (setter(META, "dtype", [7]), "0.weight_hh_l0: expected float32"),
    (setter(META, "dtype", 8), "0.weight_hh_l0: expected numbers within the 32"),
    (setter(META, "layout", 1), "0.weight_hh_l0: expected a strided tensor"),
    (setter(META, "sizes", [{"as_int": -16}, {"as_int": 4}]), "0.weight_hh_l0: expected a shape"),
    (setter(META, "sizes", [{"as_expr": {"expr_str": "s0"}}, {"as_int": 4}]), "0.weight_hh_l0: expected a shape"),
    (setter(META, "sizes", [{"as_int": 16}, {"as_int": 2**62}]), "0.weight_hh_l0: expected shape"),
    (setter(META, "sizes", [{"as_int": 16}]), "0.weight_hh_l0: expected shape"),
    (setter(META, "strides", [{"as_int": 2**61}, {"as_int": 1}]), "0.weight_hh_l0: expected numbers within the 64"),
    (setter(META, "strides", [{"as_int": -4}, {"as_int": 1}]), "0.weight_hh_l0: expected an offset and 2 strides"),
    (setter(META, "strides", None), "0.weight_hh_l0: expected an offset and 2 strides"),
    (setter(META, "storage_offset", {"as_int": 1}), "0.weight_hh_l0: expected numbers within the 64"),
    (setter(META, "storage_offset", None), "0.weight_hh_l0: expected an offset and 2 strides"),
]


@pytest.mark.parametrize("change, message", CHANGES, ids=[message for _, message in CHANGES])
def test_lies(exported, change, message):
    path, _ = exported
    changed(path, change)
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(path)


def test_what_is_not_wanted_may_be_anything(exported):
    path, module = exported
    changed(path, lambda config: config.update(other={**config["0.weight_hh_l0"], "use_pickle": True}))
    torch_models.check(module, fl.LSTM.load(path))


@pytest.mark.parametrize("name", ["serialized_exported_program.json", "a/archive_format"])
def test_archives_without_such_weights(tmp_path, name):
    """Of an older version, or compiled."""
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr(name, "pt2")
    with pytest.raises(fl.FormatError, match=r"expected weights as torch\.export\.save .*state_dict\(\), path"):
        fl.LSTM.load(tmp_path / "a.pt2")


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz(exported, count):
    path, _ = exported
    rng, data, config = np.random.default_rng(5), path.read_bytes(), read_config(path)

    def files():
        for k in range(count):
            if k % 2:
                yield fuzz.zip_of(rng, data)
                continue
            path.write_bytes(data)
            write_config(path, fuzz.tree_of(rng, config))
            yield path.read_bytes()

    assert fuzz.survives(path.with_name("b.pt2"), files()) > count / 4
