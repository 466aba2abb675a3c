"""Models from parts against PyTorch: each layer with its options, random stacks, state dicts of every container."""

import pickle
import warnings

import numpy as np
import pytest
import variants

import fusedlstm as fl
from fusedlstm.parts.steps import FUNCTIONS

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(autouse=True)
def strict():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "LSTM with projections")
        yield


def trained(module):
    """Numbers as training leaves them, not those of a new layer."""
    with torch.no_grad():
        for name, one in (*module.named_parameters(), *module.named_buffers()):
            if one.dtype.is_floating_point:
                one.copy_(torch.rand_like(one) + 0.5 if "var" in name else torch.randn_like(one) * 0.5)
    return module.eval()


def state(module, name="m"):
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def check(model, wanted, *inputs):
    with torch.no_grad():
        wanted = wanted(*map(torch.as_tensor, inputs)).numpy()
    found = model(*inputs)
    assert found.dtype == np.float32 and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6 * max(1, abs(wanted).max()))


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_three_lines(tmp_path):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.rnn = nn.Embedding(20, 8), nn.LSTM(8, 16, 2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            return torch.softmax(self.head(self.rnn(self.emb(x))[0]), -1)

    tagger, f = trained(Tagger()), tmp_path / "tagger.pt"
    torch.save({"state_dict": tagger.state_dict(), "epoch": 3}, f)
    with pytest.raises(
        fl.FormatError, match=r"tagger.pt: expected tensors under 'embed', found none, but 'emb.weight'"
    ):
        fl.Embedding.load(f, "embed")
    rnn = fl.LSTM.load(f, "rnn", batch_first=True)
    model = fl.Sequential(fl.Embedding.load(f, "emb"), rnn, fl.Linear.load(f, "head"), "softmax")
    assert isinstance(model, fl.Model) and model.inputs["input"].dtype == np.int64
    x = np.random.default_rng(0).integers(0, 20, (3, 7))
    check(model, tagger, x)
    model.save(tmp_path / "tagger.safetensors")
    for again in (fl.Model.load(tmp_path / "tagger.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again(x), model(x))
    assert {one.name for one in model.profile(x)} >= {"emb", "1 LSTM", "head"}


@pytest.mark.parametrize("container", ["pt", "safetensors", "npz", "dict"])
def test_containers(tmp_path, container):
    from safetensors.torch import save_file

    linear = trained(nn.Linear(4, 3))
    tensors = state(linear, "deep.head")
    if container == "pt":
        torch.save(tensors, tmp_path / "f")
    elif container == "safetensors":
        save_file(tensors, tmp_path / "f")
    elif container == "npz":
        with open(tmp_path / "f", "wb") as file:
            np.savez(file, **{name: value.numpy() for name, value in tensors.items()})
    for prefix in ("deep.head", "deep.head."):
        if container == "dict":
            part = fl.Linear.from_state_dict(tensors, prefix)
        else:
            part = fl.Linear.load(tmp_path / "f", prefix)
        assert part.name == "deep.head"
        check(fl.Sequential(part), linear, normal(2, 4))
        check(fl.Sequential(part, shape=(None, None, 4)), linear, normal(2, 6, 4))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 3},
        {"dilation": 2, "padding": "same"},
        {"padding": "same"},
        {"padding": "valid", "groups": 2},
        {"groups": 4, "padding": 1, "stride": 3},
        {"padding": 2, "padding_mode": "reflect"},
        {"padding": 2, "padding_mode": "replicate", "stride": 2},
        {"padding": "same", "padding_mode": "circular"},
    ],
    ids=str,
)
def test_conv1d(options, bias):
    for kernel in (1, 3, 4):
        if options.get("padding") == "same" and kernel == 4 and options.get("padding_mode"):
            continue
        conv = trained(nn.Conv1d(4, 8, kernel, bias=bias, **options))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's of an even kernel
            check(fl.Sequential(fl.Conv1d.from_state_dict(state(conv), "m", **options)), conv, normal(2, 4, 17))


