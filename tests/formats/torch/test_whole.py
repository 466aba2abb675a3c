"""Whole programs of torch.export: recurrent layers, names, states, what is written in place, older files, live modules."""

import io
import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
import torch_programs
from torch import nn
from torch.export import Dim
from torch_programs import Of, check, exported, program, saved

import fusedlstm as fl


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 8, padding_idx=0)
        self.rnn = nn.LSTM(8, 16, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.rnn(self.emb(x))[0][:, -1])


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(1)
    module = Tagger().eval()
    return module, exported(module, (torch.zeros(3, 7, dtype=torch.int64),), {"x": {0: Dim("batch")}})


def tokens(*shape):
    return torch.randint(0, 20, shape, generator=torch.Generator().manual_seed(0))


def test_a_tagger_without_torch(tagger, tmp_path):
    module, data = tagger
    path = tmp_path / "tagger.pt2"
    path.write_bytes(data)
    x = tokens(5, 7)
    check(data, module, (x,))
    model = fl.Model.load(path)
    assert [(name, spec.shape, spec.dtype) for name, spec in model.inputs.items()] == [("x", (None, 7), np.int64)]
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "y.npy", module(x).detach().numpy())
    code = (
        "import sys, numpy as np, fusedlstm as fl; y = fl.Model.load('tagger.pt2')(np.load('x.npy'));"
        "assert np.abs(y - np.load('y.npy')).max() < 1e-6; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_the_lstm_inside_and_the_native_form(tagger, tmp_path):
    _, data = tagger
    model = fl.Model.load(data)
    model.save(tmp_path / "tagger.safetensors")
    again = fl.Model.load(tmp_path / "tagger.safetensors")
    x = tokens(4, 7).numpy()
    assert np.array_equal(model(x), again(x))
    alone = fl.LSTM.load(tmp_path / "tagger.safetensors", batch_first=True)
    steps = np.random.default_rng(0).normal(size=(2, 7, 8)).astype(np.float32)
    assert np.array_equal(alone(steps)[0], fl.LSTM.load(data, "rnn")(steps)[0])


def test_the_model_is_cut_at_nodes(tagger):
    module, data = tagger
    model = fl.Model.load(data, outputs=["embedding", "linear"])
    x = tokens(2, 7)
    emb, y = model(x.numpy())
    torch_programs.close(emb, module.emb(x).detach().numpy())
    torch_programs.close(y, module(x).detach().numpy())
    with pytest.raises(fl.FormatError, match="outputs: expected names of nodes .*embedding.*found 'nothing'"):
        fl.Model.load(data, outputs=["nothing"])


RECURRENT = {
    "lstm": lambda: nn.LSTM(3, 4),
    "lstm_layers": lambda: nn.LSTM(3, 4, 3, bias=False, batch_first=True),
    "lstm_both": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "lstm_projected": lambda: nn.LSTM(3, 6, 2, proj_size=2, bidirectional=True, batch_first=True),
    "gru": lambda: nn.GRU(3, 4),
    "gru_layers": lambda: nn.GRU(3, 4, 2, bias=False, batch_first=True),
    "gru_both": lambda: nn.GRU(3, 4, 2, bidirectional=True, batch_first=True),
    "rnn": lambda: nn.RNN(3, 4),
    "rnn_relu": lambda: nn.RNN(3, 4, 2, nonlinearity="relu", bidirectional=True, batch_first=True),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name):
    """From zeros, from states, and of a sequence alone."""
    torch.manual_seed(2)
    layer = RECURRENT[name]().eval()
    both, size = 1 + layer.bidirectional, getattr(layer, "proj_size", 0) or 4
    h = torch.randn(layer.num_layers * both, 5, size)
    state = (h, torch.randn(*h.shape[:2], layer.hidden_size)) if name.startswith("lstm") else h
    alone = tuple(one[:, 0] for one in state) if name.startswith("lstm") else h[:, 0]

    def run(self, x, state, sequence, alone):
        return self.layer(x), self.layer(x, state), self.layer(sequence), self.layer(sequence, alone)

    x = torch.randn(5, 6, 3) if layer.batch_first else torch.randn(6, 5, 3)
    module = Of(run, layer=layer)
    check(exported(module, (x, state, x[:, 0], alone)), module, (x, state, x[:, 0], alone))


@pytest.mark.parametrize("both", [False, True])
def test_decomposed_layers(both):
    """Taken apart into products and gates, for as many steps as the example had; the batch is free."""
    module = Of(lambda self, x: self.lstm(x)[0], lstm=nn.LSTM(3, 4, 2, batch_first=True, bidirectional=both)).eval()
    data = exported(module, (torch.randn(2, 3, 3),), ({0: Dim("batch")},), decomposed=True)
    model = check(data, module, (torch.randn(3, 3, 3),))
    kinds = [one.op for one in model.simplified.nodes]
    assert kinds.count("fusedlstm.LSTM") == 2 + 2 * both
    assert "Sigmoid" not in kinds


@pytest.mark.parametrize("decomposed", [False, True])
def test_steps_of_a_gru_are_a_layer(decomposed):
    def run(self, x, h):
        for step in x.unbind(1):
            h = self.cell(step, h)
        return h

    module, inputs = Of(run, cell=nn.GRUCell(3, 4)), (torch.randn(2, 4, 3), torch.randn(2, 4))
    model = check(exported(module, inputs, decomposed=decomposed), module, inputs)
    assert [one.op for one in model.simplified.nodes].count("GRU") == 1


def test_cells():
    cells = {"lstm": nn.LSTMCell(3, 4), "gru": nn.GRUCell(3, 4, bias=False), "rnn": nn.RNNCell(3, 4)}
    cells["relu"] = nn.RNNCell(3, 4, nonlinearity="relu")

    def run(self, x, h, c):
        state = h, c
        for step in x.unbind(1):
            state = self.lstm(step, state)
        return state, self.gru(x[:, 0], h), self.rnn(x[:, 0]), self.relu(x[:, 0], h)

    module = Of(run, **cells).eval()
    inputs = torch.randn(2, 5, 3), torch.randn(2, 4), torch.randn(2, 4)
    model = check(exported(module, inputs), module, inputs)
    assert sum(one.op == "fusedlstm.LSTM" for one in model.simplified.nodes) == 1
    check(exported(module, inputs, decomposed=True), module, inputs)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell])
