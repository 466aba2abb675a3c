"""fusedlstm.torch beside PyTorch: when which of them runs, with which weights."""

import copy
import io
import pickle
import threading

import numpy as np
import pytest
from torch_modules import largest_difference, torch

import fusedlstm as fl
import fusedlstm.torch as door

nn = torch.nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.rnn = nn.Embedding(20, 8), nn.LSTM(8, 6, 2, bidirectional=True, batch_first=True)
        self.cell, self.head = nn.GRUCell(12, 5), nn.Linear(5, 3)

    def forward(self, tokens):
        y = self.rnn(self.emb(tokens))[0]
        return self.head(self.cell(y[:, -1]))


TOKENS = torch.arange(10).reshape(2, 5)


@pytest.fixture
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def lstm():
    torch.manual_seed(0)
    return door.accelerate(nn.LSTM(4, 3, 2, bidirectional=True).eval())


X = torch.linspace(-1, 1, 5 * 2 * 4).reshape(5, 2, 4)


def ran_here(module):
    return not door.report(module)[0].why


def plain(module):
    """What PyTorch computes with the weights that a module has now."""
    return door.restore(copy.deepcopy(module))(X)


@pytest.mark.usefixtures("no_grad")
def test_a_model_keeps_its_modules_and_names():
    model = Tagger().eval()
    rnn, names, keys = model.rnn, [name for name, _ in model.named_parameters()], list(model.state_dict())
    expected, shown = model(TOKENS), repr(model)
    seen = []
    model.rnn.register_forward_hook(lambda module, given, made: seen.append(made[0].shape))
    assert door.accelerate(model) is model
    assert largest_difference(model(TOKENS), expected) <= 1e-6
    assert seen == [(2, 5, 12)]
    assert model.rnn is rnn
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == keys
    assert "LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True, by fusedlstm)" in repr(model)
    assert door.report(model).swapped == ["rnn", "cell"]
    assert door.restore(model) is model
    assert repr(model) == shown
    assert type(model.rnn) is nn.LSTM and type(model.cell) is nn.GRUCell
    assert "_fused" not in vars(model.rnn)
    assert torch.equal(model(TOKENS), expected)


def test_the_report_says_what_and_why():
    class Mine(nn.LSTM):
        pass

    weird = nn.utils.parametrizations.weight_norm(nn.LSTM(2, 2), "weight_hh_l0")
    older = nn.GRU(2, 2)
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(older, "weight_hh_l0")
    model = nn.ModuleDict(
        {"fine": nn.LSTM(2, 2), "mine": Mine(2, 2), "weird": weird, "older": older, "other": nn.Linear(2, 2)}
    )
    model["script"] = torch.jit.script(nn.GRU(2, 2))
    model["own"] = nn.RNN(2, 2)
    model["own"].forward = lambda x: 2 * x
    before = door.report(model)
    assert not before.swapped and len(before) == 6
    door.accelerate(model, dtype="int8")
    report = door.report(model)
    assert report.swapped == ["fine"]
    why = {one.name: one.why for one in report}
    assert "subclass" in why["mine"] and "parametrisation" in why["weird"] and "weight norm" in why["older"]
    assert "TorchScript" in why["script"] and "forward" in why["own"]
    assert repr(report).splitlines()[:2] == [
        "Report: 1 of 6 recurrent layers swapped",
        "  fine: LSTM: runs in fusedlstm in int8",
    ]


def test_who_runs(lstm):
    with torch.no_grad():
        expected = plain(lstm)
    y, (h, _) = lstm(X)  # parameters want gradients
    assert door.report(lstm)[0].why == "with gradients"
    (y.sum() + h.sum()).backward()
    assert lstm.weight_hh_l0.grad is not None
    with torch.no_grad():
        assert largest_difference(lstm(X), expected) <= 1e-6 and ran_here(lstm)
        with torch.autocast("cpu", torch.bfloat16):
            lstm(X)
            assert door.report(lstm)[0].why == "under autocast"
        lstm.train()
        lstm(X)
        assert door.report(lstm)[0].why == "in training"
        lstm.eval()
        double = copy.deepcopy(lstm).double()
        assert double(X.double())[0].dtype is torch.float64 and "float64" in door.report(double)[0].why
        with pytest.raises(ValueError, match="dtype"):  # PyTorch's own complaint
            lstm(X.double())
        with torch.device("meta"):
            meta = copy.deepcopy(lstm).to("meta")
        assert meta(X.to("meta"))[0].is_meta
    with torch.inference_mode():
        found = lstm(X)
        assert largest_difference(found, expected) <= 1e-6 and ran_here(lstm)
    for one in lstm.parameters():
        one.requires_grad_(False)
    assert largest_difference(lstm(X), expected) <= 1e-6 and ran_here(lstm)
    lstm(X.clone().requires_grad_())
    assert door.report(lstm)[0].why == "with gradients"