def test_weight_norm():
    for norm in (nn.utils.parametrizations.weight_norm, nn.utils.weight_norm):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            conv = norm(trained(nn.Conv1d(4, 6, 3)))
            linear = norm(trained(nn.Linear(4, 6)))
        check(fl.Sequential(fl.Conv1d.from_state_dict(state(conv), "m")), conv, normal(2, 4, 9))
        check(fl.Sequential(fl.Linear.from_state_dict(state(linear), "m")), linear, normal(2, 4))
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6))
    with pytest.raises(fl.FormatError, match="spectral norm"):
        fl.Linear.from_state_dict(state(spectral), "m")


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_batch_norm(affine, eps):
    norm = trained(nn.BatchNorm1d(4, eps=eps, affine=affine))
    part = fl.BatchNorm1d.from_state_dict(state(norm), "m", eps=eps)
    check(fl.Sequential(part), norm, normal(3, 4))
    check(fl.Sequential(part, shape=(None, 4, None)), norm, normal(3, 4, 5))
    with pytest.raises(fl.FormatError, match="no 'running_mean'"):
        fl.BatchNorm1d.from_state_dict(state(nn.BatchNorm1d(4, track_running_stats=False)), "m")


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(bias):
    norm = trained(nn.LayerNorm(6, eps=1e-3, bias=bias))
    part = fl.LayerNorm.from_state_dict(state(norm), "m", eps=1e-3)
    check(fl.Sequential(part), norm, normal(3, 6))
    wide = trained(nn.LayerNorm((5, 6), bias=bias))
    check(fl.Sequential(fl.LayerNorm.from_state_dict(state(wide), "m")), wide, normal(3, 5, 6))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations(name):
    x = np.concatenate([normal(4, 64), 20 * normal(4, 64)])
    theirs = {
        "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
        "softmax": lambda x: torch.softmax(x, -1),
        "log_softmax": lambda x: torch.log_softmax(x, -1),
    }.get(name) or getattr(nn.functional, name)
    check(fl.Sequential(name), theirs, x)
    check(fl.Sequential(name, shape=(None, 4, None)), theirs, x.reshape(-1, 4, 8))


def test_activations_with_parameters():
    x = normal(4, 9)
    check(fl.Sequential(fl.Activation("leaky_relu", 0.2)), lambda x: nn.functional.leaky_relu(x, 0.2), x)
    check(fl.Sequential(fl.Activation("elu", 0.5)), lambda x: nn.functional.elu(x, 0.5), x)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 3}], ids=str)
def test_last_step(batch_first, options):
    """With lengths it is the last valid one, as of a packed sequence."""
    rnn = trained(nn.LSTM(5, 6, batch_first=batch_first, **options))
    lstm = fl.LSTM.from_torch(rnn)
    x = normal(4, 7, 5) if batch_first else normal(7, 4, 5)
    check(fl.Sequential(lstm, fl.Last()), lambda x: rnn(x)[0].select(1 if batch_first else 0, -1), x)
    lengths = np.array([7, 1, 3, 5])

    def packed(x, lengths):
        y = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
        y, _ = nn.utils.rnn.pad_packed_sequence(rnn(y)[0], True)
        return y[torch.arange(4), lengths - 1]

    check(fl.Sequential(lstm, fl.Last(), lengths=True), packed, x, lengths)


def test_cnn_and_lstm():
    conv, norm, rnn = nn.Conv1d(3, 8, 5, padding=2), nn.BatchNorm1d(8), nn.LSTM(8, 8, 2, batch_first=True)
    top, head = nn.LayerNorm(8), nn.Linear(8, 2)
    for one in (conv, norm, rnn, top, head):
        trained(one)

    def theirs(x):
        y = torch.relu(norm(conv(x))).transpose(1, 2)
        y = top(y + rnn(y)[0])
        return torch.sigmoid(head(y[:, -1]))

    model = fl.Sequential(
        fl.Conv1d.from_state_dict(state(conv), "m", padding=2),
        fl.BatchNorm1d.from_state_dict(state(norm), "m"),
        "relu",
        fl.Transpose(1, 2),
        fl.Residual(fl.LSTM.from_torch(rnn)),
        fl.LayerNorm.from_state_dict(state(top), "m"),
        fl.Last(),
        fl.Sequential(fl.Linear.from_state_dict(state(head), "m"), "sigmoid"),
    )
    assert model.inputs["input"].shape == (None, 3, None)
    check(model, theirs, normal(2, 3, 30))