def test_decoders_that_are_fed_what_they_said(kind):
    def run(self, x):
        state = (torch.zeros(x.shape[0], 4),) * 2 if kind is nn.LSTMCell else torch.zeros(x.shape[0], 4)
        token, said = x, []
        for _ in range(4):
            state = self.cell(self.emb(token), state)
            said.append(self.head(state[0] if isinstance(state, tuple) else state))
            token = said[-1].argmax(-1)
        return torch.stack(said, 1)

    torch.manual_seed(5)
    module = Of(run, emb=nn.Embedding(9, 3), cell=kind(3, 4), head=nn.Linear(4, 9)).eval()
    check(exported(module, (torch.tensor([1, 2, 3]),), ({0: Dim("batch")},)), module, (torch.tensor([4, 0]),))


def test_weights_that_are_put_together():
    """Weight norm: the weights are what constants settle."""
    layer = nn.utils.parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 3, 2))
    module = Of(lambda self, x: self.layer(self.conv(x))[0], layer=layer, conv=conv).eval()
    x = torch.randn(5, 3, 4)
    check(exported(module, (x,)), module, (x,))


@pytest.mark.parametrize("decomposed", [False, True])
def test_attention_layers(decomposed, monkeypatch):
    torch.manual_seed(3)
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)  # which gives NaN for this mask
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), 2)
    parts = {"encoder": encoder, "attend": nn.MultiheadAttention(8, 2, batch_first=True)}
    parts["causal"] = nn.Parameter(torch.full((5, 5), -torch.inf).triu(1) - torch.eye(5))
    parts["decoder"] = nn.TransformerDecoderLayer(8, 2, 16, activation="gelu")

    def run(self, x, y, mask):
        alone = self.attend(x, y, y, need_weights=False)[0]
        masked, weights = self.attend(x, y, y, key_padding_mask=mask)
        return (
            alone,
            masked,
            weights,
            self.encoder(x),
            self.encoder(x, self.causal, is_causal=False),
            self.decoder(x, y[:, :5]),
        )

    module = Of(run, **parts).eval()
    inputs = torch.randn(3, 5, 8), torch.randn(3, 6, 8), torch.arange(6).expand(3, 6) > torch.tensor([[3], [5], [1]])
    check(exported(module, inputs, decomposed=decomposed), module, inputs)


