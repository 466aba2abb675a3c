"""Objects of unknown classes in checkpoints: carried along, never opened; what lies in them is refused with advice."""

import argparse
import collections
import dataclasses
import enum
import functools
import pickle
import re
import sys
import types
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
import torch_models

import fusedlstm as fl


def module():
    torch.manual_seed(0)
    return torch.nn.LSTM(4, 5, 2)


@pytest.fixture
def unknown(monkeypatch):
    """Makes a class in a module that only the writer has."""

    def make(dotted, base=object, **attributes):
        package, _, name = dotted.rpartition(".")
        parts = package.split(".")
        for end in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        kind = type(name, (base,), {"__module__": package, **attributes})
        setattr(sys.modules[package], name, kind)
        return kind

    return make


class Kind(enum.Enum):
    A = 1


@dataclasses.dataclass
class Settings:
    size: int = 3


class Slots:
    __slots__ = ("a",)

    def __init__(self):
        self.a = torch.zeros(2)

    def __reduce_ex__(self, protocol):
        return object.__reduce_ex__(self, 2)


class Keywords:
    def __new__(cls, *, a):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"a": torch.zeros(1)}


class Listed(list):
    pass


class Mapped(dict):
    pass


def objects(unknown):
    normal = unknown("library.data.Normalizer")()
    normal.mean, normal.nested = torch.zeros(3), {"x": [unknown("library.other.Thing")()]}
    return [
        normal,
        unknown("omegaconf.listconfig.ListConfig")(),
        unknown("flair.data.Dictionary", dict)(a=1),
        unknown("library.things.Items", list)([1, 2]),
        unknown("library.a.Exotic"),
        types.SimpleNamespace(a=torch.zeros(2)),
        argparse.Namespace(lr=0.1),
        collections.UserDict(a=1),
        Kind.A,
        Settings(),
        Slots(),
        Keywords(a=1),
        Listed([torch.zeros(2)]),
        Mapped(a=torch.zeros(2)),
        functools.partial(torch.nn.functional.relu, inplace=True),
        torch.nn.MSELoss(),
        torch.nn.functional.relu,
        torch.nn.Linear(2, 3),
        torch.optim.Adam(torch.nn.Linear(2, 3).parameters()),
        np.random.default_rng(0).bit_generator.state,
        {1, 2},
        frozenset({(1, 2)}),
    ]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("legacy", [False, True])