def random_part(rng, size, steps):
    """A layer of PyTorch, ours, and the size that comes out."""
    kind = rng.integers(7 if steps else 5)
    if kind == 0:
        out = int(rng.integers(1, 20))
        layer = trained(nn.Linear(size, out, bias=bool(rng.integers(2))))
        return layer, fl.Linear.from_state_dict(state(layer), "m"), out
    if kind == 1:
        layer = trained(nn.LayerNorm(size))
        return layer, fl.LayerNorm.from_state_dict(state(layer), "m"), size
    if kind == 2:
        name = str(rng.choice(["relu", "tanh", "sigmoid", "gelu", "silu", "elu"]))
        return getattr(nn.functional, name), name, size
    if kind in (3, 4):
        inner, ours, out = random_part(rng, size, steps)
        if out == size:
            return lambda x: x + inner(x), fl.Residual(ours), size
        layer = trained(nn.Linear(out, size))
        back = fl.Linear.from_state_dict(state(layer), "m")
        return lambda x: x + layer(inner(x)), fl.Residual(ours, back), size
    if kind == 5:
        hidden, both = int(rng.integers(1, 20)), bool(rng.integers(2))
        rnn = trained(nn.LSTM(size, hidden, int(rng.integers(1, 3)), bidirectional=both, batch_first=True))
        return lambda x: rnn(x)[0], fl.LSTM.from_torch(rnn), hidden * (1 + both)
    out, dilation = int(rng.integers(1, 20)), int(rng.integers(1, 3))
    conv = trained(nn.Conv1d(size, out, 3, padding=dilation, dilation=dilation))
    part = fl.Conv1d.from_state_dict(state(conv), "m", padding=dilation, dilation=dilation)
    whole = fl.Sequential(fl.Transpose(1, 2), part, fl.Transpose(1, 2), shape=(None, None, size))
    return lambda x: conv(x.transpose(1, 2)).transpose(1, 2), whole, out