@pytest.mark.usefixtures("no_grad")
def test_functorch_and_dual_numbers_run_the_original(lstm):
    with pytest.raises(RuntimeError, match=r"Batching rule not implemented for aten::lstm\.input"):  # PyTorch's own
        torch.vmap(lambda one: lstm(one)[0])(torch.stack([X, X]))
    with torch.autograd.forward_ad.dual_level():
        with pytest.raises(NotImplementedError, match="forward AD"):  # PyTorch's own as well
            lstm(torch.autograd.forward_ad.make_dual(X, torch.ones_like(X)))
        assert "forward-mode" in door.report(lstm)[0].why


def optimiser_step(module):
    for one in module.parameters():
        one.grad = torch.ones_like(one)
    torch.optim.SGD(module.parameters(), lr=0.1).step()


def swapped_data(module):
    module.weight_ih_l1.data = torch.randn_like(module.weight_ih_l1)


CHANGES = {
    "in place": lambda module: module.weight_hh_l0.mul_(2),
    "state dict": lambda module: module.load_state_dict(nn.LSTM(4, 3, 2, bidirectional=True).state_dict()),
    "assigned state dict": lambda module: module.load_state_dict(
        nn.LSTM(4, 3, 2, bidirectional=True).state_dict(), assign=True
    ),
    "optimiser": optimiser_step,
    "data": swapped_data,
    "through data": lambda module: module.weight_hh_l0_reverse.data.mul_(-3),
    "a new parameter": lambda module: setattr(module, "bias_ih_l0", nn.Parameter(torch.randn(12))),
    "moved": lambda module: module.share_memory(),
}


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_noticed(lstm, change):
    before = lstm(X)
    assert ran_here(lstm)
    CHANGES[change](lstm)
    found = lstm(X)
    assert ran_here(lstm)
    assert largest_difference(found, plain(lstm)) <= 1e-6
    if change != "moved":
        assert largest_difference(found, before) > 1e-4


@pytest.mark.usefixtures("no_grad")
def test_weights_that_are_transposed_where_they_lie_are_noticed():
    module = door.accelerate(nn.RNN(4, 4).eval())
    for _ in range(2):
        module(X)
        module.weight_hh_l0.data = module.weight_hh_l0.data.T
        assert largest_difference(module(X), plain(module)) <= 1e-6
    turned = {"weight_ih_l0": module.weight_ih_l0.T}
    found = torch.func.functional_call(module, turned, (X,))
    assert ran_here(module)
    door.restore(module)
    assert largest_difference(found, torch.func.functional_call(module, turned, (X,))) <= 1e-6


@pytest.mark.usefixtures("no_grad")
def test_what_nobody_counts(lstm):
    """A number of a tensor, written through `.data`: found when the mode changes, or where it is said."""
    lstm(X)
    lstm.weight_hh_l0.data[0, 0] += 1
    lstm.train().eval()
    assert largest_difference(lstm(X), plain(lstm)) <= 1e-6
    lstm.weight_hh_l0.data[0, 0] += 1
    door.refresh(lstm)
    assert largest_difference(lstm(X), plain(lstm)) <= 1e-6


@pytest.mark.usefixtures("no_grad")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["parametrised", "weight norm", "pruned"])
def test_weights_that_become_computed_run_the_original(lstm, how):
    lstm(X)
    if how == "parametrised":
        nn.utils.parametrizations.weight_norm(lstm, "weight_hh_l0")
        lstm.parametrizations.weight_hh_l0.original0.mul_(2)
    elif how == "weight norm":
        nn.utils.weight_norm(lstm, "weight_hh_l0")
        lstm.weight_hh_l0_g.mul_(2)
    else:
        from torch.nn.utils import prune

        prune.random_unstructured(lstm, "weight_hh_l0", 0.5)
    found = lstm(X)
    assert not ran_here(lstm)
    assert largest_difference(door.restore(lstm)(X), found) == 0
    assert isinstance(lstm, nn.LSTM)


