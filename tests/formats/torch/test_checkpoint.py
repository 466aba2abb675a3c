"""PyTorch checkpoints without PyTorch: the framework's numbers, and nothing run from a hostile file."""

import argparse
import collections
import datetime
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest

import fusedlstm as fl
from fusedlstm import formats

DATA = pathlib.Path(__file__).parents[2] / "data"


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    return torch


def check(torch, module, lstm, seed=0):
    """The same numbers as the module, in float32, from a random state."""
    module = module.float()
    rng = np.random.default_rng(seed)
    shape = (3, 6, module.input_size) if lstm.batch_first else (6, 3, module.input_size)
    x = rng.normal(size=shape).astype(np.float32)
    rows = module.num_layers * (1 + module.bidirectional)
    h, c = (
        rng.normal(size=(rows, 3, size)).astype(np.float32)
        for size in (module.proj_size or module.hidden_size, module.hidden_size)
    )
    with torch.no_grad():
        module.batch_first = lstm.batch_first
        y_, (h_, c_) = module(torch.tensor(x), (torch.tensor(h), torch.tensor(c)))
    y, (h, c) = lstm(x, (h, c))
    for ours, theirs in ((y, y_), (h, h_), (c, c_)):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


def names(path):
    return list(formats.open(path).expect(fl.LSTMWeights))


CONFIGS = [
    {},
    {"num_layers": 3},
    {"bias": False},
    {"bidirectional": True, "num_layers": 2},
    {"proj_size": 2},
    {"proj_size": 3, "bidirectional": True, "num_layers": 2, "bias": False},
    {"dropout": 0.5, "num_layers": 2},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_state_dict(torch, tmp_path, config, dtype):
    module = torch.nn.LSTM(4, 5, **config).to(getattr(torch, dtype)).eval()
    torch.save(module.state_dict(), tmp_path / "a.pt")
    check(torch, module, fl.LSTM.load(tmp_path / "a.pt"))
    check(torch, module, fl.LSTM.load(tmp_path / "a.pt", batch_first=False))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
def test_from_module(torch, config, batch_first):
    module = torch.nn.LSTM(4, 5, batch_first=batch_first, **config).eval()
    lstm = fl.LSTM.from_torch(module)
    assert lstm.batch_first is batch_first
    assert lstm.proj_size == config.get("proj_size", 0)
    check(torch, module, lstm)


@pytest.mark.parametrize("bias", [True, False])
def test_cell(torch, tmp_path, bias):
    cell = torch.nn.LSTMCell(4, 5, bias=bias)
    torch.save({"decoder.cell." + k: v for k, v in cell.state_dict().items()}, tmp_path / "a.pt")
    assert names(tmp_path / "a.pt") == ["decoder.cell"]
    x = torch.randn(3, 4)
    h_, c_ = (t.detach().numpy() for t in cell(x))
    for lstm in (fl.LSTM.load(tmp_path / "a.pt"), fl.LSTM.from_torch(cell)):
        y, (h, c) = lstm(x[:, None].numpy())
        for ours, theirs in ((y[:, 0], h_), (h[0], h_), (c[0], c_)):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_from_module_refuses_others(torch):
    class Mine(torch.nn.LSTM):
        pass

    for module in (torch.nn.GRU(2, 3), torch.nn.RNN(2, 3), torch.nn.GRUCell(2, 3), Mine(2, 3), torch.nn.LSTM, "LSTM"):
        with pytest.raises(TypeError, match="expected a torch.nn.LSTM or torch.nn.LSTMCell, found"):
            fl.LSTM.from_torch(module)
    with pytest.raises(ValueError, match="weight_ih_l0: .*meta device"):
        fl.LSTM.from_torch(torch.nn.LSTM(2, 3, device="meta"))
    with pytest.raises(ValueError, match="weight_hh_l0_[a-z]+: .*spectral norm"):
        fl.LSTM.from_torch(torch.nn.utils.spectral_norm(torch.nn.LSTM(2, 3), "weight_hh_l0"))


def model(torch):
    module = torch.nn.Module()
    module.emb = torch.nn.Embedding(5, 4)
    module.enc = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LSTM(4, 5, 2))
    module.dec = torch.nn.LSTM(4, 6)
    module.norm = torch.nn.BatchNorm1d(3)  # its counter is int64
    return module


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m, torch: m.state_dict(),
        lambda m, torch: {"model": m.state_dict(), "epoch": 3},
        lambda m, torch: {"a": {"state_dict": m.state_dict()}, "b": None},
        lambda m, torch: {"model_state_dict": torch.nn.DataParallel(m).state_dict()},
        lambda m, torch: dict(m.named_parameters()),
        lambda m, torch: collections.defaultdict(dict, model=dict(m.state_dict())),
    ],
    ids=["root", "model", "nested", "DataParallel", "parameters", "defaultdict"],
)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_where_the_state_dict_is(torch, tmp_path, wrap, protocol):
    module = model(torch)
    torch.save(wrap(module, torch), tmp_path / "a.pt", pickle_protocol=protocol)
    assert sorted(names(tmp_path / "a.pt")) == ["dec", "enc.1"]
    check(torch, module.dec, fl.LSTM.load(tmp_path / "a.pt", "dec"))
    check(torch, module.enc[1], fl.LSTM.load(tmp_path / "a.pt", "enc.1"))
    with pytest.raises(fl.FormatError, match=r"a\.pt: expected one LSTM, found 2; .*'enc\.1'"):
        fl.LSTM.load(tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match=r"an LSTM called 'x', found .*'dec'"):
        fl.LSTM.load(tmp_path / "a.pt", "x")