@pytest.mark.parametrize("seed", range(60))
def test_random_stacks(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    steps, size = bool(rng.integers(2)), int(rng.integers(1, 20))
    theirs, ours, first = [], [], size
    for _ in range(rng.integers(1, 7)):
        layer, part, size = random_part(rng, size, steps)
        theirs.append(layer)
        ours.append(part)

    def run(x):
        for one in theirs:
            x = one(x)
        return x

    shape = (3, 6, first) if steps else (3, first)
    check(fl.Sequential(*ours, shape=(None,) * (len(shape) - 1) + (first,)), run, normal(*shape))


def linear(out, size):
    return fl.Linear(normal(out, size))


def embedding(size):
    return fl.Embedding(normal(9, size))


def lstm(size, hidden, **options):
    return fl.LSTM(
        fl.LSTMWeights([[fl.DirectionWeights(normal(4 * hidden, size), normal(4 * hidden, hidden))]], **options)
    )


WRONG = {
    "sizes": (lambda: [linear(3, 4), "relu", linear(2, 5)], r"part 2, Linear: expected 5 features, found 3"),
    "sizes of an LSTM": (lambda: [embedding(3), lstm(4, 2)], r"part 1, LSTM: expected 4 features, found 3"),
    "sizes inside": (
        lambda: [linear(3, 4), fl.Residual("relu", linear(3, 4))],
        r"part 1\.1, Linear: expected 4 features, found 3",
    ),
    "sizes of a sum": (lambda: [fl.Residual(linear(3, 4))], r"part 0, Residual: .* \(batch, time, 4\), found .*3"),
    "steps that are gone": (
        lambda: [embedding(4), fl.Last(), lstm(4, 2)],
        r"part 2, LSTM: expected \(batch, time, 4\)",
    ),
    "steps that are not there": (lambda: [embedding(4), fl.Last(), fl.Last()], r"part 2, Last: expected steps"),
    "words in between": (lambda: [linear(3, 4), embedding(4)], r"part 1, Embedding: expected whole numbers"),
    "channels last": (lambda: [lstm(4, 2), fl.Conv1d(normal(3, 2, 1))], r"part 1, Conv1d: .*fl.Transpose\(1, 2\)"),
    "features first": (lambda: [fl.Conv1d(normal(3, 2, 1)), lstm(3, 2)], r"part 1, LSTM: .*fl.Transpose\(1, 2\)"),
    "channels": (
        lambda: [fl.Conv1d(normal(3, 2, 1)), fl.Conv1d(normal(3, 2, 1))],
        r"part 1, Conv1d: expected 2 channels, found 3",
    ),
    "channels of a norm": (
        lambda: [fl.Conv1d(normal(3, 2, 1)), fl.BatchNorm1d(normal(2), normal(2) ** 2)],
        r"part 1, BatchNorm1d: expected 2 channels, found 3",
    ),
    "axes": (lambda: [linear(3, 4), fl.Transpose(1, 5)], r"part 1, Transpose: dim1"),
    "both orders": (
        lambda: [lstm(4, 2), lstm(2, 2, batch_first=False)],
        r"part 1, LSTM: expected time first, as this LSTM has it",
    ),
    "a name": (lambda: ["relux"], r"part 0: expected an activation of .*'relux'"),
    "no parts": (list, "expected parts, found none"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_named(what):
    parts, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        fl.Sequential(*parts())


def test_no_part():
    with pytest.raises(TypeError, match="part 1: expected a part"):
        fl.Sequential("relu", 3)
    with pytest.raises(TypeError, match="weight: expected a floating-point array"):
        fl.Linear(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match=r"bias: expected shape \(2,\)"):
        fl.Linear(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="stride"):
        fl.Conv1d(np.zeros((2, 3, 1)), stride=0)
    with pytest.raises(ValueError, match="lengths"):
        fl.Sequential(fl.Conv1d(normal(3, 2, 1)), lengths=True)


def test_what_lies_beside_the_weights_is_refused():
    head = state(nn.Linear(3, 2), "head")
    with pytest.raises(fl.FormatError, match="head: expected weight, bias of a Linear, found 'lora_A' beside"):
        fl.Linear.from_state_dict({**head, "head.lora_A": torch.zeros(1, 3)}, "head")
    with pytest.raises(fl.FormatError, match="found 'bias' beside"):
        fl.Embedding.from_state_dict(head, "head")
    with pytest.raises(fl.FormatError, match=r"head.weight: expected 3 dimension\(s\)"):
        fl.Conv1d.from_state_dict(head, "head")
    with pytest.raises(fl.FormatError, match="head.weight: expected a floating-point array"):
        fl.Linear.from_state_dict({"head.weight": np.zeros((2, 2), np.int8)}, "head")


def test_the_order_of_axes_that_nobody_said_is_told(tmp_path):
    rnn = nn.LSTM(3, 4)
    torch.save(rnn.state_dict(), tmp_path / "f")
    with pytest.warns(fl.AssumptionWarning, match="batch_first"):
        fl.Sequential(fl.LSTM.load(tmp_path / "f"), fl.Last())


@pytest.mark.parametrize("seed", range(40))
def test_lstms_of_any_kind(seed):
    """What an LSTM does alone it does among parts, to the bit; or it is refused."""
    weights = variants.random_weights(np.random.default_rng(seed), largest=9)
    rnn = fl.LSTM(weights) if seed % 3 else fl.LSTM(weights).astype(["int8", "float16", "bfloat16"][seed // 3 % 3])
    x = normal(3, 4, rnn.input_size)
    lengths = np.array([4, 1, 3] if rnn.batch_first else [3, 1, 2, 3])
    if weights.merge == "none":
        with pytest.raises(ValueError, match="part 0, LSTM: expected directions that are merged"):
            fl.Sequential(rnn)
        return
    np.testing.assert_array_equal(fl.Sequential(rnn)(x), rnn(x)[0])
    if weights.flip_output or weights.padding == "repeat":
        with pytest.raises(ValueError, match="part 0, LSTM: expected no lengths"):
            fl.Sequential(rnn, lengths=True)
    else:
        np.testing.assert_array_equal(fl.Sequential(rnn, lengths=True)(x, lengths), rnn(x, lengths=lengths)[0])


@pytest.mark.parametrize("lengths", [[6, 1], [-1, 2], [1], [[1, 2]]])
def test_lengths_that_make_no_sense(lengths):
    model = fl.Sequential(lstm(3, 2), fl.Last(), lengths=True)
    with pytest.raises(ValueError, match="lengths|shape"):
        model(normal(2, 5, 3), np.array(lengths))


def test_words_out_of_the_table_are_an_error():
    model = fl.Sequential(embedding(4))
    with pytest.raises(ValueError, match="Gather|index|0"):
        model(np.array([[9]]))