# Names and trees.


def test_names_of_inputs_and_outputs():
    """Those of forward's arguments, and of what it returns where that has names."""

    class Named(nn.Module):
        def forward(self, x, pair, *, scale=None, table=None):
            a, b = pair
            return {"sum": x + a, "rest": (b * scale, {"deep": table["k"] - 1})}

    x = torch.randn(3)
    kwargs = {"scale": torch.tensor(2.0), "table": {"k": x.clone()}}
    made = torch.export.export(Named(), (x, (x.clone(), x.clone())), kwargs)
    model = fl.Model.load(saved(made))
    assert list(model.inputs) == ["x", "pair_0", "pair_1", "scale", "table_k"]
    assert list(model.outputs) == ["sum", "rest.0", "rest.1.deep"]
    found = model.run({"x": x, "pair_0": 2 * x, "pair_1": 3 * x, "scale": 2.0, "table_k": 5 * x})
    assert np.allclose(found["sum"], 3 * x)
    assert np.allclose(found["rest.0"], 6 * x)
    assert np.allclose(found["rest.1.deep"], 5 * x - 1)


def test_outputs_that_are_one_tensor_an_input_a_constant_or_a_number():
    def run(self, x):
        y = x * 2
        return y, y, x, self.k, x.shape[0], 3, None

    module = Of(run, k=nn.Parameter(torch.randn(2)))
    data = exported(module, (torch.randn(4, 3),), ({0: Dim("batch")},))
    x = torch.randn(5, 3)
    check(data, module, (x,))


def test_numbers_as_inputs():
    module = Of(lambda self, x, n: x[:, :n] * n)
    data = exported(module, (torch.randn(2, 9), 4), ({}, Dim.DYNAMIC))
    model = fl.Model.load(data)
    x = torch.randn(2, 9)
    torch_programs.close(model(x.numpy(), 3), (x[:, :3] * 3).numpy())


# Open sizes.


def test_sizes_are_computed_with():
    def run(self, x, y):
        batch, time, _ = x.shape
        flat = x.reshape(batch * time, -1)
        rest = x[:, 1:]
        padded = nn.functional.pad(x, (0, 0, 0, time % 3))
        grid = torch.arange(time).expand(batch, time) < y[:, None]
        return flat, rest, padded, grid, x.new_zeros(batch, 2), x.view(batch, -1), torch.cat([x, rest], 1), x.mean(1)

    module = Of(run)
    sizes = {0: Dim("batch"), 1: Dim("time", min=3)}
    data = exported(module, (torch.randn(2, 5, 3), torch.tensor([1, 2])), (sizes, {0: sizes[0]}))
    for batch, time in ((2, 5), (1, 7), (4, 3)):
        check(data, module, (torch.randn(batch, time, 3), torch.randint(0, 9, (batch,))))


def test_sizes_that_belong_together():
    half = Dim("half")
    module = Of(lambda self, x, y: x.reshape(-1, 2).sum(1) + y)
    data = exported(module, (torch.randn(8), torch.randn(4)), ({0: 2 * half}, {0: half}))
    model = check(data, module, (torch.randn(6), torch.randn(3)))
    for sizes in ((6, 4), (5, 2), (2, 2)):
        for one in (model, pickle.loads(pickle.dumps(model))):
            with pytest.raises(ValueError, match=r"input 'inputs_0': expected shape \(2\*s"):
                one(*(np.zeros(size, np.float32) for size in sizes))


def test_ranges_are_checked():
    """A program may be another one outside of the range that was stated."""
    module = Of(lambda self, x: x * 2 if x.shape[0] < 10 else x)
    data = exported(module, (torch.randn(4),), ({0: Dim("n", min=3, max=8)},))
    model = fl.Model.load(data)
    assert model(np.ones(3, np.float32))[0] == 2
    for size in (2, 9):
        with pytest.raises(ValueError, match=rf"expected 3 to 8.*found {size}"):
            model(np.ones(size, np.float32))
    again = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match="expected 3 to 8"):
        again(np.ones(9, np.float32))