def test_colliding_names_get_their_place(torch, tmp_path):
    one, two, three = (torch.nn.LSTM(2, size) for size in (3, 4, 5))
    as_rnn = lambda module: {f"rnn.{k}": v for k, v in module.state_dict().items()}  # noqa: E731
    torch.save(
        {"model": {**as_rnn(one), **model(torch).dec.state_dict(prefix="x.")}, "ema": as_rnn(two)}, tmp_path / "a.pt"
    )
    assert sorted(names(tmp_path / "a.pt")) == ["ema.rnn", "model.rnn", "x"]
    check(torch, two, fl.LSTM.load(tmp_path / "a.pt", "ema.rnn"))
    torch.save({"enc": one.state_dict(), "dec": {"a": two.state_dict(), "b": three.state_dict()}}, tmp_path / "b.pt")
    assert sorted(names(tmp_path / "b.pt")) == ["dec.a", "dec.b", "enc"]
    check(torch, three, fl.LSTM.load(tmp_path / "b.pt", "dec.b"))
    torch.save({**as_rnn(one), **{f"module.{k}": v for k, v in as_rnn(two).items()}}, tmp_path / "c.pt")
    assert sorted(names(tmp_path / "c.pt")) == ["module.rnn", "rnn"]
    torch.save({"m": as_rnn(one), "a": {"b": as_rnn(two)}, "a.b": as_rnn(three)}, tmp_path / "e.pt")
    with pytest.raises(fl.FormatError, match=r"expected one LSTM called 'a\.b\.rnn', found two"):
        names(tmp_path / "e.pt")
    shared = one.state_dict()
    torch.save({"model": shared, "best": shared}, tmp_path / "d.pt")
    assert names(tmp_path / "d.pt") == [""]


def test_what_else_a_checkpoint_may_hold(torch, tmp_path):
    module = torch.nn.LSTM(4, 5)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 2, 4))[0].sum().backward()
    optimizer.step()
    extras = [
        torch.tensor(3),
        torch.zeros(2, dtype=torch.bool),
        torch.zeros(2, dtype=torch.uint16),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, dtype=torch.float8_e4m3fn),
        torch.zeros(2, dtype=torch.complex64).conj(),
        torch.zeros(2, device="meta"),
        torch.zeros(3).expand(4, 3),
        torch.nn.Parameter(torch.zeros(2)),
        torch.Size([1, 2]),
        torch.float32,
        torch.device("cpu"),
        np.zeros(3),
        np.float64(3),
        np.dtype("f4"),
        {1, 2},
        frozenset("a"),
        [1, [2]],
        (1, (2,)),
        1j,
        b"x",
        2**70,
        -1.5,
        "\u20ac",
        argparse.Namespace(lr=1),
        pathlib.Path("a"),
        datetime.datetime.now(),
        collections.Counter("aab"),
        range(3),
        slice(2),
    ]
    for protocol in (2, 4):
        path = tmp_path / f"{protocol}.pt"
        everything = {"extras": extras, "as keys": {str(i): extra for i, extra in enumerate(extras)}, 5: {(1, 2): 3}}
        torch.save(
            {**everything, "opt": optimizer.state_dict(), "m": module.state_dict()}, path, pickle_protocol=protocol
        )
        check(torch, module, fl.LSTM.load(path))