class Doubled(nn.Module):
    def forward(self, tensor):
        return 2 * tensor


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_any_parameter_may_become_computed(kind):
    names = [name for name, _ in (getattr(nn, kind)(4, 3) if "Cell" in kind else nn.LSTM(4, 3, 2)).named_parameters()]
    for name in names:
        module = getattr(nn, kind)(4, 3, *([] if "Cell" in kind else [2])).eval()
        swapped, x = door.accelerate(copy.deepcopy(module)), X[0] if "Cell" in kind else X
        swapped(x)
        for one in (module, swapped):
            nn.utils.parametrize.register_parametrization(one, name, Doubled())
        assert largest_difference(swapped(x), module(x)) == 0
        assert not ran_here(swapped)


@pytest.mark.usefixtures("no_grad")
def test_functional_calls_take_their_own_weights(lstm):
    other = door.restore(copy.deepcopy(lstm))
    for one in other.parameters():
        one.mul_(3)
    found = torch.func.functional_call(lstm, dict(other.named_parameters()), (X,))
    assert largest_difference(found, other(X)) <= 1e-6
    assert largest_difference(lstm(X), plain(lstm)) <= 1e-6


def test_weights_made_in_inference_mode_run_the_original():
    with torch.inference_mode():
        module = door.accelerate(nn.LSTM(4, 3).eval())
        expected = door.restore(copy.deepcopy(module))(X)
        assert largest_difference(module(X), expected) == 0
        assert "inference mode" in door.report(module)[0].why


@pytest.mark.usefixtures("no_grad")
def test_precisions(lstm):
    expected = plain(lstm)
    door.accelerate(lstm, dtype="int8")
    found = lstm(X)
    weights = {name: one.detach() for name, one in lstm.named_parameters()}
    y, (h, c) = fl.LSTM.from_state_dict(weights, batch_first=False).astype("int8")(X.numpy())
    assert np.array_equal(found[0], y) and np.array_equal(found[1][0], h) and np.array_equal(found[1][1], c)
    assert 1e-6 < largest_difference(found, expected) < 0.05
    with pytest.raises(ValueError, match="dtype: expected one of"):
        door.accelerate(lstm, dtype="int4")
    with pytest.raises(ValueError, match="products: expected"):
        door.accelerate(lstm, dtype="int8", products="bfloat16")
    gru = door.accelerate(nn.GRU(4, 3).eval(), dtype="bfloat16")
    assert 1e-6 < largest_difference(gru(X), plain(gru)) < 0.05 and ran_here(gru)


@pytest.mark.usefixtures("no_grad")
def test_the_same_bits_as_the_lstm_itself(lstm):
    y, (h, c) = fl.LSTM.from_torch(door.restore(copy.deepcopy(lstm)))(X.numpy())
    found = lstm(X)
    assert np.array_equal(found[0], y) and np.array_equal(found[1][0], h) and np.array_equal(found[1][1], c)
    alone = lstm(X[:, :1])[0]
    assert torch.equal(alone[:, 0], found[0][:, 0])


@pytest.mark.usefixtures("no_grad")
def test_copies_and_pickles(lstm):
    expected = lstm(X)
    file = io.BytesIO()
    torch.save(lstm, file)
    file.seek(0)
    copies = [
        copy.deepcopy(lstm),
        copy.copy(lstm),
        pickle.loads(pickle.dumps(lstm)),
        torch.load(file, weights_only=False),
    ]
    for one in copies:
        assert largest_difference(one(X), expected) == 0 and ran_here(one)
    copies[0].weight_hh_l0.mul_(2)
    assert largest_difference(lstm(X), expected) == 0
    assert largest_difference(copies[0](X), plain(copies[0])) <= 1e-6
    fresh = nn.LSTM(4, 3, 2, bidirectional=True)
    fresh.load_state_dict(lstm.state_dict())
    assert largest_difference(fresh.eval()(X), expected) <= 1e-6