def test_are_carried_along(tmp_path, unknown, protocol, legacy):
    lstm = module()
    path = tmp_path / "a.pt"
    for one in objects(unknown):
        state = {f"rnn.{name}": value for name, value in lstm.state_dict().items()}
        whole = {"hyper_parameters": {"one": one, "list": [one]}, "state_dict": state, "last": one}
        torch.save(whole, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
        torch_models.check(lstm, fl.LSTM.load(path))
        assert list(fl.LSTM.load_all(path)) == ["rnn"]


def test_nothing_is_imported(tmp_path, monkeypatch):
    """The module is there and would tell; what pickle would do is what makes this a test."""
    (tmp_path / "harmful_settings.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    lstm, path = module(), tmp_path / "a.pt"
    torch.save({"x": "harmful_settings", "m": lstm.state_dict()}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    old = b"X\x10\x00\x00\x00harmful_settings"
    assert old in members["a/data.pkl"]
    members["a/data.pkl"] = members["a/data.pkl"].replace(old, b"charmful_settings\nThing\n)\x81")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    torch_models.check(lstm, fl.LSTM.load(path))
    with pytest.raises(SystemExit, match="imported"):
        torch.load(path, weights_only=False)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 5)
        self.loss = torch.nn.MSELoss()


def advised(message, path):
    """Do what a message says: its last line of code, with the path put in."""
    code = re.search(r"(torch\.save\(.*\))$", message)[1]
    new = path.with_name("new.pt")
    exec(code, {"torch": torch, "path": path, "new_path": new})
    return new


WHOLE = {
    "a module": (lambda net: net, "lstm"),
    "an LSTM": (lambda net: net.lstm, ""),
    "under a key": (lambda net: {"model": net, "epoch": 3}, "model.lstm"),
    "in a list": (lambda net: {"models": [net]}, "models.0.lstm"),
    "a dictionary of a class of one's own": (lambda net: {"sd": Mapped(net.state_dict())}, "sd.lstm"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", WHOLE)
def test_whole_modules_are_refused_with_advice_that_works(tmp_path, kind, legacy):
    wrap, prefix = WHOLE[kind]
    net, path = Net(), tmp_path / "a.pt"
    torch.save(wrap(net), path, _use_new_zipfile_serialization=not legacy)
    for load in (fl.LSTM.load, lambda path: fl.LSTM.load(path, prefix)):
        with pytest.raises(fl.FormatError, match="expected a state dict, found it inside of .*not opened") as caught:
            load(path)
    torch_models.check(net.lstm, fl.LSTM.load(advised(str(caught.value), path)))


def test_a_module_beside_its_state_dict(tmp_path):
    """The LSTM that can be read is the one that is found."""
    net = Net()
    torch.save({"model": net, "state_dict": net.state_dict()}, tmp_path / "a.pt")
    torch_models.check(net.lstm, fl.LSTM.load(tmp_path / "a.pt"))


def test_what_pickles_of_others_are(tmp_path, unknown):
    for dotted, words in (
        ("keras.src.models.functional.Functional", r"a pickled Keras model .*\.save\(\"model\.keras\"\)"),
        ("flax.core.frozen_dict.FrozenDict", r"a pickled object of JAX .*LSTM\.from_flax\(pickle\.load"),
        ("sklearn.pipeline.Pipeline", r"an object of an unknown class .*numpy\.savez\(path, \*\*arrays\)"),
        ("torch.nn.modules.rnn.LSTM", r"an object of an unknown class .*torch\.save\(model\.state_dict\(\), path\)"),
    ):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(unknown(dotted)()))
        with pytest.raises(fl.FormatError, match=words):
            fl.LSTM.load(tmp_path / "a.pkl")


# -- values that are no tensors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("take", [lambda t: t.numpy(), lambda t: t.tolist(), lambda t: tuple(t.tolist())])
@pytest.mark.parametrize("names", ["bias", "weight", "reverse", ""])
def test_arrays_and_lists_are_taken(tmp_path, take, names):
    lstm = torch.nn.LSTM(4, 5, bidirectional=True)
    state = {f"rnn.{k}": take(v) if names in k else v for k, v in lstm.state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    torch_models.check(lstm, fl.LSTM.load(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    "value, found",
    [
        (None, "NoneType"),
        ("x", "str"),
        (3.0, "float"),
        (True, "bool"),
        (Settings(), r"test_closed\.Settings"),
        ({"a": torch.zeros(2)}, "a dict"),
        ([], "a list"),
        (torch.zeros(20, device="meta"), "torch._utils._rebuild_meta_tensor_no_storage"),
        (torch.zeros(20).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["bias_ih_l0", "bias_hh_l0_reverse", "weight_hh_l1"])
def test_anything_else_is_refused_by_name(tmp_path, value, found, name):
    lstm = torch.nn.LSTM(4, 5, 2, bidirectional=True)
    torch.save({f"rnn.{k}": v for k, v in lstm.state_dict().items()} | {f"rnn.{name}": value}, tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match=rf"rnn\.{name}: expected a tensor or numbers, found .*{found}"):
        fl.LSTM.load(tmp_path / "a.pt")


@pytest.mark.parametrize("numbers", [[["a"]], [[1.0], [1.0, 2.0]], [float("nan")] * 20, [10**400] * 20])
def test_lists_that_are_no_numbers(tmp_path, numbers):
    state = dict(torch.nn.LSTM(4, 5).state_dict())
    torch.save({**state, "bias_ih_l0": numbers}, tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match="bias_ih_l0: expected"):
        fl.LSTM.load(tmp_path / "a.pt")


def test_a_dictionary_inside_of_an_lstms_own(tmp_path):
    state = torch.nn.LSTM(4, 5).state_dict()
    torch.save({"enc": {**state, "adapter": {"down": torch.zeros(2)}}}, tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match="adapter.down: expected the tensors of nn.LSTM"):
        fl.LSTM.load(tmp_path / "a.pt")
    assert fl.LSTM.load(tmp_path / "a.pt", ignore=["adapter.*"]).input_size == 4
    torch.save({**state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}, tmp_path / "b.pt")
    assert fl.LSTM.load(tmp_path / "b.pt").input_size == 4


# -- lists ------------------------------------------------------------------------------------------------------------


def test_lists_and_tuples_of_state_dicts(tmp_path):
    one, two = torch.nn.LSTM(4, 5), torch.nn.LSTM(4, 6)
    path = tmp_path / "a.pt"
    for wrap, prefix in (
        (lambda *dicts: {"folds": list(dicts)}, "folds."),
        (lambda *dicts: {"folds": dicts}, "folds."),
        (lambda *dicts: list(dicts), ""),
        (lambda *dicts: {"folds": dict(enumerate(dicts))}, "folds."),
        (lambda *dicts: {"a": [{"b": one} for one in dicts]}, None),
    ):
        torch.save(wrap(one.state_dict(), two.state_dict()), path)
        prefixes = ["a.0.b", "a.1.b"] if prefix is None else [f"{prefix}0", f"{prefix}1"]
        assert list(fl.LSTM.load_all(path)) == prefixes
        for lstm, name in zip((one, two), prefixes):
            torch_models.check(lstm, fl.LSTM.load(path, name))
    shared = one.state_dict()
    torch.save({"folds": [shared, shared]}, path)  # one dictionary in two places
    for name in (None, "folds.0", "folds.1"):
        torch_models.check(one, fl.LSTM.load(path, name))


def test_a_name_with_its_place(tmp_path):
    lstm, path = module(), tmp_path / "a.pt"
    torch.save({"state_dict": {f"module.enc.{k}": v for k, v in lstm.state_dict().items()}}, path)
    assert list(fl.LSTM.load_all(path)) == ["enc"]
    for name in ("enc", "module.enc", "state_dict.module.enc"):
        if name != "module.enc":
            torch_models.check(lstm, fl.LSTM.load(path, name))


def test_scalars(tmp_path):
    """torch.save takes anything."""
    for value in (3, 2.5, None, torch.tensor(3.0), torch.tensor(True), np.float64(3), "x", [], {}, torch.zeros(0)):
        torch.save(value, tmp_path / "a.pt")
        with pytest.raises(fl.FormatError, match="expected an LSTM, found none in this PyTorch checkpoint"):
            fl.LSTM.load(tmp_path / "a.pt")
    lstm = module()
    scalars = {"a": torch.tensor(1.0), "b": np.float32(2), "c": torch.tensor(3, dtype=torch.int64), "d": 4.0}
    torch.save({**{f"rnn.{k}": v for k, v in lstm.state_dict().items()}, **scalars}, tmp_path / "a.pt")
    torch_models.check(lstm, fl.LSTM.load(tmp_path / "a.pt"))
    tensors = fl.load_tensors(tmp_path / "a.pt")
    assert {name: tensors[name].item() for name in "abc"} == {"a": 1.0, "b": 2.0, "c": 3}
