"""Files from before PyTorch 1.6, and tensors in bare pickles: the framework's numbers, in the same safety."""

import io
import pickle

import fuzz
import numpy as np
import pytest

pytest.importorskip("torch")
import torch
import torch_models

import fusedlstm as fl


def save(value, path):
    torch.save(value, path, _use_new_zipfile_serialization=False)
    assert path.read_bytes()[:2] == b"\x80\x02"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_state_dict(tmp_path, dtype, protocol):
    module = torch.nn.LSTM(4, 5, 2, bidirectional=True, proj_size=3).to(getattr(torch, dtype))
    path = tmp_path / "a.pt"
    state = {"step": 1, "model_state": {f"lstm.{k}": v for k, v in module.state_dict().items()}}
    torch.save(state, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    torch_models.check(module, fl.LSTM.load(path))


def test_views_of_one_storage(tmp_path):
    module = torch.nn.LSTM(4, 5)
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    views, at = {}, 0
    for name, p in module.named_parameters():
        views[name] = flat[at : at + p.numel()].view_as(p)
        at += p.numel()
    views["weight_ih_l0"] = views["weight_ih_l0"].t().contiguous().t()
    save(views, tmp_path / "a.pt")
    torch_models.check(module, fl.LSTM.load(tmp_path / "a.pt"))


def test_every_dtype(tmp_path):
    names = ("int8", "uint8", "int16", "int32", "int64", "bool", "float16", "float32", "float64", "complex64")
    state = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in names}
    save(state, tmp_path / "a.pt")
    loaded = fl.load_tensors(tmp_path / "a.pt")
    assert list(loaded) == list(names)
    for name, tensor in state.items():
        np.testing.assert_array_equal(loaded[name], tensor.numpy())
        assert loaded[name].dtype == tensor.numpy().dtype


def test_names_of_very_old_versions(tmp_path):
    """Of the function that rebuilds a tensor, of storages that are views, of classes saved with their source."""
    module = torch.nn.LSTM(4, 5)
    save(module.state_dict(), tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    torch_models.check(module, fl.LSTM.load(tmp_path / "a.pt"))
    # _rebuild_tensor takes the first four arguments alone: K\x05K\x04\x86 ... \x89 OrderedDict()
    save(torch.nn.Sequential(module), tmp_path / "b.pt")
    with pytest.raises(fl.FormatError, match="whole pickled module"):
        fl.LSTM.load(tmp_path / "b.pt")
    assert b"ctorch._utils\n_rebuild_tensor_v2\n" in data


def test_lies(tmp_path):
    module = torch.nn.LSTM(4, 5)
    save(module.state_dict(), tmp_path / "a.pt")
    good, path = (tmp_path / "a.pt").read_bytes(), tmp_path / "b.pt"
    end = len(good) - 4 * sum(p.numel() for p in module.parameters()) - 4 * 8
    for change, message in (
        (good[:-1], r"expected \d+ bytes, found \d+ in the file"),
        (good[:end], "expected one that the pickle names, once, found another"),
        (good[:end] + b"\xff" * 7 + b"\x7f" + good[end + 8 :], "expected .* bytes, found"),
        (good[: end - 1], "damaged pickle"),
        (good[:40], "damaged pickle"),
    ):
        path.write_bytes(change)
        with pytest.raises(fl.FormatError, match=message):
            fl.LSTM.load(path)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz(tmp_path, count):
    rng, path = np.random.default_rng(5), tmp_path / "a.pt"
    save({"model": torch.nn.LSTM(2, 3).state_dict(), "epoch": 3}, path)
    data = path.read_bytes()
    assert fuzz.survives(path, (fuzz.bytes_of(rng, data) for _ in range(count))) > count / 4


# -- bare pickles -----------------------------------------------------------------------------------------------------

KINDS = {
    "arrays": lambda tensor: tensor.numpy(),
    "Fortran's order": lambda tensor: np.asfortranarray(tensor.numpy()),
    "big-endian": lambda tensor: tensor.numpy().astype(">f4"),
    "float16": lambda tensor: tensor.numpy().astype(np.float16),
    "lists": lambda tensor: tensor.tolist(),
    "tensors": lambda tensor: tensor,
    "parameters": lambda tensor: torch.nn.Parameter(tensor),
    "Paddle's": lambda tensor: ("linear_0.w_0", tensor.numpy()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(6))
def test_bare_pickles(tmp_path, kind, protocol):
    module, path = torch.nn.LSTM(4, 5, 2, bidirectional=True), tmp_path / "a.pkl"
    if kind == "float16":
        module = module.half().float()
    state = {f"enc.{name}": KINDS[kind](value) for name, value in module.state_dict().items()}
    for whole in (state, {"model": state, "StructuredToParameterName@@": {"a": "b"}}):
        path.write_bytes(pickle.dumps(whole, protocol))
        torch_models.check(module, fl.LSTM.load(path))


def test_jax_arrays(tmp_path):
    jax = pytest.importorskip("jax")
    module = torch.nn.LSTM(4, 5)
    for dtype in ("float32", "bfloat16"):
        state = {name: jax.numpy.asarray(value.numpy()).astype(dtype) for name, value in module.state_dict().items()}
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(state))
        loaded = fl.load_tensors(tmp_path / "a.pkl")
        for name, value in state.items():
            np.testing.assert_array_equal(loaded[name], np.asarray(value.astype("float32")))


class Harm:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (self.marker, "w"))