# States and what is written in place.


class Counting(nn.Module):
    """A module that keeps what it has seen."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4)
        self.register_buffer("h", torch.zeros(1, 1, 4))
        self.register_buffer("c", torch.zeros(1, 1, 4))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        y, (h, c) = self.rnn(x, (self.h, self.c))
        self.h.copy_(h)
        self.c.copy_(c)
        self.count += 1
        return y * self.count


@pytest.mark.parametrize("decomposed", [False, True])
def test_buffers_that_change_are_states(decomposed):
    torch.manual_seed(4)
    module = Counting().eval()
    model = fl.Model.load(exported(module, (torch.randn(2, 1, 3),), decomposed=decomposed))
    assert list(model.inputs)[1:] == ["h.in", "c.in", "count.in"] or set(model.inputs) == {
        "x",
        "h.in",
        "c.in",
        "count.in",
    }
    stream = model.stream()
    module = Counting().eval()
    module.load_state_dict({**module.state_dict(), **Counting().state_dict()})
    torch.manual_seed(4)
    module = Counting().eval()
    for _ in range(3):
        x = torch.randn(2, 1, 3)
        torch_programs.close(np.asarray(stream.step(x.numpy())), module(x).detach().numpy())


def test_buffers_that_start_at_other_numbers_are_refused():
    module = Counting()
    module.count += 3
    data = exported(module.eval(), (torch.randn(2, 1, 3),))
    with pytest.raises(fl.FormatError, match="buffer 'count', which the program changes: expected zeros"):
        fl.Model.load(data)


def in_place(self, x):
    a = nn.functional.relu(x * 1, inplace=True)
    b = x.clone()
    b[:, 0] = 7
    b[:, 1:3] += 1
    rows = b[1]
    rows.mul_(2)
    turned = b.t()
    turned[2].fill_(3)
    wide = b.view(-1)
    wide[3:5] = -wide[3:5]
    c = x + 0
    c.unsqueeze(0).squeeze(0).clamp_(-1, 1)
    d = torch.zeros(3, 4)
    d[x > 0] = 5
    d[[0, 2]] = x[:2]
    e = x.reshape(-1)
    f = x.clone()
    before = f + 0
    g = f[0]
    f.zero_()
    return a, b, rows, c, d, e, before, g, f, turned, b.masked_fill_(b > 4, 0.5)


@pytest.mark.parametrize("decomposed", [False, True])
def test_what_is_written_in_place(decomposed):
    module = Of(in_place)
    x = torch.randn(3, 4)
    data = exported(module, (x.clone(),), decomposed=decomposed)
    check(data, module, (x,))


def test_many_writes_to_one_view():
    def run(self, x):
        y = x.clone()
        row = y[1]
        for k in range(70):
            row = row.add_(k)
        return y, row

    check(exported(Of(run), (torch.randn(3, 4),)), Of(run), (torch.randn(3, 4),))


def test_writing_to_what_may_be_a_copy_is_refused():
    def run(self, x):
        y = x.clone()
        y.t().reshape(2, 6).add_(1)
        return y

    with pytest.raises(fl.FormatError, match="may be either when it is written to"):
        fl.Model.load(exported(Of(run), (torch.randn(3, 4),)))
    model = fl.Model.from_torch(Of(run), torch.randn(3, 4))  # PyTorch settles it
    check(model, Of(run), (torch.randn(3, 4),))


def test_writing_through_other_views_is_refused():
    def run(self, x):
        y = x.clone()
        y.expand(2, 3, 4)[0].add_(1)
        return y

    data = exported(Of(run), (torch.randn(3, 4),))
    with pytest.raises(fl.FormatError, match=r"add_.Tensor.*found a view of expand.*run_decompositions"):
        fl.Model.load(data)
    made = torch.export.export(Of(run), (torch.randn(3, 4),)).run_decompositions({})
    check(saved(made), Of(run), (torch.randn(3, 4),))


# What is refused.


def test_operators_that_are_not_known_are_named_with_their_place():
    class Deep(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x).abs()

    module = Of(lambda self, x: (self.deep(x), x + 1), deep=Deep())
    data = exported(module, (torch.randn(8),))
    with pytest.raises(fl.FormatError, match=r"fft_rfft.default node 'fft_rfft': .*\(in deep \(Deep\), at `.*outputs="):
        fl.Model.load(data)
    model = fl.Model.load(data, outputs=["add"])
    assert model(np.zeros(8, np.float32))[0] == 1


def test_dropout_that_is_on_is_refused():
    module = Of(lambda self, x: nn.functional.dropout(x, 0.5, True))
    with pytest.raises(fl.FormatError, match="train: expected a module in eval mode"):
        fl.Model.load(exported(module, (torch.randn(3),)))


def test_scripted_modules_say_how_to_get_the_whole_model(tmp_path):
    module = nn.Sequential(nn.Linear(3, 2)).eval()
    torch.jit.script(module).save(tmp_path / "a.pt")
    with pytest.raises(fl.FormatError, match=r"a TorchScript.*Model\.from_torch\(module, example_inputs\)") as told:
        fl.Model.load(tmp_path / "a.pt")
    example_inputs, there = (torch.randn(1, 3),), str(told.value).rpartition(", or ")[2]
    check(fl.Model.from_torch(module, example_inputs), module, example_inputs)
    exec(
        there.replace("model.pt2", str(tmp_path / "model.pt2")),
        {"torch": torch, "module": module, "example_inputs": example_inputs},
    )
    check((tmp_path / "model.pt2").read_bytes(), module, example_inputs)


def test_on_the_command_line(tagger, tmp_path):
    from click.testing import CliRunner

    from fusedlstm.cli import cli

    module, data = tagger
    path, x = tmp_path / "tagger.pt2", tokens(2, 7)
    path.write_bytes(data)
    np.save(tmp_path / "x.npy", x.numpy())
    out = tmp_path / "y.npz"
    for arguments in (
        ["info", path],
        ["run", path, "--input", f"x={tmp_path / 'x.npy'}", "-o", out],
        ["convert", path, tmp_path / "tagger.safetensors", "--whole"],
        ["profile", path, "--input", f"x={tmp_path / 'x.npy'}"],
    ):
        found = CliRunner().invoke(cli, list(map(str, arguments)))
        assert found.exit_code == 0, found.output
    torch_programs.close(np.load(out)["linear"], module(x).detach().numpy())


# Older files.


def older(data, version="2.4"):
    """The same program in the layout of an older version."""
    made = torch.export.load(io.BytesIO(data))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("models/model.json")]
        tree = json.loads(archive.read(name))
    tree["torch_version"] = version
    for node in tree["graph_module"]["graph"]["nodes"]:
        node.pop("name", None)
        node.pop("is_hop_single_tensor_return", None)
        for one in node["inputs"]:
            one.pop("kind", None)

    def artifact(value):
        file = io.BytesIO()
        torch.save(value, file)
        return file.getvalue()

    text = json.dumps(tree)
    for before, after in (("Symbol('s77', positive=True, integer=True)", "s0"), ('"s77"', '"s0"')):
        text = text.replace(before, after)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("serialized_exported_program.json", text)
        archive.writestr("serialized_state_dict.pt", artifact(dict(made.state_dict)))
        archive.writestr("serialized_constants.pt", artifact(dict(made.constants)))
        archive.writestr("serialized_example_inputs.pt", artifact(made.example_inputs))
        archive.writestr("version", "5.1")
    return file.getvalue()


def test_older_files(tagger):
    module, data = tagger
    old = older(data)
    check(old, module, (tokens(4, 7),))
    steps = np.random.default_rng(0).normal(size=(2, 7, 8)).astype(np.float32)
    found = fl.LSTM.load(old, "rnn", batch_first=True)(steps)[0]
    assert np.array_equal(found, fl.LSTM.load(data, "rnn")(steps)[0])


def test_older_files_with_constants():
    module = Of(lambda self, x: x * self.k + torch.tensor([1.0, 2.0]), k=nn.Parameter(torch.randn(2)))
    module.register_buffer("more", torch.randn(2), persistent=False)
    module.function = lambda self, x: x * self.k + torch.tensor([1.0, 2.0]) + self.more
    x = torch.randn(3, 2)
    check(older(exported(module, (x,))), module, (x,))


# Live modules.


def test_live_modules_have_free_steps(tagger):
    module, _ = tagger
    sizes = {0: Dim("batch"), 1: Dim("time")}
    model = fl.Model.from_torch(module, tokens(3, 7), dynamic_shapes={"x": sizes})
    for shape in ((1, 1), (4, 11), (2, 3)):
        check(model, module, (tokens(*shape),))
    with pytest.raises(Exception, match="specialized"):  # and torch.export is as it was
        program(module, (tokens(3, 7),), {"x": sizes})


def test_live_modules_in_training_mode_are_taken_as_in_eval_mode():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    module[1].eval()
    with pytest.warns(fl.AssumptionWarning, match=r"taken as in eval mode.*module.eval\(\)"):
        model = fl.Model.from_torch(module, torch.randn(2, 3))
    assert [one.training for one in module] == [True, False, True]
    check(model, module.eval(), (torch.randn(2, 3),))


def test_live_modules_are_given_arrays_and_names():
    module = Of(lambda self, x, y: x + y)
    x = np.ones((2, 3), np.float32)
    assert (fl.Model.from_torch(module.eval(), (x, x))(x, 2 * x) == 3).all()
    same = torch.from_numpy(x)
    assert (fl.Model.from_torch(module.eval(), (same, same))(x, 2 * x) == 3).all()

    class Named(nn.Module):
        def forward(self, x, *, scale):
            return x * scale

    model = fl.Model.from_torch(Named().eval(), (x,), {"scale": x})
    assert (model(x=x, scale=3 * x) == 3).all()


def test_live_modules_with_operators_that_torch_can_take_apart():
    """What is not known here is decomposed by PyTorch; what is known stays whole."""
    layer = nn.LSTM(3, 4, batch_first=True)
    module = Of(
        lambda self, x: torch.special.entr(self.layer(x)[0].abs()) + torch.logaddexp(x, x)[..., :1], layer=layer
    )
    module.eval()
    sizes = ({0: Dim("batch"), 1: Dim("time")},)
    model = fl.Model.from_torch(module, torch.randn(2, 5, 3), dynamic_shapes=(sizes,))
    check(model, module, (torch.randn(3, 4, 3),))


def test_programs_are_taken_as_they_are(tagger):
    module, _ = tagger
    made = program(module, (tokens(2, 7),))
    check(fl.Model.from_torch(made), module, (tokens(2, 7),))


def test_live_modules_that_cannot_be_traced():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match="module: torch.export cannot trace it"):
        fl.Model.from_torch(Branching().eval(), torch.randn(3))
    with pytest.raises(TypeError, match=r"module: expected a torch.nn.Module, found builtins.int"):
        fl.Model.from_torch(3, torch.randn(3))
    scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="TorchScript"):
        fl.Model.from_torch(scripted, torch.randn(1, 2))


def test_nodes_are_named_by_their_modules(tagger):
    _, file = tagger
    model, x = fl.Model.load(file), tokens(2, 7).numpy()
    rounded = model.astype("int8", keep=["rnn"])(x)
    assert np.abs(rounded - model(x)).max() > 1e-5  # the head
    assert model.astype("int8", keep=["rnn", "head", "emb"])(x).tobytes() == model(x).tobytes()
    assert {"rnn", "emb/embedding", "head/linear"} <= {one.name for one in model.profile(x, runs=2)}


def test_windows_of_a_free_length_are_put_together_again():
    class Overlap(nn.Module):
        def forward(self, x):
            size = (x.shape[-1], 1)
            parts = nn.functional.unfold(x.unsqueeze(-1), (6, 1), padding=(6, 0), stride=(3, 1))
            return nn.functional.fold(parts, size, (6, 1), padding=(6, 0), stride=(3, 1))

    free = ({0: Dim.AUTO, 2: Dim.AUTO},)
    model = fl.Model.from_torch(Overlap(), (torch.randn(2, 3, 24),), dynamic_shapes=free)
    for shape in ((2, 3, 24), (3, 3, 31), (2, 3, 33)):
        x = torch.randn(shape)
        np.testing.assert_allclose(model(x.numpy()), Overlap()(x).numpy(), rtol=1e-6, atol=1e-6)