@pytest.mark.usefixtures("no_grad")
def test_tensors_are_not_touched(lstm):
    x, h, c = X.clone(), torch.zeros(4, 2, 3), torch.zeros(4, 2, 3)
    for module in (lstm, door.accelerate(nn.GRU(4, 3, 2, bidirectional=True).eval())):
        made = module(x, (h, c) if module is lstm else h)[0]
        assert ran_here(module)
        made[:] = 7
    assert torch.equal(x, X) and not h.any() and not c.any()
    if hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        for one in (x, h, *lstm.parameters()):
            assert one.untyped_storage().resizable()
    neg = torch.complex(torch.zeros_like(X), X).conj().imag
    assert neg.is_neg() and largest_difference(lstm(neg), lstm(-X)) == 0
    # Of one feature they lie as rows that are whole do.
    for original in (nn.LSTM(1, 3).eval(), nn.LSTMCell(1, 3).eval()):
        one = X[0, :, :1] if isinstance(original, nn.LSTMCell) else X[..., :1]
        neg = torch.complex(torch.zeros_like(one), one).conj().imag
        module = door.accelerate(copy.deepcopy(original))
        assert neg.is_neg() and largest_difference(module(neg), original(neg)) < 1e-6
        assert ran_here(module)


@pytest.mark.usefixtures("no_grad")
def test_bad_input_is_pytorch_s_to_refuse(lstm):
    original = door.restore(copy.deepcopy(lstm))
    good = torch.zeros(4, 2, 3)
    calls = {
        "features": (X[..., :2],),
        "rank": (X[0, 0],),
        "no steps": (X[:0],),
        "state": (X, (good[:, :1], good)),
        "state's rank": (X, (good[:, 0], good[:, 0])),
        "whole numbers": (X.long(),),
        "state of another precision": (X, (good.double(), good.double())),
        "array": (X.numpy(),),
        "none": (None,),
    }
    for arguments in calls.values():
        with pytest.raises(Exception) as wanted:
            original(*arguments)
        with pytest.raises(wanted.type) as found:
            lstm(*arguments)
        assert str(found.value) == str(wanted.value)
    assert largest_difference(lstm(X[:, :0]), original(X[:, :0])) == 0
    for gru in (nn.GRU(4, 3).eval(), nn.RNN(4, 3, batch_first=True).eval()):
        swapped = door.accelerate(copy.deepcopy(gru))
        for x in (X[:0] if not gru.batch_first else X[:, :0], X[:0, 0], X[0, 0], X[None], X[..., :2]):
            with pytest.raises((RuntimeError, ValueError)) as wanted:
                gru(x)
            with pytest.raises(wanted.type) as found:
                swapped(x)
            assert str(found.value) == str(wanted.value)
    for function in (door.accelerate, door.restore, door.report, door.refresh):
        with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, found int"):
            function(3)


def test_threads_may_call_one_module(lstm):
    expected, wrong = plain(lstm)[0].detach(), []

    def work():
        with torch.no_grad():
            for _ in range(200):
                if (lstm(X)[0] - expected).abs().max() > 1e-6:
                    wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert not wrong


@pytest.mark.usefixtures("no_grad")
def test_other_doors_take_what_was_accelerated(lstm):
    found = lstm(X)
    y, (h, _) = fl.LSTM.from_torch(lstm)(X.numpy())
    assert np.array_equal(found[0], y) and np.array_equal(found[1][0], h)
    whole = fl.Model.from_torch(lstm, (X,))
    assert np.abs(whole(X.numpy())[0] - y).max() <= 1e-6
    assert largest_difference(lstm(X), found) == 0 and ran_here(lstm)


@pytest.mark.usefixtures("no_grad")
def test_threads_are_pytorch_s_unless_told(lstm):
    gru = door.accelerate(nn.GRU(4, 3).eval())
    before, found = torch.get_num_threads(), [lstm(X), gru(X)]
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert [largest_difference(one(X), made) for one, made in zip((lstm, gru), found)] == [0, 0]
            used = [one._fused._ready[1].threads for one in (lstm, gru)]
            assert used == [count, count]
            assert lstm._fused._ready[1].engine._core.threads == count
        door.accelerate(lstm, threads=2)
        lstm(X)
        assert lstm._fused._ready[1].engine._core.threads == 2
        assert copy.deepcopy(lstm)._fused.threads == 2
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="threads: expected"):
        door.accelerate(lstm, threads=0)