def test_runs_nothing(tmp_path):
    module, marker = torch.nn.LSTM(4, 5), tmp_path / "marker"
    state = {**{name: value.numpy() for name, value in module.state_dict().items()}, "x": 3}
    data = pickle.dumps({"a": Harm(str(marker)), "model": state})
    (tmp_path / "a.pkl").write_bytes(data)
    torch_models.check(module, fl.LSTM.load(tmp_path / "a.pkl"))
    assert not marker.exists()
    pickle.loads(data)["a"].close()
    assert marker.exists(), "this pickle would do no harm, so the test would say nothing"


@pytest.mark.parametrize(
    "array, message",
    [
        (np.array([None] * 4), "expected an array of numbers, found dtype 'O8'"),
        (np.zeros(4, [("a", "f4")]), "expected an array of numbers, found dtype 'of several fields'"),
        (np.zeros(4, "U3"), "expected an array of numbers, found dtype 'U3'"),
        (np.zeros(4, "M8[s]"), "expected an array of numbers, found dtype 'M8'"),
        (np.ma.array(np.zeros(20, "f4")), r"expected a tensor or numbers, found numpy\.ma"),
        (np.matrix(np.zeros(20, "f4")), r"expected a tensor or numbers, found numpy\.matrix"),
        (np.zeros(20, "i4"), "expected a floating-point tensor, found dtype int32"),
    ],
    ids=str,
)
def test_other_arrays(tmp_path, array, message):
    state = {name: value.numpy() for name, value in torch.nn.LSTM(4, 5).state_dict().items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({**state, "bias_ih_l0": array}))
    with pytest.raises(fl.FormatError, match=f"bias_ih_l0: ({message}|expected shape)"):
        fl.LSTM.load(tmp_path / "a.pkl")


def test_a_pickle_in_memory():
    module = torch.nn.LSTM(4, 5)
    file = io.BytesIO(pickle.dumps(dict(module.state_dict())))
    torch_models.check(module, fl.LSTM.load(file))


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz_bare(tmp_path, count):
    rng, path = np.random.default_rng(6), tmp_path / "a.pkl"
    module = torch.nn.LSTM(2, 3)
    both = {f"a.{k}": v.numpy() for k, v in module.state_dict().items()} | {
        f"b.{k}": v for k, v in module.state_dict().items()
    }
    data = pickle.dumps({"model": both, "list": [1, 2.5, None], "box": torch.nn.MSELoss()})
    assert fuzz.survives(path, (fuzz.bytes_of(rng, data) for _ in range(count))) > count / 8