def test_weights_in_one_storage(torch, tmp_path):
    """As cuDNN keeps them: every tensor a view; and one transposed, with its strides."""
    module = torch.nn.LSTM(4, 5)
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    views, at = {}, 0
    for name, p in module.named_parameters():
        views[name] = flat[at : at + p.numel()].view_as(p)
        at += p.numel()
    views["weight_ih_l0"] = views["weight_ih_l0"].t().contiguous().t()
    torch.save(views, tmp_path / "a.pt")
    check(torch, module, fl.LSTM.load(tmp_path / "a.pt"))


def test_tensor_subclass_and_attributes(torch, tmp_path):
    """A parameter that carries an attribute is rebuilt by another function."""
    module = torch.nn.LSTM(4, 5)
    state = dict(module.named_parameters())
    for p in state.values():
        p.tag = "x"
    torch.save(state, tmp_path / "a.pt")
    assert b"_with_state" in zipfile.ZipFile(tmp_path / "a.pt").read("a/data.pkl")
    check(torch, module, fl.LSTM.load(tmp_path / "a.pt"))


def test_without_checksums(torch, tmp_path):
    module = torch.nn.LSTM(4, 5)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(module.state_dict(), tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    check(torch, module, fl.LSTM.load(tmp_path / "a.pt"))


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """Rewrite an archive with `change(name, data)` in place of each member; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            data = change(name, data)
            if data is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_big_endian(torch, tmp_path, dtype):
    module = torch.nn.LSTM(4, 5).to(getattr(torch, dtype))
    path, size = tmp_path / "a.pt", {"float32": 4, "float64": 8}.get(dtype, 2)
    torch.save(module.state_dict(), path)

    def swap(name, data):
        if name == "a/byteorder":
            return b"big"
        return np.frombuffer(data, f"u{size}").byteswap().tobytes() if name.startswith("a/data/") else data

    rewrite(path, swap)
    again = torch.load(path)  # PyTorch itself agrees that this is the same file
    assert all(torch.equal(value, again[name]) for name, value in module.state_dict().items())
    check(torch, module, fl.LSTM.load(path))
    rewrite(path, lambda name, data: b"middle" if name == "a/byteorder" else data)
    with pytest.raises(fl.FormatError, match=r"byteorder: expected 'little' or 'big', found b'middle'"):
        fl.LSTM.load(path)


@pytest.mark.parametrize(
    "dtype, found",
    [
        ("int8", "expected a floating-point tensor, found dtype int8"),
        ("uint8", "expected a floating-point tensor, found dtype uint8"),
        ("float8_e4m3fn", "expected float32, .*found torch.float8_e4m3fn"),
    ],
)
def test_quantised_tensors_are_refused(torch, tmp_path, dtype, found):
    """Without their scales they are other numbers."""
    state = {k: v.to(getattr(torch, dtype)) for k, v in torch.nn.LSTM(4, 5).state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match=f"weight_ih_l0: {found}"):
        fl.LSTM.load(tmp_path / "a.pt")


def test_stored_file():
    expected = np.load(DATA / "pytorch_outputs.npz")
    y, (h, c) = fl.LSTM.load(DATA / "pytorch_checkpoint.pt", "encoder")(expected["x"])
    for ours, theirs in ((y, expected["y"]), (h, expected["h"]), (c, expected["c"])):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tenth", range(10))
def test_truncated(tmp_path, tenth):
    data = (DATA / "pytorch_checkpoint.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(data[: len(data) * tenth // 10])
    with pytest.raises(fl.FormatError, match=r"a\.pt: (damaged zip|expected a weights file)"):
        fl.LSTM.load(tmp_path / "a.pt")


def test_no_archive(tmp_path):
    path = tmp_path / "a.pt"
    with tarfile.open(path, "w") as archive:
        archive.add(DATA / "pytorch_checkpoint.pt", "model/weights.ckpt")
    with pytest.raises(fl.FormatError, match=r"tar archive, which holds 'model/weights.ckpt'; unpack it"):
        fl.LSTM.load(path)
    with pytest.raises(FileNotFoundError):
        fl.LSTM.load(tmp_path / "none.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError):
        fl.LSTM.load(tmp_path / "empty")
