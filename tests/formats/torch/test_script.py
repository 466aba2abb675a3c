"""TorchScript archives without PyTorch: the module's numbers, and nothing of its code."""

import pathlib
import pickle
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch")
import fuzz
import torch
import torch_models

import fusedlstm as fl
from fusedlstm import formats


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return torch_models.Model().eval()


def traced(model):
    return torch.jit.trace(model, torch.randn(5, 2, 3), check_trace=False)


SAVED = {
    "scripted": lambda model, path: torch.jit.script(model).save(path),
    "traced": lambda model, path: traced(model).save(path),
    "with extra files": lambda model, path: torch.jit.script(model).save(path, _extra_files={"config.json": "{}"}),
    "for mobile": lambda model, path: torch.jit.script(model)._save_for_lite_interpreter(str(path)),
}


@pytest.mark.parametrize("how", SAVED)
def test_every_lstm_of_a_module(model, tmp_path, how):
    path = tmp_path / "a.pt"
    SAVED[how](model, path)
    assert sorted(formats.open(path).expect(fl.LSTMWeights)) == torch_models.PREFIXES
    for prefix, module in torch_models.modules(model).items():
        torch_models.check(module, fl.LSTM.load(path, prefix))


@pytest.mark.parametrize("module", [torch.nn.LSTM(3, 4), torch.nn.LSTM(3, 4, 2, bidirectional=True, bias=False)])
def test_an_lstm_alone(tmp_path, module):
    torch.jit.script(module).save(tmp_path / "a.pt")
    torch_models.check(module, fl.LSTM.load(tmp_path / "a.pt"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(tmp_path, dtype):
    module = torch.nn.LSTM(3, 4).to(getattr(torch, dtype))
    torch.jit.script(module).save(tmp_path / "a.pt")
    torch_models.check(module, fl.LSTM.load(tmp_path / "a.pt"))


class Twice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.one = torch.nn.LSTM(3, 4)
        self.two = self.one

    def forward(self, x):
        return self.two(self.one(x)[0][..., :3])[0]


def test_a_module_used_twice_has_two_names(tmp_path):
    torch.jit.script(Twice()).save(tmp_path / "a.pt")
    assert sorted(formats.open(tmp_path / "a.pt").expect(fl.LSTMWeights)) == ["one", "two"]


def test_frozen(model, tmp_path):
    torch.jit.freeze(torch.jit.script(model)).save(tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match=r"a\.pt: .*torch\.jit\.freeze"):
        fl.LSTM.load(tmp_path / "a.pt")


def test_quantised(tmp_path):
    module = torch.ao.nn.quantized.dynamic.LSTM(3, 4)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ModuleDict({"rnn": module})["rnn"])
    torch.jit.script(model).save(tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match=r"1: expected a floating-point LSTM, found __torch__.*quantized"):
        fl.LSTM.load(tmp_path / "a.pt")


def rewrite(path, change):
    """Rewrite an archive with `change(name, data)` in place of each member."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members:
            archive.writestr(info.filename, change(info.filename, data), info.compress_type)


class Harm:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (pathlib.Path.touch, (self.marker,))


def test_runs_nothing(tmp_path):
    """Neither code nor another pickle of the archive is looked at; the one that is read calls nothing."""
    path, marker = tmp_path / "a.pt", tmp_path / "marker"
    module = torch.nn.LSTM(3, 4)
    torch.jit.script(module).save(path)
    bomb = pickle.dumps(Harm(marker), 2)
    others = lambda name, data: bomb if "/code/" in name or name.endswith("constants.pkl") else data  # noqa: E731
    rewrite(path, others)
    torch_models.check(module, fl.LSTM.load(path))
    rewrite(path, lambda name, data: bomb if name.endswith("/data.pkl") else data)
    with pytest.raises(fl.FormatError, match=r"data\.pkl: expected"):
        fl.LSTM.load(path)
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists(), "this pickle would do no harm, so the test would say nothing"


def op(value):
    return pickle.dumps(value, 2)[2:-1]


NEW = b"c__torch__\nM\n)\x81"  # an object without attributes


@pytest.mark.parametrize(
    "program",
    {
        "modules that double": NEW
        + b"q\x01"
        + (NEW + b"}(" + op("a") + b"h\x01" + op("b") + b"h\x01ubq\x01") * 40,
        "a module in itself": NEW + b"q\x01}" + op("a") + b"h\x01sb",
        "modules in modules": NEW + (b"}" + op("a") + NEW) * 500 + b"sb" * 500,
        "no module": b"}",
        "attributes that are none": NEW + b"Nb",
        "a list of modules": b"]" + NEW + b"a",
        "a million modules": NEW + b"}(" + b"".join(op(str(k)) + NEW for k in range(1000)) + b"ubq\x01"
        + NEW + b"}(" + b"".join(op(str(k)) + b"h\x01" for k in range(1000)) + b"ub",
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_module_bombs(tmp_path, program):
    def files():
        path = tmp_path / "b.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("b/data.pkl", b"\x80\x02" + program[1] + b".")
            archive.writestr("b/constants.pkl", b"")
        yield path.read_bytes()

    assert fuzz.survives(tmp_path / "a.pt", files(), megabytes=128) == 1


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz(tmp_path, count):
    path, rng = tmp_path / "a.pt", np.random.default_rng(5)
    torch.jit.script(torch.nn.Sequential(torch.nn.LSTM(3, 4, bidirectional=True))).save(path)
    data = path.read_bytes()
    assert fuzz.survives(path, (fuzz.zip_of(rng, data) for _ in range(count))) > count / 4


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("how", ["script", "trace", "script of two", "for mobile"])
def test_batch_first_is_heard(tmp_path, batch_first, how):
    module = torch.nn.LSTM(6, 5, batch_first=batch_first)
    net = torch.nn.Sequential(module).eval()
    path, x = tmp_path / "a.pt", torch.randn(4, 3, 6)
    if how == "trace":
        scripted = torch.jit.trace(net, x)
    elif how == "script of two":
        other = torch.nn.LSTM(6, 4, batch_first=not batch_first)
        scripted = torch.jit.script(torch.nn.ModuleDict({"0": module, "b": other}).eval())
    else:
        scripted = torch.jit.script(net)
    if how == "for mobile":
        scripted._save_for_lite_interpreter(str(path))
    else:
        scripted.save(path)
    lstm = fl.LSTM.load(path, "0")
    assert lstm.batch_first is batch_first and not lstm.weights.assumed
    with torch.no_grad():
        np.testing.assert_allclose(lstm(x.numpy())[0], module(x)[0], rtol=0, atol=1e-6)
    if how == "script of two":
        assert fl.LSTM.load(path, "b").batch_first is not batch_first
    assert fl.LSTM.load(path, "0", batch_first=not batch_first).batch_first is not batch_first


def test_code_that_cannot_be_read(tmp_path):
    """It is not needed: the layout is assumed, as it is where no file says it."""
    module, path = torch.nn.LSTM(6, 5), tmp_path / "a.pt"
    torch.jit.script(torch.nn.Sequential(module)).save(path)
    rewrite(path, lambda name, data: b"\xff\xfe class LSTM(" if name.endswith(".py") else data)
    lstm = fl.LSTM.load(path)
    assert [one.argument for one in lstm.weights.assumed] == ["batch_first"]
